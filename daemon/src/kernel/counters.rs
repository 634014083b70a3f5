//! Counters: what each rule and each reason has seen, and how counts survive a reload.
//!
//! A rule's number changes from generation to generation; its identity (policy, direction, id) does not. Each generation
//! carries its identities as hashes, so that counts find their rule even when nobody remembers the names.

use std::collections::HashMap;

use netpol_probes::abi;
use sha2::{Digest, Sha256};

use super::error::Result;
use super::maps::Map;
use crate::compile::ruleset::{ChainInfo, Core, RuleInfo};

/// Totals of one rule or default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CounterTotal {
    /// Packets, over all CPUs and all generations that had the rule.
    pub packets: u64,
    /// Bytes.
    pub bytes: u64,
    /// Boot time of the last hit, ns; 0 = never.
    pub last_hit: u64,
}

impl CounterTotal {
    fn add(&mut self, counter: &abi::np_counter) {
        self.packets = self.packets.wrapping_add(counter.packets);
        self.bytes = self.bytes.wrapping_add(counter.bytes);
        self.last_hit = self.last_hit.max(counter.last_hit);
    }

    fn to_base(self) -> abi::np_counter {
        abi::np_counter { packets: self.packets, bytes: self.bytes, last_hit: self.last_hit, ..Default::default() }
    }
}

/// Packets by hook and reason; reason 0 counts what was let through.
pub type ReasonCounts = [[u64; abi::NP_R_REASONS as usize]; abi::NP_HOOKS as usize];

/// The three maps of one generation.
pub struct CounterMaps<'a> {
    /// Counted by the programs, per CPU.
    pub counters: &'a Map,
    /// Counted by earlier generations.
    pub base: &'a Map,
    /// Identities.
    pub names: &'a Map,
}

/// Totals of one generation, by index.
pub fn totals(counters: &Map, base: &Map) -> Result<Vec<CounterTotal>> {
    let mut totals = vec![CounterTotal::default(); counters.facts().max_entries as usize];
    for (index, earlier) in base.all::<u32, abi::np_counter>()? {
        if let Some(total) = totals.get_mut(index as usize) {
            total.add(&earlier);
        }
    }
    for (total, cpus) in totals.iter_mut().zip(counters.all_per_cpu::<abi::np_counter>()?) {
        cpus.iter().for_each(|counter| total.add(counter));
    }
    Ok(totals)
}

/// Writes the totals of `from` as the base of `to`, by identity. Doing it twice is the same as doing it once, later.
pub fn carry(from: &CounterMaps<'_>, to: &CounterMaps<'_>) -> Result<()> {
    let totals = totals(from.counters, from.base)?;
    let names = from.names.all::<u32, u64>()?;
    let known: HashMap<u64, CounterTotal> =
        names.into_iter().filter_map(|(index, name)| Some((name, *totals.get(index as usize)?))).collect();
    let mut base = vec![abi::np_counter::default(); to.base.facts().max_entries as usize];
    for (index, name) in to.names.all::<u32, u64>()? {
        if let (Some(place), Some(total)) = (base.get_mut(index as usize), known.get(&name)) {
            *place = total.to_base();
        }
    }
    to.base.fill_array(&base)
}

/// Packets by hook and reason.
pub fn reasons(map: &Map) -> Result<ReasonCounts> {
    let mut counts: ReasonCounts = [[0; abi::NP_R_REASONS as usize]; abi::NP_HOOKS as usize];
    for (index, cpus) in map.all_per_cpu::<u64>()?.into_iter().enumerate() {
        let (hook, reason) = (index / abi::NP_MAX_REASONS as usize, index % abi::NP_MAX_REASONS as usize);
        if let Some(place) = counts.get_mut(hook).and_then(|reasons| reasons.get_mut(reason)) {
            *place = cpus.iter().sum();
        }
    }
    Ok(counts)
}

/// Packets that were to be logged and found the ring full, since the shared maps exist.
pub fn lost_events(map: &Map) -> Result<u64> {
    let cpus = map.all_per_cpu::<u64>()?.into_iter().skip(abi::NP_LOST_EVENTS as usize).step_by(abi::NP_MAX_REASONS as usize);
    Ok(cpus.flatten().sum())
}

/// Identities by counter index: rules, then chains' defaults, then defaults of policies in audit mode.
pub fn identities(core: &Core) -> Vec<u64> {
    let rules = core.rule_info.iter().map(rule_identity);
    let chains = core.chain_info.iter().map(|chain| chain_identity("default", chain));
    let audited = core.chains.iter().zip(&core.chain_info).filter(|(record, _)| record.audit_counter != abi::NP_NONE);
    let audits = audited.map(|(_, chain)| chain_identity("audit default", chain));
    let mut all: Vec<u64> = rules.chain(chains).chain(audits).collect();
    all.resize(core.counters().max(1), 0);
    all
}

fn rule_identity(rule: &RuleInfo) -> u64 {
    hash(&["rule", &rule.policy, &format!("{:?}", rule.direction), &rule.id])
}

fn chain_identity(kind: &str, chain: &ChainInfo) -> u64 {
    let place = format!("{:?} {:?}", chain.direction, chain.hook);
    let mut parts = vec![kind, &chain.default_policy, &place];
    parts.extend(chain.policies.iter().map(String::as_str));
    hash(&parts)
}

/// 64 bits of SHA-256 over parts that cannot run into each other. Never 0, which stands for "no name".
fn hash(parts: &[&str]) -> u64 {
    let mut digest = Sha256::new();
    for part in parts {
        digest.update((part.len() as u64).to_le_bytes());
        digest.update(part);
    }
    let bytes: [u8; 32] = digest.finalize().into();
    bytes.iter().take(8).fold(0, |number: u64, byte| number << 8 | u64::from(*byte)).max(1)
}

#[cfg(test)]
mod tests {
    use super::super::bpf::MapFacts;
    use super::super::tests::needs_root;
    use super::*;

    fn array(kind: u32, value_size: u32, max_entries: u32) -> Map {
        Map::create("t", MapFacts { kind, key_size: 4, value_size, max_entries, flags: 0 }).unwrap()
    }

    #[test]
    fn identities_do_not_run_into_each_other() {
        assert_ne!(hash(&["a", "bc"]), hash(&["ab", "c"]));
        assert_eq!(hash(&["a", "bc"]), hash(&["a", "bc"]));
    }

    #[test]
    fn counts_follow_their_rule_to_another_number() {
        needs_root!();
        let size = size_of::<abi::np_counter>() as u32;
        let (counters, base, names) = (array(6, size, 3), array(2, size, 3), array(2, 8, 3));
        names.fill_array(&[11u64, 22, 33]).unwrap();
        let counted = |packets| abi::np_counter { packets, bytes: packets * 10, last_hit: packets, ..Default::default() };
        base.fill_array(&[counted(1), counted(2), counted(3)]).unwrap();
        let (new_counters, new_base, new_names) = (array(6, size, 2), array(2, size, 2), array(2, 8, 2));
        new_names.fill_array(&[33u64, 44]).unwrap();
        let from = CounterMaps { counters: &counters, base: &base, names: &names };
        let to = CounterMaps { counters: &new_counters, base: &new_base, names: &new_names };
        carry(&from, &to).unwrap();
        carry(&from, &to).unwrap();
        let wanted = CounterTotal { packets: 3, bytes: 30, last_hit: 3 };
        assert_eq!(totals(&new_counters, &new_base).unwrap(), [wanted, CounterTotal::default()]);
    }

    #[test]
    fn reasons_are_read_by_hook() {
        needs_root!();
        let map = array(6, 8, abi::NP_HOOKS * abi::NP_MAX_REASONS);
        assert_eq!(reasons(&map).unwrap(), [[0; abi::NP_R_REASONS as usize]; abi::NP_HOOKS as usize]);
    }
}
