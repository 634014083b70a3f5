//! What is wanted against what is there -> actions. Pure.
//!
//! Knows the laws of a reload: a generation is built whole beside the running one, goes live by one store, and deletion comes
//! last. Knows no kernel: it reads [`Observed`] and writes [`Action`]s, which `kernel` carries out.

pub mod action;
pub mod observed;

pub use action::Action;
pub use observed::{GenerationWord, Observed};

use crate::compile::ruleset::Ruleset;

/// What a caller may ask for beside the ruleset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Options {
    /// Boot time in ns after which the former generation counts again unless it is confirmed; `None` = for good.
    pub deadline: Option<u64>,
    /// Build a new generation even where the running one has the same contents.
    pub rebuild: bool,
}

/// The actions that make the kernel enforce `wanted`; empty where it does.
pub fn plan(wanted: &Ruleset, observed: &Observed) -> Vec<Action> {
    plan_with(wanted, observed, Options::default())
}

/// [`plan`] with options.
pub fn plan_with(wanted: &Ruleset, observed: &Observed, options: Options) -> Vec<Action> {
    let _unused = (wanted, observed, options);
    Vec::new()
}
