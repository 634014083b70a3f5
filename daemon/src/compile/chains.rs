//! Chains, their layers and views.

use std::collections::{BTreeMap, HashMap};

use netpol_probes::abi;

use super::CompileError;
use super::addresses::limit;
use super::layers::{Layer, LayerRule, Side, Space, spread};
use super::links::ChainKey;
use super::numbering::Numbering;
use super::rows::{Passes, Rows};
use super::ruleset::ChainInfo;
use crate::policy::model::{Action, Chain, DefaultAction, Policy, PolicySet};

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
    pub(super) fn new(set: &'a PolicySet, numbering: &'a Numbering<'a>, space: Space<'a>, rows: Rows<'a>) -> Chains<'a> {
        Chains { set, numbering, space, rows, views: Views::default(), chains: Vec::new(), layers: Vec::new(), info: Vec::new() }
    }

    /// Adds a chain with its rules (rising).
    pub(super) fn add(&mut self, key: &ChainKey, rules: &[LayerRule]) -> Result<(), CompileError> {
        let policies: Vec<&Policy> = key.policies.iter().map(|rank| &self.set.policies[*rank as usize]).collect();
        let names: Vec<String> = policies.iter().map(|policy| policy.name.clone()).collect();
        let name = format!("the {:?} chain of policies {}", key.direction, names.join(", ")).to_lowercase();
        let layers = spread(self.space, rules, abi::NP_MAX_LAYERS as usize);
        let first_layer = self.layers.len() as u32;
        let mut compared = 0;
        for position in 0..layers.len() {
            let index = self.layers.len() as u32;
            let passes = self.passes_elsewhere(&layers, position);
            compared += self.rows.layer(index, &layers[position], &passes, &name)?;
            let (source_view, destination_view) =
                (self.views.add(&layers[position].source)?, self.views.add(&layers[position].destination)?);
            self.layers.push(abi::np_layer { source_view, destination_view });
        }
        let what = format!("rules that one packet may have to be compared with in {name}");
        limit(&what, compared as usize, abi::NP_MAX_CANDIDATES as usize)?;
        let isolating = policies.into_iter().filter_map(|policy| Some((policy, policy.chain(key.direction)?)));
        let defaults: Vec<(&Policy, &Chain)> = isolating.collect();
        let denies = |(_, chain): &&(&Policy, &Chain)| chain.default_action == DefaultAction::Deny;
        let reads = |side: fn(&Layer) -> &Side| layers.iter().any(|layer| side(layer).view.is_some());
        self.chains.push(abi::np_chain {
            first_layer,
            layers: layers.len() as u32,
            default_action: if defaults.iter().any(|default| denies(&default)) { abi::NP_DENY } else { abi::NP_ALLOW } as u8,
            log_default: u8::from(defaults.iter().any(|default| denies(&default) && default.0.log_default_deny)),
            reads_source: u8::from(reads(|layer| &layer.source)),
            reads_destination: u8::from(reads(|layer| &layer.destination)),
            default_counter: (self.numbering.rules.len() + self.chains.len()) as u32,
            audit_counter: abi::NP_NONE,
            pad: 0,
            audit_denies: 0,
        });
        if let Some((policy, chain)) = defaults.iter().find(denies).or(defaults.first()) {
            self.info.push(ChainInfo {
                policies: names,
                direction: key.direction,
                hook: key.hook,
                default_policy: policy.name.clone(),
                default_origin: chain.default_origin.clone(),
            });
        }
        Ok(())
    }

    /// All chains, in the order in which they were added.
    pub(super) fn finish(self) -> Built {
        let Chains { rows, views, chains, layers, info, .. } = self;
        let Rows { lists, rows, row_defaults, mut decisions, .. } = rows;
        decisions.sort_unstable();
        Built { chains, layers, views: views.entries, rows, row_defaults, decisions, candidates: lists.candidates, info }
    }

    /// By policy: the lowest `pass` in the other layers.
    fn passes_elsewhere(&self, layers: &[Layer], position: usize) -> Passes {
        let mut passes = BTreeMap::new();
        let others = layers.iter().enumerate().filter(|(other, _)| *other != position);
        for rule in others.flat_map(|(_, layer)| &layer.rules) {
            let numbered = &self.numbering.rules[rule.number as usize];
            if numbered.rule.action == Action::Pass {
                let lowest = passes.entry(numbered.policy).or_insert(rule.number);
                *lowest = rule.number.min(*lowest);
            }
        }
        passes
    }
}
