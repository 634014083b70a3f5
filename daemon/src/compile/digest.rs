//! The digest of a compiled ruleset, by which a restarted daemon recognises what runs.
//!
//! Knows every field of [`Core`]; a new field that is forgotten here does not compile. `adopt` is left out: it concerns the moment in
//! which an interface comes under policy, which a record in the map tells by itself.

use std::hash::{Hash, Hasher};

use sha2::{Digest, Sha256};

use super::ruleset::{AuditInfo, ChainInfo, Core, RuleInfo};
use crate::policy::model::Origin;

/// Feeds everything that is hashed into SHA-256; the 64-bit hash itself is not used.
struct Feed(Sha256);

impl Hasher for Feed {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        0
    }
}

/// SHA-256 of a generation's contents. Every list is fed with its length, so no two contents have one spelling.
pub(super) fn of(core: &Core) -> [u8; 32] {
    let Core {
        slot,
        adopt: _,
        connections,
        half_open,
        addresses4,
        addresses6,
        classes,
        chains,
        layers,
        views,
        rows,
        row_defaults,
        decisions,
        candidates,
        l4_protocols,
        l4_tables,
        l4_flags,
        l4_vlans,
        l4_dims,
        l4_combine,
        rules,
        sets,
        set_lists,
        source_checks,
        macs,
        cookie_ports,
        limits,
        conditions,
        condition_expiry,
        failsafe,
        ethertypes,
        guard,
        rule_info,
        chain_info,
        audit_info,
    } = core;
    let mut feed = Feed(Sha256::new());
    (slot, connections, half_open, addresses4, addresses6, classes).hash(&mut feed);
    (chains, layers, views, rows, row_defaults, decisions, candidates).hash(&mut feed);
    (l4_protocols, l4_tables, l4_flags, l4_vlans, l4_dims, l4_combine).hash(&mut feed);
    (rules, failsafe, ethertypes, guard).hash(&mut feed);
    (sets, set_lists, source_checks, macs, cookie_ports).hash(&mut feed);
    (limits, conditions, condition_expiry).hash(&mut feed);
    audit_info.len().hash(&mut feed);
    audit_info.iter().for_each(|info| audit(info, &mut feed));
    rule_info.len().hash(&mut feed);
    rule_info.iter().for_each(|info| rule(info, &mut feed));
    chain_info.len().hash(&mut feed);
    chain_info.iter().for_each(|info| chain(info, &mut feed));
    feed.0.finalize().into()
}

fn rule(info: &RuleInfo, feed: &mut Feed) {
    let RuleInfo { policy, direction, id, origin } = info;
    (policy, direction, id).hash(feed);
    place(origin, feed);
}

fn chain(info: &ChainInfo, feed: &mut Feed) {
    let ChainInfo { policies, direction, hook, default_policy, default_origin } = info;
    (policies, direction, hook, default_policy).hash(feed);
    place(default_origin, feed);
}

fn audit(info: &AuditInfo, feed: &mut Feed) {
    let AuditInfo { policy, default_origins } = info;
    policy.hash(feed);
    for origin in default_origins {
        origin.is_some().hash(feed);
        origin.iter().for_each(|origin| place(origin, feed));
    }
}

fn place(origin: &Origin, feed: &mut Feed) {
    let Origin { file, line, column } = origin;
    (file, line, column).hash(feed);
}
