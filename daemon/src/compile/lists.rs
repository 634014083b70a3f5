//! Runs of candidates, each stored once, and how long they may get.

use std::collections::HashMap;

use netpol_probes::abi;

use super::CompileError;
use super::numbering::{Asks, Numbered};

/// Rules that an error names.
const NAMED: usize = 6;
/// Rules at which a list is too long beyond all doubt.
const HOPELESS: usize = 1024;

/// The `candidates` array; equal lists share a run.
#[derive(Default)]
pub(super) struct Lists {
    pub(super) candidates: Vec<u32>,
    known: HashMap<Vec<u32>, abi::np_list>,
}

impl Lists {
    /// The run of a list of rule numbers.
    pub(super) fn add(&mut self, rules: Vec<u32>) -> abi::np_list {
        if rules.is_empty() {
            return abi::np_list::default();
        }
        if let Some(known) = self.known.get(&rules) {
            return *known;
        }
        let list = abi::np_list { first: self.candidates.len() as u32, count: rules.len() as u32 };
        self.candidates.extend_from_slice(&rules);
        self.known.insert(rules, list);
        list
    }
}

/// The longest list, and the one with the most rules that may not match: of a layer, or of a chain's layers together.
#[derive(Default)]
pub(super) struct Most {
    longest: Vec<u32>,
    conditional: Vec<u32>,
    /// How many rules of `conditional` have a condition.
    conditions: usize,
}

impl Most {
    /// Takes notice of a list with so many conditional rules; true if nobody needs to know how much longer it gets.
    pub(super) fn note(&mut self, list: &[u32], conditions: usize) -> bool {
        if list.len() > self.longest.len() {
            self.longest = list.to_vec();
        }
        if conditions > self.conditions {
            (self.conditional, self.conditions) = (list.to_vec(), conditions);
        }
        list.len() >= HOPELESS
    }

    /// One packet may meet the longest lists of all layers.
    pub(super) fn add(&mut self, layer: Most) {
        self.longest.extend(layer.longest);
        self.conditional.extend(layer.conditional);
        self.conditions += layer.conditions;
    }

    /// Refuses lists that are longer than what the programs walk. `chain` says whose they are.
    pub(super) fn refuse(&self, rules: &[Numbered<'_>], chain: &str) -> Result<(), CompileError> {
        let all = |list: &[u32]| names(rules, list.iter().copied());
        let conditional = |list: &[u32]| names(rules, list.iter().copied().filter(|number| rules[*number as usize].asks != Asks::Nothing));
        let (found, limit) = (self.longest.len(), abi::NP_MAX_CANDIDATES as usize);
        if found > limit {
            let advice = "join some, or let their addresses, ports or protocols exclude each other";
            let named = all(&self.longest);
            let what = format!("rules that one packet may have to be compared with in {chain} ({named}; {advice})");
            return Err(CompileError::TooMany { what, found, limit });
        }
        let (found, limit) = (self.conditions, abi::NP_MAX_CONDITIONAL as usize);
        if found > limit {
            let advice = "join some, or let their static addresses, ports or protocols exclude each other";
            let named = conditional(&self.conditional);
            let what = format!(
                "rules with `limit`, `expires` or a dynamic set that one packet may have to be compared with in {chain} ({named}; {advice})"
            );
            return Err(CompileError::TooMany { what, found, limit });
        }
        Ok(())
    }
}

fn names(rules: &[Numbered<'_>], numbers: impl Iterator<Item = u32>) -> String {
    let all: Vec<String> = numbers.map(|number| rules[number as usize].name()).collect();
    let more = if all.len() > NAMED { format!(" and {} more", all.len() - NAMED) } else { String::new() };
    format!("{}{more}", all[..all.len().min(NAMED)].join(", "))
}
