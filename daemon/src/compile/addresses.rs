//! Addresses: every prefix that anything speaks of, reduced to classes.
//!
//! An *atom* is a named set or one prefix written in a policy; a *selector* is the address part of a rule's source or destination,
//! in terms of atoms. Two addresses are of one class when all selectors, deny groups, lists of allowed sources, failsafe entries and
//! the list of bogons see them alike. Sets that can change at run time are no atoms (`sets`). Knows no rule and no chain.

use std::collections::HashMap;

use ipnet::IpNet;
use netpol_probes::abi;

use super::CompileError;
use super::classify::Classifier;
use super::prefixes::{Place, Prefixes};
use super::sets::is_dynamic;
use crate::policy::bogons::{BOGONS, EXCEPTIONS, Special};
use crate::policy::model::{Peer, Set, SetId};

/// Kinds of addresses that one generation can tell apart: entries of the `classes` map.
const MAX_CLASSES: usize = 1 << 16;

/// Index of a named set or a prefix.
pub(super) type Atom = u32;

/// The address part of a source or destination, which reads something.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Selector {
    /// In any of these; `None` = everywhere.
    pub(super) any: Option<Vec<Atom>>,
    /// In none of these.
    pub(super) none: Vec<Atom>,
}

/// Collects what is spoken of, then builds the classes.
pub(super) struct Addresses<'a> {
    sets: &'a [Set],
    atoms: Vec<AtomNets<'a>>,
    by_set: HashMap<SetId, Atom>,
    by_net: HashMap<IpNet, Atom>,
    selectors: Vec<Selector>,
    by_selector: HashMap<Selector, u32>,
}

/// What an atom consists of, and what else is true inside it.
struct AtomNets<'a> {
    nets: Nets<'a>,
    /// The bits that are true; a failsafe entry stands in `failsafe_nets` only.
    record: abi::np_class,
    /// Traits that are not true, although another atom says so.
    not_traits: u64,
}

enum Nets<'a> {
    Set(&'a [IpNet]),
    One(IpNet),
    Table(Vec<IpNet>),
}

/// The classes of all addresses.
pub(super) struct Classes {
    pub(super) addresses4: Vec<(abi::np_lpm4, u32)>,
    pub(super) addresses6: Vec<(abi::np_lpm6, u32)>,
    pub(super) records: Vec<abi::np_class>,
    /// Atoms that hold the addresses of each class, as far as anything distinguishes them. Class 0 is in none.
    pub(super) atoms: Vec<Vec<Atom>>,
    /// By number.
    pub(super) selectors: Vec<Selector>,
}

impl<'a> Addresses<'a> {
    pub(super) fn new(sets: &'a [Set]) -> Addresses<'a> {
        let by_set = HashMap::new();
        Addresses { sets, atoms: Vec::new(), by_set, by_net: HashMap::new(), selectors: Vec::new(), by_selector: HashMap::new() }
    }

    fn set(&mut self, id: SetId) -> Atom {
        let nets = self.sets.get(id.0 as usize).map_or(&[][..], |set| &set.nets);
        *self.by_set.entry(id).or_insert_with(|| push(&mut self.atoms, Nets::Set(nets)))
    }

    fn net(&mut self, net: IpNet) -> Atom {
        let net = net.trunc();
        *self.by_net.entry(net).or_insert_with(|| push(&mut self.atoms, Nets::One(net)))
    }

    fn atoms(&mut self, nets: &[IpNet], sets: &[SetId]) -> Vec<Atom> {
        let mut atoms: Vec<Atom> = nets.iter().map(|net| self.net(*net)).collect();
        atoms.extend(sets.iter().map(|id| self.set(*id)));
        atoms.sort_unstable();
        atoms.dedup();
        atoms
    }

    /// The number of a peer's selector; `None` if it reads no address. What dynamic sets say is left to the rule's condition: where
    /// one of them is among those that an address may be in, the class cannot say no.
    pub(super) fn selector(&mut self, peer: &Peer) -> Option<u32> {
        let dynamic = |id: &SetId| is_dynamic(self.sets, *id);
        let everywhere = (peer.nets.is_empty() && peer.sets.is_empty()) || peer.sets.iter().any(dynamic);
        let not_sets: Vec<SetId> = peer.not_sets.iter().copied().filter(|id| !dynamic(id)).collect();
        if everywhere && peer.not_nets.is_empty() && not_sets.is_empty() {
            return None;
        }
        let any = (!everywhere).then(|| self.atoms(&peer.nets, &peer.sets));
        let none = self.atoms(&peer.not_nets, &not_sets);
        let selector = Selector { any, none };
        if let Some(known) = self.by_selector.get(&selector) {
            return Some(*known);
        }
        let number = self.selectors.len() as u32;
        self.selectors.push(selector.clone());
        self.by_selector.insert(selector, number);
        Some(number)
    }

    /// The members of these sets are in a deny group.
    pub(super) fn deny_group(&mut self, sets: &[SetId], bit: u64) {
        for id in sets {
            let atom = self.set(*id);
            self.atoms[atom as usize].record.deny_groups |= bit;
        }
    }

    /// These nets and sets are in a group of allowed sources.
    pub(super) fn source_group(&mut self, nets: &[IpNet], sets: &[SetId], bit: u64) {
        for atom in self.atoms(nets, sets) {
            self.atoms[atom as usize].record.source_groups |= bit;
        }
    }

    /// Bogons are told from other addresses.
    pub(super) fn bogons(&mut self) {
        let mut table = |list: &[Special]| push(&mut self.atoms, Nets::Table(list.iter().map(|special| special.net).collect()));
        let (bogons, exceptions) = (table(BOGONS), table(EXCEPTIONS));
        self.atoms[bogons as usize].record.traits = u64::from(abi::NP_TRAIT_BOGON);
        self.atoms[exceptions as usize].not_traits = u64::from(abi::NP_TRAIT_BOGON);
    }

    /// A failsafe entry holds in these nets.
    pub(super) fn failsafe(&mut self, nets: &[IpNet], bit: u64) {
        for net in nets {
            let atom = self.net(*net);
            self.atoms[atom as usize].record.failsafe_nets |= bit;
        }
    }

    /// Atoms there are.
    pub(super) fn count(&self) -> usize {
        self.atoms.len()
    }

    /// Builds the classes. `everywhere`: failsafe entries that hold for all addresses.
    pub(super) fn build(self, everywhere: u64) -> Result<Classes, CompileError> {
        let prefixes = Prefixes::of(self.atoms.iter().map(|atom| match &atom.nets {
            Nets::Set(nets) => nets,
            Nets::One(net) => std::slice::from_ref(net),
            Nets::Table(nets) => nets,
        }))?;
        let records: Vec<abi::np_class> = prefixes.places.iter().map(|place| self.record(place, everywhere)).collect();
        let all: Vec<u32> = (0..self.selectors.len() as u32).collect();
        let mut classifier = Classifier::new(&self.selectors, &all, self.atoms.len());
        let mut kinds = HashMap::new();
        let mut classes =
            Classes { addresses4: Vec::new(), addresses6: Vec::new(), records: Vec::new(), atoms: Vec::new(), selectors: Vec::new() };
        // Places come in the order of addresses, the place of "no prefix" first: it gets class 0.
        let class_of_place: Vec<u32> = prefixes
            .places
            .iter()
            .zip(&records)
            .map(|(place, record)| {
                *kinds.entry((classifier.differences(place), *record)).or_insert_with(|| {
                    classes.records.push(*record);
                    classes.atoms.push(place.clone());
                    classes.records.len() as u32 - 1
                })
            })
            .collect();
        limit("kinds of addresses", classes.records.len(), MAX_CLASSES)?;
        (classes.addresses4, classes.addresses6) = prefixes.tries(&class_of_place);
        classes.selectors = self.selectors;
        Ok(classes)
    }

    fn record(&self, place: &Place, everywhere: u64) -> abi::np_class {
        let mut record = abi::np_class { failsafe: everywhere, ..Default::default() };
        let mut not_traits = 0;
        for atom in place.iter().map(|atom| &self.atoms[*atom as usize]) {
            let abi::np_class { deny_groups, source_groups, failsafe_nets, traits, failsafe: _ } = atom.record;
            record.deny_groups |= deny_groups;
            record.source_groups |= source_groups;
            record.failsafe_nets |= failsafe_nets;
            record.traits |= traits;
            not_traits |= atom.not_traits;
        }
        record.failsafe |= record.failsafe_nets;
        record.traits &= !not_traits;
        record
    }
}

fn push<'a>(atoms: &mut Vec<AtomNets<'a>>, nets: Nets<'a>) -> Atom {
    atoms.push(AtomNets { nets, record: abi::np_class::default(), not_traits: 0 });
    atoms.len() as u32 - 1
}

/// Refuses what does not fit.
pub(super) fn limit(what: &str, found: usize, limit: usize) -> Result<(), CompileError> {
    if found > limit { Err(CompileError::TooMany { what: what.to_owned(), found, limit }) } else { Ok(()) }
}
