//! Judge and programs say the same of every frame: verdict, reason, and what they remember.
//!
//! The programs are loaded and run by `BPF_PROG_TEST_RUN` in a network namespace of their own; the judge sees the same frames in the same
//! order. Time cannot be simulated in the kernel: timeouts are long, rates slow, and what expires has expired before or is waited for.
//! SYN cookies are beyond the judge, and left out.
//! `NETPOL_SEED` repeats a run, `NETPOL_ROUNDS` makes it longer.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod answers;
mod audits;
mod bench;
mod flows;
mod frame;
mod hostile;
mod living;
mod policies;
mod random;
mod scenario;
mod shrink;
mod sys;
mod table;
mod traffic;

use std::collections::BTreeMap;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use bench::{Bench, ROOM};
use netpol_ebpf::policy::reason::Reason;
use random::Random;
use scenario::{Stage, tell};

/// Generations in a scenario, and about how many frames each sees.
const STAGES: usize = 3;
const FRAMES: usize = 1500;
const ROUNDS: u64 = 48;
/// Entries of each flow table where they are meant to be full.
const SCARCE: u32 = 24;

fn may_run() -> bool {
    if !sys::is_root() {
        eprintln!("SKIPPED: needs root");
    }
    sys::is_root()
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// Policies that load, and frames for them.
fn stage(random: &mut Random, bench: &Bench, room: u32) -> Stage {
    let text = loop {
        let text = policies::text(random, room);
        match bench::policies(&text.toml()).and_then(|set| bench.compile(&set)) {
            Ok(_) => break text,
            Err(errors) if number("NETPOL_SHOW").is_some() => eprintln!("{errors}"),
            Err(_) => {}
        }
    };
    Stage { text, paths: policies::paths(random), shots: traffic::shots(random, FRAMES) }
}

/// Plays random scenarios; the first mismatch is shrunk and told.
fn play(name: &str, room: u32, rounds: u64) {
    if !may_run() {
        return;
    }
    let seed = number("NETPOL_SEED").unwrap_or_else(|| SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64);
    let rounds = number("NETPOL_ROUNDS").unwrap_or(rounds);
    println!("{name}: NETPOL_SEED={seed}");
    let mut bench = Bench::new(name, room);
    let start = Instant::now();
    let mut said: BTreeMap<&str, usize> = BTreeMap::new();
    for round in 0..rounds {
        let mut random = Random::new(seed.wrapping_add(round));
        let stages: Vec<Stage> = (0..STAGES).map(|_| stage(&mut random, &bench, room)).collect();
        match bench.play(&stages) {
            Ok(reasons) => reasons.iter().for_each(|reason| *said.entry(reason.map_or("accepted", Reason::name)).or_default() += 1),
            Err(mismatch) => {
                let (stages, mismatch) = shrink::shrink(&mut bench, stages, mismatch);
                panic!("{name}: NETPOL_SEED={} NETPOL_ROUNDS=1{}", seed.wrapping_add(round), tell(&stages, &mismatch));
            }
        }
    }
    let pairs: usize = said.values().sum();
    println!("{name}: {pairs} frames judged alike in {rounds} rounds, {:?}: {said:?}", start.elapsed());
}

#[test]
fn frames_aimed_at_every_stage() {
    if !may_run() {
        return;
    }
    let mut bench = Bench::new("table", ROOM);
    println!("{} frames of the table judged alike", table::all(&mut bench));
}

#[test]
fn random_frames_and_policies() {
    play("random", ROOM, ROUNDS);
}

#[test]
fn random_frames_where_room_is_scarce() {
    play("scarce", SCARCE, ROUNDS / 8);
}
