//! A mismatch, made as small as patience allows: fewer stages, frames, policies, rules, routes and events.

use std::time::{Duration, Instant};

use crate::bench::{Bench, policies};
use crate::scenario::{Mismatch, Stage};

/// How long one mismatch is worked on.
const PATIENCE: Duration = Duration::from_secs(120);

/// A smaller scenario that still shows a mismatch, and that mismatch.
pub fn shrink(bench: &mut Bench, mut stages: Vec<Stage>, mut mismatch: Mismatch) -> (Vec<Stage>, Mismatch) {
    let end = Instant::now() + PATIENCE;
    stages.truncate(mismatch.stage + 1);
    if let Some(shot) = mismatch.shot {
        stages[mismatch.stage].shots.truncate(shot + 1);
    }
    let mut attempt = |stages: &mut Vec<Stage>, candidate: Vec<Stage>| {
        let is_valid = || candidate.iter().all(|stage| policies(&stage.text.toml()).is_ok());
        if Instant::now() > end || !is_valid() {
            return false;
        }
        match bench.play(&candidate) {
            Err(found) => {
                mismatch = found;
                *stages = candidate;
                true
            }
            Ok(_) => false,
        }
    };
    fewer_shots(&mut stages, &mut attempt);
    fewer_stages(&mut stages, &mut attempt);
    fewer_rules(&mut stages, &mut attempt);
    fewer_shots(&mut stages, &mut attempt);
    whole_packets(&mut stages, &mut attempt);
    fewer_surroundings(&mut stages, &mut attempt);
    (stages, mismatch)
}

/// Plays a candidate; if it still shows a mismatch it takes the place of the stages.
type Attempt<'a> = dyn FnMut(&mut Vec<Stage>, Vec<Stage>) -> bool + 'a;

fn fewer_shots(stages: &mut Vec<Stage>, attempt: &mut Attempt<'_>) {
    for position in 0..stages.len() {
        let mut size = stages[position].shots.len();
        while size > 0 {
            let mut at = 0;
            while at < stages[position].shots.len() {
                let mut candidate = stages.clone();
                let end = (at + size).min(candidate[position].shots.len());
                candidate[position].shots.drain(at..end);
                if !attempt(stages, candidate) {
                    at += size;
                }
            }
            size /= 2;
        }
    }
}

fn fewer_stages(stages: &mut Vec<Stage>, attempt: &mut Attempt<'_>) {
    let mut at = 0;
    while stages.len() > 1 && at < stages.len() {
        let mut candidate = stages.clone();
        candidate.remove(at);
        if !attempt(stages, candidate) {
            at += 1;
        }
    }
}

fn fewer_rules(stages: &mut Vec<Stage>, attempt: &mut Attempt<'_>) {
    for position in 0..stages.len() {
        let mut policy = 0;
        while policy < stages[position].text.policies.len() {
            let mut candidate = stages.clone();
            candidate[position].text.policies.remove(policy);
            if attempt(stages, candidate) {
                continue;
            }
            let mut table = 0;
            while table < stages[position].text.policies[policy].tables.len() {
                let mut candidate = stages.clone();
                candidate[position].text.policies[policy].tables.remove(table);
                if !attempt(stages, candidate) {
                    table += 1;
                }
            }
            let mut rule = 0;
            while rule < stages[position].text.policies[policy].rules.len() {
                let mut candidate = stages.clone();
                candidate[position].text.policies[policy].rules.remove(rule);
                if !attempt(stages, candidate) {
                    rule += 1;
                }
            }
            policy += 1;
        }
    }
}

/// Frames that are no part of a larger packet.
fn whole_packets(stages: &mut Vec<Stage>, attempt: &mut Attempt<'_>) {
    for position in 0..stages.len() {
        for shot in 0..stages[position].shots.len() {
            let mut candidate = stages.clone();
            candidate[position].shots[shot].gso = false;
            if stages[position].shots[shot].gso {
                attempt(stages, candidate);
            }
        }
    }
}

/// Routes, and events between the frames.
fn fewer_surroundings(stages: &mut Vec<Stage>, attempt: &mut Attempt<'_>) {
    for position in 0..stages.len() {
        let mut path = 0;
        while path < stages[position].paths.len() {
            let mut candidate = stages.clone();
            candidate[position].paths.remove(path);
            if !attempt(stages, candidate) {
                path += 1;
            }
        }
        for shot in 0..stages[position].shots.len() {
            let mut candidate = stages.clone();
            candidate[position].shots[shot].before.clear();
            if !stages[position].shots[shot].before.is_empty() {
                attempt(stages, candidate);
            }
        }
    }
}
