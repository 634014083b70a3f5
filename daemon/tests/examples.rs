//! The examples that teach the language are right: each alone, and all of them together.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::fs;
use std::path::Path;

use netpol_ebpf::policy::judge::run_tests;
use netpol_ebpf::policy::load;
use netpol_ebpf::schema::render;
use netpol_ebpf::source::Snapshot;

fn examples() -> Vec<(String, Vec<u8>)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("examples");
    let mut paths: Vec<_> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|end| end == "toml"));
    paths.sort();
    paths.iter().map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), fs::read(path).unwrap())).collect()
}

fn assert_flawless(files: &[(String, Vec<u8>)]) {
    let mut snapshot = Snapshot::of(Path::new("examples"), files);
    let loaded = load(&mut snapshot);
    assert!(loaded.warnings.is_empty(), "{}", render(&loaded.warnings, &snapshot, false));
    let policies = loaded.policies.unwrap_or_else(|errors| panic!("{}", render(&errors, &snapshot, false)));
    assert!(!policies.tests.is_empty(), "an example without tests teaches half");
    let failures: Vec<String> = run_tests(&policies).into_iter().map(|failure| failure.message).collect();
    assert!(failures.is_empty(), "{failures:#?}");
}

#[test]
fn examples_one_by_one_have_no_flaw() {
    let examples = examples();
    assert!(examples.len() >= 3);
    examples.into_iter().for_each(|example| assert_flawless(&[example]));
}

#[test]
fn examples_all_together_have_no_flaw() {
    assert_flawless(&examples());
}
