//! All globs of a ruleset as one deterministic automaton: one step a byte, however many policies there are.
//!
//! A state is the set of places where a name may stand in the patterns. The table is that of `np_guard`: rows of one element a class
//! of bytes; an element is where the next row begins, and under class 0 (the end of the name) the hooks at which it is selected.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use netpol_probes::abi;

use super::glob::{Place, Side, Step, advance, steps};
use crate::compile::CompileError;

/// The automaton; empty where there are no globs.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Automaton {
    /// Where the first row begins.
    pub start: u16,
    /// Class of each byte; 0 belongs to the byte 0 alone.
    pub classes: Vec<u8>,
    /// Rows.
    pub next: Vec<u16>,
}

/// A pattern, and whose it is.
struct Pattern {
    steps: Vec<Step>,
    side: Side,
    owner: usize,
}

impl Automaton {
    /// Of lists of globs, each with the hooks at which it selects.
    pub fn of(lists: &BTreeMap<Vec<(Side, &str)>, u32>) -> Result<Automaton, CompileError> {
        if lists.is_empty() {
            return Ok(Automaton::default());
        }
        let hooks: Vec<u32> = lists.values().copied().collect();
        let sided = lists.keys().enumerate().flat_map(|(owner, list)| list.iter().map(move |(side, text)| (owner, *side, *text)));
        let patterns: Vec<Pattern> = sided.map(|(owner, side, text)| Pattern { steps: steps(text, side), side, owner }).collect();
        let (classes, members) = classes(&patterns);
        let width = members.len() + 1;
        let mut known: HashMap<Vec<Place>, usize> = HashMap::new();
        let mut states: Vec<Vec<Place>> = Vec::new();
        let mut number = |state: Vec<Place>, states: &mut Vec<Vec<Place>>| {
            *known.entry(state).or_insert_with_key(|state| {
                states.push(state.clone());
                states.len() - 1
            })
        };
        let begin = (0..).zip(&patterns).map(|(pattern, _)| Place { pattern, step: 0, rest: 0 });
        number(closed(begin, &patterns), &mut states);
        let mut rows: Vec<usize> = Vec::new();
        let mut at = 0;
        while let Some(state) = states.get(at).cloned() {
            rows.push(selected(&state, &patterns, &hooks) as usize);
            for byte in &members {
                let moved = state.iter().filter_map(|place| {
                    let step = *patterns[place.pattern as usize].steps.get(place.step as usize)?;
                    advance(*place, step, *byte)
                });
                rows.push(number(closed(moved, &patterns), &mut states));
            }
            let found = states.len() * width;
            if found > abi::NP_GUARD_TABLE as usize {
                let what = "elements of the automaton of all globs in `interfaces` (fewer `*` inside of a glob make it smaller)".into();
                return Err(CompileError::TooMany { what, found, limit: abi::NP_GUARD_TABLE as usize });
            }
            at += 1;
        }
        // Numbers of states become places of rows; what stands under class 0 are no states.
        let element = |(index, value): (usize, usize)| if index % width == 0 { value } else { value * width };
        let next = rows.into_iter().enumerate().map(element).map(|value| u16::try_from(value).unwrap_or(u16::MAX)).collect();
        Ok(Automaton { start: 0, classes, next })
    }

    /// What the programs make of a name.
    pub fn bits(&self, name: &[u8]) -> u32 {
        let class = |byte: &u8| self.classes.get(usize::from(*byte)).copied().map_or(0, usize::from);
        let element = |at: usize| self.next.get(at).copied().map_or(0, usize::from);
        let end = name.iter().fold(usize::from(self.start), |at, byte| element(at + class(byte)));
        element(end) as u32
    }
}

/// With the places that are reached without a byte.
fn closed(places: impl Iterator<Item = Place>, patterns: &[Pattern]) -> Vec<Place> {
    let mut all = BTreeSet::new();
    for mut place in places {
        while all.insert(place) && patterns[place.pattern as usize].steps.get(place.step as usize) == Some(&Step::Any) {
            place = Place { step: place.step + 1, ..place };
        }
    }
    all.into_iter().collect()
}

/// The hooks at which a name that ends here is selected.
fn selected(state: &[Place], patterns: &[Pattern], hooks: &[u32]) -> u32 {
    let ended = |place: &&Place| patterns[place.pattern as usize].steps.len() == place.step as usize;
    let ended: Vec<&Pattern> = state.iter().filter(ended).map(|place| &patterns[place.pattern as usize]).collect();
    let of = |side| ended.iter().filter(move |pattern| pattern.side == side).map(|pattern| pattern.owner);
    let excluded: BTreeSet<usize> = of(Side::Exclude).collect();
    of(Side::Include).filter(|owner| !excluded.contains(owner)).fold(0, |all, owner| all | hooks[owner])
}

/// Bytes that no step tells apart are one class. Returns the class of each byte, and one member of each class from 1 on.
fn classes(patterns: &[Pattern]) -> (Vec<u8>, Vec<u8>) {
    let mut distinct: Vec<Step> = Vec::new();
    for step in patterns.iter().flat_map(|pattern| &pattern.steps) {
        if !distinct.contains(step) {
            distinct.push(*step);
        }
    }
    let begin = Place { pattern: 0, step: 0, rest: 0 };
    let inside = Place { rest: 1, ..begin };
    let spoken = |byte: u8| -> Vec<Option<Place>> {
        distinct.iter().flat_map(|step| [advance(begin, *step, byte), advance(inside, *step, byte)]).collect()
    };
    let mut known: HashMap<Vec<Option<Place>>, u8> = HashMap::new();
    let (mut classes, mut members) = (vec![0], Vec::new());
    for byte in 1..=u8::MAX {
        let class = *known.entry(spoken(byte)).or_insert_with(|| {
            members.push(byte);
            members.len() as u8
        });
        classes.push(class);
    }
    (classes, members)
}
