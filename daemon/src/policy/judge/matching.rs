//! Stage 7: one rule and one packet.
//!
//! Knows what a rule's keys mean, but for `limit`. Knows no order of rules and no connection.

use std::net::IpAddr;

use ipnet::IpNet;

use super::clock::{Moment, earlier};
use super::packet::{ICMP, ICMPV6, IpPacket, L4, PROTOCOL_UNKNOWN, Packet, TCP};
use crate::policy::model::{Element, Family, Peer, PolicySet, PortRange, Rule, Set, SetId, has_ports};

/// The three answers of a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Match {
    Yes,
    No,
    /// A later fragment that could match, were its L4 header known.
    Perhaps,
}

/// What a rule says to a packet, and until when (ns, on the judge's clock) it goes on saying so if nobody changes anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) is: Match,
    /// `None` = for ever.
    pub(super) until: Option<u64>,
}

impl Answer {
    const NEVER: Answer = Answer { is: Match::No, until: None };
}

/// Compares one rule with one packet.
pub(super) fn matches(set: &PolicySet, rule: &Rule, packet: &Packet, at: Moment) -> Answer {
    let Some(ip) = &packet.ip else { return Answer::NEVER };
    let end = rule.expires.and_then(|seconds| at.of_unix(seconds));
    let is = by_fields(rule, packet, ip);
    if is == Match::No || at.is_over(end) {
        return Answer::NEVER;
    }
    let (source, destination) = (address(set, &rule.source, ip.source, at), address(set, &rule.destination, ip.destination, at));
    match (source.is, destination.is) {
        (Match::Yes, Match::Yes) => Answer { is, until: earlier(end, earlier(source.until, destination.until)) },
        (Match::Yes, _) => destination,
        (_, _) => source,
    }
}

/// All keys but those that time can change.
fn by_fields(rule: &Rule, packet: &Packet, ip: &IpPacket) -> Match {
    let tags = rule.vlan.map_or([0, 0], |vlan| [vlan.outer, vlan.inner]);
    if tags != packet.tags || rule.family.is_some_and(|family| family != ip.family()) {
        return Match::No;
    }
    if ip.protocol == PROTOCOL_UNKNOWN {
        return if rule.protocol.is_some() || reads_l4(rule) { Match::Perhaps } else { Match::Yes };
    }
    if rule.protocol.is_some_and(|protocol| u16::from(protocol) != ip.protocol) || !has_fields(rule, ip) {
        return Match::No;
    }
    if ip.is_later_fragment() && reads_l4(rule) {
        return Match::Perhaps;
    }
    if l4(rule, ip) { Match::Yes } else { Match::No }
}

/// Whether the rule reads anything that a later fragment does not carry.
fn reads_l4(rule: &Rule) -> bool {
    rule.source.reads_port() || rule.destination.reads_port() || rule.icmp.is_some() || rule.tcp_flags.is_some()
}

/// Whether packets of that protocol have the fields that the rule reads.
fn has_fields(rule: &Rule, ip: &IpPacket) -> bool {
    let ports = u8::try_from(ip.protocol).is_ok_and(has_ports);
    let icmp = matches!((ip.protocol, ip.family()), (ICMP, Family::V4) | (ICMPV6, Family::V6));
    (ports || !(rule.source.reads_port() || rule.destination.reads_port()))
        && (icmp || rule.icmp.is_none())
        && (ip.protocol == TCP || rule.tcp_flags.is_none())
}

/// In any of `nets` and `sets` (everything where both are empty), in none of `not_nets` and `not_sets`.
fn address(set: &PolicySet, peer: &Peer, address: IpAddr, at: Moment) -> Answer {
    let in_nets = |nets: &[IpNet]| nets.iter().any(|net| net.contains(&address));
    let everything = peer.nets.is_empty() && peer.sets.is_empty();
    let included = if everything || in_nets(&peer.nets) { FOR_EVER } else { in_sets(set, &peer.sets, address, at) };
    let Some(included) = included.filter(|_| !in_nets(&peer.not_nets)) else { return Answer::NEVER };
    match in_sets(set, &peer.not_sets, address, at) {
        Some(excluded) => Answer { is: Match::No, until: excluded.0 },
        None => Answer { is: Match::Yes, until: included.0 },
    }
}

/// Until when an address is a member.
#[derive(Debug, Clone, Copy)]
struct Member(Option<u64>);

const FOR_EVER: Option<Member> = Some(Member(None));

/// Membership in one of the sets: written, or added at run time and not expired.
fn in_sets(set: &PolicySet, ids: &[SetId], address: IpAddr, at: Moment) -> Option<Member> {
    let sets = || ids.iter().filter_map(|id| set.sets.get(id.0 as usize));
    let covering = |element: &&Element| element.net.contains(&address) && at.is_live(element);
    let ends = || sets().flat_map(|set| &set.added).filter(covering).map(|element| element.expires);
    if sets().any(|set| is_written(set, address)) || ends().any(|end| end.is_none()) {
        return FOR_EVER;
    }
    ends().flatten().max().map(|end| Member(Some(end)))
}

/// Membership in one set.
pub(super) fn holds(set: &PolicySet, id: SetId, address: IpAddr, at: Moment) -> bool {
    in_sets(set, &[id], address, at).is_some()
}

/// Written prefixes are sorted and disjoint, so only the last one that begins at or before the address can hold it.
fn is_written(set: &Set, address: IpAddr) -> bool {
    let next = set.nets.partition_point(|net| net.network() <= address);
    next > 0 && set.nets[next - 1].contains(&address)
}

fn port(any: &[PortRange], none: &[PortRange], port: u16) -> bool {
    let within = |range: &PortRange| range.first <= port && port <= range.last;
    (any.is_empty() || any.iter().any(within)) && !none.iter().any(within)
}

/// The L4 keys of a rule against a header that was read.
fn l4(rule: &Rule, ip: &IpPacket) -> bool {
    let ports = ip.ports().is_none_or(|(source, destination)| {
        port(&rule.source.ports, &rule.source.not_ports, source) && port(&rule.destination.ports, &rule.destination.not_ports, destination)
    });
    let icmp = rule.icmp.is_none_or(|wanted| {
        matches!(&ip.l4, L4::Icmp(message)
            if message.icmp_type == wanted.icmp_type && wanted.code.is_none_or(|code| code == message.code))
    });
    let flags = rule
        .tcp_flags
        .is_none_or(|wanted| matches!(&ip.l4, L4::Tcp(tcp) if tcp.flags & wanted.set == wanted.set && tcp.flags & wanted.clear == 0));
    ports && icmp && flags
}
