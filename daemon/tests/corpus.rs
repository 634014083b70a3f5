//! Every input that was kept for the fuzzer or found by it, through the same functions, without a fuzzer.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::fs;
use std::panic::catch_unwind;
use std::path::Path;
use std::time::{Duration, Instant};

#[path = "../../tests/fuzz/src/lib.rs"]
mod fuzz;

/// As long as one input may take on a busy machine. They are small.
const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn kept_inputs_are_handled() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("tests/fuzz");
    let mut failures = Vec::new();
    for (name, run) in fuzz::TARGETS {
        let folders = [root.join("corpus").join(name), root.join("crashes").join(name)];
        let entries = folders.iter().filter_map(|folder| fs::read_dir(folder).ok()).flatten();
        let mut count = 0;
        for path in entries.map(|entry| entry.unwrap().path()) {
            let bytes = fs::read(&path).unwrap();
            let start = Instant::now();
            let failed = catch_unwind(|| run(&bytes)).is_err() || start.elapsed() > PATIENCE;
            if failed {
                failures.push(format!("{} ({:?})", path.display(), start.elapsed()));
            }
            count += 1;
        }
        assert!(count > 3, "{name}: the corpus was not found");
    }
    assert!(failures.is_empty(), "{failures:#?}");
}
