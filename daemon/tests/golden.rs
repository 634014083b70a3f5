//! Policy directories and what is said about them: every folder of tests/golden is a case, `expected.txt` its diagnostics.
//!
//! `NETPOL_BLESS=1 cargo test --test golden` writes what is said now; read the difference before you keep it.
#![allow(clippy::unwrap_used)]

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use netpol_ebpf::cli::check::check;

/// Folders in lexical order. Paths are relative to the root, so that the texts are the same everywhere.
fn cases(root: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(root.join("tests/golden")).unwrap().map(|entry| entry.unwrap());
    let mut cases: Vec<_> =
        entries.filter(|entry| entry.path().is_dir()).map(|entry| PathBuf::from("tests/golden").join(entry.file_name())).collect();
    cases.sort();
    cases
}

/// What `check` says about a directory.
fn said(case: &Path) -> String {
    match check(case) {
        Ok(checked) => {
            let verdict = if checked.policies.is_some() { "accepted" } else { "refused" };
            format!("{}\n{verdict}\n", checked.text(false)).trim_start().to_owned()
        }
        Err(error) => format!("{error}\n"),
    }
}

/// Lines that differ, with `-` for what was expected and `+` for what was said.
fn difference(expected: &str, said: &str) -> String {
    let mut text = String::new();
    let (expected, said): (Vec<_>, Vec<_>) = (expected.lines().collect(), said.lines().collect());
    let same_head = expected.iter().zip(&said).take_while(|(a, b)| a == b).count();
    let same_tail = expected[same_head..].iter().rev().zip(said[same_head..].iter().rev()).take_while(|(a, b)| a == b).count();
    for line in &expected[same_head..expected.len() - same_tail] {
        writeln!(text, "-{line}").unwrap();
    }
    for line in &said[same_head..said.len() - same_tail] {
        writeln!(text, "+{line}").unwrap();
    }
    text
}

#[test]
fn diagnostics_of_every_case_are_as_written_down() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    std::env::set_current_dir(root).unwrap();
    let bless = std::env::var_os("NETPOL_BLESS").is_some();
    let mut failures = String::new();
    let cases = cases(root);
    assert!(cases.len() > 20, "the cases were not found");
    for case in cases {
        let said = said(&case);
        let file = case.join("expected.txt");
        if bless {
            fs::write(&file, &said).unwrap();
            continue;
        }
        let expected = fs::read_to_string(&file).unwrap_or_default();
        if expected != said {
            writeln!(failures, "{}:\n{}", case.display(), difference(&expected, &said)).unwrap();
        }
    }
    assert!(failures.is_empty(), "{failures}");
}
