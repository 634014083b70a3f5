//! Conditions: what of a rule no class can carry, because it changes while the generation runs.
//!
//! Knows expiry, dynamic sets and rates of rules. Knows no candidate list.

use std::collections::{BTreeSet, HashMap};

use netpol_probes::abi;

use super::CompileError;
use super::addresses::limit;
use super::limits::Limits;
use super::numbering::{Asks, Numbered, Numbering};
use super::sets::DynamicSets;
use crate::policy::model::Peer;

/// More would not fit beside the other maps of a generation: 3 MiB of kernel memory.
const MAX_CONDITIONS: usize = 1 << 16;

/// The conditions of a generation.
pub(super) struct Conditions {
    /// Contents of `conditions`, `expires` left out.
    pub(super) records: Vec<abi::np_condition>,
    /// By condition: Unix time in seconds from which it no longer holds.
    pub(super) expiry: Vec<Option<i64>>,
    /// By rule number; `NP_NONE` = always matches.
    pub(super) of_rule: Vec<u32>,
}

impl Conditions {
    /// The conditions of the rules with these numbers. Equal ones are one, but each rate is one rule's own.
    pub(super) fn of(
        numbering: &Numbering<'_>,
        used: &BTreeSet<u32>,
        sets: &mut DynamicSets<'_>,
        limits: &mut Limits,
    ) -> Result<Conditions, CompileError> {
        let mut known = HashMap::new();
        let mut conditions = Conditions { records: Vec::new(), expiry: Vec::new(), of_rule: vec![abi::NP_NONE; numbering.rules.len()] };
        for number in used {
            let numbered = &numbering.rules[*number as usize];
            if numbered.asks == Asks::Nothing {
                continue;
            }
            let record = condition(numbered, sets, limits)?;
            let expiry = numbered.rule.expires;
            let Conditions { records, expiry: all, of_rule } = &mut conditions;
            of_rule[*number as usize] = *known.entry((expiry, record)).or_insert_with(|| {
                records.push(record);
                all.push(expiry);
                records.len() as u32 - 1
            });
        }
        limit("different conditions of rules (limit, expires, dynamic sets)", conditions.records.len(), MAX_CONDITIONS)?;
        Ok(conditions)
    }
}

fn condition(numbered: &Numbered<'_>, sets: &mut DynamicSets<'_>, limits: &mut Limits) -> Result<abi::np_condition, CompileError> {
    let (source_any, source_none) = lists(numbered, &numbered.rule.source, "source", sets)?;
    let (destination_any, destination_none) = lists(numbered, &numbered.rule.destination, "destination", sets)?;
    let limit = numbered.rule.limit.as_ref().map(|limit| limits.of_rule(numbered, limit)).transpose()?;
    Ok(abi::np_condition {
        expires: 0,
        source_any,
        source_none,
        destination_any,
        destination_none,
        limit: limit.unwrap_or(abi::NP_NONE),
        pad: 0,
    })
}

/// The lists of a peer: in one of these, in none of those.
fn lists(
    numbered: &Numbered<'_>,
    peer: &Peer,
    side: &str,
    sets: &mut DynamicSets<'_>,
) -> Result<(abi::np_list, abi::np_list), CompileError> {
    let whose = || format!("in the {side} of rule {} ({})", numbered.name(), numbered.rule.origin);
    Ok((sets.list_with_literal(&peer.nets, &peer.sets, whose)?, sets.list(&peer.not_sets, whose)?))
}
