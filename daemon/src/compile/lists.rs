//! Runs of candidates and rows, each stored once.

use std::collections::HashMap;

use netpol_probes::abi;

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
