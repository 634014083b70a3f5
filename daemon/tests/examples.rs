//! The examples that teach the language are right: each alone, each with the daemon's settings, and all of them together.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use netpol_ebpf::policy::judge::run_tests;
use netpol_ebpf::policy::load_at;
use netpol_ebpf::policy::model::{Expect, PolicySet};
use netpol_ebpf::schema::render;
use netpol_ebpf::source::Snapshot;

/// The day on which the examples are read (2026-06-01): their dates are to come.
const TODAY: i64 = 1_780_272_000;
/// Settings of the daemon, which no policy and no test belongs to.
const DAEMON: &str = "00-daemon.toml";

type File = (String, Vec<u8>);

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("examples")
}

fn examples() -> Vec<File> {
    let mut paths: Vec<_> = fs::read_dir(directory()).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|end| end == "toml"));
    paths.sort();
    paths.iter().map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), fs::read(path).unwrap())).collect()
}

/// The daemon's settings, and the hosts.
fn parts() -> (File, Vec<File>) {
    let (daemon, hosts): (Vec<File>, Vec<File>) = examples().into_iter().partition(|(name, _)| name == DAEMON);
    assert!(hosts.len() >= 6);
    (daemon.into_iter().next().unwrap(), hosts)
}

fn flawless(files: &[File]) -> PolicySet {
    let mut snapshot = Snapshot::of(&directory(), files);
    let loaded = load_at(&mut snapshot, TODAY);
    assert!(loaded.warnings.is_empty(), "{}", render(&loaded.warnings, &snapshot, false));
    let policies = loaded.policies.unwrap_or_else(|errors| panic!("{}", render(&errors, &snapshot, false)));
    let failures: Vec<String> = run_tests(&policies).into_iter().map(|failure| failure.message).collect();
    assert!(failures.is_empty(), "{failures:#?}");
    policies
}

#[test]
fn examples_one_by_one_have_no_flaw() {
    let (daemon, hosts) = parts();
    flawless(std::slice::from_ref(&daemon));
    for host in hosts {
        flawless(std::slice::from_ref(&host));
        flawless(&[daemon.clone(), host]);
    }
}

#[test]
fn examples_all_together_have_no_flaw() {
    flawless(&examples());
}

#[test]
fn every_example_tests_every_verdict_and_both_families() {
    for host in parts().1 {
        let name = host.0.clone();
        let tests = flawless(&[host]).tests;
        for verdict in [Expect::Allow, Expect::Deny, Expect::Reject] {
            assert!(tests.iter().any(|test| test.expect == verdict), "{name}: no test expects {verdict:?}");
        }
        let families: BTreeSet<bool> = tests.iter().map(|test| test.packet.source.is_ipv4()).collect();
        assert_eq!(families.len(), 2, "{name}: tests of one family only");
    }
}
