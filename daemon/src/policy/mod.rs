//! The meaning of policies: the proven model, its validation, and the plain judge.

pub mod model;
mod validate;

pub use validate::{Loaded, load};
