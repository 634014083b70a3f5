//! Policy + links -> ruleset. Pure and deterministic.

pub mod ruleset;
