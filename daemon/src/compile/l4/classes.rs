//! Source ports, TCP flags and tags: each reduced to the predicates that accept a value.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;

use super::predicate::Predicate;
use super::sweep;
use crate::policy::model::Vlan;

/// Values, numbered as they are met.
pub(super) struct Interned<T> {
    list: Vec<T>,
    known: HashMap<T, u32>,
}

impl<T: Hash + Eq + Clone> Interned<T> {
    /// With one value that is number 0.
    pub(super) fn beginning_with(first: T) -> Interned<T> {
        Interned { list: vec![first.clone()], known: HashMap::from([(first, 0)]) }
    }

    /// With no value.
    pub(super) fn empty() -> Interned<T> {
        Interned { list: Vec::new(), known: HashMap::new() }
    }

    /// The number of a value.
    pub(super) fn number(&mut self, value: T) -> u32 {
        let next = self.list.len() as u32;
        let number = *self.known.entry(value.clone()).or_insert(next);
        if number == next {
            self.list.push(value);
        }
        number
    }

    /// All values, by number.
    pub(super) fn lists(&self) -> &[T] {
        &self.list
    }
}

/// A reduced field: what each class accepts. A predicate that does not read the field is not listed.
pub(super) struct Field {
    /// By class: true for each predicate that reads the field and accepts the class.
    pub(super) of: Vec<Vec<u32>>,
}

/// Source ports.
pub(super) struct Source {
    pub(super) of: Field,
    /// The table of all ports as runs, if any predicate reads source ports.
    pub(super) table: Option<Vec<(u16, u16)>>,
}

/// S = 0 is "no predicate accepts it", which is also what a packet without ports is.
pub(super) fn source(predicates: &[Predicate]) -> Source {
    let spans = predicates.iter().zip(0..).filter_map(|(predicate, number)| predicate.source.as_deref().map(|spans| (number, spans)));
    let runs = sweep::runs(spans);
    let mut classes = Interned::beginning_with(Vec::new());
    let runs: Vec<(u16, u32)> = runs.into_iter().map(|run| (run.first, classes.number(run.holders))).collect();
    let read = predicates.iter().any(|predicate| predicate.source.is_some());
    // More classes than a table can hold are refused with the size of the product.
    let table = read.then(|| runs.into_iter().map(|(first, class)| (first, class as u16)).collect());
    Source { of: Field { of: classes.lists().to_vec() }, table }
}

/// TCP flags.
pub(super) struct Flags {
    pub(super) of: Field,
    /// By flag byte.
    pub(super) table: Vec<u32>,
}

/// F = 0 is "no predicate accepts it", which is also what a packet without TCP header is.
pub(super) fn flags(predicates: &[Predicate]) -> Flags {
    let mut classes = Interned::beginning_with(Vec::new());
    let accepts = |byte: u8| {
        let reads = predicates.iter().zip(0..).filter_map(|(predicate, number)| Some((number, predicate.flags?)));
        reads.filter(|(_, (set, clear))| byte & set == *set && byte & clear == 0).map(|(number, _)| number).collect::<Vec<u32>>()
    };
    let table = (0..=u8::MAX).map(|byte| classes.number(accepts(byte))).collect();
    Flags { of: Field { of: classes.lists().to_vec() }, table }
}

/// Tags that predicates name, in order.
pub(super) fn vlans(predicates: &[Predicate]) -> Vec<Vlan> {
    let named: BTreeMap<Vlan, ()> = predicates.iter().filter_map(|predicate| predicate.vlan.map(|vlan| (vlan, ()))).collect();
    named.into_keys().collect()
}
