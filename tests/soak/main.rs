//! Everything at once, for as long as `SOAK_MINUTES` says (`make soak`: an hour; otherwise 75 seconds): reloads, links, sets, floods,
//! connections, signals, kills, bad files. What must always hold is looked at after every step; what a daemon holds must not grow.
//!
//! In the first quarter daemons are killed and started all the time; then one daemon lives to the end, so that a slow leak shows:
//! the median of the last quarter is held against that of the second. `SOAK_RATE` bounds the flood, in packets a second.

mod churn;
mod flood;
mod record;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use netpol_tests::{say, sys};

use churn::Churn;
use record::Record;
use world::World;

/// Where `SOAK_MINUTES` is not set.
const SHORT: Duration = Duration::from_secs(75);

/// A number from the environment.
fn number(name: &str) -> Option<f64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|e| panic!("{name}: {e}")))
}

fn main() -> ExitCode {
    // `cargo test NAME` hands its filter to every executable.
    let mut arguments = std::env::args().skip(1);
    if arguments.any(|argument| argument == "--list" || !(argument.starts_with('-') || argument == "soak")) {
        return ExitCode::SUCCESS;
    }
    sys::note_interrupt().expect("a signal handler");
    let time = number("SOAK_MINUTES").map_or(SHORT, |minutes| Duration::from_secs_f64(minutes * 60.0));
    let rate = number("SOAK_RATE").map_or(2000, |rate| rate as u32);
    let Some(world) = World::new(rate) else { return ExitCode::SUCCESS };
    let mut record = Record::new(time);
    let mut churn = Churn::new(world);
    let outcome = catch_unwind(AssertUnwindSafe(|| soak(&mut churn, &mut record, time)));
    record.print();
    match outcome {
        Ok(()) => {}
        // What Ctrl-C tore apart is no finding.
        Err(_) if sys::interrupted() => say::aloud("soak: interrupted in the middle of a step"),
        Err(panic) => {
            say::aloud(&format!("soak: FAILED after {} steps, in: {}", churn.steps(), churn.last()));
            resume_unwind(panic);
        }
    }
    let summary = churn.finish();
    match record.verdict() {
        Ok(text) => {
            say::aloud(&format!("soak: OK, {summary}; {text}"));
            ExitCode::SUCCESS
        }
        Err(text) => {
            say::aloud(&format!("soak: FAILED, {text} ({summary})"));
            ExitCode::FAILURE
        }
    }
}

fn soak(churn: &mut Churn, record: &mut Record, time: Duration) {
    let begin = Instant::now();
    while begin.elapsed() < time && !sys::interrupted() {
        let quarter = begin.elapsed().as_secs_f64() / time.as_secs_f64() * 4.0;
        churn.step(quarter < 1.0);
        churn.world().check(churn.last());
        record.sample(begin.elapsed(), churn);
    }
    if !sys::interrupted() {
        for _ in 0..5 {
            churn.kill();
            churn.world().check("the last kills");
        }
    }
}
