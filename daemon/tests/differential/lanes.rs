//! Random scenarios, played side by side: loading programs is mostly waiting for the kernel, and there is more than one CPU.
//!
//! Knows seeds, lanes, and what happens to a mismatch. Knows no player.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use netpol_ebpf::policy::model::PolicySet;

use crate::count::Count;
use crate::random::Random;
use crate::scenario::{Play, Stage, tell};
use crate::{aloud, bench, policies, regression, shrink, traffic};

/// Where the scenarios begin that are the same in every run.
const FIXED: u64 = 0x6E65_7470_6F6C;

/// What is played.
pub struct Plan {
    pub name: &'static str,
    /// Entries of each flow table.
    pub room: u32,
    /// Scenarios, unless `NETPOL_ROUNDS` says otherwise.
    pub rounds: usize,
    /// Players.
    pub lanes: usize,
    /// Generations in a scenario, and about how many frames each sees.
    pub stages: usize,
    pub frames: usize,
}

pub fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

impl Plan {
    /// Whether it is played as it stands.
    pub fn is_whole(&self) -> bool {
        number("NETPOL_ROUNDS").is_none()
    }

    /// One a scenario.
    fn seeds(&self) -> Vec<u64> {
        let rounds = number("NETPOL_ROUNDS").unwrap_or(self.rounds as u64);
        if let Some(seed) = number("NETPOL_SEED") {
            return (0..rounds).map(|round| seed.wrapping_add(round)).collect();
        }
        let fresh = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
        aloud(&format!("{}: NETPOL_SEED={FIXED}, and from scenario {} on NETPOL_SEED={fresh}", self.name, rounds.div_ceil(2)));
        let fixed = (0..rounds.div_ceil(2)).map(|round| FIXED.wrapping_add(round));
        fixed.chain((0..rounds / 2).map(|round| fresh.wrapping_add(round))).collect()
    }

    /// Generations with policies that `compiles` takes, and frames for them.
    fn scenario(&self, seed: u64, compiles: impl Fn(&PolicySet) -> bool) -> Vec<Stage> {
        let random = &mut Random::new(seed);
        let stage = |_| {
            let text = loop {
                let text = policies::text(random, self.room);
                match bench::policies(&text.toml()) {
                    Ok(set) if compiles(&set) => break text,
                    Err(errors) if number("NETPOL_SHOW").is_some() => aloud(&errors),
                    _ => {}
                }
            };
            Stage { text, paths: policies::paths(random), shots: traffic::shots(random, self.frames) }
        };
        (0..self.stages).map(stage).collect()
    }
}

/// Plays all scenarios of a plan; the first mismatch is shrunk, written and told. `make` makes the player of a lane.
pub fn play<P: Play>(
    plan: &Plan,
    make: impl Fn(usize) -> P + Sync,
    compiles: impl Fn(&P, &PolicySet) -> bool + Sync,
    count: impl Fn(&P) -> Count + Sync,
) -> Count {
    let (seeds, begin) = (plan.seeds(), Instant::now());
    let (next, stopped) = (AtomicUsize::new(0), AtomicBool::new(false));
    let (total, found) = (Mutex::new(Count::default()), Mutex::new(None::<String>));
    let lane = |number: usize| {
        let mut player = make(number);
        while !stopped.load(Ordering::Relaxed) {
            let Some(seed) = seeds.get(next.fetch_add(1, Ordering::Relaxed)) else { break };
            let stages = plan.scenario(*seed, |set| compiles(&player, set));
            if let Err(mismatch) = player.play(&stages) {
                if !stopped.swap(true, Ordering::Relaxed) {
                    let (stages, mismatch) = shrink::shrink(&mut player, stages, mismatch);
                    let path = regression::write(&format!("{} with seed {seed}", plan.name), plan.room, &stages, &mismatch);
                    let how = format!("NETPOL_SEED={seed} NETPOL_ROUNDS=1, written to {}", path.display());
                    *found.lock().unwrap() = Some(format!("{}: {how}{}", plan.name, tell(&stages, &mismatch)));
                }
            }
        }
        total.lock().unwrap().add(&count(&player));
    };
    std::thread::scope(|scope| {
        for number in 0..plan.lanes {
            let lane = &lane;
            scope.spawn(move || lane(number));
        }
    });
    if let Some(found) = found.into_inner().unwrap() {
        panic!("{found}");
    }
    let total = total.into_inner().unwrap();
    aloud(&format!("{}: {} scenarios in {:.1?}: {total}", plan.name, seeds.len(), begin.elapsed()));
    total
}
