//! All interfaces under policy: the numbers of what they share, and the record of each.

use std::collections::{BTreeMap, BTreeSet};

use netpol_probes::abi;

use super::CompileError;
use super::addresses::{Addresses, limit};
pub(super) use super::draft::ChainKey;
use super::draft::{Draft, SourceRate};
use super::limits::Limits;
use super::names::name_of;
use super::ruleset::{LinkFacts, LinkPlan};
use super::sets::{DynamicSets, is_dynamic};
use crate::policy::model::{Hook, PolicySet, SetId, SourceList};

/// Groups of addresses of one kind that fit: one bit each.
const MAX_GROUPS: usize = u64::BITS as usize;

/// All interfaces, and the numbers of what they share.
pub(super) struct Links<'a> {
    set: &'a PolicySet,
    drafts: Vec<Draft<'a>>,
    pub(super) chains: BTreeMap<ChainKey, u32>,
    deny_groups: BTreeMap<Vec<SetId>, u32>,
    ethertypes: BTreeMap<Vec<u16>, u32>,
    /// By what of a list of allowed sources is static.
    source_groups: BTreeMap<SourceList, u32>,
    macs: BTreeMap<Vec<[u8; 6]>, u32>,
    cookie_ports: BTreeMap<Vec<u16>, u32>,
}

/// The records of all interfaces, and what they refer to.
pub(super) struct Plans {
    pub(super) links: BTreeMap<u32, LinkPlan>,
    pub(super) source_checks: Vec<abi::np_source_check>,
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
        let filled = |ports: &Vec<u16>| !ports.is_empty();
        let links = Links {
            set,
            chains: numbered(chains.map(|(key, _)| key)),
            deny_groups: numbered(drafts.iter().map(|draft| draft.static_deny_sets.clone()).filter(|sets| !sets.is_empty())),
            ethertypes: numbered(drafts.iter().map(|draft| draft.ethertypes.clone())),
            source_groups: numbered(drafts.iter().flat_map(|draft| &draft.checks.sources).filter_map(|list| static_part(set, list))),
            macs: numbered(drafts.iter().filter_map(|draft| draft.checks.macs.clone())),
            cookie_ports: numbered(drafts.iter().map(|draft| draft.cookie_ports.clone()).filter(filled)),
            drafts,
        };
        limit("different combinations of deny sets", links.deny_groups.len(), MAX_GROUPS)?;
        limit("different lists of allowed sources", links.source_groups.len(), MAX_GROUPS)?;
        let ports = links.cookie_ports.keys().map(Vec::len).sum();
        limit("ports with SYN cookies, each counted once for each different list", ports, abi::NP_MAX_COOKIE_PORTS as usize)?;
        Ok(links)
    }

    /// Sets that interfaces name, dynamic or not.
    pub(super) fn sets(&self) -> impl Iterator<Item = SetId> + '_ {
        let sources = self.drafts.iter().flat_map(|draft| &draft.checks.sources).flat_map(|list| &list.sets);
        self.drafts.iter().flat_map(|draft| &draft.dynamic_deny_sets).chain(sources).copied()
    }

    /// Tells what the interfaces need to know of addresses.
    pub(super) fn mark(&self, addresses: &mut Addresses<'_>) {
        self.deny_groups.iter().for_each(|(sets, number)| addresses.deny_group(sets, 1 << number));
        self.source_groups.iter().for_each(|(list, number)| addresses.source_group(&list.nets, &list.sets, 1 << number));
        if self.drafts.iter().any(|draft| draft.checks.bogons) {
            addresses.bogons();
        }
    }

    /// Contents of the `ethertypes` map.
    pub(super) fn ethertypes(&self) -> Vec<(abi::np_ethertype_key, u8)> {
        entries(&self.ethertypes, |group, ethertype| abi::np_ethertype_key { group, ethertype, pad: 0 })
    }

    /// Contents of the `macs` map.
    pub(super) fn macs(&self) -> Vec<(abi::np_mac_key, u8)> {
        entries(&self.macs, |group, mac| abi::np_mac_key { group, mac, pad: [0; 2] })
    }

    /// Contents of the `cookie_ports` map.
    pub(super) fn cookie_ports(&self) -> Vec<(abi::np_cookie_key, u8)> {
        entries(&self.cookie_ports, |group, port| abi::np_cookie_key { group, port, pad: 0 })
    }

    /// What each interface gets.
    pub(super) fn plans(&self, sets: &mut DynamicSets<'_>, limits: &mut Limits) -> Result<Plans, CompileError> {
        let mut plans = Plans { links: BTreeMap::new(), source_checks: Vec::new() };
        let mut known = BTreeMap::new();
        for draft in &self.drafts {
            let name = &draft.facts.name;
            let sources = draft.checks.sources.as_slice();
            let source_checks = match known.get(sources) {
                Some(list) => *list,
                None => *known.entry(sources).or_insert(self.source_checks(name, sources, sets, &mut plans.source_checks)?),
            };
            let mut source_rate = |kind, rate: Option<SourceRate<'_>>| match rate {
                Some(SourceRate { policy, rate }) => limits.of_sources(kind, policy, rate),
                None => Ok(abi::NP_NONE),
            };
            let record = abi::np_link {
                deny_sets: sets.list(&draft.dynamic_deny_sets, || format!("among the deny sets of interface {name}"))?,
                source_checks,
                limit_packets: source_rate("packets", draft.packets)?,
                limit_syns: source_rate("syns", draft.syns)?,
                ..self.record(draft)
            };
            plans.links.insert(draft.facts.ifindex, plan(draft, record));
        }
        Ok(plans)
    }

    /// What is known of an interface without any table.
    fn record(&self, draft: &Draft<'_>) -> abi::np_link {
        let chain = |hook, wants_enforced| {
            let key = draft.chain(hook).filter(|(_, enforced)| *enforced == wants_enforced);
            key.and_then(|(key, _)| self.chains.get(&key).copied()).unwrap_or(abi::NP_NONE)
        };
        let mac_group = draft.checks.macs.as_ref().and_then(|macs| self.macs.get(macs));
        abi::np_link {
            chain: [chain(Hook::Ingress, true), chain(Hook::Egress, true)],
            audit_chain: [chain(Hook::Ingress, false), chain(Hook::Egress, false)],
            flags: draft.flags(),
            ethertype_group: self.ethertypes.get(&draft.ethertypes).copied().unwrap_or(abi::NP_NONE),
            deny_groups: self.deny_groups.get(&draft.static_deny_sets).map_or(0, |number| 1 << number),
            adopt_until: 0,
            mac_group: mac_group.copied().unwrap_or(abi::NP_NONE),
            cookie_group: self.cookie_ports.get(&draft.cookie_ports).copied().unwrap_or(abi::NP_NONE),
            deny_sets: abi::np_list::default(),
            source_checks: abi::np_list::default(),
            limit_packets: abi::NP_NONE,
            limit_syns: abi::NP_NONE,
            name: name_of(&draft.facts.name),
        }
    }

    /// Adds one check for each list of allowed sources of an interface.
    fn source_checks(
        &self,
        interface: &str,
        lists: &[SourceList],
        sets: &mut DynamicSets<'_>,
        records: &mut Vec<abi::np_source_check>,
    ) -> Result<abi::np_list, CompileError> {
        let what = format!("different lists of allowed sources on interface {interface}");
        limit(&what, lists.len(), abi::NP_MAX_SOURCE_CHECKS as usize)?;
        let first = if lists.is_empty() { 0 } else { records.len() as u32 };
        for list in lists {
            let group = static_part(self.set, list).and_then(|list| self.source_groups.get(&list)).map_or(0, |number| 1 << number);
            let sets = sets.list(&list.sets, || format!("in a list of allowed sources of interface {interface}"))?;
            records.push(abi::np_source_check { group, sets });
        }
        Ok(abi::np_list { first, count: lists.len() as u32 })
    }
}

fn plan(draft: &Draft<'_>, record: abi::np_link) -> LinkPlan {
    LinkPlan {
        ifindex: draft.facts.ifindex,
        name: draft.facts.name.clone(),
        device: draft.facts.device,
        record,
        xdp: draft.xdp,
        policies: draft.policies.iter().map(|(_, policy)| policy.name.clone()).collect(),
    }
}

/// A list of sources without its dynamic sets; `None` if nothing is left.
fn static_part(set: &PolicySet, list: &SourceList) -> Option<SourceList> {
    let sets: Vec<SetId> = list.sets.iter().copied().filter(|id| !is_dynamic(&set.sets, *id)).collect();
    let nets = list.nets.clone();
    (!(nets.is_empty() && sets.is_empty())).then_some(SourceList { nets, sets })
}

/// Distinct values, numbered in their order.
fn numbered<T: Ord>(values: impl Iterator<Item = T>) -> BTreeMap<T, u32> {
    values.collect::<BTreeSet<T>>().into_iter().zip(0..).collect()
}

/// The entries of a map of groups, sorted.
fn entries<T: Copy, K: Ord>(groups: &BTreeMap<Vec<T>, u32>, key: impl Fn(u32, T) -> K) -> Vec<(K, u8)> {
    let key = &key;
    let mut entries: Vec<(K, u8)> =
        groups.iter().flat_map(|(list, group)| list.iter().map(move |member| (key(*group, *member), 1))).collect();
    entries.sort_unstable();
    entries
}
