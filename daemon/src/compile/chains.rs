//! Chains, their layers and views.

use std::collections::{BTreeMap, HashMap};

use netpol_probes::abi;

use super::CompileError;
use super::addresses::limit;
use super::layers::{Layer, LayerRule, Side, Space, spread};
use super::links::ChainKey;
use super::lists::Most;
use super::numbering::Numbering;
use super::rows::{Passes, Rows};
use super::ruleset::ChainInfo;
use crate::policy::model::{Action, Chain, DefaultAction, Mode, Policy, PolicySet};

/// Entries of all views together: 64 MiB of kernel memory.
const MAX_VIEW_ENTRIES: usize = 1 << 24;

/// Builds the chains of a generation.
pub(super) struct Chains<'a> {
    set: &'a PolicySet,
    numbering: &'a Numbering<'a>,
    space: Space<'a>,
    rows: Rows<'a>,
    views: Views,
    chains: Vec<abi::np_chain>,
    layers: Vec<abi::np_layer>,
    info: Vec<ChainInfo>,
    /// Where counters of chains begin, and where those of audit defaults do; one for each chain that has such a default.
    first_counter: u32,
    next_audit_counter: u32,
}

/// What the chains have become.
pub(super) struct Built {
    pub(super) chains: Vec<abi::np_chain>,
    pub(super) layers: Vec<abi::np_layer>,
    pub(super) views: Vec<u32>,
    pub(super) rows: Vec<(abi::np_row_key, u32)>,
    pub(super) row_defaults: Vec<abi::np_list>,
    pub(super) decisions: Vec<(abi::np_decision_key, abi::np_list)>,
    pub(super) candidates: Vec<u32>,
    pub(super) info: Vec<ChainInfo>,
}

/// A policy of a chain.
struct Isolating<'a> {
    rank: u32,
    policy: &'a Policy,
    chain: &'a Chain,
}

impl Isolating<'_> {
    fn enforces(&self) -> bool {
        self.policy.mode == Mode::Enforce
    }

    fn denies(&self) -> bool {
        self.chain.default_action == DefaultAction::Deny
    }
}

/// The `views` array; equal views share a place.
#[derive(Default)]
struct Views {
    entries: Vec<u32>,
    known: HashMap<Vec<u32>, u32>,
}

impl Views {
    fn add(&mut self, side: &Side) -> Result<u32, CompileError> {
        let Some(view) = &side.view else { return Ok(abi::NP_NONE) };
        if let Some(known) = self.known.get(&view.numbers) {
            return Ok(*known);
        }
        let place = self.entries.len() as u32;
        limit("kinds of addresses, counted by layer", self.entries.len() + view.numbers.len(), MAX_VIEW_ENTRIES)?;
        self.entries.extend_from_slice(&view.numbers);
        self.known.insert(view.numbers.clone(), place);
        Ok(place)
    }
}

impl<'a> Chains<'a> {
    /// For so many chains.
    pub(super) fn new(set: &'a PolicySet, numbering: &'a Numbering<'a>, space: Space<'a>, rows: Rows<'a>, count: usize) -> Chains<'a> {
        let first_counter = numbering.rules.len() as u32;
        Chains {
            set,
            numbering,
            space,
            rows,
            views: Views::default(),
            chains: Vec::new(),
            layers: Vec::new(),
            info: Vec::new(),
            first_counter,
            next_audit_counter: first_counter + count as u32,
        }
    }

    /// Adds a chain with its rules (rising).
    pub(super) fn add(&mut self, key: &ChainKey, rules: &[LayerRule]) -> Result<(), CompileError> {
        let isolating = key.policies.iter().map(|rank| (*rank, &self.set.policies[*rank as usize]));
        let isolating: Vec<Isolating<'_>> =
            isolating.filter_map(|(rank, policy)| Some(Isolating { rank, policy, chain: policy.chain(key.direction)? })).collect();
        let names: Vec<String> = isolating.iter().map(|one| one.policy.name.clone()).collect();
        let name = format!("the {} chain of policies {}", format!("{:?}", key.direction).to_lowercase(), names.join(", "));
        let layers = spread(self.space, rules, abi::NP_MAX_LAYERS as usize);
        let first_layer = self.layers.len() as u32;
        let mut most = Most::default();
        for position in 0..layers.len() {
            let index = self.layers.len() as u32;
            let passes = self.passes_elsewhere(&layers, position);
            most.add(self.rows.layer(index, &layers[position], &passes, &name)?);
            let (source_view, destination_view) =
                (self.views.add(&layers[position].source)?, self.views.add(&layers[position].destination)?);
            self.layers.push(abi::np_layer { source_view, destination_view });
        }
        most.refuse(&self.numbering.rules, &name)?;
        let record = self.record(first_layer, &layers, &isolating);
        self.chains.push(record);
        let deciding = isolating.iter().find(|one| one.enforces() && one.denies()).or(isolating.iter().find(|one| one.enforces()));
        if let Some(deciding) = deciding.or(isolating.first()) {
            self.info.push(ChainInfo {
                policies: names,
                direction: key.direction,
                hook: key.hook,
                default_policy: deciding.policy.name.clone(),
                default_origin: deciding.chain.default_origin.clone(),
            });
        }
        Ok(())
    }

    /// Only policies that enforce say what the default is; those in audit mode are asked for what theirs would have been.
    fn record(&mut self, first_layer: u32, layers: &[Layer], isolating: &[Isolating<'_>]) -> abi::np_chain {
        let denying = || isolating.iter().filter(|one| one.denies());
        let enforced = || denying().filter(|one| one.enforces());
        let reads = |side: fn(&Layer) -> &Side| layers.iter().any(|layer| side(layer).view.is_some());
        let audit_denies = denying().filter_map(|one| self.numbering.audit(one.rank)).fold(0, |bits, audit| bits | 1 << audit);
        let audit_counter = if audit_denies == 0 { abi::NP_NONE } else { self.next_audit_counter };
        self.next_audit_counter += u32::from(audit_denies != 0);
        abi::np_chain {
            first_layer,
            layers: layers.len() as u32,
            default_action: if enforced().next().is_some() { abi::NP_DENY } else { abi::NP_ALLOW } as u8,
            log_default: u8::from(enforced().any(|one| one.policy.log_default_deny)),
            reads_source: u8::from(reads(|layer| &layer.source)),
            reads_destination: u8::from(reads(|layer| &layer.destination)),
            default_counter: self.first_counter + self.chains.len() as u32,
            audit_counter,
            pad: 0,
            audit_denies,
        }
    }

    /// All chains, in the order in which they were added.
    pub(super) fn finish(self) -> Built {
        let Chains { rows, views, chains, layers, info, .. } = self;
        let Rows { lists, rows, row_defaults, mut decisions, .. } = rows;
        decisions.sort_unstable();
        Built { chains, layers, views: views.entries, rows, row_defaults, decisions, candidates: lists.candidates, info }
    }

    /// By policy: the lowest `pass` in the other layers, be it with a condition or without.
    fn passes_elsewhere(&self, layers: &[Layer], position: usize) -> Passes {
        let mut passes = BTreeMap::new();
        let others = layers.iter().enumerate().filter(|(other, _)| *other != position);
        for rule in others.flat_map(|(_, layer)| &layer.rules) {
            let numbered = &self.numbering.rules[rule.number as usize];
            if numbered.rule.action == Action::Pass {
                let lowest = passes.entry(numbered.rank).or_insert(rule.number);
                *lowest = rule.number.min(*lowest);
            }
        }
        passes
    }
}
