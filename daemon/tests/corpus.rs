//! Every input that was kept for the fuzzer or found by it, through the same functions, without a fuzzer.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

#[path = "../../tests/fuzz/src/lib.rs"]
mod fuzz;

/// As long as one input may take on a busy machine. They are small.
const PATIENCE: Duration = Duration::from_secs(20);

/// Pieces that damage is done with, besides pieces of the other inputs.
const WORDS: [&[u8]; 12] =
    [b"\0", b"\xff\xff\xff\xff", b"\x80", b"\n", b"\"", b"[[", b"{", b"0", b"18446744073709551615", b"-1", b"::/0", b"\xe2\x80\xae"];
/// Damaged copies of each input.
const COPIES: usize = 40;

/// A target's kept inputs, in lexical order of their names.
fn inputs(name: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("tests/fuzz");
    let folders = [root.join("corpus").join(name), root.join("crashes").join(name)];
    let entries = folders.iter().filter_map(|folder| fs::read_dir(folder).ok()).flatten();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(paths.len() > 3, "{name}: the corpus was not found");
    paths.into_iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

/// Whether an input is handled, without a panic and soon.
fn is_handled(run: fn(&[u8]), bytes: &[u8]) -> bool {
    let start = Instant::now();
    catch_unwind(|| run(bytes)).is_ok() && start.elapsed() < PATIENCE
}

#[test]
fn kept_inputs_are_handled() {
    let mut failures = Vec::new();
    for (name, run) in fuzz::TARGETS {
        failures.extend(inputs(name).into_iter().filter(|(_, bytes)| !is_handled(run, bytes)).map(|(path, _)| path));
    }
    assert!(failures.is_empty(), "{failures:#?}");
}

/// A fuzzer's work in small, the same in every run: inputs that are cut, spliced and overwritten.
#[test]
fn damaged_inputs_are_handled() {
    let mut state = 7_u64;
    let mut random = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below.max(1)
    };
    for (name, run) in fuzz::TARGETS {
        let inputs = inputs(name);
        for (path, whole) in &inputs {
            for _ in 0..COPIES {
                let mut bytes = whole.clone();
                for _ in 0..=random(3) {
                    let from = random(bytes.len() + 1);
                    let to = (from + random(12)).min(bytes.len());
                    let other = &inputs[random(inputs.len())].1;
                    let (start, length) = (random(other.len()), random(60));
                    match random(5) {
                        0 => drop(bytes.splice(from..to, WORDS[random(WORDS.len())].iter().copied())),
                        1 => drop(bytes.splice(from..to, other[start..(start + length).min(other.len())].iter().copied())),
                        2 => bytes.truncate(from),
                        3 => bytes.iter_mut().skip(from).take(1).for_each(|byte| *byte ^= 1 << random(8)),
                        _ => drop(bytes.drain(from..to)),
                    }
                }
                assert!(is_handled(run, &bytes), "{name}: a damaged {}: {:?}", path.display(), bytes.escape_ascii().to_string());
            }
        }
    }
}
