//! The meaning of policies: the proven model, its validation with all errors and warnings, and the plain judge.

pub mod bogons;
mod failsafe;
pub mod judge;
pub mod model;
pub mod reason;
mod validate;

pub use failsafe::{close, failsafe_only};
pub use validate::{Loaded, duration, elements, load_at, salvage_failsafe};

use crate::source::Snapshot;

/// Reads the meaning of all files of a snapshot by the clock of this host; see [`load_at`].
pub fn load(snapshot: &mut Snapshot) -> Loaded {
    load_at(snapshot, unix_now())
}

/// Unix time in seconds; a clock before 1970 counts as 1970, so that nothing has expired by it.
pub(crate) fn unix_now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
