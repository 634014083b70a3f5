//! Stage 7: the rules of the policies and their defaults.
//!
//! Knows how one rule is compared with one packet, and in which order rules are asked. Knows no state.

use std::net::IpAddr;

use super::link::Link;
use super::packet::{ICMP, ICMPV6, IpPacket, L4, PROTOCOL_UNKNOWN, Packet, TCP};
use super::{Decision, DefaultName, RuleName, Verdict};
use crate::policy::model::{Action, DefaultAction, Direction, Family, Peer, Policy, PolicySet, PortRange, Rule, Set, has_ports};
use crate::policy::reason::Reason;

/// The three answers of a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Match {
    Yes,
    No,
    /// A later fragment that could match, were its L4 header known.
    Perhaps,
}

/// What the rules and defaults of a hook say about a packet; the text tells how it came about.
pub(super) fn evaluate(link: &Link<'_>, packet: &Packet) -> (Decision, String) {
    let direction = link.kind.direction(packet.hook);
    let mut asked = 0;
    for (policy, chain) in link.chain(packet.hook) {
        for rule in &chain.rules {
            asked += 1;
            let name = || name(policy, direction, rule);
            match (matches(link.set, rule, packet), rule.action) {
                (Match::No, _) => continue,
                (Match::Perhaps, _) => {
                    let text = format!("rules: {}/{} could match and reads what a later fragment does not carry", policy.name, rule.id);
                    return (Decision::drop(Reason::Fragment).by(name()), text);
                }
                (Match::Yes, Action::Pass) => break,
                (Match::Yes, action) => {
                    let decision = match action {
                        Action::Allow => Decision::allow(),
                        Action::Reject => Decision { verdict: Verdict::Reject, ..Decision::drop(Reason::Reject) },
                        _ => Decision::drop(Reason::Rule),
                    };
                    let text = format!("rules: {}/{} ({}) decides after {asked} rules", policy.name, rule.id, rule.origin);
                    return (decision.by(name()), text);
                }
            }
        }
    }
    default(link, packet, asked)
}

/// After the last policy: deny wins over allow.
fn default(link: &Link<'_>, packet: &Packet, asked: usize) -> (Decision, String) {
    let mut decision = Decision::allow();
    for (policy, chain) in link.chain(packet.hook) {
        let default = DefaultName { policy: policy.name.clone(), origin: chain.default_origin.clone() };
        if chain.default_action == DefaultAction::Deny {
            decision = Decision { default: Some(default), ..Decision::drop(Reason::Default) };
            break;
        }
        decision.default.get_or_insert(default);
    }
    let word = if decision.verdict == Verdict::Deny { "deny" } else { "allow" };
    let policy = decision.default.as_ref().map_or("", |default| default.policy.as_str());
    let text = format!("rules: none of {asked} decides, default of {policy}: {word}");
    (decision, text)
}

fn name(policy: &Policy, direction: Direction, rule: &Rule) -> RuleName {
    RuleName { policy: policy.name.clone(), direction, id: rule.id.clone(), origin: rule.origin.clone() }
}

/// Compares one rule with one packet.
pub(super) fn matches(set: &PolicySet, rule: &Rule, packet: &Packet) -> Match {
    let Some(ip) = &packet.ip else { return Match::No };
    let tags = rule.vlan.map_or([0, 0], |vlan| [vlan.outer, vlan.inner]);
    let family_fits = rule.family.is_none_or(|family| family == ip.family());
    if tags != packet.tags || !family_fits || !address(set, &rule.source, ip.source) || !address(set, &rule.destination, ip.destination) {
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
fn address(set: &PolicySet, peer: &Peer, address: IpAddr) -> bool {
    let in_set = |id: &crate::policy::model::SetId| set.sets.get(id.0 as usize).is_some_and(|set| holds(set, address));
    let everything = peer.nets.is_empty() && peer.sets.is_empty();
    let included = everything || peer.nets.iter().any(|net| net.contains(&address)) || peer.sets.iter().any(in_set);
    included && !peer.not_nets.iter().any(|net| net.contains(&address)) && !peer.not_sets.iter().any(in_set)
}

/// Membership in a set: its prefixes are sorted and disjoint, so only the last one that begins at or before the address can hold it.
pub(super) fn holds(set: &Set, address: IpAddr) -> bool {
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
