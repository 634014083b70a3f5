//! What all policies that select one interface say together, before numbers are given.
//!
//! Only policies that enforce give an interface anything but a chain; those in audit mode are part of chains, and of nothing else.
//! Knows how several policies are joined. Knows no map and no other interface.

use std::collections::BTreeSet;

use netpol_probes::abi;

use super::CompileError;
use super::anti_spoof::Checks;
use super::error::{Claim, Conflict};
use super::ruleset::{DeviceKind, LinkFacts};
use super::sets::is_dynamic;
use crate::policy::judge::HOST_ETHERTYPES;
use crate::policy::model::{Direction, EndpointKind, Hook, Mode, Policy, PolicySet, Rate, SetId, Xdp, XdpMode};

/// Policies (by rank, rising) that isolate one direction of an endpoint kind.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ChainKey {
    pub(super) policies: Vec<u32>,
    pub(super) direction: Direction,
    pub(super) hook: Hook,
}

/// An interface and what its policies say.
pub(super) struct Draft<'a> {
    pub(super) facts: &'a LinkFacts,
    pub(super) kind: EndpointKind,
    /// Rank and policy, in order.
    pub(super) policies: Vec<(u32, &'a Policy)>,
    /// The XDP program is wanted, attached this way.
    pub(super) xdp: Option<XdpMode>,
    /// Sorted.
    pub(super) static_deny_sets: Vec<SetId>,
    pub(super) dynamic_deny_sets: Vec<SetId>,
    pub(super) ethertypes: Vec<u16>,
    pub(super) checks: Checks,
    pub(super) packets: Option<SourceRate<'a>>,
    pub(super) syns: Option<SourceRate<'a>>,
    /// Sorted; empty where no cookies are sent.
    pub(super) cookie_ports: Vec<u16>,
}

/// A rate of sources and the policy that says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SourceRate<'a> {
    pub(super) policy: &'a str,
    pub(super) rate: Rate,
}

impl<'a> Draft<'a> {
    /// `None` if no policy selects the interface.
    pub(super) fn of(set: &'a PolicySet, facts: &'a LinkFacts) -> Result<Option<Draft<'a>>, CompileError> {
        let selects = |policy: &&Policy| policy.selects(&facts.name, &facts.owners);
        let policies: Vec<(u32, &Policy)> = (0..).zip(&set.policies).filter(|(_, policy)| selects(policy)).collect();
        let Some((_, first)) = policies.first() else { return Ok(None) };
        let kind = first.endpoint;
        if let Some((_, other)) = policies.iter().find(|(_, policy)| policy.endpoint != kind) {
            return Err(endpoint_conflict(facts, first, other));
        }
        let enforcing = || enforcing(&policies);
        let xdp: Vec<(&Policy, &Xdp)> = enforcing().filter_map(|policy| Some((policy, policy.xdp.as_ref()?))).collect();
        let mode = xdp_mode(facts, &xdp)?;
        let works = xdp.iter().any(|(_, xdp)| works(xdp));
        let mode = mode.filter(|mode| works && *mode != XdpMode::Off && facts.device == DeviceKind::Ethernet);
        let deny_sets: BTreeSet<SetId> = xdp.iter().flat_map(|(_, xdp)| xdp.deny_sets.iter().copied()).collect();
        let (dynamic_deny_sets, static_deny_sets) = deny_sets.into_iter().partition(|id| is_dynamic(&set.sets, *id));
        let isolated = enforcing().any(|policy| policy.chain(kind.direction(Hook::Ingress)).is_some());
        Ok(Some(Draft {
            facts,
            kind,
            xdp: mode,
            static_deny_sets,
            dynamic_deny_sets,
            ethertypes: ethertypes(kind, enforcing()),
            checks: if isolated { Checks::of(enforcing(), facts.device) } else { Checks::none() },
            packets: lowest(xdp.iter().filter_map(|(policy, xdp)| Some((*policy, xdp.rate_limit.packets?)))),
            syns: lowest(xdp.iter().filter_map(|(policy, xdp)| Some((*policy, xdp.rate_limit.syns?)))),
            cookie_ports: if mode.is_some() { cookie_ports(&xdp) } else { Vec::new() },
            policies,
        }))
    }

    /// The policies that isolate the direction of a hook, if any does, and whether one of them enforces.
    pub(super) fn chain(&self, hook: Hook) -> Option<(ChainKey, bool)> {
        let direction = self.kind.direction(hook);
        let isolating = || self.policies.iter().filter(|(_, policy)| policy.chain(direction).is_some());
        let policies: Vec<u32> = isolating().map(|(rank, _)| *rank).collect();
        let enforced = isolating().any(|(_, policy)| policy.mode == Mode::Enforce);
        (!policies.is_empty()).then_some((ChainKey { policies, direction, hook }, enforced))
    }

    /// Those of the interface's flags that follow from policies and facts.
    pub(super) fn flags(&self) -> u32 {
        let enforcing = || enforcing(&self.policies);
        let any_xdp = |wanted: fn(&Xdp) -> bool| enforcing().filter_map(|policy| policy.xdp.as_ref()).any(wanted);
        let flags = [
            (self.kind == EndpointKind::Workload, abi::NP_LINK_WORKLOAD),
            (enforcing().all(|policy| policy.icmpv6_essential), abi::NP_LINK_ICMPV6_ESSENTIAL),
            (enforcing().any(|policy| policy.dhcp_client), abi::NP_LINK_DHCP_CLIENT),
            (self.facts.accepts_router_advertisements, abi::NP_LINK_ROUTER_ADVERTISEMENTS),
            (any_xdp(|xdp| xdp.drop_malformed), abi::NP_LINK_DROP_MALFORMED),
            (any_xdp(|xdp| xdp.drop_fragments), abi::NP_LINK_DROP_FRAGMENTS),
            (self.facts.device == DeviceKind::Loopback, abi::NP_LINK_LOOPBACK),
            (!self.cookie_ports.is_empty(), abi::NP_LINK_SYN_COOKIES),
        ];
        flags.into_iter().filter(|(set, _)| *set).fold(self.checks.flags(), |flags, (_, flag)| flags | flag)
    }
}

fn enforcing<'p, 'a>(policies: &'p [(u32, &'a Policy)]) -> impl Iterator<Item = &'a Policy> + Clone + use<'p, 'a> {
    policies.iter().map(|(_, policy)| *policy).filter(|policy| policy.mode == Mode::Enforce)
}

/// Whether there is anything that XDP could do.
pub(super) fn works(xdp: &Xdp) -> bool {
    let Xdp { mode: _, deny_sets, drop_malformed, drop_fragments, rate_limit, syn_cookies } = xdp;
    let limited = rate_limit.packets.is_some() || rate_limit.syns.is_some();
    !deny_sets.is_empty() || *drop_malformed || *drop_fragments || limited || !syn_cookies.is_empty()
}

/// The lowest rate: that of which one event costs most; of equals the one that allows fewer at once; of these the first.
fn lowest<'a>(rates: impl Iterator<Item = (&'a Policy, Rate)>) -> Option<SourceRate<'a>> {
    let named = rates.map(|(policy, rate)| SourceRate { policy: &policy.name, rate });
    named.min_by_key(|one| (std::cmp::Reverse(one.rate.cost()), one.rate.depth()))
}

/// The union of what is stated.
fn cookie_ports(xdp: &[(&Policy, &Xdp)]) -> Vec<u16> {
    let ranges = xdp.iter().flat_map(|(_, xdp)| &xdp.syn_cookies);
    ranges.flat_map(|range| range.first..=range.last).collect::<BTreeSet<u16>>().into_iter().collect()
}

/// The union of what is stated, else the default of the endpoint kind.
fn ethertypes<'a>(kind: EndpointKind, policies: impl Iterator<Item = &'a Policy>) -> Vec<u16> {
    let stated: Vec<&Vec<u16>> = policies.filter_map(|policy| policy.ethertypes.as_ref()).collect();
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
