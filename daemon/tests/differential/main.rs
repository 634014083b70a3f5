//! Judge, compiled tables and programs say the same of every frame: verdict, reason, and what they remember.
//!
//! Judge and programs: the programs are loaded and run by `BPF_PROG_TEST_RUN` in a network namespace of their own; the judge sees the same
//! frames in the same order. Time cannot be simulated in the kernel: timeouts are long, rates slow, and what expires has expired before
//! or is waited for. Judge and tables ([`pure`]) need no kernel. SYN cookies are beyond the judge, and left out.
//!
//! Half of the scenarios of a run are always the same, half are new; `NETPOL_SEED` repeats one, `NETPOL_ROUNDS` sets how many are played.
//! A mismatch is shrunk, told, and written as a file for `tests/regressions`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod answers;
mod audits;
mod bench;
mod count;
#[allow(dead_code)] // the library's tests ask for more
#[path = "../../src/compile/tests/evaluate.rs"]
mod evaluate;
mod flows;
mod frame;
mod hostile;
mod lanes;
mod living;
mod policies;
mod print;
mod printed;
mod pure;
mod random;
mod regression;
mod scenario;
mod shrink;
mod smaller;
mod sys;
mod table;
mod traffic;
mod walk;

use std::io::Write;

use bench::{Bench, ROOM};
use count::Where;
use lanes::{Plan, play};
// `evaluate` is a file of the library's own tests, and calls these by the library's names.
use netpol_ebpf::kernel::Form;
use netpol_ebpf::{compile, policy};
use pure::Pure;

/// Entries of each flow table where they are meant to be full.
const SCARCE: u32 = 24;
/// Pairs of a policy and a packet that a run has to judge: by the loaded programs, of them at least so many by each of tc ingress,
/// tc egress and XDP and so many of either family; and by the tables alone.
const PAIRS: u64 = 1_000_000;
const PAIRS_EACH: u64 = 150_000;
const PAIRS_PURE: u64 = 2_000_000;

fn may_run() -> bool {
    if !sys::is_root() {
        aloud("SKIPPED: needs root");
    }
    sys::is_root()
}

/// A line that the test harness does not swallow.
fn aloud(line: &str) {
    writeln!(std::io::stderr().lock(), "{line}").unwrap();
}

#[test]
fn frames_aimed_at_every_stage() {
    if !may_run() {
        return;
    }
    for form in [Form::Serial, Form::Realtime] {
        let mut bench = Bench::of("table", ROOM, form);
        println!("{} frames of the table judged alike ({form:?})", table::all(&mut bench));
    }
}

#[test]
fn random_frames_and_policies() {
    if !may_run() {
        return;
    }
    let plan = Plan { name: "programs", room: ROOM, rounds: 76, lanes: 3, stages: 3, frames: 5000 };
    // Every third scenario by the form for PREEMPT_RT kernels.
    let form = |lane| if lane == 0 { Form::Realtime } else { Form::Serial };
    let make = |lane| Bench::of(&format!("programs-{lane}"), ROOM, form(lane));
    let count = play(&plan, make, Bench::compiles, |bench| bench.count.clone());
    if plan.is_whole() {
        assert!(count.pairs >= PAIRS, "{count}");
        for place in [Where::Ingress, Where::Egress, Where::Xdp] {
            assert!(count.at(place) >= PAIRS_EACH, "{place:?}: {count}");
        }
        assert!(count.by_family().into_iter().all(|pairs| pairs >= PAIRS_EACH), "{count}");
    }
}

#[test]
fn random_frames_where_room_is_scarce() {
    if !may_run() {
        return;
    }
    let plan = Plan { name: "scarce", room: SCARCE, rounds: 6, lanes: 1, stages: 3, frames: 1500 };
    play(&plan, |_| Bench::new("scarce", SCARCE), Bench::compiles, |bench| bench.count.clone());
}

#[test]
fn random_packets_and_compiled_tables() {
    let plan = Plan { name: "tables", room: ROOM, rounds: 710, lanes: 2, stages: 1, frames: 3000 };
    let count = play(&plan, |_| Pure::new(), Pure::compiles, |pure| pure.count.clone());
    if plan.is_whole() {
        assert!(count.pairs >= PAIRS_PURE, "{count}");
        assert!(count.by_family().into_iter().all(|pairs| pairs >= PAIRS_PURE / 4), "{count}");
    }
}
