//! Numbers -> names: what a rule, a chain and an interface of an event are called. Shared between the loop, which learns, and
//! the reader of events, which asks.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::compile::ruleset::{AuditInfo, ChainInfo, RuleInfo, Ruleset};

/// Generations whose names are kept: the running one, the former one and one that was judged by a moment ago.
const KEPT: usize = 3;

/// A handle that can be cloned into threads.
#[derive(Debug, Clone, Default)]
pub struct SharedNames(Arc<Mutex<Names>>);

/// The names of one generation.
#[derive(Debug)]
struct Generation {
    rules: Vec<RuleInfo>,
    chains: Vec<ChainInfo>,
    /// Policies in audit mode.
    audits: Vec<AuditInfo>,
}

/// What is known.
#[derive(Debug, Default)]
pub struct Names {
    generations: BTreeMap<u32, Generation>,
    interfaces: BTreeMap<u32, String>,
}

impl SharedNames {
    /// Learns the names of a generation that is live from now on.
    pub fn learn(&self, generation: u32, ruleset: &Ruleset) {
        let mut names = self.lock();
        let core = &ruleset.core;
        names.generations.entry(generation).or_insert_with(|| Generation {
            rules: core.rule_info.clone(),
            chains: core.chain_info.clone(),
            audits: core.audit_info.clone(),
        });
        while names.generations.len() > KEPT {
            names.generations.pop_first();
        }
        for link in ruleset.links.values() {
            names.interfaces.insert(link.ifindex, link.name.clone());
        }
    }

    /// Forgets all generations: their numbers begin anew.
    pub fn forget(&self) {
        self.lock().generations.clear();
    }

    /// Reads under the lock. A thread that panicked while it held the lock cannot have left half a name.
    pub fn lock(&self) -> MutexGuard<'_, Names> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Names {
    /// A rule of a generation.
    pub fn rule(&self, generation: u32, number: u32) -> Option<&RuleInfo> {
        self.generations.get(&generation)?.rules.get(usize::try_from(number).ok()?)
    }

    /// A chain of a generation.
    pub fn chain(&self, generation: u32, number: u32) -> Option<&ChainInfo> {
        self.generations.get(&generation)?.chains.get(usize::try_from(number).ok()?)
    }

    /// A policy in audit mode, by its number.
    pub fn audit(&self, generation: u32, number: u8) -> Option<&AuditInfo> {
        self.generations.get(&generation)?.audits.get(usize::from(number))
    }

    /// An interface.
    pub fn interface_name(&self, ifindex: u32) -> Option<&str> {
        self.interfaces.get(&ifindex).map(String::as_str)
    }
}
