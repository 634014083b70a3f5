//! Logged packets -> lines: verdict, reason, interface, tuple, and the file and line that decided.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use netpol_probes::abi::{self, np_event};

use super::names::Names;
use crate::policy::model::has_ports;
use crate::policy::reason::Reason;

/// One line for one packet.
pub fn line(event: &np_event, names: &Names) -> String {
    let hook = match u32::from(event.hook) {
        abi::NP_HOOK_INGRESS => "ingress hook",
        abi::NP_HOOK_EGRESS => "egress hook",
        _ => "xdp",
    };
    format!(
        "{} {} {hook}: {}{}, {} bytes{}",
        verdict(event),
        names.interface(event.ifindex),
        tuple(event),
        tags(event),
        event.length,
        cause(event, names)
    )
}

/// What happened, or what a policy in audit mode would have done.
fn verdict(event: &np_event) -> String {
    let verb = if is_audit(event) { "would-deny" } else { "drop" };
    match Reason::from_number(event.reason.into()) {
        None => "allow".to_string(),
        Some(Reason::Reject) if !is_audit(event) => "reject".to_string(),
        Some(reason) => format!("{verb} ({})", reason.name()),
    }
}

fn is_audit(event: &np_event) -> bool {
    u32::from(event.flags) & abi::NP_EVENT_AUDIT != 0
}

/// The rule, or the default, that decided.
fn cause(event: &np_event, names: &Names) -> String {
    if let Some(rule) = names.rule(event.generation, event.rule) {
        return format!(" [{}/{} at {}]", rule.policy, rule.id, rule.origin);
    }
    if let Some(audit) = names.audit(event.generation, event.audit).filter(|_| is_audit(event)) {
        let origin = audit.default_origins.get(usize::from(event.hook)).and_then(Option::as_ref);
        return format!(" [default of {}{}]", audit.policy, origin.map(|origin| format!(" at {origin}")).unwrap_or_default());
    }
    let by_default = Reason::from_number(event.reason.into()) == Some(Reason::Default);
    match names.chain(event.generation, event.chain) {
        Some(chain) if by_default => format!(" [default of {} at {}]", chain.default_policy, chain.default_origin),
        _ => String::new(),
    }
}

fn tuple(event: &np_event) -> String {
    if event.family == 0 {
        return format!("ethertype {:#06x}", event.ethertype);
    }
    let (source, destination) = (address(event.family, event.src), address(event.family, event.dst));
    match event.protocol {
        1 | 58 => format!("{} {source} > {destination} type {} code {}", protocol(event.protocol), event.icmp_type, event.icmp_code),
        p if has_ports(p) => {
            format!("{} {} > {}{}", protocol(p), socket(source, event.sport), socket(destination, event.dport), flags(event))
        }
        p => format!("{} {source} > {destination}", protocol(p)),
    }
}

/// Network order words -> address.
fn address(family: u8, words: [u32; 4]) -> IpAddr {
    let mut bytes = [0; 16];
    for (chunk, word) in bytes.chunks_exact_mut(4).zip(words) {
        chunk.copy_from_slice(&word.to_ne_bytes());
    }
    if family == 4 { Ipv4Addr::new(bytes[0], bytes[1], bytes[2], bytes[3]).into() } else { Ipv6Addr::from(bytes).into() }
}

fn socket(address: IpAddr, port: u16) -> String {
    std::net::SocketAddr::new(address, port).to_string()
}

fn protocol(number: u8) -> String {
    match number {
        1 => "icmp".into(),
        6 => "tcp".into(),
        17 => "udp".into(),
        58 => "icmpv6".into(),
        132 => "sctp".into(),
        number => format!("protocol {number}"),
    }
}

fn flags(event: &np_event) -> String {
    if event.protocol != 6 {
        return String::new();
    }
    let names = ["fin", "syn", "rst", "psh", "ack", "urg", "ece", "cwr"];
    let set: Vec<&str> = names.iter().enumerate().filter(|(bit, _)| event.tcp_flags & (1 << bit) != 0).map(|(_, name)| *name).collect();
    format!(" {}", set.join(","))
}

fn tags(event: &np_event) -> String {
    match event.vlan {
        [0, _] => String::new(),
        [outer, 0] => format!(" vlan {outer}"),
        [outer, inner] => format!(" vlan {outer}.{inner}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::names::SharedNames;

    #[test]
    fn audit_and_reject_have_words_of_their_own() {
        let event = |reason: u32, flags: u32| np_event { reason: reason as u8, flags: flags as u8, ..np_event::default() };
        assert_eq!(verdict(&event(abi::NP_R_RULE, abi::NP_EVENT_AUDIT)), "would-deny (rule)");
        assert_eq!(verdict(&event(abi::NP_R_REJECT, abi::NP_EVENT_AUDIT)), "would-deny (reject)");
        assert_eq!(verdict(&event(abi::NP_R_REJECT, 0)), "reject");
        assert_eq!(verdict(&event(abi::NP_ACCEPTED, 0)), "allow");
    }

    #[test]
    fn dropped_syn_is_told_with_reason_tuple_and_flags() {
        let event = np_event {
            ifindex: 3,
            rule: abi::NP_NONE,
            chain: abi::NP_NONE,
            length: 74,
            family: 4,
            protocol: 6,
            tcp_flags: 2,
            reason: abi::NP_R_DEFAULT as u8,
            sport: 40000,
            dport: 22,
            src: [u32::from_ne_bytes([192, 0, 2, 1]), 0, 0, 0],
            dst: [u32::from_ne_bytes([198, 51, 100, 1]), 0, 0, 0],
            ..np_event::default()
        };
        assert_eq!(
            line(&event, &SharedNames::default().lock()),
            "drop (default) #3 ingress hook: tcp 192.0.2.1:40000 > 198.51.100.1:22 syn, 74 bytes"
        );
    }
}
