//! The meaning of policies: the proven model, its validation, the plain judge and warnings.

mod failsafe;
pub mod judge;
pub mod lint;
pub mod model;
pub mod reason;
mod validate;

pub use failsafe::{failsafe_only, salvage_failsafe};
pub use validate::{Loaded, load};
