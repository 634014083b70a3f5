//! What dynamic sets hold: the algebra of written and added elements, lifetimes, and the journal that keeps what was added.
//!
//! Stands between `policy`, which says what is written, and `kernel`, which puts contents into maps. Knows prefixes, times and
//! one file a set. Knows no map, no rule and no socket; the two clocks are told to it.

mod added;
mod clock;
pub mod content;
mod journal;
#[cfg(test)]
mod laws;
mod store;

pub use added::Added;
pub use clock::{Clock, Expiry};
pub use journal::{Change, Journal, Trouble};
pub use store::Store;
