//! Rules that an earlier rule of the same chain takes every packet from.
//!
//! Earlier rules are found by what their source and destination name; those that share a name too often are only partly looked at.

use std::collections::HashMap;

use ipnet::IpNet;

use super::ranges::{self, Addresses};
use crate::policy::model::{Family, Peer, PolicySet, Rule, SetId, Vlan, has_ports};

/// Earlier rules of one name that are compared with a rule.
const MAX_COMPARED: usize = 64;
/// Names under which one rule is found.
const MAX_NAMES: usize = 64;

/// What a side of a rule is found by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Name {
    Any,
    Net(IpNet),
    Set(SetId),
}

type Key = (Option<Vlan>, Option<u8>, Name, Name);

/// The rules of one chain that have been seen.
pub(super) struct Shadows<'a> {
    set: &'a PolicySet,
    rules: &'a [Rule],
    seen: HashMap<Key, Vec<usize>>,
    same: HashMap<String, usize>,
}

impl<'a> Shadows<'a> {
    pub(super) fn new(set: &'a PolicySet, rules: &'a [Rule]) -> Shadows<'a> {
        Shadows { set, rules, seen: HashMap::new(), same: HashMap::new() }
    }

    /// The earlier rule that shadows the one at `position`; afterwards that one counts as seen. Called in order.
    pub(super) fn look(&mut self, position: usize) -> Option<&'a Rule> {
        let rule = &self.rules[position];
        let spelling = spelling(rule);
        let found = self.same.get(&spelling).copied().or_else(|| self.search(rule));
        if found.is_none() {
            self.same.insert(spelling, position);
            self.note(position);
        }
        found.map(|earlier| &self.rules[earlier])
    }

    fn note(&mut self, position: usize) {
        let rule = &self.rules[position];
        let (sources, destinations) = (names(&rule.source), names(&rule.destination));
        if sources.len() * destinations.len() > MAX_NAMES {
            return;
        }
        for source in &sources {
            for destination in &destinations {
                let compared = self.seen.entry((rule.vlan, rule.protocol, *source, *destination)).or_default();
                if compared.len() < MAX_COMPARED {
                    compared.push(position);
                }
            }
        }
    }

    fn search(&self, rule: &Rule) -> Option<usize> {
        let protocols = if rule.protocol.is_some() { vec![None, rule.protocol] } else { vec![None] };
        let (sources, destinations) = (names_around(&rule.source), names_around(&rule.destination));
        let mut earliest: Option<usize> = None;
        for source in &sources {
            for (destination, protocol) in destinations.iter().flat_map(|name| protocols.iter().map(move |protocol| (name, protocol))) {
                let Some(seen) = self.seen.get(&(rule.vlan, *protocol, *source, *destination)) else { continue };
                let before = |position: &&usize| earliest.is_none_or(|earliest| **position < earliest);
                let found = seen.iter().filter(before).find(|position| covers(self.set, &self.rules[**position], rule)).copied();
                earliest = found.or(earliest);
            }
        }
        earliest
    }
}

/// Equal spellings match equal packets.
fn spelling(rule: &Rule) -> String {
    format!("{:?}", (rule.family, rule.protocol, &rule.source, &rule.destination, rule.icmp, rule.tcp_flags, rule.vlan))
}

/// Names under which a rule is found later: any of them may be what holds the later rule's addresses.
fn names(peer: &Peer) -> Vec<Name> {
    if peer.nets.is_empty() && peer.sets.is_empty() {
        return vec![Name::Any];
    }
    let joined = IpNet::aggregate(&peer.nets);
    // A whole family may be all that a later rule without nets means.
    let any = joined.iter().any(|net| net.prefix_len() == 0).then_some(Name::Any);
    joined.iter().map(|net| Name::Net(*net)).chain(peer.sets.iter().map(|id| Name::Set(*id))).chain(any).collect()
}

/// Names of rules that may hold the addresses of this peer: those that hold its first one.
fn names_around(peer: &Peer) -> Vec<Name> {
    let mut names = vec![Name::Any];
    let mut around = peer.nets.first().map(IpNet::trunc);
    while let Some(net) = around {
        names.push(Name::Net(net));
        around = net.supernet();
    }
    names.extend(peer.sets.first().map(|id| Name::Set(*id)));
    names
}

/// Every packet that `inner` matches is matched by `outer`.
fn covers(set: &PolicySet, outer: &Rule, inner: &Rule) -> bool {
    let is_with_ports = inner.protocol.is_some_and(has_ports) || inner.source.reads_port() || inner.destination.reads_port();
    let side =
        |outer: &Peer, inner: &Peer| !outer.reads_port() || (is_with_ports && ranges::hold(&ranges::ports(outer), &ranges::ports(inner)));
    let icmp = outer.icmp.is_none_or(|outer| {
        inner.icmp.is_some_and(|inner| inner.icmp_type == outer.icmp_type && (outer.code.is_none() || outer.code == inner.code))
    });
    let flags = outer
        .tcp_flags
        .is_none_or(|outer| inner.tcp_flags.is_some_and(|inner| outer.set & !inner.set == 0 && outer.clear & !inner.clear == 0));
    (outer.family.is_none() || outer.family == inner.family)
        && (outer.protocol.is_none() || outer.protocol == inner.protocol)
        && outer.vlan == inner.vlan
        && icmp
        && flags
        && side(&outer.source, &inner.source)
        && side(&outer.destination, &inner.destination)
        && addresses(set, outer, inner)
}

/// Addresses of both sides, in every family in which the inner rule means anything.
fn addresses(set: &PolicySet, outer: &Rule, inner: &Rule) -> bool {
    let side = |outer: &Peer, inner: &Peer, family: Family| {
        if !outer.reads_address() || same_addresses(outer, inner) {
            return true;
        }
        match (Addresses::of(set, outer), Addresses::of(set, inner)) {
            (Some(outer), Some(inner)) => outer.hold(&inner, family),
            _ => false,
        }
    };
    let meant = [Family::V4, Family::V6].into_iter().filter(|family| inner.family.is_none_or(|wanted| wanted == *family));
    meant.into_iter().all(|family| side(&outer.source, &inner.source, family) && side(&outer.destination, &inner.destination, family))
}

fn same_addresses(a: &Peer, b: &Peer) -> bool {
    (&a.nets, &a.not_nets, &a.sets, &a.not_sets) == (&b.nets, &b.not_nets, &b.sets, &b.not_sets)
}
