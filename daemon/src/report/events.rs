//! Logged packets -> lines (and, for the journal, [`Fields`]): verdict, reason, interface, tuple, and the file and line that decided.

mod fields;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use netpol_probes::abi::{self, np_event};

pub use self::fields::Fields;
use super::names::Names;
use crate::policy::model::{Origin, has_ports};
use crate::policy::reason::Reason;

/// One line for one packet.
pub fn line(event: &np_event, names: &Names) -> String {
    let hook = match u32::from(event.hook) {
        abi::NP_HOOK_INGRESS => "ingress hook",
        abi::NP_HOOK_EGRESS => "egress hook",
        _ => "xdp",
    };
    let interface = names.interface_name(event.ifindex).map_or_else(|| format!("#{}", event.ifindex), String::from);
    let cause = cause(event, names).map(|cause| format!(" [{cause}]")).unwrap_or_default();
    let tags = if event.vlan[0] == 0 { String::new() } else { format!(" vlan {}", Tags(event.vlan)) };
    format!("{} {interface} {hook}: {}{tags}, {} bytes{cause}", Verdict::of(event), tuple(event), event.length)
}

/// What happened, or what a policy in audit mode would have done.
struct Verdict {
    /// `allow`, `drop`, `reject` or `would-deny`.
    verb: &'static str,
    /// `None` = let through.
    reason: Option<Reason>,
}

impl Verdict {
    fn of(event: &np_event) -> Verdict {
        let reason = Reason::from_number(event.reason.into());
        let verb = match reason {
            None => "allow",
            Some(_) if is_audit(event) => "would-deny",
            Some(Reason::Reject) => "reject",
            Some(_) => "drop",
        };
        Verdict { verb, reason }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.reason {
            // Said by the verb.
            Some(Reason::Reject) if self.verb == "reject" => f.write_str(self.verb),
            Some(reason) => write!(f, "{} ({})", self.verb, reason.name()),
            None => f.write_str(self.verb),
        }
    }
}

fn is_audit(event: &np_event) -> bool {
    u32::from(event.flags) & abi::NP_EVENT_AUDIT != 0
}

/// The rule, or the default, that decided.
struct Cause<'a> {
    policy: &'a str,
    /// `None` = the policy's default.
    rule: Option<&'a str>,
    /// Where it is written.
    origin: Option<&'a Origin>,
}

fn cause<'a>(event: &np_event, names: &'a Names) -> Option<Cause<'a>> {
    if let Some(rule) = names.rule(event.generation, event.rule) {
        return Some(Cause { policy: &rule.policy, rule: Some(&rule.id), origin: Some(&rule.origin) });
    }
    if let Some(audit) = names.audit(event.generation, event.audit).filter(|_| is_audit(event)) {
        let origin = audit.default_origins.get(usize::from(event.hook)).and_then(Option::as_ref);
        return Some(Cause { policy: &audit.policy, rule: None, origin });
    }
    let chain = names.chain(event.generation, event.chain)?;
    let by_default = Reason::from_number(event.reason.into()) == Some(Reason::Default);
    by_default.then_some(Cause { policy: &chain.default_policy, rule: None, origin: Some(&chain.default_origin) })
}

impl fmt::Display for Cause<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.rule {
            Some(rule) => write!(f, "{}/{rule}", self.policy)?,
            None => write!(f, "default of {}", self.policy)?,
        }
        self.origin.map_or(Ok(()), |origin| write!(f, " at {origin}"))
    }
}

fn tuple(event: &np_event) -> String {
    if event.family == 0 {
        return format!("ethertype {}", EtherType(event.ethertype));
    }
    let (source, destination) = (address(event.family, event.src), address(event.family, event.dst));
    match event.protocol {
        p @ (1 | 58) => format!("{} {source} > {destination} type {} code {}", Protocol(p), event.icmp_type, event.icmp_code),
        p if has_ports(p) => {
            let flags = if p == 6 { format!(" {}", TcpFlags(event.tcp_flags)) } else { String::new() };
            format!("{} {} > {}{flags}", Protocol(p), socket(source, event.sport), socket(destination, event.dport))
        }
        p => format!("{} {source} > {destination}", Protocol(p)),
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

/// An IP protocol.
struct Protocol(u8);

impl Protocol {
    fn name(&self) -> Option<&'static str> {
        match self.0 {
            1 => Some("icmp"),
            6 => Some("tcp"),
            17 => Some("udp"),
            58 => Some("icmpv6"),
            132 => Some("sctp"),
            _ => None,
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "protocol {}", self.0),
        }
    }
}

/// Of a frame that is not IP.
struct EtherType(u16);

impl fmt::Display for EtherType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#06x}", self.0)
    }
}

/// The flags of a TCP header, `syn,ack`.
struct TcpFlags(u8);

impl fmt::Display for TcpFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = ["fin", "syn", "rst", "psh", "ack", "urg", "ece", "cwr"];
        let set: Vec<&str> = names.iter().enumerate().filter(|(bit, _)| self.0 & (1 << bit) != 0).map(|(_, name)| *name).collect();
        f.write_str(&set.join(","))
    }
}

/// VLAN tags, the outer one first; 0 = none.
struct Tags([u16; 2]);

impl fmt::Display for Tags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            [outer, 0] => write!(f, "{outer}"),
            [outer, inner] => write!(f, "{outer}.{inner}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::names::SharedNames;

    #[test]
    fn audit_and_reject_have_words_of_their_own() {
        let event = |reason: u32, flags: u32| np_event { reason: reason as u8, flags: flags as u8, ..np_event::default() };
        let told = |event: &np_event| Verdict::of(event).to_string();
        assert_eq!(told(&event(abi::NP_R_RULE, abi::NP_EVENT_AUDIT)), "would-deny (rule)");
        assert_eq!(told(&event(abi::NP_R_REJECT, abi::NP_EVENT_AUDIT)), "would-deny (reject)");
        assert_eq!(told(&event(abi::NP_R_REJECT, 0)), "reject");
        assert_eq!(told(&event(abi::NP_ACCEPTED, 0)), "allow");
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
