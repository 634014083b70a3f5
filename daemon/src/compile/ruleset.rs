//! What is wanted in the kernel, as plain data: the contents of every map of one generation and the record of every link.
//!
//! Knows the programs' ABI. Knows no file descriptor, no clock and no interface that it was not told about.
//! Made by [`super::compile`]; compared with what is there by `plan`; carried out by `kernel`.

use std::collections::BTreeMap;

use netpol_probes::abi;

use super::names::Guard;
pub use crate::policy::judge::DeviceKind;
use crate::policy::model::{Adopt, Direction, Hook, Origin, Owner, XdpMode};

/// Facts about one interface that the kernel told us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkFacts {
    /// Kernel's index.
    pub ifindex: u32,
    /// Current name.
    pub name: String,
    /// What its frames begin with.
    pub device: DeviceKind,
    /// The kernel's `accept_ra` is not 0 here, or a network manager listens itself.
    pub accepts_router_advertisements: bool,
    /// Containers and machines that it leads to, of those that policies name.
    pub owners: Vec<Owner>,
}

/// Everything wanted. Same policies + same facts = equal value, on every machine.
#[derive(Debug, Clone, PartialEq)]
pub struct Ruleset {
    /// The generation's contents.
    pub core: Core,
    /// By ifindex; links that no policy selects are absent.
    pub links: BTreeMap<u32, LinkPlan>,
}

/// What one interface gets.
#[derive(Debug, Clone, PartialEq)]
pub struct LinkPlan {
    /// Kernel's index.
    pub ifindex: u32,
    /// Name at the time of compilation.
    pub name: String,
    /// Decides the program variant.
    pub device: DeviceKind,
    /// Record for the `links` map; `NP_LINK_XDP` is set by the executor when the XDP program is really attached.
    pub record: abi::np_link,
    /// The XDP program is wanted, attached this way (never `Off`); `None` = not wanted.
    pub xdp: Option<XdpMode>,
    /// Names of the selecting policies, in order.
    pub policies: Vec<String>,
}

/// Contents of the maps of one generation. Field names are the names of the maps in `abi.h`.
#[derive(Debug, Clone, PartialEq, Default)]
#[allow(missing_docs)]
pub struct Core {
    /// Flags and timeouts; `generation` and `deadline` are filled in when a number is given.
    pub slot: abi::np_slot,
    /// What happens to connections that exist when an interface first comes under policy. Not part of the digest: it says nothing
    /// of how a packet is judged once that has happened.
    pub adopt: Adopt,
    /// Capacity of the tables that all generations share.
    pub connections: u32,
    pub half_open: u32,
    pub addresses4: Vec<(abi::np_lpm4, u32)>,
    pub addresses6: Vec<(abi::np_lpm6, u32)>,
    pub classes: Vec<abi::np_class>,
    pub chains: Vec<abi::np_chain>,
    pub layers: Vec<abi::np_layer>,
    pub views: Vec<u32>,
    pub rows: Vec<(abi::np_row_key, u32)>,
    pub row_defaults: Vec<abi::np_list>,
    pub decisions: Vec<(abi::np_decision_key, abi::np_list)>,
    pub candidates: Vec<u32>,
    pub l4_protocols: Vec<abi::np_protocol>,
    pub l4_tables: Vec<Box<abi::np_port_table>>,
    pub l4_flags: Vec<u32>,
    pub l4_vlans: Vec<(abi::np_vlan_key, u32)>,
    pub l4_dims: abi::np_l4_dims,
    pub l4_combine: Vec<u32>,
    pub rules: Vec<abi::np_rule>,
    /// What stands at each index of `sets`.
    pub sets: Vec<SetSlot>,
    pub set_lists: Vec<u32>,
    pub source_checks: Vec<abi::np_source_check>,
    pub macs: Vec<(abi::np_mac_key, u8)>,
    pub cookie_ports: Vec<(abi::np_cookie_key, u8)>,
    pub limits: Vec<abi::np_limit>,
    /// `expires` is 0 here: boot time is the executor's business.
    pub conditions: Vec<abi::np_condition>,
    /// By condition: Unix time in seconds from which it no longer holds.
    pub condition_expiry: Vec<Option<i64>>,
    pub failsafe: Vec<(abi::np_failsafe_key, u64)>,
    pub ethertypes: Vec<(abi::np_ethertype_key, u8)>,
    /// Which names of interfaces are selected: what the guard reads.
    pub guard: Guard,
    /// What each rule is called, by rule number. Not part of the maps.
    pub rule_info: Vec<RuleInfo>,
    /// What each chain is called, by chain number. Not part of the maps.
    pub chain_info: Vec<ChainInfo>,
    /// What the policies in audit mode are called, by `np_rule.audit`. Not part of the maps.
    pub audit_info: Vec<AuditInfo>,
}

/// What one element of the map `sets` is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum SetSlot {
    /// The content of a dynamic set, whatever it is at the moment.
    Dynamic {
        /// The set's name.
        name: String,
        /// Prefixes that it can hold.
        max_entries: u32,
    },
    /// Prefixes that stand in a selector beside a dynamic set.
    Literal(Vec<ipnet::IpNet>),
}

impl Core {
    /// Entries of `rule_counters`: one a rule, one a chain, then one a chain with an audit policy whose default is deny.
    pub fn counters(&self) -> usize {
        self.rules.len() + self.chains.len() + self.chains.iter().filter(|chain| chain.audit_counter != abi::NP_NONE).count()
    }

    /// SHA-256 of everything in here, names included: equal digests mean that nothing has to be done.
    pub fn digest(&self) -> [u8; 32] {
        super::digest::of(self)
    }
}

/// A rule's name for people.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct RuleInfo {
    /// Policy's name.
    pub policy: String,
    /// Seen from the protected thing.
    pub direction: Direction,
    /// Unique in (policy, direction).
    pub id: String,
    /// Where it is written.
    pub origin: Origin,
}

/// A policy in audit mode, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditInfo {
    /// Its name.
    pub policy: String,
    /// Where its default for the packets of a hook (ingress, egress) is written; `None` = it does not speak there.
    pub default_origins: [Option<Origin>; 2],
}

/// A chain's name for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChainInfo {
    /// Policies in order; only those that isolate this direction.
    pub policies: Vec<String>,
    /// Seen from the protected thing.
    pub direction: Direction,
    /// The hook it serves.
    pub hook: Hook,
    /// Policy whose default decides when no rule does, and where that default is written.
    pub default_policy: String,
    /// Place of that default.
    pub default_origin: Origin,
}
