//! What a group of selectors says about a place, and the small numbers that follow from it.
//!
//! Nearly all selectors say the same nearly everywhere; so a place is described by the selectors that differ there from what they
//! say about an address in no atom at all.

use std::collections::HashMap;

use super::addresses::{Atom, Selector};

/// Evaluates a group of selectors.
pub(super) struct Classifier {
    /// By atom: selectors (as positions in the group) that name it, and whether they exclude it.
    mentions: Vec<Vec<(u32, bool)>>,
    /// By position: says yes about an address in no atom.
    everywhere: Vec<bool>,
    /// By position: what the current place says, valid where `turn` is the current one.
    marks: Vec<Marks>,
    turn: u32,
}

#[derive(Clone, Copy, Default)]
struct Marks {
    turn: u32,
    included: bool,
    excluded: bool,
}

impl Classifier {
    /// The selectors with the numbers in `group`, over so many atoms.
    pub(super) fn new(selectors: &[Selector], group: &[u32], atoms: usize) -> Classifier {
        let mut mentions = vec![Vec::new(); atoms];
        let mut everywhere = Vec::with_capacity(group.len());
        for (number, position) in group.iter().zip(0..) {
            let selector = &selectors[*number as usize];
            everywhere.push(selector.any.is_none());
            for atom in selector.any.iter().flatten() {
                mentions[*atom as usize].push((position, false));
            }
            for atom in &selector.none {
                mentions[*atom as usize].push((position, true));
            }
        }
        Classifier { mentions, marks: vec![Marks::default(); everywhere.len()], everywhere, turn: 0 }
    }

    /// Positions of the selectors that differ at a place from what they say in no atom, rising.
    pub(super) fn differences(&mut self, place: &[Atom]) -> Vec<u32> {
        self.turn += 1;
        let mut touched = Vec::new();
        for (position, excludes) in place.iter().flat_map(|atom| &self.mentions[*atom as usize]) {
            let marks = &mut self.marks[*position as usize];
            if marks.turn != self.turn {
                *marks = Marks { turn: self.turn, ..Marks::default() };
                touched.push(*position);
            }
            marks.included |= !excludes;
            marks.excluded |= excludes;
        }
        touched.retain(|position| {
            let (marks, everywhere) = (self.marks[*position as usize], self.everywhere[*position as usize]);
            ((everywhere || marks.included) && !marks.excluded) != everywhere
        });
        touched.sort_unstable();
        touched
    }
}

/// The addresses as one layer of rules sees them: few kinds, numbered from 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct View {
    /// Local number of each class.
    pub(super) numbers: Vec<u32>,
    /// Local numbers there are.
    pub(super) count: u32,
    /// By position in the group: local numbers about which the selector says yes, rising.
    pub(super) members: Vec<Vec<u32>>,
}

impl View {
    /// The classes as seen by the selectors with the numbers in `group`.
    pub(super) fn of(selectors: &[Selector], group: &[u32], classes: &[Vec<Atom>], atoms: usize) -> View {
        let mut classifier = Classifier::new(selectors, group, atoms);
        let mut known: HashMap<Vec<u32>, u32> = HashMap::new();
        let mut differing: Vec<Vec<u32>> = vec![Vec::new(); group.len()];
        let mut count = 0;
        let mut numbers = Vec::with_capacity(classes.len());
        for class in classes {
            let differences = classifier.differences(class);
            let number = *known.entry(differences).or_insert_with_key(|differences| {
                differences.iter().for_each(|position| differing[*position as usize].push(count));
                count += 1;
                count - 1
            });
            numbers.push(number);
        }
        let everywhere = |position: usize| classifier.everywhere[position];
        let members = differing.into_iter().enumerate().map(|(position, differing)| {
            if everywhere(position) { (0..count).filter(|number| differing.binary_search(number).is_err()).collect() } else { differing }
        });
        View { members: members.collect(), numbers, count }
    }
}
