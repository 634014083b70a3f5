//! What kind of machine runs the tests. An emulated one is ten times slower: `NETPOL_PATIENCE` multiplies every deadline of the bench,
//! `NETPOL_SMALL` divides the counts of tests that repeat something often. Both are 1 where they are not given.
//!
//! Only deadlines and repetitions: no time that a policy, the product or the kernel keeps is stretched.

use std::time::Duration;

/// A deadline on this machine.
pub fn patience(limit: Duration) -> Duration {
    limit * number("NETPOL_PATIENCE")
}

/// How often to repeat something on this machine: `count` on an ordinary one, never fewer than `least`.
pub fn times(count: u32, least: u32) -> u32 {
    (count / number("NETPOL_SMALL")).max(least.min(count))
}

fn number(variable: &str) -> u32 {
    let Ok(text) = std::env::var(variable) else { return 1 };
    if text.is_empty() {
        return 1;
    }
    text.parse().ok().filter(|number| *number > 0).unwrap_or_else(|| panic!("{variable}={text} is no number above 0"))
}
