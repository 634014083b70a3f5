//! The NixOS module, evaluated by Nix itself: what options become, judged by the checker; what is refused before anything is built.
//!
//! Evaluated with the small stand-in of tests/nix, and on the real module system where `NIXPKGS` names a tree.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use netpol_ebpf::cli::check::check;
use netpol_ebpf::policy::judge;
use serde_json::Value;

fn nix_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("tests/nix")
}

/// The library that a case is evaluated with; `None` = the stand-in.
fn libraries() -> Vec<Option<String>> {
    let nixpkgs = std::env::var("NIXPKGS").ok();
    if nixpkgs.is_none() {
        eprintln!("SKIPPED: NIXPKGS names no tree, so the module is evaluated with the stand-in alone");
    }
    [None].into_iter().chain(nixpkgs.map(Some)).collect()
}

/// Whether there is a Nix; said aloud where there is none.
fn nix_is_here() -> bool {
    let here = Command::new("nix-instantiate").arg("--version").output().is_ok();
    if !here {
        eprintln!("SKIPPED: there is no nix-instantiate on this machine");
    }
    here
}

/// What the module makes of a case: its output as data, or Nix's error.
fn evaluate(case: &Path, nixpkgs: Option<&str>) -> Result<Value, String> {
    let output = Command::new(nix_folder().join("evaluate.sh")).arg(case).args(nixpkgs).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() { Ok(serde_json::from_slice(&output.stdout).unwrap()) } else { Err(errors) }
}

fn cases(folder: &str) -> Vec<PathBuf> {
    let mut cases: Vec<_> = fs::read_dir(nix_folder().join(folder)).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.sort();
    assert!(cases.len() > 2, "the cases were found");
    cases
}

#[test]
fn generated_files_are_good_policies_and_pass_their_tests() {
    if !nix_is_here() {
        return;
    }
    for library in libraries() {
        for case in cases("good") {
            let made = evaluate(&case, library.as_deref()).unwrap_or_else(|error| panic!("{}: {error}", case.display()));
            assert_eq!(made["failed"], Value::Array(Vec::new()), "{}", case.display());
            let script = made["checked"].as_str().unwrap();
            assert!(script.contains("netpol-ebpf check "), "the build judges the policies: {script}");
            let directory = tempfile::tempdir().unwrap();
            for file in made["files"].as_array().unwrap() {
                let text = match file["text"].as_str() {
                    Some(text) => text.to_owned(),
                    None => toml::to_string(&file["value"]).unwrap(),
                };
                fs::write(directory.path().join(file["name"].as_str().unwrap()), text).unwrap();
            }
            let checked = check(directory.path()).unwrap();
            let policies = checked.policies.as_ref().unwrap_or_else(|| panic!("{}:\n{}", case.display(), checked.text(false)));
            let failures = judge::run_tests(policies);
            assert!(failures.is_empty(), "{}: {failures:?}", case.display());
        }
    }
}

#[test]
fn mistakes_are_refused_before_anything_is_built() {
    if !nix_is_here() {
        return;
    }
    for case in cases("refused") {
        let text = fs::read_to_string(&case).unwrap();
        let expected = text.lines().next().unwrap().strip_prefix("# expects: ").unwrap();
        let said = match evaluate(&case, None) {
            Ok(made) => made["failed"].to_string(),
            Err(error) => error,
        };
        assert!(said.contains(expected), "{}: {said}", case.display());
    }
}

#[test]
fn service_is_the_packages_own_and_a_change_reloads_it() {
    if !nix_is_here() {
        return;
    }
    let made = evaluate(&nix_folder().join("good/web-server.nix"), None).unwrap();
    assert_eq!(made["service"]["wantedBy"], serde_json::json!(["sysinit.target"]));
    assert_eq!(made["service"]["stopIfChanged"], false, "a new version is a restart, without a time in which nobody is there");
    assert_eq!(made["reloads"], serde_json::json!(["/nix/store/checked"]), "what /etc/netpol.d leads to");
}

/// What the option says is what `waits.conf` says where there is no module.
#[test]
fn services_that_raise_the_network_wait_for_the_firewall() {
    if !nix_is_here() {
        return;
    }
    let made = evaluate(&nix_folder().join("good/web-server.nix"), None).unwrap();
    let waits = &made["others"]["systemd-networkd"];
    let shipped = include_str!("../../systemd/waits.conf");
    let says = |line: &str| assert!(shipped.contains(&format!("\n{line}\n")), "{line} of\n{shipped}");
    assert_eq!(waits["after"], serde_json::json!(["netpol-ebpf.service"]));
    says("After=netpol-ebpf.service");
    assert_eq!(waits["startLimitIntervalSec"], 0);
    says("StartLimitIntervalSec=0");
    let service = &waits["serviceConfig"];
    says(&format!("Restart={}", service["Restart"].as_str().unwrap()));
    says(&format!("RestartSec={}", service["RestartSec"]));
    let asks = service["ExecStartPre"][0].as_str().unwrap();
    for question in ["systemctl is-active --quiet netpol-ebpf.service || ", "netpol-ebpf status --enforced'"] {
        assert!(asks.contains(question) && shipped.contains(question), "{asks}");
    }
}
