//! Policy + links -> ruleset. Pure and deterministic.
//!
//! `links` says which policies an interface has and which chains follow from that; `addresses` and `l4` reduce addresses and L4
//! headers to classes; `layers` and `rows` write down, for every class of packet, which rules may decide it; `conditions` holds what
//! of a rule no class can carry. ARCHITECTURE.md defines the verdicts, `probes/bpf/abi.h` the tables. Knows no kernel and no clock.

mod addresses;
mod anti_spoof;
mod chains;
mod classify;
mod conditions;
mod digest;
mod draft;
mod error;
mod failsafe;
mod l4;
mod layers;
mod limits;
mod links;
mod lists;
pub mod names;
mod numbering;
mod prefixes;
pub mod routes;
mod rows;
pub mod ruleset;
mod sets;

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, missing_docs)] // tests may fail loudly
mod tests;

pub use error::{Claim, CompileError, Conflict};

use std::collections::{BTreeMap, BTreeSet, HashMap};

use netpol_probes::abi;

use crate::policy::model::{Daemon, Hook, Mode, Policy, PolicySet, SetId};
use addresses::{Addresses, Classes};
use chains::{Built, Chains};
use conditions::Conditions;
use failsafe::Failsafe;
use l4::{L4, Predicate};
use layers::{LayerRule, Space};
use limits::Limits;
use links::{Links, Plans};
use names::Guard;
use numbering::Numbering;
use rows::{Extent, Rows};
use ruleset::{AuditInfo, Core, LinkFacts, LinkPlan, Ruleset, SetSlot};
use sets::DynamicSets;

/// Compiles the policies for the given links. Pure: equal input gives equal output on every machine, in whatever order the links come.
pub fn compile(set: &PolicySet, links: &[LinkFacts]) -> Result<Ruleset, CompileError> {
    compile_within(set, links, layers::COMFORTABLE)
}

/// Compiles with layers that are parted where they are estimated to grow beyond `comfortable` rows and decisions. However they are
/// parted, the verdicts are the same.
pub fn compile_within(set: &PolicySet, links: &[LinkFacts], comfortable: u64) -> Result<Ruleset, CompileError> {
    let links = Links::of(set, links)?;
    let numbering = Numbering::of(set)?;
    let failsafe = Failsafe::of(&set.daemon)?;
    let used: BTreeSet<u32> = links.chains.keys().flat_map(|key| numbering.of_chain(&key.policies, key.direction)).collect();
    let (changing, plans) = Changing::of(set, &links, &numbering, &used)?;
    let selected = select(set, &links, &numbering, &failsafe, &used)?;
    let predicates = Predicates::of(&numbering, &used);
    let l4 = l4::reduce(&predicates.distinct)?;
    let extents: Vec<Extent> = l4.classes.iter().map(|classes| Extent::of(classes, l4.count)).collect();
    let of_rule: Vec<Option<&Extent>> = predicates.of_rule.iter().map(|predicate| Some(&extents[(*predicate)? as usize])).collect();
    let space = selected.space(l4.count, comfortable);
    let rows = Rows::new(&numbering.rules, &of_rule, &l4.parts);
    let mut chains = Chains::new(set, &numbering, space, rows, links.chains.len());
    for key in links.chains.keys() {
        let rules = numbering.of_chain(&key.policies, key.direction);
        let rules: Vec<LayerRule> = rules.into_iter().map(|number| selected.rule(number, &of_rule)).collect();
        chains.add(key, &rules)?;
    }
    let built = chains.finish();
    let parts = Parts { failsafe, classes: selected.classes, l4, built, changing, guard: Guard::of(set)? };
    Ok(Ruleset { core: parts.join(set, &links, &numbering), links: plans })
}

/// The parts of a generation, each made by one module.
struct Parts<'a> {
    failsafe: Failsafe<'a>,
    classes: Classes,
    l4: L4,
    built: Built,
    changing: Changing,
    guard: Guard,
}

impl Parts<'_> {
    /// Puts them together.
    fn join(self, set: &PolicySet, links: &Links<'_>, numbering: &Numbering<'_>) -> Core {
        let Parts { failsafe, classes, l4, built, changing, guard } = self;
        let audits = set.policies.iter().filter(|policy| policy.mode == Mode::Audit);
        Core {
            slot: slot(&set.daemon),
            adopt: set.daemon.conntrack.adopt_existing,
            connections: set.daemon.conntrack.max_entries,
            half_open: set.daemon.conntrack.max_half_open,
            addresses4: classes.addresses4,
            addresses6: classes.addresses6,
            classes: classes.records,
            chains: built.chains,
            layers: built.layers,
            views: built.views,
            rows: built.rows,
            row_defaults: built.row_defaults,
            decisions: built.decisions,
            candidates: built.candidates,
            l4_protocols: l4.protocols,
            l4_tables: l4.tables,
            l4_flags: l4.flags,
            l4_vlans: l4.vlans,
            l4_dims: l4.dims,
            l4_combine: l4.combine,
            rules: numbering.records(&changing.conditions.of_rule),
            sets: changing.sets,
            set_lists: changing.set_lists,
            source_checks: changing.source_checks,
            macs: links.macs(),
            cookie_ports: links.cookie_ports(),
            limits: changing.limits,
            conditions: changing.conditions.records,
            condition_expiry: changing.conditions.expiry,
            failsafe: failsafe.map,
            ethertypes: links.ethertypes(),
            guard,
            rule_info: numbering.info(),
            chain_info: built.info,
            audit_info: audits.map(audit_info).collect(),
        }
    }
}

fn audit_info(policy: &Policy) -> AuditInfo {
    let origin = |hook| policy.chain(policy.endpoint.direction(hook)).map(|chain| chain.default_origin.clone());
    AuditInfo { policy: policy.name.clone(), default_origins: [Hook::Ingress, Hook::Egress].map(origin) }
}

/// What changes while the generation runs: dynamic sets, rates, and the conditions and checks that ask for them.
struct Changing {
    sets: Vec<SetSlot>,
    set_lists: Vec<u32>,
    limits: Vec<abi::np_limit>,
    conditions: Conditions,
    source_checks: Vec<abi::np_source_check>,
}

impl Changing {
    /// With the records of the interfaces, which refer to it.
    fn of(
        set: &PolicySet,
        links: &Links<'_>,
        numbering: &Numbering<'_>,
        used: &BTreeSet<u32>,
    ) -> Result<(Changing, BTreeMap<u32, LinkPlan>), CompileError> {
        let rules = used.iter().map(|number| numbering.rules[*number as usize].rule);
        let peers = rules.flat_map(|rule| [&rule.source, &rule.destination]);
        let named = peers.flat_map(|peer| peer.sets.iter().chain(&peer.not_sets).copied()).chain(links.sets());
        let mut sets = DynamicSets::of(&set.sets, named.collect::<BTreeSet<SetId>>().into_iter());
        let mut limits = Limits::default();
        let conditions = Conditions::of(numbering, used, &mut sets, &mut limits)?;
        let Plans { links, source_checks } = links.plans(&mut sets, &mut limits)?;
        let (sets, set_lists) = sets.finish()?;
        Ok((Changing { sets, set_lists, limits: limits.finish(), conditions, source_checks }, links))
    }
}

/// Address classes, and the selectors of each used rule.
struct Selected {
    classes: Classes,
    atoms: usize,
    sides: HashMap<u32, (Option<u32>, Option<u32>)>,
}

impl Selected {
    fn space(&self, l4: u32, comfortable: u64) -> Space<'_> {
        let Classes { selectors, atoms: classes, .. } = &self.classes;
        Space { selectors, classes, atoms: self.atoms, l4, comfortable }
    }

    fn rule(&self, number: u32, extents: &[Option<&Extent>]) -> LayerRule {
        let (source, destination) = self.sides.get(&number).copied().unwrap_or_default();
        let l4_weight = extents[number as usize].map_or(0, Extent::weight);
        LayerRule { number, source, destination, l4_weight }
    }
}

fn select(
    set: &PolicySet,
    links: &Links<'_>,
    numbering: &Numbering<'_>,
    failsafe: &Failsafe<'_>,
    used: &BTreeSet<u32>,
) -> Result<Selected, CompileError> {
    let mut addresses = Addresses::new(&set.sets);
    let mut sides = HashMap::new();
    for number in used {
        let rule = numbering.rules[*number as usize].rule;
        sides.insert(*number, (addresses.selector(&rule.source), addresses.selector(&rule.destination)));
    }
    links.mark(&mut addresses);
    failsafe.nets.iter().for_each(|(bit, nets)| addresses.failsafe(nets, *bit));
    let atoms = addresses.count();
    Ok(Selected { classes: addresses.build(failsafe.everywhere)?, atoms, sides })
}

/// Distinct L4 predicates.
struct Predicates {
    distinct: Vec<Predicate>,
    /// By rule number; `None` for rules of no chain.
    of_rule: Vec<Option<u32>>,
}

impl Predicates {
    fn of(numbering: &Numbering<'_>, used: &BTreeSet<u32>) -> Predicates {
        let mut known: HashMap<Predicate, u32> = HashMap::new();
        let mut predicates = Predicates { distinct: Vec::new(), of_rule: vec![None; numbering.rules.len()] };
        for number in used {
            let predicate = Predicate::of(numbering.rules[*number as usize].rule);
            let distinct = &mut predicates.distinct;
            let index = *known.entry(predicate).or_insert_with_key(|predicate| {
                distinct.push(predicate.clone());
                distinct.len() as u32 - 1
            });
            predicates.of_rule[*number as usize] = Some(index);
        }
        predicates
    }
}

/// Flags and timeouts; number and deadline are given when the generation is built.
fn slot(daemon: &Daemon) -> abi::np_slot {
    let conntrack = &daemon.conntrack;
    let ns = |seconds: u64| seconds.saturating_mul(1_000_000_000);
    let mut timeouts = [0; abi::NP_TIMEOUTS as usize];
    for (index, seconds) in [
        (abi::NP_T_TCP_SYN, conntrack.tcp_syn),
        (abi::NP_T_TCP_ESTABLISHED, conntrack.tcp_established),
        (abi::NP_T_TCP_FIN, conntrack.tcp_fin),
        (abi::NP_T_UDP, conntrack.udp),
        (abi::NP_T_UDP_STREAM, conntrack.udp_stream),
        (abi::NP_T_ICMP, conntrack.icmp),
        (abi::NP_T_GENERIC, conntrack.generic),
    ] {
        timeouts[index as usize] = ns(seconds);
    }
    let keep = if conntrack.keep_established { abi::NP_SLOT_KEEP } else { 0 };
    let loose = if conntrack.loose { abi::NP_SLOT_LOOSE } else { 0 };
    abi::np_slot { generation: 0, flags: keep | loose, deadline: 0, timeouts, log_cost: daemon.log.cost(), log_depth: daemon.log.depth() }
}
