//! How long things take, printed as tables. Only gross failure fails: figures belong to the machine.

mod guard;
mod hot_plug;
mod limits;
mod look;
mod routes;
mod save_to_enforced;
mod start;
mod syn_flood;

use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

/// One measurement at a time.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

fn milliseconds(time: Duration) -> String {
    format!("{:.1}", time.as_secs_f64() * 1000.0)
}

/// Median and largest of some times.
fn median_and_max(times: &mut [Duration]) -> (Duration, Duration) {
    times.sort();
    (times[times.len() / 2], times[times.len() - 1])
}
