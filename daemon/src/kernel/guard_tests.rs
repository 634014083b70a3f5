//! Tests of the guard's life with the real kernel: attached, half attached, undone, taken over by the next daemon and the next version.

use std::fs;

use super::faults::{self, Fault, Harm};
use super::lifecycle::{Bench, reach, ruleset};
use super::tests::needs_root;
use super::*;
use crate::plan::observed::GuardObserved;
use crate::plan::plan;

/// Whether this kernel can have a guard at all.
fn possible(kernel: &Kernel) -> bool {
    let possible = kernel.features().netfilter.is_yes();
    if !possible {
        eprintln!("SKIPPED: this kernel has no netfilter programs");
        assert!(kernel.warnings().iter().any(|warning| warning.contains("no guard")), "{:?}", kernel.warnings());
    }
    possible
}

fn guard_pins(kernel: &Kernel) -> Vec<String> {
    let names = pins::names(&kernel.pins.programs(kernel.programs.digest())).unwrap();
    names.into_iter().filter(|name| name.starts_with("guard-")).collect()
}

/// Everything but the clock, and but the epilogue, which stays: nothing reads it before the first commit.
fn state(kernel: &Kernel) -> Observed {
    Observed { now: 0, shared: None, shared_current: false, ..kernel.observe().unwrap() }
}

#[test]
fn first_start_that_ends_at_any_step_leaves_a_guard_or_none_and_the_next_one_completes_it() {
    needs_root!();
    let bench = Bench::new("guard-start");
    let mut kernel = bench.open();
    if !possible(&kernel) {
        return;
    }
    let before = state(&kernel);
    assert_eq!(before.guard, GuardObserved::Missing);
    let deny = ruleset(&kernel, abi::NP_DENY, &["np0"]);
    let actions = plan(&deny, &kernel.observe().unwrap());
    let place = |wanted: fn(&Action) -> bool| actions.iter().position(wanted).unwrap();
    let commit = place(|action| matches!(action, Action::Commit { .. }));
    assert!(place(|action| *action == Action::AttachGuard) < commit, "before anything is judged");
    for stop in 0..commit {
        let mut broken = actions.clone();
        broken.insert(stop, Action::Commit { word: GenerationWord { running: 77, former: 0 }, before: kernel.word() });
        kernel.execute(&deny, &Contents::default(), &broken).unwrap_err();
        assert_eq!(state(&kernel), before, "undone before {}", actions[stop]);
    }
    for stop in 1..=commit {
        kernel.execute(&deny, &Contents::default(), &actions[..stop]).unwrap();
        drop(kernel);
        kernel = bench.open();
        reach(&mut kernel, &deny);
        assert_eq!((plan(&deny, &kernel.observe().unwrap()), guard_pins(&kernel).len()), (vec![], 4), "killed before {}", actions[stop]);
        kernel.detach_all().unwrap();
        kernel = bench.open();
        assert_eq!(state(&kernel).guard, GuardObserved::Missing);
    }
}

#[test]
fn guard_that_is_there_is_adopted_and_what_is_missing_of_it_comes_back() {
    needs_root!();
    let bench = Bench::new("guard-adopt");
    let mut kernel = bench.open();
    if !possible(&kernel) {
        return;
    }
    let deny = ruleset(&kernel, abi::NP_DENY, &["np0"]);
    reach(&mut kernel, &deny);
    drop(kernel);
    let mut kernel = bench.open();
    assert_eq!(plan(&deny, &kernel.observe().unwrap()), []);
    pins::unpin(&kernel.pins.programs(kernel.programs.digest()).join("guard-out-6")).unwrap();
    assert_eq!(plan(&deny, &kernel.observe().unwrap()), [Action::AttachGuard]);
    reach(&mut kernel, &deny);
    assert_eq!(guard_pins(&kernel), ["guard-in-4", "guard-in-6", "guard-out-4", "guard-out-6"]);
}

#[test]
fn guard_of_another_version_stays_until_the_new_one_is_there() {
    needs_root!();
    let bench = Bench::new("guard-version");
    let mut kernel = bench.open();
    if !possible(&kernel) {
        return;
    }
    let deny = ruleset(&kernel, abi::NP_DENY, &["np0"]);
    reach(&mut kernel, &deny);
    let digest = kernel.programs.digest().to_string();
    fs::rename(kernel.pins.programs(&digest), kernel.pins.programs("0123456789abcdef")).unwrap();
    drop(kernel);
    let mut kernel = bench.open();
    let actions = plan(&deny, &kernel.observe().unwrap());
    let place = |wanted: &dyn Fn(&Action) -> bool| actions.iter().position(wanted).unwrap();
    assert!(place(&|action| *action == Action::AttachGuard) < place(&|action| matches!(action, Action::Sweep { .. })));
    reach(&mut kernel, &deny);
    assert_eq!((guard_pins(&kernel).len(), plan(&deny, &kernel.observe().unwrap())), (4, vec![]));
}

#[test]
fn guard_of_another_version_stays_where_the_new_one_cannot_be_attached() {
    needs_root!();
    let bench = Bench::new("guard-fails");
    let mut kernel = bench.open();
    if !possible(&kernel) {
        return;
    }
    let deny = ruleset(&kernel, abi::NP_DENY, &["np0"]);
    reach(&mut kernel, &deny);
    let (digest, pins) = (kernel.programs.digest().to_string(), pins::Pins::new(&bench.scratch.path));
    let guards = |directory: &str| pins::names(&pins.programs(directory)).unwrap().iter().filter(|name| attach_guard::is_pin(name)).count();
    drop(kernel);
    let (mut call, mut kept) = (0, 0);
    loop {
        fs::rename(pins.programs(&digest), pins.programs("0123456789abcdef")).unwrap();
        let (outcome, counted) = faults::run(Fault::Call(call, Harm::Errno(libc::EPERM)), || {
            let mut kernel = bench.open();
            let actions = plan(&deny, &kernel.observe().unwrap());
            faults::arm();
            let outcome = kernel.execute(&deny, &Contents::default(), &actions);
            faults::disarm();
            outcome.map(|outcome| outcome.again)
        });
        let (ours, theirs) = (guards(&digest), guards("0123456789abcdef"));
        assert!(ours == 4 || theirs == 4, "call {call} failed ({:?}): {ours} places of ours, {theirs} of theirs", counted.at);
        if ours < 4 && outcome.is_ok() {
            kept += 1;
            assert!(matches!(outcome, Ok(true)), "it is tried again");
        }
        reach(&mut bench.open(), &deny);
        assert_eq!((guards(&digest), guards("0123456789abcdef")), (4, 0), "after the next start");
        if counted.at.is_none() {
            break;
        }
        call += if std::env::var_os("NETPOL_SOAK").is_some() { 1 } else { 4 };
    }
    assert!(kept > 0, "calls of the guard are among the {call}");
}
