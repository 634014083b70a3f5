//! `[[policy.ingress]]` and `[[policy.egress]]`: what a rule matches and what it does.

use ipnet::IpNet;

use super::{Origin, Rate, SetId};

/// `action`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Let the packet and its flow through.
    Allow,
    /// Drop.
    Deny,
    /// Drop, and tell the sender.
    Reject,
    /// Leave this policy and go on with the next one of the interface.
    Pass,
}

/// `reject_with`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RejectWith {
    /// A TCP reset; for other protocols port unreachable.
    TcpReset,
    /// ICMP 3/3, ICMPv6 1/4.
    PortUnreachable,
    /// ICMP 3/1, ICMPv6 1/3.
    HostUnreachable,
    /// ICMP 3/13, ICMPv6 1/1.
    AdminProhibited,
}

/// `limit` of a rule: above the rate it does not match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// Packets that the rules judge for themselves (not running flows that are judged again).
    pub rate: Rate,
    /// What has a rate of its own.
    pub per: LimitPer,
}

/// `per` of a limit. IPv6 addresses count by /64.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)]
pub enum LimitPer {
    Rule,
    Source,
    Destination,
}

/// IP version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)]
pub enum Family {
    V4,
    V6,
}

/// `[[policy.ingress]]` or `[[policy.egress]]`. All given keys must match.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// Unique in the policy; given, or derived as `<direction>-<position from 1>`.
    pub id: String,
    /// Where it was defined.
    pub origin: Origin,
    /// What a match does.
    pub action: Action,
    /// `ip_version`.
    pub family: Option<Family>,
    /// IP protocol number. A protocol that exists in one family only (icmp, icmpv6) also sets [`Rule::family`].
    pub protocol: Option<u8>,
    /// Address and port of the sender.
    pub source: Peer,
    /// Address and port of the receiver.
    pub destination: Peer,
    /// Type and code; only with protocol 1 or 58.
    pub icmp: Option<IcmpMatch>,
    /// Only with protocol 6 or none.
    pub tcp_flags: Option<TcpFlagsMatch>,
    /// `None` matches untagged packets only.
    pub vlan: Option<Vlan>,
    /// Log every packet that this rule judges (rate-limited in the kernel).
    pub log: bool,
    /// Matches only within this rate.
    pub limit: Option<Limit>,
    /// Only with [`Action::Reject`]; `None` = TCP reset for TCP, port unreachable for everything else.
    pub reject_with: Option<RejectWith>,
    /// Unix time in seconds from which the rule no longer matches.
    pub expires: Option<i64>,
    /// Free text.
    pub comment: Option<String>,
}

/// `source` or `destination` of a rule: in any of `nets` and `sets` (everything where both are empty), in none of `not_nets`
/// and `not_sets`; ports likewise.
#[derive(Debug, Clone, PartialEq, Default)]
#[allow(missing_docs)] // the names are those of policy.md
pub struct Peer {
    pub nets: Vec<IpNet>,
    pub not_nets: Vec<IpNet>,
    pub sets: Vec<SetId>,
    pub not_sets: Vec<SetId>,
    pub ports: Vec<PortRange>,
    pub not_ports: Vec<PortRange>,
}

impl Peer {
    /// Whether the address is restricted at all.
    pub fn reads_address(&self) -> bool {
        !(self.nets.is_empty() && self.not_nets.is_empty() && self.sets.is_empty() && self.not_sets.is_empty())
    }

    /// Whether the port is restricted at all.
    pub fn reads_port(&self) -> bool {
        !(self.ports.is_empty() && self.not_ports.is_empty())
    }
}

/// Inclusive range of ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)]
pub struct PortRange {
    pub first: u16,
    pub last: u16,
}

/// `icmp = { type, code }`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct IcmpMatch {
    pub icmp_type: u8,
    pub code: Option<u8>,
}

/// `tcp_flags` of a rule, as bits of the TCP flag byte (FIN 1, SYN 2, RST 4, PSH 8, ACK 16, URG 32, ECE 64, CWR 128).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TcpFlagsMatch {
    /// Must be set.
    pub set: u8,
    /// Must be clear.
    pub clear: u8,
}

/// `vlan`: the tags that a packet must carry, exactly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Vlan {
    /// 1..=4094.
    pub outer: u16,
    /// Second tag; 0 = a single tag.
    pub inner: u16,
}

/// Protocols whose packets carry ports at the start of their header: TCP, UDP, DCCP, SCTP, UDP-Lite.
pub fn has_ports(protocol: u8) -> bool {
    matches!(protocol, 6 | 17 | 33 | 132 | 136)
}
