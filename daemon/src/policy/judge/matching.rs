//! Stage 7: one rule and one packet.
//!
//! Knows what a rule's keys mean, but for `limit`. Knows no order of rules and no connection.

use std::net::IpAddr;

use super::clock::Moment;
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

/// Compares one rule with one packet.
pub(super) fn matches(set: &PolicySet, rule: &Rule, packet: &Packet, at: Moment) -> Match {
    let Some(ip) = &packet.ip else { return Match::No };
    if at.is_over(rule_end(rule, at)) {
        return Match::No;
    }
    let tags = rule.vlan.map_or([0, 0], |vlan| [vlan.outer, vlan.inner]);
    let family_fits = rule.family.is_none_or(|family| family == ip.family());
    let addresses_fit = address(set, &rule.source, ip.source, at) && address(set, &rule.destination, ip.destination, at);
    if tags != packet.tags || !family_fits || !addresses_fit {
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

/// Until when (on the judge's clock) a rule goes on matching a packet that it matches now, if nobody changes anything: its own
/// end, or that of the set elements that its addresses are matched by. `None` = for ever.
pub(super) fn holds_until(set: &PolicySet, rule: &Rule, packet: &Packet, at: Moment) -> Option<u64> {
    let Some(ip) = &packet.ip else { return None };
    let ends = [rule_end(rule, at), peer_end(set, &rule.source, ip.source, at), peer_end(set, &rule.destination, ip.destination, at)];
    ends.into_iter().flatten().min()
}

fn rule_end(rule: &Rule, at: Moment) -> Option<u64> {
    rule.expires.and_then(|seconds| at.of_unix(seconds))
}

/// When the last of the elements that hold an address ends.
fn peer_end(set: &PolicySet, peer: &Peer, address: IpAddr, at: Moment) -> Option<u64> {
    let written = |id: &SetId| set_of(set, *id).is_some_and(|set| is_written(set, address));
    if (peer.nets.is_empty() && peer.sets.is_empty()) || peer.nets.iter().any(|net| net.contains(&address)) || peer.sets.iter().any(written)
    {
        return None;
    }
    let covering = |element: &&Element| element.net.contains(&address) && at.is_live(element);
    let elements = || peer.sets.iter().filter_map(|id| set_of(set, *id)).flat_map(|set| &set.added).filter(covering);
    if elements().any(|element| element.expires.is_none()) { None } else { elements().filter_map(|element| element.expires).max() }
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
fn address(set: &PolicySet, peer: &Peer, address: IpAddr, at: Moment) -> bool {
    let in_set = |id: &SetId| holds(set, *id, address, at);
    let everything = peer.nets.is_empty() && peer.sets.is_empty();
    let included = everything || peer.nets.iter().any(|net| net.contains(&address)) || peer.sets.iter().any(in_set);
    included && !peer.not_nets.iter().any(|net| net.contains(&address)) && !peer.not_sets.iter().any(in_set)
}

/// Membership in a set: written, or added at run time and not expired.
pub(super) fn holds(set: &PolicySet, id: SetId, address: IpAddr, at: Moment) -> bool {
    set_of(set, id).is_some_and(|set| {
        is_written(set, address) || set.added.iter().any(|element| element.net.contains(&address) && at.is_live(element))
    })
}

fn set_of(set: &PolicySet, id: SetId) -> Option<&Set> {
    set.sets.get(id.0 as usize)
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
