//! The meaning of policies: the proven model, its validation with all errors and warnings, and the plain judge.

pub mod bogons;
mod failsafe;
pub mod judge;
pub mod model;
pub mod reason;
mod validate;

pub use failsafe::{close, failsafe_only};
pub use validate::{Loaded, load, salvage_failsafe};
