//! D: family, protocol and destination port (or ICMP type and code), reduced; and the tables that look it up.

use std::collections::{BTreeMap, HashMap};

use netpol_probes::abi;

use super::Interned;
use super::predicate::{Part, Predicate, Span};
use super::sweep;
use crate::compile::CompileError;
use crate::compile::addresses::limit;
use crate::policy::model::Family;

/// What a port table can hold.
const MAX_CLASSES: usize = 1 << 16;
/// Predicates written down for all classes together: beyond it, ranges overlap too much to be told apart one by one.
const MAX_LISTED: usize = 1 << 25;

/// What is known of a destination class.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Class {
    /// Not the whole packet, and some predicate reads what is missing: that counts as fitting.
    pub(super) part: Part,
    /// Predicates that are true, as far as D goes.
    pub(super) predicates: Vec<u32>,
}

/// D of everything.
pub(super) struct Destination {
    pub(super) protocols: Vec<abi::np_protocol>,
    pub(super) classes: Vec<Class>,
}

/// Distinct tables.
#[derive(Default)]
pub(super) struct Tables {
    list: Vec<Vec<(u16, u16)>>,
    known: HashMap<Vec<(u16, u16)>, u32>,
}

impl Tables {
    /// The index of a table, given as runs: first port and class.
    pub(super) fn add(&mut self, mut table: Vec<(u16, u16)>) -> u32 {
        table.dedup_by_key(|(_, class)| *class);
        let next = self.list.len() as u32;
        let index = *self.known.entry(table.clone()).or_insert(next);
        if index == next {
            self.list.push(table);
        }
        index
    }

    /// The contents of `l4_tables`.
    pub(super) fn finish(self) -> Vec<Box<abi::np_port_table>> {
        let boxed = |runs: Vec<(u16, u16)>| {
            let mut table = Box::new(abi::np_port_table { class_: [0; 1 << 16] });
            sweep::fill(&runs, &mut table.class_);
            table
        };
        self.list.into_iter().map(boxed).collect()
    }
}

/// Reduces (family, protocol, destination port).
pub(super) fn reduce(predicates: &[Predicate], source_table: Option<u32>, tables: &mut Tables) -> Result<Destination, CompileError> {
    let mut reducer = Reducer { predicates, source_table, tables, classes: Interned::empty(), listed: 0, known: HashMap::new() };
    let mut by_protocol: BTreeMap<u16, Vec<u32>> = BTreeMap::new();
    let mut any = Vec::new();
    for (predicate, number) in predicates.iter().zip(0..) {
        match predicate.protocol {
            Some(protocol) => by_protocol.entry(u16::from(protocol)).or_default().push(number),
            None => any.push(number),
        }
    }
    let mut protocols = Vec::with_capacity(2 * abi::NP_PROTOCOLS as usize);
    for family in [Family::V4, Family::V6] {
        for protocol in 0..abi::NP_PROTOCOL_UNKNOWN as u16 {
            let named = by_protocol.get(&protocol).into_iter().flatten();
            let concerned = named.chain(&any).copied().filter(|number| predicates[*number as usize].concerns(family, protocol));
            let mut concerned: Vec<u32> = concerned.collect();
            concerned.sort_unstable();
            protocols.push(reducer.protocol(concerned)?);
        }
        let all = predicates.iter().zip(0..).filter(|(predicate, _)| predicate.could_concern(family)).map(|(_, number)| number);
        protocols.push(reducer.unknown(all.collect())?);
    }
    limit("kinds of destination ports", reducer.classes.lists().len(), MAX_CLASSES)?;
    Ok(Destination { protocols, classes: reducer.classes.lists().to_vec() })
}

struct Reducer<'a> {
    predicates: &'a [Predicate],
    source_table: Option<u32>,
    tables: &'a mut Tables,
    classes: Interned<Class>,
    listed: usize,
    /// Protocols that the same predicates concern are alike.
    known: HashMap<Vec<u32>, abi::np_protocol>,
}

impl Reducer<'_> {
    fn class(&mut self, part: Part, predicates: Vec<u32>) -> Result<u32, CompileError> {
        self.listed += predicates.len();
        limit("overlapping port ranges, counted by port and rule", self.listed, MAX_LISTED)?;
        let hidden = predicates.iter().any(|number| self.predicates[*number as usize].is_hidden_from(part));
        Ok(self.classes.number(Class { part: if hidden { part } else { Part::Whole }, predicates }))
    }

    /// A protocol that is known in every fragment.
    fn protocol(&mut self, concerned: Vec<u32>) -> Result<abi::np_protocol, CompileError> {
        if let Some(known) = self.known.get(&concerned) {
            return Ok(*known);
        }
        let all = self.predicates;
        let general: Vec<u32> = concerned.iter().copied().filter(|number| all[*number as usize].destination.is_none()).collect();
        let reads_source = concerned.iter().any(|number| all[*number as usize].source.is_some());
        let mut record = abi::np_protocol {
            destination_table: abi::NP_NONE,
            source_table: self.source_table.filter(|_| reads_source).unwrap_or(abi::NP_NONE),
            class_: 0,
            fragment_class: self.class(Part::Later, concerned.clone())?,
        };
        if general.len() == concerned.len() {
            record.class_ = self.class(Part::Whole, general)?;
        } else {
            record.destination_table = self.table(&concerned, &general)?;
        }
        self.known.insert(concerned, record);
        Ok(record)
    }

    fn table(&mut self, concerned: &[u32], general: &[u32]) -> Result<u32, CompileError> {
        let all = self.predicates;
        let spans = concerned.iter().filter_map(|number| {
            let spans: &[Span] = all[*number as usize].destination.as_deref()?;
            Some((*number, spans))
        });
        let mut filled = Vec::new();
        for run in sweep::runs(spans) {
            let mut predicates = general.to_vec();
            predicates.extend(run.holders);
            predicates.sort_unstable();
            let class = self.class(Part::Whole, predicates)?;
            // More classes than fit are refused by the caller.
            filled.push((run.first, class as u16));
        }
        Ok(self.tables.add(filled))
    }

    /// The protocol "not known": later fragments only, and every predicate of the family could be true.
    fn unknown(&mut self, all: Vec<u32>) -> Result<abi::np_protocol, CompileError> {
        let class = self.class(Part::Unknown, all)?;
        Ok(abi::np_protocol { destination_table: abi::NP_NONE, source_table: abi::NP_NONE, class_: class, fragment_class: class })
    }
}
