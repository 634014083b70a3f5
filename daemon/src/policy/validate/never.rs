//! Rules that can never match because their own keys exclude each other: accepted, and said aloud.

use ipnet::IpNet;

use super::Reading;
use super::address::Run;
use super::icmp::{ICMP, ICMPV6};
use super::peers::family_of;
use super::ranges::Ranges;
use super::sets::SetTable;
use crate::policy::model::{Family, Peer, PortRange, Rule, SetId};
use crate::schema::document::{PeerBlock, RuleBlock};
use crate::schema::place::{Report, Span};

/// Flags of segments that never open a flow: FIN, RST, ACK.
const NOT_OPENING: u8 = 1 | 4 | 16;
/// SYN.
const OPENING: u8 = 2;

/// Sets with more prefixes than this are not subtracted from each other for the sake of a warning.
const MAX_COMPARED: usize = 1 << 16;

/// Warns once, for the first reason found.
pub(super) fn warn(rule: &Rule, block: &RuleBlock, reading: &Reading<'_>, report: &mut Report) {
    let (sets, loose) = (&*reading.sets, reading.loose);
    warn_expired(rule, block, reading.now, report);
    let reason = flow_reason(rule, block, loose).or_else(|| {
        let peers = [("source", &rule.source, &block.source), ("destination", &rule.destination, &block.destination)];
        let mut families = [Family::V4, Family::V6].map(|family| rule.family.is_none_or(|own| own == family));
        for (what, peer, written) in peers {
            let Some(written) = written else { continue };
            if let Some(reason) = port_reason(what, peer, written) {
                return Some(reason);
            }
            let left = families_of(peer, sets);
            if left == [false, false] {
                return Some((written.span, format!("no address can be its {what}")));
            }
            families = [families[0] && left[0], families[1] && left[1]];
            if families == [false, false] {
                return Some((written.span, format!("its {what} has no address of the family that the rule's other keys leave")));
            }
        }
        None
    });
    if let Some((span, reason)) = reason {
        report.warning(span, format!("the rule `{}` can never match: {reason}", rule.id));
    }
}

/// What has expired matches nothing any more; a date that is to come is no concern.
fn warn_expired(rule: &Rule, block: &RuleBlock, now: i64, report: &mut Report) {
    let (Some(expires), Some(written)) = (rule.expires, &block.expires) else { return };
    if expires <= now {
        let message = format!("the rule `{}` expired on {}, never matches", rule.id, written.value);
        report.warning(written.span, message).help("take the rule out, or give it a later date");
    }
}

/// Packets of running flows are never judged by rules, so what only they carry matches nothing.
fn flow_reason(rule: &Rule, block: &RuleBlock, loose: bool) -> Option<(Span, String)> {
    if let (Some(flags), Some(written)) = (rule.tcp_flags, &block.tcp_flags) {
        if !loose && (flags.set & NOT_OPENING != 0 || flags.clear & OPENING != 0) {
            let text = "rules judge the segment that opens a connection, which is SYN without ACK, RST and FIN";
            return Some((written.span, text.to_owned()));
        }
    }
    let (icmp, written) = (rule.icmp?, block.icmp.as_ref()?);
    let redirect = matches!((rule.protocol?, icmp.icmp_type), (ICMP, 5) | (ICMPV6, 137));
    let error = matches!((rule.protocol?, icmp.icmp_type), (ICMP, 3 | 4 | 11 | 12) | (ICMPV6, 0..=127));
    let reply = matches!((rule.protocol?, icmp.icmp_type), (ICMP, 0 | 14 | 16 | 18) | (ICMPV6, 129 | 140));
    let text = match (redirect, error, reply) {
        (true, ..) => "redirects are always refused on a policed interface",
        (_, true, _) => "an ICMP error belongs to the flow that it quotes and needs no rule",
        (.., true) => "a reply belongs to the flow of its request and needs no rule",
        _ => return None,
    };
    Some((written.span, text.to_owned()))
}

fn port_reason(what: &str, peer: &Peer, written: &PeerBlock) -> Option<(Span, String)> {
    let runs = |ports: &[PortRange]| {
        let mut ranges = Ranges::default();
        ports.iter().for_each(|range| ranges.push(Run::V4(range.first.into(), range.last.into())));
        ranges.normal()
    };
    let mut wanted = runs(&peer.ports);
    if peer.ports.is_empty() {
        wanted.push(Run::V4(0, u16::MAX.into()));
    }
    let nothing = runs(&peer.not_ports).holds(&wanted);
    nothing.then(|| (written.span, format!("`not_ports` takes every port of its {what} away")))
}

/// Which families a peer leaves an address of.
fn families_of(peer: &Peer, sets: &SetTable) -> [bool; 2] {
    let nets_of = |ids: &[SetId]| ids.iter().map(|id| sets.get(*id).nets.as_slice()).collect::<Vec<_>>();
    let (members, others) = (nets_of(&peer.sets), nets_of(&peer.not_sets));
    // What a dynamic set will hold at run time is not known: it may be any address.
    let unrestricted = peer.nets.is_empty() && peer.sets.is_empty() || peer.sets.iter().any(|id| sets.get(*id).dynamic.is_some());
    let size: usize = members.iter().chain(&others).map(|nets| nets.len()).sum();
    if others.is_empty() && peer.not_nets.is_empty() || size > MAX_COMPARED {
        let has = |family| {
            unrestricted || peer.nets.iter().any(|net| family_of(net) == family) || members.iter().any(|nets| holds_family(nets, family))
        };
        return [has(Family::V4), has(Family::V6)];
    }
    let union = |nets: &[IpNet], members: &[&[IpNet]]| {
        let mut ranges = Ranges::default();
        nets.iter().chain(members.iter().copied().flatten()).for_each(|net| ranges.push(Run::of(net)));
        ranges.normal()
    };
    let wanted = if unrestricted { Ranges::all() } else { union(&peer.nets, &members) };
    let left = wanted.without(&union(&peer.not_nets, &others));
    [left.has(Family::V4), left.has(Family::V6)]
}

/// Whether sorted prefixes hold one of a family: IPv4 comes first.
fn holds_family(nets: &[IpNet], family: Family) -> bool {
    let end = if family == Family::V4 { nets.first() } else { nets.last() };
    end.is_some_and(|net| family_of(net) == family)
}
