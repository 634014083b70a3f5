//! One policy file as written: every key optional, every value with its place, nothing interpreted.
#![allow(missing_docs)] // the names are those of policy.md

use super::place::{At, Span};
use super::reader::{FlagOrWord, Scalar};

/// A list of strings.
pub type Strings = Option<At<Vec<At<String>>>>;
/// A list of numbers or strings.
pub type Scalars = Option<At<Vec<At<Scalar>>>>;

/// A whole file.
#[derive(Debug)]
pub struct Document {
    pub daemon: Option<DaemonBlock>,
    pub sets: Vec<SetBlock>,
    pub policies: Vec<PolicyBlock>,
    pub tests: Vec<TestBlock>,
}

/// `[daemon]`.
#[derive(Debug)]
pub struct DaemonBlock {
    pub span: Span,
    pub failsafe_inbound: Vec<FailsafeBlock>,
    pub failsafe_outbound: Vec<FailsafeBlock>,
    pub on_stop: Option<At<String>>,
    pub reload: Option<At<String>>,
    pub log: Option<RateBlock>,
    pub confirm_timeout: Option<At<String>>,
    pub live_session_guard: Option<At<bool>>,
    pub metrics: Option<MetricsBlock>,
    pub conntrack: Option<ConntrackBlock>,
}

/// `metrics = { listen }`.
#[derive(Debug)]
pub struct MetricsBlock {
    pub span: Span,
    pub listen: Option<At<String>>,
}

/// `{ rate, burst }`, and `per` where a rule has it.
#[derive(Debug)]
pub struct RateBlock {
    pub span: Span,
    pub rate: Option<At<String>>,
    pub burst: Option<At<i64>>,
    pub per: Option<At<String>>,
}

/// One entry of `failsafe.inbound` or `failsafe.outbound`.
#[derive(Debug)]
pub struct FailsafeBlock {
    pub span: Span,
    pub protocol: Option<At<Scalar>>,
    pub port: Option<At<Scalar>>,
    pub nets: Strings,
}

/// `[daemon.conntrack]`.
#[derive(Debug)]
pub struct ConntrackBlock {
    pub max_entries: Option<At<i64>>,
    pub max_half_open: Option<At<i64>>,
    pub established: Option<At<String>>,
    pub loose: Option<At<bool>>,
    pub adopt_existing: Option<At<FlagOrWord>>,
    pub tcp_syn: Option<At<String>>,
    pub tcp_established: Option<At<String>>,
    pub tcp_fin: Option<At<String>>,
    pub udp: Option<At<String>>,
    pub udp_stream: Option<At<String>>,
    pub icmp: Option<At<String>>,
    pub generic: Option<At<String>>,
}

/// `[[set]]`.
#[derive(Debug)]
pub struct SetBlock {
    pub span: Span,
    pub name: Option<At<String>>,
    pub elements: Strings,
    pub files: Strings,
    pub dynamic: Option<At<bool>>,
    pub timeout: Option<At<String>>,
    pub max_entries: Option<At<i64>>,
    pub on_missing: Option<At<String>>,
}

/// `[[policy]]`.
#[derive(Debug)]
pub struct PolicyBlock {
    pub span: Span,
    pub name: Option<At<String>>,
    pub description: Option<At<String>>,
    pub order: Option<At<i64>>,
    pub interfaces: Strings,
    pub container: Option<At<String>>,
    pub machine: Option<At<String>>,
    pub endpoint: Option<At<String>>,
    pub policy_types: Strings,
    pub default_action: Option<DefaultActionBlock>,
    pub mode: Option<At<String>>,
    pub dhcp_client: Option<At<bool>>,
    pub icmpv6_essential: Option<At<bool>>,
    pub log_default_deny: Option<At<bool>>,
    pub ethertypes: Scalars,
    pub anti_spoof: Option<AntiSpoofBlock>,
    pub xdp: Option<XdpBlock>,
    pub ingress: Vec<RuleBlock>,
    pub egress: Vec<RuleBlock>,
}

/// `default_action`.
#[derive(Debug)]
pub struct DefaultActionBlock {
    pub span: Span,
    pub ingress: Option<At<String>>,
    pub egress: Option<At<String>>,
}

/// `[policy.anti_spoof]`.
#[derive(Debug)]
pub struct AntiSpoofBlock {
    pub span: Span,
    pub check_reverse_path: Option<At<String>>,
    pub allowed_sources: Strings,
    pub allowed_macs: Strings,
    pub arp: Option<At<bool>>,
    pub bogons: Option<At<bool>>,
}

/// `[policy.xdp]`.
#[derive(Debug)]
pub struct XdpBlock {
    pub span: Span,
    pub mode: Option<At<String>>,
    pub deny_sets: Strings,
    pub drop_malformed: Option<At<bool>>,
    pub drop_fragments: Option<At<bool>>,
    pub rate_limit: Option<RateLimitBlock>,
    pub syn_cookies: Scalars,
}

/// `rate_limit` of `[policy.xdp]`.
#[derive(Debug)]
pub struct RateLimitBlock {
    pub span: Span,
    pub packets: Option<At<String>>,
    pub packets_burst: Option<At<i64>>,
    pub syns: Option<At<String>>,
    pub syns_burst: Option<At<i64>>,
}

/// `[[policy.ingress]]` or `[[policy.egress]]`.
#[derive(Debug)]
pub struct RuleBlock {
    pub span: Span,
    pub id: Option<At<String>>,
    pub action: Option<At<String>>,
    pub ip_version: Option<At<i64>>,
    pub protocol: Option<At<Scalar>>,
    pub source: Option<PeerBlock>,
    pub destination: Option<PeerBlock>,
    pub icmp: Option<IcmpBlock>,
    pub tcp_flags: Option<At<String>>,
    pub vlan: Option<At<Vec<At<i64>>>>,
    pub log: Option<At<bool>>,
    pub limit: Option<RateBlock>,
    pub reject_with: Option<At<String>>,
    /// A date with a time: TOML's own or a string, as text.
    pub expires: Option<At<String>>,
    pub comment: Option<At<String>>,
}

/// `source` or `destination` of a rule.
#[derive(Debug)]
pub struct PeerBlock {
    pub span: Span,
    pub nets: Strings,
    pub not_nets: Strings,
    pub sets: Strings,
    pub not_sets: Strings,
    pub ports: Scalars,
    pub not_ports: Scalars,
}

/// `icmp = { type, code }`.
#[derive(Debug)]
pub struct IcmpBlock {
    pub span: Span,
    pub icmp_type: Option<At<Scalar>>,
    pub code: Option<At<Scalar>>,
}

/// `[[test]]`.
#[derive(Debug)]
pub struct TestBlock {
    pub span: Span,
    pub name: Option<At<String>>,
    pub interface: Option<At<String>>,
    pub direction: Option<At<String>>,
    pub packet: Option<PacketBlock>,
    pub after: Vec<PacketBlock>,
    pub expect: Option<At<String>>,
    pub rule: Option<At<String>>,
}

/// `packet` of a test.
#[derive(Debug)]
pub struct PacketBlock {
    pub span: Span,
    pub protocol: Option<At<Scalar>>,
    pub source: Option<At<String>>,
    pub destination: Option<At<String>>,
    pub icmp: Option<IcmpBlock>,
    pub tcp_flags: Option<At<String>>,
    pub vlan: Option<At<Vec<At<i64>>>>,
}
