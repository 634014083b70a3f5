//! Rules that an earlier rule of the same policy and direction leaves nothing for: accepted, and said aloud.
//!
//! The comparison is exact where it answers yes. Where addresses come from large sets it only knows that a set holds itself.

use super::address::Run;
use super::ranges::Ranges;
use super::sets::SetTable;
use crate::policy::model::{Action, Peer, PortRange, Rule, SetId, has_ports};
use crate::schema::document::RuleBlock;
use crate::schema::place::Report;

/// Prefixes of one peer that are compared one by one.
const MAX_COMPARED: usize = 4096;
/// Rules of one direction that are compared with each other.
const MAX_RULES: usize = 2000;

/// A peer with its sets resolved; no ranges where they are too large.
struct Resolved<'a> {
    written: &'a Peer,
    /// It names a dynamic set, so what it holds at another time is not known.
    changes: bool,
    addresses: Option<Ranges>,
    ports: Ranges,
}

/// Warns of every rule that is shadowed, naming the rule that does it.
pub(super) fn warn(rules: &[Rule], blocks: &[RuleBlock], sets: &SetTable, report: &mut Report) {
    let resolved: Vec<_> =
        rules.iter().take(MAX_RULES).map(|rule| (resolve(&rule.source, sets), resolve(&rule.destination, sets))).collect();
    for (later, (rule, block)) in rules.iter().zip(blocks).enumerate().take(MAX_RULES) {
        let shadows = |earlier: &usize| {
            let (first, second) = (&resolved[*earlier], &resolved[later]);
            always_speaks(&rules[*earlier])
                && keys_cover(&rules[*earlier], rule)
                && covers(&first.0, &second.0, rule)
                && covers(&first.1, &second.1, rule)
        };
        if resolved[later].0.is_void() || resolved[later].1.is_void() {
            continue;
        }
        let Some(earlier) = (0..later).find(shadows) else { continue };
        let place = report.place(blocks[earlier].span);
        let (message, help) = said(rule, &rules[earlier]);
        report.warning(block.span, message).also(place, "the earlier rule").help(help);
    }
}

/// Message and help. That everything was allowed or refused before is the mistake with the worst end, so it is said in its own words.
fn said(later: &Rule, earlier: &Rule) -> (String, String) {
    let refuses = |rule: &Rule| matches!(rule.action, Action::Deny | Action::Reject);
    let first = format!("put `{}` before `{}`, or take it out", later.id, earlier.id);
    if is_unconditional(earlier) && earlier.action == Action::Allow && refuses(later) {
        return (format!("the rule `{}` refuses nothing: the earlier rule `{}` allows every untagged packet", later.id, earlier.id), first);
    }
    if is_unconditional(earlier) && refuses(earlier) && later.action == Action::Allow {
        return (format!("the rule `{}` allows nothing: the earlier rule `{}` refuses every untagged packet", later.id, earlier.id), first);
    }
    let message = format!("the rule `{}` never decides: the earlier rule `{}` matches everything that it matches", later.id, earlier.id);
    (message, "put the narrower rule first, or take it out".to_owned())
}

/// Whether a rule matches every untagged packet, at any time and at any rate.
pub(super) fn is_unconditional(rule: &Rule) -> bool {
    let anybody = |peer: &Peer| !peer.reads_address() && !peer.reads_port();
    let keys = rule.family.is_none() && rule.protocol.is_none() && rule.icmp.is_none() && rule.tcp_flags.is_none() && rule.vlan.is_none();
    keys && anybody(&rule.source) && anybody(&rule.destination) && always_speaks(rule)
}

impl Resolved<'_> {
    /// Nothing can match: that is said elsewhere.
    fn is_void(&self) -> bool {
        self.ports.is_empty() || self.addresses.as_ref().is_some_and(Ranges::is_empty)
    }
}

/// Whether a rule matches at any time and at any rate.
fn always_speaks(rule: &Rule) -> bool {
    rule.limit.is_none() && rule.expires.is_none()
}

/// Whether everything but the peers of `later` fits into `earlier`.
fn keys_cover(earlier: &Rule, later: &Rule) -> bool {
    let family = earlier.family.is_none_or(|family| later.family == Some(family));
    let protocol = earlier.protocol.is_none_or(|protocol| later.protocol == Some(protocol));
    let icmp = earlier.icmp.is_none_or(|wide| {
        later.icmp.is_some_and(|narrow| wide.icmp_type == narrow.icmp_type && (wide.code.is_none() || wide.code == narrow.code))
    });
    let flags = earlier
        .tcp_flags
        .is_none_or(|wide| later.tcp_flags.is_some_and(|narrow| wide.set & !narrow.set == 0 && wide.clear & !narrow.clear == 0));
    family && protocol && icmp && flags && earlier.vlan == later.vlan
}

fn covers(wide: &Resolved<'_>, narrow: &Resolved<'_>, narrow_rule: &Rule) -> bool {
    let ports = !wide.written.reads_port()
        || (narrow_rule.protocol.is_some_and(has_ports) || narrow.written.reads_port()) && wide.ports.holds(&narrow.ports);
    ports && addresses_cover(wide, narrow)
}

fn addresses_cover(wide: &Resolved<'_>, narrow: &Resolved<'_>) -> bool {
    if !wide.written.reads_address() {
        return true;
    }
    if wide.changes {
        return false;
    }
    match (&wide.addresses, &narrow.addresses) {
        (Some(wide), Some(narrow)) => wide.holds(narrow),
        _ => {
            let (a, b) = (wide.written, narrow.written);
            (&a.nets, &a.not_nets, &a.sets, &a.not_sets) == (&b.nets, &b.not_nets, &b.sets, &b.not_sets)
        }
    }
}

fn resolve<'a>(written: &'a Peer, sets: &SetTable) -> Resolved<'a> {
    let size: usize = written.sets.iter().chain(&written.not_sets).map(|id| sets.get(*id).nets.len()).sum();
    let union = |nets: &[ipnet::IpNet], ids: &[SetId]| {
        let mut ranges = Ranges::default();
        nets.iter().chain(ids.iter().flat_map(|id| &sets.get(*id).nets)).for_each(|net| ranges.push(Run::of(net)));
        ranges.normal()
    };
    let dynamic = |ids: &[SetId]| ids.iter().any(|id| sets.get(*id).dynamic.is_some());
    let addresses = (size <= MAX_COMPARED).then(|| {
        let all = written.nets.is_empty() && written.sets.is_empty() || dynamic(&written.sets);
        let wanted = if all { Ranges::all() } else { union(&written.nets, &written.sets) };
        wanted.without(&union(&written.not_nets, &written.not_sets))
    });
    let changes = dynamic(&written.sets) || dynamic(&written.not_sets);
    Resolved { written, changes, addresses, ports: ports(&written.ports, &written.not_ports) }
}

/// Ports as runs of small numbers; every port where none is named.
fn ports(wanted: &[PortRange], not_wanted: &[PortRange]) -> Ranges {
    let runs = |ports: &[PortRange]| {
        let mut ranges = Ranges::default();
        ports.iter().for_each(|range| ranges.push(Run::V4(range.first.into(), range.last.into())));
        ranges
    };
    let mut wanted_runs = runs(wanted);
    if wanted.is_empty() {
        wanted_runs.push(Run::V4(0, u16::MAX.into()));
    }
    wanted_runs.normal().without(&runs(not_wanted).normal())
}
