//! The proven model: a policy that can no longer be wrong.
//!
//! Knows the meaning of a policy and where each part of it was written. Knows neither TOML nor the kernel.
//! Made by [`super::validate`], read by the judge, the compiler and the reports.

use std::fmt;
use std::sync::Arc;

use ipnet::IpNet;

/// Where something was written: a file of the policy directory, line and column counted from 1.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Origin {
    /// Path as given to the user (the policy directory joined with the file's name).
    pub file: Arc<str>,
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// All files of the directory as one ruleset.
#[derive(Debug, Clone, PartialEq)]
pub struct PolicySet {
    /// `[daemon]`, with defaults filled in.
    pub daemon: Daemon,
    /// Every `[[set]]`, in order of definition; [`SetId`] is an index into it.
    pub sets: Vec<Set>,
    /// Every `[[policy]]`, sorted by (`order`, `name`).
    pub policies: Vec<Policy>,
    /// Every `[[test]]`, in order of definition.
    pub tests: Vec<TestCase>,
}

/// `[daemon]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Daemon {
    /// `failsafe.inbound`: what always reaches a host endpoint.
    pub failsafe_inbound: Vec<Failsafe>,
    /// `failsafe.outbound`: what a host endpoint may always open.
    pub failsafe_outbound: Vec<Failsafe>,
    /// What SIGTERM does to the attached programs.
    pub on_stop: OnStop,
    /// Whether a saved file goes live by itself.
    pub reload: ReloadMode,
    /// `[daemon.conntrack]`.
    pub conntrack: Conntrack,
    /// `log`: how many events of one rule or default are logged (by each CPU).
    pub log: Rate,
    /// `confirm_timeout`: seconds after which an apply that asked for a confirmation is taken back.
    pub confirm_timeout: u64,
    /// `live_session_guard`: a ruleset that would cut off whoever applies it wants a confirmation.
    pub live_session_guard: bool,
    /// `metrics = { listen }`: where counters can be fetched; `None` = nowhere.
    pub metrics: Option<std::net::SocketAddr>,
}

impl Daemon {
    /// `log` where it is unstated.
    pub const LOG: Rate = Rate::per_second(10);
    /// `confirm_timeout` where it is unstated, in seconds.
    pub const CONFIRM_TIMEOUT: u64 = 60;
}

impl Default for Daemon {
    /// What holds where `[daemon]` says nothing.
    fn default() -> Self {
        Daemon {
            failsafe_inbound: Vec::new(),
            failsafe_outbound: Vec::new(),
            on_stop: OnStop::Keep,
            reload: ReloadMode::Auto,
            conntrack: Conntrack::default(),
            log: Daemon::LOG,
            confirm_timeout: Daemon::CONFIRM_TIMEOUT,
            live_session_guard: true,
            metrics: None,
        }
    }
}

/// So many events in so much time, and how many at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Rate {
    /// Events in one `period`, at least 1.
    pub events: u32,
    /// Nanoseconds.
    pub period: u64,
    /// Events that may come at once, at least 1; one period's worth (at least 1) where unstated.
    pub burst: u32,
}

impl Rate {
    /// `events` a second, and as many at once.
    pub const fn per_second(events: u32) -> Rate {
        Rate { events, period: 1_000_000_000, burst: events }
    }

    /// What one event costs, in ns (at least 1).
    pub fn cost(&self) -> u64 {
        (self.period / u64::from(self.events)).max(1)
    }

    /// What may be used up at once, in ns.
    pub fn depth(&self) -> u64 {
        self.cost().saturating_mul(u64::from(self.burst))
    }
}

/// One failsafe entry; judged for host endpoints only.
#[derive(Debug, Clone, PartialEq)]
pub struct Failsafe {
    /// IP protocol number.
    pub protocol: u8,
    /// Destination port of the opening packet.
    pub port: u16,
    /// Remote addresses; empty = all (and then a deny set is stronger).
    pub nets: Vec<IpNet>,
    /// Where it stands.
    pub origin: Origin,
}

/// `on_stop`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnStop {
    /// The kernel goes on enforcing the last generation.
    Keep,
    /// The programs are taken off all interfaces.
    Detach,
}

/// `reload`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReloadMode {
    /// A saved file is live within a second.
    Auto,
    /// Only `apply` and SIGHUP.
    Manual,
}

/// `[daemon.conntrack]`. Durations in seconds.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)] // the names are those of policy.md
pub struct Conntrack {
    /// Answered flows that can exist at once.
    pub max_entries: u32,
    /// Half-open TCP and unanswered other flows that can exist at once.
    pub max_half_open: u32,
    /// `established = "keep"`: flows are not judged again when policy changes.
    pub keep_established: bool,
    /// A mid-stream TCP packet may open a flow.
    pub loose: bool,
    /// What happens to connections that live on an interface when a policy first covers it.
    pub adopt_existing: Adopt,
    pub tcp_syn: u64,
    pub tcp_established: u64,
    pub tcp_fin: u64,
    pub udp: u64,
    pub udp_stream: u64,
    pub icmp: u64,
    pub generic: u64,
}

impl Default for Conntrack {
    fn default() -> Self {
        Conntrack {
            max_entries: 262_144,
            max_half_open: 65_536,
            keep_established: false,
            loose: false,
            adopt_existing: Adopt::All,
            tcp_syn: 60,
            tcp_established: 86_400,
            tcp_fin: 60,
            udp: 30,
            udp_stream: 180,
            icmp: 30,
            generic: 600,
        }
    }
}

/// `adopt_existing`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Adopt {
    /// `true`: those of this host's sockets; and for a minute, mid-stream TCP packets may open a flow, where the rules allow it.
    All,
    /// `"sockets"`: those of this host's sockets.
    Sockets,
    /// `false`: none. (What the language assumes where it is unstated stands in [`Conntrack`].)
    #[default]
    None,
}

/// Index into [`PolicySet::sets`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SetId(pub u32);

/// `[[set]]`: elements and the contents of its files, ranges turned into prefixes, duplicates and covered prefixes removed.
/// An address is in the set when it is in `nets` or in a live one of `added`.
#[derive(Debug, Clone, PartialEq)]
pub struct Set {
    /// Unique name.
    pub name: String,
    /// Where it was defined.
    pub origin: Origin,
    /// Sorted, disjoint prefixes of both families.
    pub nets: Vec<IpNet>,
    /// Elements as written (a range counts once), for `set list`.
    pub element_count: usize,
    /// `dynamic = true`: may be changed at run time.
    pub dynamic: Option<Dynamic>,
    /// Elements added at run time; empty in what is read from files.
    pub added: Vec<Element>,
}

/// What a dynamic set allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dynamic {
    /// Seconds that an element added at run time lives, where nothing else is said; `None` = for ever.
    pub timeout: Option<u64>,
    /// Prefixes that it can hold, written ones included.
    pub max_entries: u32,
}

/// A prefix that was added at run time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Element {
    /// The prefix.
    pub net: IpNet,
    /// Until when, on the clock of whoever asks (ns); `None` = for ever.
    pub expires: Option<u64>,
}

/// Which side of the interface is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndpointKind {
    /// A NIC of this host: policy ingress is the ingress hook.
    Host,
    /// The host side of a veth or tap: policy ingress (to the workload) is the egress hook.
    Workload,
}

/// Direction as seen from the protected thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    /// To the protected thing.
    Ingress,
    /// From the protected thing.
    Egress,
}

/// Where on the interface a packet is seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Hook {
    /// The packet arrives at the interface.
    Ingress,
    /// The packet leaves through the interface.
    Egress,
}

impl Hook {
    /// The other way through the interface.
    pub fn opposite(self) -> Hook {
        match self {
            Hook::Ingress => Hook::Egress,
            Hook::Egress => Hook::Ingress,
        }
    }
}

impl EndpointKind {
    /// The hook at which traffic of a policy direction is seen.
    pub fn hook(self, direction: Direction) -> Hook {
        match (self, direction) {
            (EndpointKind::Host, Direction::Ingress) | (EndpointKind::Workload, Direction::Egress) => Hook::Ingress,
            (EndpointKind::Host, Direction::Egress) | (EndpointKind::Workload, Direction::Ingress) => Hook::Egress,
        }
    }

    /// The policy direction of traffic seen at a hook.
    pub fn direction(self, hook: Hook) -> Direction {
        match (self, hook) {
            (EndpointKind::Host, Hook::Ingress) | (EndpointKind::Workload, Hook::Egress) => Direction::Ingress,
            (EndpointKind::Host, Hook::Egress) | (EndpointKind::Workload, Hook::Ingress) => Direction::Egress,
        }
    }
}

/// `[[policy]]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    /// Unique name.
    pub name: String,
    /// Where it was defined.
    pub origin: Origin,
    /// Free text.
    pub description: Option<String>,
    /// Enforced, or only judged, counted and logged.
    pub mode: Mode,
    /// Lower first.
    pub order: i64,
    /// Which interfaces it selects; nothing where there is an `owner`.
    pub interfaces: InterfaceSelector,
    /// Whose interfaces it selects instead; they are known at run time only.
    pub owner: Option<Owner>,
    /// Host or workload.
    pub endpoint: EndpointKind,
    /// Rules and default for traffic to the protected thing; `None` = the policy does not isolate that direction.
    pub ingress: Option<Chain>,
    /// The same for traffic from it.
    pub egress: Option<Chain>,
    /// The DHCP client exchange passes.
    pub dhcp_client: bool,
    /// Neighbour discovery, MLD and the like pass.
    pub icmpv6_essential: bool,
    /// Log what the default of this policy denies.
    pub log_default_deny: bool,
    /// EtherTypes that pass besides IPv4, IPv6 and ARP; `None` = the default of the endpoint kind. Spanning tree is 0x0042
    /// (`NP_ETHERTYPE_STP` of the programs' ABI).
    pub ethertypes: Option<Vec<u16>>,
    /// `[policy.anti_spoof]`; `None` = not given.
    pub anti_spoof: Option<AntiSpoof>,
    /// `[policy.xdp]`; `None` = not given.
    pub xdp: Option<Xdp>,
}

/// `mode` of a policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// It decides.
    Enforce,
    /// It takes no part in the verdict: what it would have said is counted, and its denials are logged.
    Audit,
}

/// `[policy.anti_spoof]`: who may send from beyond the interface. All given checks must hold.
#[derive(Debug, Clone, PartialEq)]
pub struct AntiSpoof {
    /// The route back to the source.
    pub check_reverse_path: ReversePath,
    /// `None` = every source.
    pub allowed_sources: Option<SourceList>,
    /// Source MAC addresses; empty = every one.
    pub allowed_macs: Vec<[u8; 6]>,
    /// ARP and neighbour discovery may speak only for allowed addresses and for the frame's own sender.
    pub arp: bool,
    /// Sources that are no addresses of the public internet are refused.
    pub bogons: bool,
    /// Where it stands.
    pub origin: Origin,
}

/// `check_reverse_path`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ReversePath {
    /// Not asked.
    Off,
    /// There must be a route back to the source.
    Loose,
    /// There must be one through this interface.
    Strict,
}

/// `allowed_sources`: in one of these.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
#[allow(missing_docs)]
pub struct SourceList {
    pub nets: Vec<IpNet>,
    pub sets: Vec<SetId>,
}

impl Policy {
    /// Whether it is for an interface of that name, which leads to those owners.
    pub fn selects(&self, interface: &str, owners: &[Owner]) -> bool {
        self.owner
            .as_ref()
            .map_or_else(|| self.interfaces.selects(interface), |owner| owners.contains(owner) && !self.interfaces.excludes(interface))
    }

    /// Rules and default of one direction, if the policy isolates it.
    pub fn chain(&self, direction: Direction) -> Option<&Chain> {
        match direction {
            Direction::Ingress => self.ingress.as_ref(),
            Direction::Egress => self.egress.as_ref(),
        }
    }
}

/// `container = "name"` or `machine = "name"`: the policy is for the interfaces of that one, whatever they are called.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Owner {
    /// Container or machine.
    pub kind: OwnerKind,
    /// As its manager calls it.
    pub name: String,
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            OwnerKind::Container => write!(f, "container `{}`", self.name),
            OwnerKind::Machine => write!(f, "machine `{}`", self.name),
        }
    }
}

/// Who knows the owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OwnerKind {
    /// A container of Docker, Podman and the like.
    Container,
    /// A machine that systemd-machined has registered.
    Machine,
}

/// `interfaces`: shell globs; a name is selected when it matches an `include` and no `exclude`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct InterfaceSelector {
    /// Patterns as written.
    pub include: Vec<glob::Pattern>,
    /// Patterns written with a leading `!`.
    pub exclude: Vec<glob::Pattern>,
}

impl InterfaceSelector {
    /// Whether a `!glob` takes an interface of that name out.
    fn excludes(&self, interface: &str) -> bool {
        self.exclude.iter().any(|p| p.matches(interface))
    }

    /// Whether an interface of that name is selected. The loopback device is selected only by its literal name, never by a glob.
    pub fn selects(&self, interface: &str) -> bool {
        let literal = |p: &glob::Pattern| p.as_str() == interface;
        let included = if interface == "lo" { self.include.iter().any(literal) } else { self.include.iter().any(|p| p.matches(interface)) };
        included && !self.excludes(interface)
    }
}

/// Rules and default of one direction of a policy.
#[derive(Debug, Clone, PartialEq)]
pub struct Chain {
    /// What happens to a packet that no rule of any policy of the interface decides; deny wins over allow.
    pub default_action: DefaultAction,
    /// Where the default stands (the policy itself where it is unstated).
    pub default_origin: Origin,
    /// In order of evaluation.
    pub rules: Vec<Rule>,
}

/// `default_action`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum DefaultAction {
    Allow,
    Deny,
}

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

/// `[policy.xdp]`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Xdp {
    /// How the XDP program is attached.
    pub mode: XdpMode,
    /// Sets whose members are refused as sources.
    pub deny_sets: Vec<SetId>,
    /// Refuse malformed packets at the earliest point, in whatever direction the policy isolates.
    pub drop_malformed: bool,
    /// Refuse every arriving fragment.
    pub drop_fragments: bool,
    /// `rate_limit`: arriving packets of one source.
    pub rate_limit: RateLimit,
    /// `syn_cookies`: destination ports whose SYNs are answered with a cookie; empty = none.
    pub syn_cookies: Vec<PortRange>,
}

/// `rate_limit = { packets, syns }`; IPv6 sources count by /64.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RateLimit {
    /// IP packets.
    pub packets: Option<Rate>,
    /// TCP SYNs.
    pub syns: Option<Rate>,
}

/// `mode` of `[policy.xdp]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum XdpMode {
    /// Native where the driver can, else generic.
    #[default]
    Auto,
    /// Native or none; without it the checks are made at tc and `status` says so.
    Native,
    /// Generic (after the skb is made).
    Generic,
    /// No XDP program; the checks are made at tc.
    Off,
}

/// `[[test]]`.
#[derive(Debug, Clone, PartialEq)]
pub struct TestCase {
    /// Shown when it fails.
    pub name: String,
    /// Where it was defined.
    pub origin: Origin,
    /// Interface name; need not exist.
    pub interface: String,
    /// Direction of `packet`, seen from the protected thing.
    pub direction: Direction,
    /// The packet to judge.
    pub packet: TestPacket,
    /// Packets that come first and make state.
    pub after: Vec<TestPacket>,
    /// The verdict that is wanted.
    pub expect: Expect,
    /// Id of the rule that must decide.
    pub rule: Option<String>,
}

/// `expect` of a test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Expect {
    Allow,
    Deny,
    Reject,
}

/// `packet` of a test.
#[derive(Debug, Clone, PartialEq)]
pub struct TestPacket {
    /// Where it stands.
    pub origin: Origin,
    /// IP protocol number.
    pub protocol: u8,
    /// Sender; the port is 0 for protocols without ports.
    pub source: std::net::SocketAddr,
    /// Receiver.
    pub destination: std::net::SocketAddr,
    /// ICMP type and code (code 0 where unstated).
    pub icmp: Option<(u8, u8)>,
    /// TCP flag byte, exactly these; SYN where unstated.
    pub tcp_flags: u8,
    /// Tags.
    pub vlan: Option<Vlan>,
}

/// Protocols whose packets carry ports at the start of their header: TCP, UDP, DCCP, SCTP, UDP-Lite.
pub fn has_ports(protocol: u8) -> bool {
    matches!(protocol, 6 | 17 | 33 | 132 | 136)
}
