//! Dynamic sets: which stands where in `sets`, and the lists of them that selectors and interfaces name.
//!
//! What is in a dynamic set changes at run time, so it is in no class: the programs look the address up in each set of a list.
//! Knows names and bounds of dynamic sets, and the prefixes that stand beside one in a selector. Knows no content.

use std::collections::HashMap;

use ipnet::IpNet;
use netpol_probes::abi;

use super::CompileError;
use super::addresses::limit;
use super::ruleset::SetSlot;
use crate::policy::model::{Peer, Set, SetId};

/// Builds the contents of `sets` and `set_lists`.
pub(super) struct DynamicSets<'a> {
    sets: &'a [Set],
    slots: Vec<SetSlot>,
    by_set: HashMap<SetId, u32>,
    /// By prefixes and static sets as they are written, so that a long set is joined with others only once.
    by_spelling: HashMap<(Vec<IpNet>, Vec<SetId>), u32>,
    by_content: HashMap<Vec<IpNet>, u32>,
    lists: Vec<u32>,
    known: HashMap<Vec<u32>, abi::np_list>,
}

/// Whether a set can change at run time.
pub(super) fn is_dynamic(sets: &[Set], id: SetId) -> bool {
    sets.get(id.0 as usize).is_some_and(|set| set.dynamic.is_some())
}

/// Whether a peer names a set that can change at run time.
pub(super) fn reads_dynamic(sets: &[Set], peer: &Peer) -> bool {
    peer.sets.iter().chain(&peer.not_sets).any(|id| is_dynamic(sets, *id))
}

impl<'a> DynamicSets<'a> {
    /// Gives the dynamic ones of these sets their places, by name.
    pub(super) fn of(sets: &'a [Set], used: impl Iterator<Item = SetId>) -> DynamicSets<'a> {
        let mut named: Vec<(&str, u32, SetId)> = used
            .filter_map(|id| {
                let set = sets.get(id.0 as usize)?;
                Some((set.name.as_str(), set.dynamic?.max_entries, id))
            })
            .collect();
        named.sort_unstable();
        named.dedup();
        let slot = |(name, max_entries, _): &(&str, u32, SetId)| SetSlot::Dynamic { name: (*name).to_owned(), max_entries: *max_entries };
        DynamicSets {
            sets,
            slots: named.iter().map(slot).collect(),
            by_set: named.iter().zip(0..).map(|((_, _, id), place)| (*id, place)).collect(),
            by_spelling: HashMap::new(),
            by_content: HashMap::new(),
            lists: Vec::new(),
            known: HashMap::new(),
        }
    }

    /// The list of the dynamic ones of these sets; empty if there is none. `whose` says who names them, if they are too many.
    pub(super) fn list(&mut self, sets: &[SetId], whose: impl Fn() -> String) -> Result<abi::np_list, CompileError> {
        let places: Vec<u32> = sets.iter().filter_map(|id| self.by_set.get(id).copied()).collect();
        self.run(places, whose)
    }

    /// The list of these sets and one more of what is static, if any of the sets is dynamic; else empty.
    pub(super) fn list_with_literal(
        &mut self,
        nets: &[IpNet],
        sets: &[SetId],
        whose: impl Fn() -> String,
    ) -> Result<abi::np_list, CompileError> {
        let mut places: Vec<u32> = sets.iter().filter_map(|id| self.by_set.get(id).copied()).collect();
        if places.is_empty() {
            return Ok(abi::np_list::default());
        }
        let static_sets: Vec<SetId> = sets.iter().copied().filter(|id| !self.by_set.contains_key(id)).collect();
        if !(nets.is_empty() && static_sets.is_empty()) {
            places.push(self.literal(nets, static_sets));
        }
        self.run(places, whose)
    }

    /// The place of prefixes and static sets together.
    fn literal(&mut self, nets: &[IpNet], mut static_sets: Vec<SetId>) -> u32 {
        let mut nets: Vec<IpNet> = nets.iter().map(IpNet::trunc).collect();
        nets.sort_unstable();
        static_sets.sort_unstable();
        let spelling = (nets, static_sets);
        if let Some(place) = self.by_spelling.get(&spelling) {
            return *place;
        }
        let (nets, static_sets) = &spelling;
        let of_sets = static_sets.iter().filter_map(|id| self.sets.get(id.0 as usize)).flat_map(|set| &set.nets);
        let mut content = IpNet::aggregate(&nets.iter().chain(of_sets).copied().collect());
        content.sort_unstable();
        let next = self.slots.len() as u32;
        let place = *self.by_content.entry(content.clone()).or_insert(next);
        if place == next {
            self.slots.push(SetSlot::Literal(content));
        }
        self.by_spelling.insert(spelling, place);
        place
    }

    fn run(&mut self, mut places: Vec<u32>, whose: impl Fn() -> String) -> Result<abi::np_list, CompileError> {
        places.sort_unstable();
        places.dedup();
        if places.is_empty() {
            return Ok(abi::np_list::default());
        }
        if places.len() > abi::NP_MAX_SET_LIST as usize {
            let what = format!("dynamic sets {} (prefixes and static sets beside them count as one; join some of them)", whose());
            return Err(CompileError::TooMany { what, found: places.len(), limit: abi::NP_MAX_SET_LIST as usize });
        }
        if let Some(known) = self.known.get(&places) {
            return Ok(*known);
        }
        let list = abi::np_list { first: self.lists.len() as u32, count: places.len() as u32 };
        self.lists.extend_from_slice(&places);
        limit("entries of all lists of dynamic sets", self.lists.len(), abi::NP_MAX_SET_LISTS as usize)?;
        self.known.insert(places, list);
        Ok(list)
    }

    /// The contents of `sets` and `set_lists`.
    pub(super) fn finish(self) -> Result<(Vec<SetSlot>, Vec<u32>), CompileError> {
        let what = "dynamic sets, and different collections of prefixes that stand beside one in a selector";
        limit(what, self.slots.len(), abi::NP_MAX_SETS as usize)?;
        Ok((self.slots, self.lists))
    }
}
