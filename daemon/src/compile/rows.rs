//! Rows and decisions of a layer: for every pair of local address numbers, which rules may decide which L4 classes.
//!
//! Knows rule numbers, extents in L4 classes and the order of evaluation. Knows no address and no port.

use std::collections::{BTreeMap, HashMap};

use netpol_probes::abi;

use super::CompileError;
use super::l4::Part;
use super::layers::Layer;
use super::lists::{Lists, Most};
use super::numbering::{Asks, Numbered};
use crate::policy::model::Action;

/// Rows and decisions of a generation, and rules written down in rows while a layer is built.
const MAX_CELLS: usize = 8 << 20;

/// The L4 classes in which a rule matches, written in the shorter way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Extent {
    /// The list names the classes in which it does *not* match.
    inverted: bool,
    list: Vec<u32>,
}

impl Extent {
    /// From a rising list of so many classes.
    pub(super) fn of(classes: &[u32], count: u32) -> Extent {
        if classes.len() * 2 <= count as usize {
            return Extent { inverted: false, list: classes.to_vec() };
        }
        Extent { inverted: true, list: (0..count).filter(|class| classes.binary_search(class).is_err()).collect() }
    }

    /// Classes in which it differs from what it says in most.
    pub(super) fn weight(&self) -> u32 {
        self.list.len() as u32
    }
}

/// By policy rank: the lowest `pass` rule in the other layers of the chain.
pub(super) type Passes = BTreeMap<u32, u32>;

/// Builds the rows of all layers.
pub(super) struct Rows<'a> {
    rules: &'a [Numbered<'a>],
    /// By rule number; `None` for rules of no chain.
    extents: &'a [Option<&'a Extent>],
    /// By L4 class.
    parts: &'a [Part],
    /// L4 class -> what is said about it in the row that is being built.
    cells: Vec<Cell>,
    pub(super) lists: Lists,
    pub(super) rows: Vec<(abi::np_row_key, u32)>,
    pub(super) row_defaults: Vec<abi::np_list>,
    pub(super) decisions: Vec<(abi::np_decision_key, abi::np_list)>,
}

/// One L4 class in one row.
#[derive(Clone, Default)]
struct Cell {
    /// Rules that match here and not in most classes.
    also: Vec<u32>,
    /// Rules that match in most classes and not here.
    except: Vec<u32>,
}

impl<'a> Rows<'a> {
    pub(super) fn new(rules: &'a [Numbered<'a>], extents: &'a [Option<&'a Extent>], parts: &'a [Part]) -> Rows<'a> {
        Rows {
            rules,
            extents,
            parts,
            cells: vec![Cell::default(); parts.len()],
            lists: Lists::default(),
            rows: Vec::new(),
            row_defaults: Vec::new(),
            decisions: Vec::new(),
        }
    }

    /// Adds a layer; returns its longest lists. `name` says whose it is.
    pub(super) fn layer(&mut self, index: u32, layer: &Layer, passes: &Passes, name: &str) -> Result<Most, CompileError> {
        let entries = usize::try_from(layer.entries()).unwrap_or(usize::MAX);
        self.refuse_excess(entries, name)?;
        let mut pairs: Vec<((u32, u32), u32)> = Vec::with_capacity(entries);
        let (sources, destinations) = (all(layer.source.count()), all(layer.destination.count()));
        for rule in &layer.rules {
            for source in layer.source.members(rule.source).unwrap_or(&sources) {
                for destination in layer.destination.members(rule.destination).unwrap_or(&destinations) {
                    pairs.push(((*source, *destination), rule.number));
                }
            }
        }
        pairs.sort_unstable();
        let mut known: HashMap<Vec<u32>, u32> = HashMap::new();
        let mut most = Most::default();
        for row in pairs.chunk_by(|a, b| a.0 == b.0) {
            let rules: Vec<u32> = row.iter().map(|(_, rule)| *rule).collect();
            let (source, destination) = row[0].0;
            let number = match known.get(&rules) {
                Some(number) => *number,
                None => {
                    self.row(&rules, passes, &mut most);
                    most.refuse(self.rules, name)?;
                    self.refuse_excess(0, name)?;
                    let number = self.row_defaults.len() as u32 - 1;
                    known.insert(rules, number);
                    number
                }
            };
            self.rows.push((abi::np_row_key { layer: index, source, destination }, number));
        }
        Ok(most)
    }

    fn refuse_excess(&self, more: usize, name: &str) -> Result<(), CompileError> {
        let found = self.rows.len().saturating_add(self.decisions.len()).saturating_add(more);
        if found <= MAX_CELLS {
            return Ok(());
        }
        let what = format!("table entries for {name} (its rules overlap too much; put addresses that are treated alike into one set)");
        Err(CompileError::TooMany { what, found, limit: MAX_CELLS })
    }

    /// Adds a row with these rules (rising).
    fn row(&mut self, rules: &[u32], passes: &Passes, most: &mut Most) {
        let row = self.row_defaults.len() as u32;
        let mut broad = Vec::new();
        let mut touched = Vec::new();
        for rule in rules {
            let Some(extent) = self.extents[*rule as usize] else { continue };
            if extent.inverted {
                broad.push(*rule);
            }
            for class in &extent.list {
                let cell = &mut self.cells[*class as usize];
                if cell.also.is_empty() && cell.except.is_empty() {
                    touched.push(*class);
                }
                if extent.inverted { cell.except.push(*rule) } else { cell.also.push(*rule) }
            }
        }
        if broad.iter().any(|rule| self.rules[*rule as usize].asks == Asks::Rate) {
            touched.extend(self.parts_apart());
        }
        touched.sort_unstable();
        touched.dedup();
        // A list that is in no class's place says nothing of how long lists get.
        let unused = touched.len() == self.cells.len();
        let default = if unused { Vec::new() } else { self.candidates(broad.iter().copied(), Part::Whole, passes, most) };
        let default = self.lists.add(default);
        self.row_defaults.push(default);
        for l4_class in touched {
            let cell = std::mem::take(&mut self.cells[l4_class as usize]);
            let broad_here = broad.iter().copied().filter(|rule| cell.except.binary_search(rule).is_err());
            let here = self.candidates(merged(broad_here, cell.also.iter().copied()), self.parts[l4_class as usize], passes, most);
            let list = self.lists.add(here);
            if list != default {
                self.decisions.push((abi::np_decision_key { row, l4_class }, list));
            }
        }
    }

    /// L4 classes of later fragments, in which rules that ask for a rate only are another matter than in most.
    fn parts_apart(&self) -> impl Iterator<Item = u32> + '_ {
        (0..).zip(self.parts).filter(|(_, part)| **part != Part::Whole).map(|(class, _)| class)
    }

    /// The first sure match of each policy and the conditional ones before it, up to where nothing behind it can ever be asked.
    ///
    /// A rule that decides ends the list, unless a lower `pass` of the same policy may skip it: one in another layer, or one with a
    /// condition.
    fn candidates(&self, matching: impl Iterator<Item = u32>, part: Part, passes: &Passes, most: &mut Most) -> Vec<u32> {
        let mut list = Vec::new();
        let mut conditional = 0;
        let (mut answered, mut perhaps_passed) = (None, None);
        for number in matching {
            let numbered = &self.rules[number as usize];
            let policy = Some(numbered.rank);
            let hidden = numbered.is_hidden_from(part);
            if answered == policy {
                continue;
            }
            list.push(number);
            // The programs count what they ask, whether or not it can fail.
            conditional += usize::from(numbered.asks != Asks::Nothing);
            if numbered.is_conditional(hidden) {
                perhaps_passed = policy.filter(|_| numbered.rule.action == Action::Pass).or(perhaps_passed);
            } else {
                answered = policy;
            }
            let may_be_skipped = perhaps_passed == policy || passes.get(&numbered.rank).is_some_and(|pass| *pass < number);
            if most.note(&list, conditional) || (numbered.decides(hidden) && !may_be_skipped) {
                break;
            }
        }
        list
    }
}

fn all(count: u32) -> Vec<u32> {
    (0..count).collect()
}

/// Two rising sequences without common elements as one.
fn merged(a: impl Iterator<Item = u32>, b: impl Iterator<Item = u32>) -> impl Iterator<Item = u32> {
    let (mut a, mut b) = (a.peekable(), b.peekable());
    std::iter::from_fn(move || match (a.peek(), b.peek()) {
        (Some(left), Some(right)) if left > right => b.next(),
        (Some(_), _) => a.next(),
        (None, _) => b.next(),
    })
}
