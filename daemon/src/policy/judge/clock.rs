//! The time at which a packet is judged, and the state that goes with time.
//!
//! Knows how the judge's clock and the calendar hang together. Reads no clock itself.

use crate::policy::model::Element;

/// Nanoseconds of a second.
const SECOND: i128 = 1_000_000_000;

/// A moment on both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Moment {
    /// The judge's clock, ns.
    pub(super) now: u64,
    /// What has to be added to it for Unix time, ns.
    pub(super) wall_offset: i64,
}

impl Moment {
    /// When something ends, on the judge's clock, that ends at a second of Unix time. `None`: later than that clock can tell.
    pub(super) fn of_unix(&self, seconds: i64) -> Option<u64> {
        let moment = i128::from(seconds) * SECOND - i128::from(self.wall_offset);
        u64::try_from(moment.max(0)).ok()
    }

    /// Whether something that ends then is over. What never ends never is.
    pub(super) fn is_over(&self, end: Option<u64>) -> bool {
        end.is_some_and(|end| end <= self.now)
    }

    /// Whether an element of a set still counts.
    pub(super) fn is_live(&self, element: &Element) -> bool {
        !self.is_over(element.expires)
    }
}

/// The earlier of two ends, `None` being no end.
pub(super) fn earlier(one: Option<u64>, other: Option<u64>) -> Option<u64> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}
