//! `[[policy]]`: which interfaces, whose protection, and everything that is no rule.

use std::fmt;

use ipnet::IpNet;

use super::{Direction, EndpointKind, Origin, PortRange, Rate, Rule, SetId};

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
