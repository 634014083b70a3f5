//! What all policies that select an interface say together, and the record of each interface.

use std::collections::{BTreeMap, BTreeSet};

use netpol_probes::abi;

use super::CompileError;
use super::addresses::limit;
use super::error::{Claim, Conflict};
use super::ruleset::{DeviceKind, LinkFacts, LinkPlan};
use crate::policy::judge::HOST_ETHERTYPES;
use crate::policy::model::{Direction, EndpointKind, Hook, Policy, PolicySet, SetId, Xdp, XdpMode};

/// Deny groups that fit: one bit each.
const MAX_DENY_GROUPS: usize = u64::BITS as usize;

/// Policies (by rank, rising) that isolate one direction of an endpoint kind.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ChainKey {
    pub(super) policies: Vec<u32>,
    pub(super) direction: Direction,
    pub(super) hook: Hook,
}

/// An interface and what its policies say, before numbers are given.
pub(super) struct Draft<'a> {
    facts: &'a LinkFacts,
    kind: EndpointKind,
    /// Rank and policy, in order.
    policies: Vec<(u32, &'a Policy)>,
    xdp: Option<XdpMode>,
    deny_sets: Vec<SetId>,
    ethertypes: Vec<u16>,
}

/// All interfaces, and the numbers of what they share.
pub(super) struct Links<'a> {
    drafts: Vec<Draft<'a>>,
    pub(super) chains: BTreeMap<ChainKey, u32>,
    deny_groups: BTreeMap<Vec<SetId>, u32>,
    ethertypes: BTreeMap<Vec<u16>, u32>,
}

impl<'a> Links<'a> {
    /// Interfaces that some policy selects.
    pub(super) fn of(set: &'a PolicySet, facts: &'a [LinkFacts]) -> Result<Links<'a>, CompileError> {
        let mut drafts = Vec::new();
        for facts in facts {
            drafts.extend(Draft::of(set, facts)?);
        }
        drafts.sort_by_key(|draft| draft.facts.ifindex);
        limit("interfaces under policy", drafts.len(), (abi::NP_MAX_LINKS / abi::NP_SLOTS) as usize)?;
        let chains = drafts.iter().flat_map(|draft| [Hook::Ingress, Hook::Egress].map(|hook| draft.chain(hook))).flatten();
        let deny_groups = drafts.iter().map(|draft| draft.deny_sets.clone()).filter(|sets| !sets.is_empty());
        let links = Links {
            chains: numbered(chains),
            deny_groups: numbered(deny_groups),
            ethertypes: numbered(drafts.iter().map(|draft| draft.ethertypes.clone())),
            drafts,
        };
        limit("different combinations of deny sets", links.deny_groups.len(), MAX_DENY_GROUPS)?;
        Ok(links)
    }

    /// Sets and bit of each deny group.
    pub(super) fn deny_groups(&self) -> impl Iterator<Item = (&[SetId], u64)> {
        self.deny_groups.iter().map(|(sets, number)| (sets.as_slice(), 1 << number))
    }

    /// Contents of the `ethertypes` map.
    pub(super) fn ethertypes(&self) -> Vec<(abi::np_ethertype_key, u8)> {
        let key = |group: u32, ethertype: u16| abi::np_ethertype_key { group, ethertype, pad: 0 };
        let mut entries: Vec<(abi::np_ethertype_key, u8)> =
            self.ethertypes.iter().flat_map(|(list, group)| list.iter().map(|ethertype| (key(*group, *ethertype), 1))).collect();
        entries.sort_unstable();
        entries
    }

    /// What each interface gets.
    pub(super) fn plans(&self) -> BTreeMap<u32, LinkPlan> {
        self.drafts.iter().map(|draft| (draft.facts.ifindex, self.plan(draft))).collect()
    }

    fn plan(&self, draft: &Draft<'_>) -> LinkPlan {
        let chain = |hook| draft.chain(hook).and_then(|key| self.chains.get(&key).copied()).unwrap_or(abi::NP_NONE);
        LinkPlan {
            ifindex: draft.facts.ifindex,
            name: draft.facts.name.clone(),
            device: draft.facts.device,
            record: abi::np_link {
                chain: [chain(Hook::Ingress), chain(Hook::Egress)],
                flags: draft.flags(),
                ethertype_group: self.ethertypes.get(&draft.ethertypes).copied().unwrap_or(abi::NP_NONE),
                deny_groups: self.deny_groups.get(&draft.deny_sets).map_or(0, |number| 1 << number),
                audit_chain: [abi::NP_NONE; 2],
                adopt_until: 0,
                deny_sets: abi::np_list::default(),
                source_checks: abi::np_list::default(),
                mac_group: abi::NP_NONE,
                cookie_group: abi::NP_NONE,
                limit_packets: abi::NP_NONE,
                limit_syns: abi::NP_NONE,
            },
            xdp: draft.xdp,
            policies: draft.policies.iter().map(|(_, policy)| policy.name.clone()).collect(),
        }
    }
}

/// Distinct values, numbered in their order.
fn numbered<T: Ord>(values: impl Iterator<Item = T>) -> BTreeMap<T, u32> {
    values.collect::<BTreeSet<T>>().into_iter().zip(0..).collect()
}

impl<'a> Draft<'a> {
    /// `None` if no policy selects the interface.
    fn of(set: &'a PolicySet, facts: &'a LinkFacts) -> Result<Option<Draft<'a>>, CompileError> {
        let selects = |policy: &&Policy| policy.interfaces.selects(&facts.name);
        let policies: Vec<(u32, &Policy)> = (0..).zip(&set.policies).filter(|(_, policy)| selects(policy)).collect();
        let Some((_, first)) = policies.first() else { return Ok(None) };
        let kind = first.endpoint;
        if let Some((_, other)) = policies.iter().find(|(_, policy)| policy.endpoint != kind) {
            return Err(endpoint_conflict(facts, first, other));
        }
        let xdp: Vec<(&Policy, &Xdp)> = policies.iter().filter_map(|(_, policy)| Some((*policy, policy.xdp.as_ref()?))).collect();
        let mode = xdp_mode(facts, &xdp)?;
        let mut deny_sets: Vec<SetId> = xdp.iter().flat_map(|(_, xdp)| xdp.deny_sets.iter().copied()).collect();
        deny_sets.sort_unstable();
        deny_sets.dedup();
        let works = xdp.iter().any(|(_, xdp)| !xdp.deny_sets.is_empty() || xdp.drop_malformed || xdp.drop_fragments);
        let xdp = mode.filter(|mode| works && *mode != XdpMode::Off && facts.device == DeviceKind::Ethernet);
        let ethertypes = ethertypes(kind, &policies);
        Ok(Some(Draft { facts, kind, policies, xdp, deny_sets, ethertypes }))
    }

    /// The chain of a hook, if it is isolated.
    fn chain(&self, hook: Hook) -> Option<ChainKey> {
        let direction = self.kind.direction(hook);
        let isolating = self.policies.iter().filter(|(_, policy)| policy.chain(direction).is_some());
        let policies: Vec<u32> = isolating.map(|(rank, _)| *rank).collect();
        (!policies.is_empty()).then_some(ChainKey { policies, direction, hook })
    }

    fn flags(&self) -> u32 {
        let any_xdp = |wanted: fn(&Xdp) -> bool| self.policies.iter().filter_map(|(_, policy)| policy.xdp.as_ref()).any(wanted);
        let flags = [
            (self.kind == EndpointKind::Workload, abi::NP_LINK_WORKLOAD),
            (self.policies.iter().all(|(_, policy)| policy.icmpv6_essential), abi::NP_LINK_ICMPV6_ESSENTIAL),
            (self.policies.iter().any(|(_, policy)| policy.dhcp_client), abi::NP_LINK_DHCP_CLIENT),
            (self.facts.accepts_router_advertisements, abi::NP_LINK_ROUTER_ADVERTISEMENTS),
            (any_xdp(|xdp| xdp.drop_malformed), abi::NP_LINK_DROP_MALFORMED),
            (any_xdp(|xdp| xdp.drop_fragments), abi::NP_LINK_DROP_FRAGMENTS),
            (self.facts.device == DeviceKind::Loopback, abi::NP_LINK_LOOPBACK),
        ];
        flags.into_iter().filter(|(set, _)| *set).fold(0, |flags, (_, flag)| flags | flag)
    }
}

/// The union of what is stated, else the default of the endpoint kind.
fn ethertypes(kind: EndpointKind, policies: &[(u32, &Policy)]) -> Vec<u16> {
    let stated: Vec<&Vec<u16>> = policies.iter().filter_map(|(_, policy)| policy.ethertypes.as_ref()).collect();
    let listed: BTreeSet<u16> = match kind {
        EndpointKind::Host if stated.is_empty() => HOST_ETHERTYPES.into(),
        _ => stated.into_iter().flatten().copied().collect(),
    };
    listed.into_iter().collect()
}

/// How all policies together want the XDP program attached. `auto` gives way; two that name different ways contradict each other.
fn xdp_mode(facts: &LinkFacts, xdp: &[(&Policy, &Xdp)]) -> Result<Option<XdpMode>, CompileError> {
    let mut explicit = xdp.iter().filter(|(_, xdp)| xdp.mode != XdpMode::Auto);
    let Some((first, decided)) = explicit.next() else { return Ok(xdp.first().map(|_| XdpMode::Auto)) };
    match explicit.find(|(_, other)| other.mode != decided.mode) {
        None => Ok(Some(decided.mode)),
        Some((second, other)) => Err(CompileError::XdpConflict(Box::new(Conflict {
            interface: facts.name.clone(),
            key: "xdp mode",
            first: Claim::of(first, word(decided.mode)),
            second: Claim::of(second, word(other.mode)),
        }))),
    }
}

fn word(mode: XdpMode) -> &'static str {
    match mode {
        XdpMode::Auto => "auto",
        XdpMode::Native => "native",
        XdpMode::Generic => "generic",
        XdpMode::Off => "off",
    }
}

fn endpoint_conflict(facts: &LinkFacts, a: &Policy, b: &Policy) -> CompileError {
    let claim = |policy: &Policy| {
        let value = match policy.endpoint {
            EndpointKind::Host => "host",
            EndpointKind::Workload => "workload",
        };
        Claim::of(policy, value)
    };
    let interface = facts.name.clone();
    CompileError::EndpointConflict(Box::new(Conflict { interface, key: "endpoint", first: claim(a), second: claim(b) }))
}
