//! Waiting for something to become true, with an end that an emulated machine puts off.

use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::machine::patience;

/// Polls every few milliseconds until `ready` gives a value; `None` when the time is over.
pub fn poll<T>(limit: Duration, mut ready: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + patience(limit);
    loop {
        if let Some(value) = ready() {
            return Some(value);
        }
        if Instant::now() >= end {
            return None;
        }
        sleep(Duration::from_millis(10));
    }
}

/// As [`poll`], for a condition; fails the test with `what` when the time is over.
pub fn until(what: &str, limit: Duration, mut ready: impl FnMut() -> bool) {
    assert!(poll(limit, || ready().then_some(())).is_some(), "not within {limit:?}: {what}");
}
