//! Tests of the guard's life with the real kernel: attached, half attached, undone, taken over by the next daemon and the next version.

use std::fs;
use std::io::ErrorKind;
use std::net::UdpSocket;
use std::process::Command;

use super::faults::{self, Fault, Harm};
use super::lifecycle::{Bench, index, reach, ruleset};
use super::tests::needs_root;
use super::*;
use crate::compile::names::name_of;
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

/// The moment between the first record of an interface and the end of all that passed without it, made long: the wait for that end fails.
#[test]
fn new_interface_stays_shut_until_what_passed_without_its_record_has_arrived() {
    needs_root!();
    let bench = Bench::new("guard-settles");
    let mut kernel = bench.open();
    if !possible(&kernel) {
        return;
    }
    for arguments in
        ["address add 10.0.0.1/24 dev np1", "link set np0 up", "link set np1 up", "neighbour add 10.0.0.2 lladdr 02:00:00:00:00:02 dev np1"]
    {
        assert!(Command::new("ip").args(arguments.split(' ')).status().unwrap().success(), "ip {arguments}");
    }
    let socket = UdpSocket::bind("10.0.0.1:0").unwrap();
    let leaves = || match socket.send_to(b"x", "10.0.0.2:9") {
        Ok(_) => true,
        Err(error) if error.kind() == ErrorKind::PermissionDenied => false,
        Err(error) => panic!("{error}"),
    };
    let mut without = ruleset(&kernel, abi::NP_DENY, &["np0"]);
    let mut with = ruleset(&kernel, abi::NP_DENY, &["np0", "np1"]);
    for wanted in [&mut without, &mut with] {
        wanted.core.guard.names = vec![(name_of("np1"), 1 << abi::NP_HOOK_EGRESS)];
    }
    assert!(leaves(), "nothing runs");
    reach(&mut kernel, &without);
    assert!(!leaves(), "selected and without programs");
    let np1 = index(&kernel, "np1");
    let settles = |kernel: &Kernel| kernel.observe().unwrap().records[&(kernel.word().running, np1)].flags & abi::NP_LINK_SETTLING != 0;
    // The next try's first call writes the record once more.
    for (when, first) in [("new", 0), ("the next try fails too", 1)] {
        wait_fails(&mut kernel, &with, first);
        assert!(settles(&kernel), "{when}");
        assert!(!leaves(), "{when}: it has programs and a record");
    }
    reach(&mut kernel, &with);
    assert!(!settles(&kernel) && leaves(), "nothing is on its way any more");
    assert_eq!(plan(&with, &kernel.observe().unwrap()), []);
}

/// Carries out the plan with one call after the other refused, from the first on, until it is one of those that wait.
fn wait_fails(kernel: &mut Kernel, wanted: &Ruleset, first: usize) {
    for call in first.. {
        let (outcome, counted) = faults::run(Fault::Call(call, Harm::Errno(libc::EPERM)), || {
            let actions = plan(wanted, &kernel.observe().unwrap());
            faults::arm();
            let outcome = kernel.execute(wanted, &Contents::default(), &actions);
            faults::disarm();
            outcome.unwrap()
        });
        assert!(counted.at.is_some(), "there is no wait among {call} calls");
        if outcome.warnings.iter().any(|warning| warning.contains("stay shut")) {
            assert!(outcome.again, "it is tried again");
            return;
        }
    }
}
