//! A mismatch, made as small as patience allows: fewer stages, frames, policies, rules, keys, routes and events, and plainer bytes.
//!
//! Knows what can be left out. Every attempt is played anew by whoever found the mismatch.

use std::time::{Duration, Instant};

use crate::bench::policies;
use crate::print;
use crate::scenario::{Mismatch, Play, Stage, Text};
use crate::smaller::proposals;

/// How long one mismatch is worked on.
const PATIENCE: Duration = Duration::from_secs(300);

/// A smaller scenario that still shows a mismatch, and that mismatch.
pub fn shrink(player: &mut dyn Play, mut stages: Vec<Stage>, mut mismatch: Mismatch) -> (Vec<Stage>, Mismatch) {
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
        match player.play(&candidate) {
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
    fewer_surroundings(&mut stages, &mut attempt);
    smaller_policies(&mut stages, &mut attempt);
    fewer_shots(&mut stages, &mut attempt);
    plainer_frames(&mut stages, &mut attempt);
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

/// The policies as they are printed, without all that need not be said.
fn smaller_policies(stages: &mut Vec<Stage>, attempt: &mut Attempt<'_>) {
    for position in 0..stages.len() {
        let Ok(mut model) = policies(&stages[position].text.toml()) else { continue };
        // A proposal that was refused may be taken later, when another one was.
        let mut is_smaller = true;
        while is_smaller {
            is_smaller = false;
            let mut next = 0;
            while let Some(smaller) = proposals(&model).into_iter().nth(next) {
                let mut candidate = stages.clone();
                candidate[position].text = Text { head: print::toml(&smaller), policies: Vec::new() };
                if attempt(stages, candidate) {
                    (model, is_smaller) = (smaller, true);
                } else {
                    next += 1;
                }
            }
        }
    }
}

/// Routes, and events between the frames.
fn fewer_surroundings(stages: &mut Vec<Stage>, attempt: &mut Attempt<'_>) {
    for position in 0..stages.len() {
        let mut candidate = stages.clone();
        candidate[position].paths.clear();
        attempt(stages, candidate);
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

/// Frames that are whole packets, with zeroes wherever the bytes do not matter.
fn plainer_frames(stages: &mut Vec<Stage>, attempt: &mut Attempt<'_>) {
    for position in 0..stages.len() {
        for shot in 0..stages[position].shots.len() {
            if stages[position].shots[shot].gso {
                let mut candidate = stages.clone();
                candidate[position].shots[shot].gso = false;
                attempt(stages, candidate);
            }
            for size in [16, 4, 1] {
                let mut at = 0;
                while at < stages[position].shots[shot].bytes.len() {
                    let mut candidate = stages.clone();
                    let bytes = &mut candidate[position].shots[shot].bytes;
                    let end = (at + size).min(bytes.len());
                    let is_plain = bytes[at..end].iter().all(|byte| *byte == 0);
                    bytes[at..end].fill(0);
                    if !is_plain {
                        attempt(stages, candidate);
                    }
                    at += size;
                }
            }
        }
    }
}
