//! Whatever fails, and wherever the daemon dies: the kernel judges as before or as afterwards, never in between, and the next start
//! puts everything right.
//!
//! Each [`Scenario`] is carried out again and again with the real programs, each time with one fault: an action of the plan fails or
//! is the last thing that this process ever sees (SIGKILL, in a process of its own), and so does every single call into the kernel; and
//! each program is refused, as by a verifier or a lockdown. With `NETPOL_SOAK=1` every action fails with every errno, every call with one
//! of them, and every program is refused with each of theirs; else every action with one of them, and a sample of the calls and programs.

mod boot;
mod damage;
mod expected;
mod frames;
mod layouts;
mod scenarios;
mod world;

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};

use crate::kernel::faults::{self, Counted, Fault, Harm};
use crate::kernel::tests::needs_root;
use expected::{Expected, State};
use scenarios::Scenario;
use world::World;

const ERRNOS: [i32; 4] = [libc::ENOSPC, libc::ENOMEM, libc::EPERM, libc::E2BIG];
/// What a verifier or a lockdown answers to a program.
const REFUSALS: [i32; 3] = [libc::EACCES, libc::EINVAL, libc::EPERM];
/// Calls of a scenario that fail, and that are the last ones, where not all are tried.
const SAMPLE: usize = 8;
/// Programs that are refused, and changes by netlink that are the last ones, where not all are tried.
const FEW: usize = 3;
/// What a child process is to do: scenario, turn, what is counted, place, pins, home.
const CHILD: &str = "NETPOL_TEST_CRASH";

fn attempt(world: &World, scenario: &Scenario, turn: usize, fault: Fault) -> (Result<(), String>, Counted) {
    faults::run(fault, || {
        let mut daemon = world.daemon();
        if scenario.running {
            daemon.start().map_err(|refusal| refusal.text).unwrap();
        }
        (scenario.operate)(world, &mut daemon, turn)
        // Dropped without a word, as if killed.
    })
}

/// Nothing is left out.
fn thorough() -> bool {
    std::env::var_os("NETPOL_SOAK").is_some()
}

fn step(scenario: &Scenario) -> usize {
    if thorough() { 1 } else { scenario.step }
}

/// All of them, or so many, evenly.
fn chosen(count: usize, most: usize) -> Vec<usize> {
    if thorough() || count <= most {
        return (0..count).collect();
    }
    (0..most).map(|n| n * count / most + n % 3).filter(|n| *n < count).collect()
}

/// One of them.
fn in_turn(errnos: &[i32], n: usize) -> &[i32] {
    let n = n % errnos.len();
    &errnos[n..=n]
}

fn fails_everywhere(scenario: &Scenario) {
    let world = World::with(scenario.name, scenario.ways);
    let expected = [0, 1].map(|turn| Expected::of(&world, scenario, turn));
    let mut faults = Vec::new();
    let actions = expected[0].counted.actions.max(expected[1].counted.actions);
    for action in (0..actions).step_by(step(scenario)) {
        let errnos = if thorough() { &ERRNOS } else { in_turn(&ERRNOS, action) };
        faults.extend(errnos.iter().map(|errno| Fault::Action(action, Harm::Errno(*errno))));
    }
    for (n, call) in chosen(expected[0].counted.calls, SAMPLE.div_ceil(step(scenario))).into_iter().enumerate() {
        faults.extend(in_turn(&ERRNOS, n).iter().map(|errno| Fault::Call(call, Harm::Errno(*errno))));
    }
    for (n, load) in chosen(expected[0].counted.loads, FEW).into_iter().enumerate() {
        let errnos = if thorough() { &REFUSALS } else { in_turn(&REFUSALS, n) };
        faults.extend(errnos.iter().map(|errno| Fault::Load(load, *errno)));
    }
    let (mut refused, mut endured) = (0, 0);
    for (n, fault) in faults.iter().enumerate() {
        let (turn, expected) = (n % 2, &expected[n % 2]);
        (scenario.prepare)(&world, turn);
        let before = world.judging();
        let (result, counted) = attempt(&world, scenario, turn, *fault);
        let now = State::of(&world);
        let what = format!("{}: {fault:?} at {:?}: {result:?}", scenario.name, counted.at);
        // Calls may be fewer the next time; actions and loads are as many as without a fault.
        let is_reached = match fault {
            Fault::Action(n, _) => *n < expected.counted.actions,
            Fault::Load(n, _) => *n < expected.counted.loads,
            _ => false,
        };
        assert!(counted.at.is_some() || !is_reached, "{what}: nothing was made to fail");
        match result {
            Ok(()) => {
                endured += 1;
                assert_eq!(now.seen, expected.after.seen, "{what}");
            }
            Err(_) if scenario.may_end_between => {}
            Err(_) => {
                refused += 1;
                assert_eq!(now.seen, expected.before, "{what}");
                if scenario.running {
                    world.same_pins(&world.before().1, &what);
                }
            }
        }
        assert!(expected.allows(&now, &before), "{what}: {now:?}\n{before:?}\n{expected:?}");
        world.next_start(&expected.next(), &what);
    }
    eprintln!("{}: {} faults: {refused} refused, {endured} endured", scenario.name, faults.len());
}

fn dies_everywhere(scenario: &Scenario) {
    let world = World::with(&format!("{}-kill", scenario.name), scenario.ways);
    let expected = [0, 1].map(|turn| Expected::of(&world, scenario, turn));
    let least = |count: fn(&Counted) -> usize| count(&expected[0].counted).min(count(&expected[1].counted));
    let actions = (0..least(|counted| counted.actions)).step_by(step(scenario)).map(|n| (n % 2, "action", n));
    let calls = chosen(least(|counted| counted.changes), SAMPLE.div_ceil(step(scenario)))
        .into_iter()
        .enumerate()
        .map(|(n, call)| (n % 2, "call", call));
    // Filters and their qdisc: changes that a sample of all might miss.
    let of_turn = |turn: usize| {
        let all = &expected[turn].counted.by_netlink;
        chosen(all.len(), FEW).into_iter().map(move |n| (turn, "call", all[n]))
    };
    let by_netlink = of_turn(0).chain(of_turn(1));
    let mut kills = 0;
    for (turn, kind, place) in actions.chain(calls).chain(by_netlink) {
        let expected = &expected[turn];
        (scenario.prepare)(&world, turn);
        let before = world.judging();
        let order = format!("{} {turn} {kind} {place} {} {}", scenario.name, world.bpffs().display(), world.home().display());
        let mut child = Command::new(std::env::current_exe().unwrap());
        child.args(["--exact", "reconcile::crash_tests::child_that_dies", "--nocapture"]).env(CHILD, &order);
        let output = child.stdin(Stdio::null()).output().unwrap();
        let what = format!("killed before {order}: {}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.status.signal(), Some(libc::SIGKILL), "{what}");
        let now = State::of(&world);
        assert!(expected.allows(&now, &before), "{what}: {now:?}\n{before:?}\n{expected:?}");
        world.next_start(&expected.next(), &what);
        kills += 1;
    }
    let by_netlink = expected[0].counted.by_netlink.len();
    assert_eq!(by_netlink > 0, scenario.sets_filters(), "{}: filters are set by netlink", scenario.name);
    eprintln!("{}: {kills} kills; {by_netlink} changes by netlink", scenario.name);
}

#[test]
fn filter_that_cannot_be_exchanged_over_another_layout_is_exchanged_by_the_same_daemon_soon() {
    needs_root!();
    let scenario = &scenarios::OTHER_LAYOUT_BY_CLSACT;
    let world = World::with("late", scenario.ways);
    let actions = Expected::of(&world, scenario, 0).counted.actions;
    let mut late = 0;
    for action in 0..actions {
        (scenario.prepare)(&world, 0);
        let (mut daemon, counted) = faults::run(Fault::Action(action, Harm::Errno(libc::ENOMEM)), || {
            let mut daemon = world.daemon();
            // Where it ends the start is what the others look at.
            let _refused = (scenario.operate)(&world, &mut daemon, 0);
            daemon
        });
        let at = counted.at.unwrap_or_default();
        if at.starts_with("exchange program") {
            late += 1;
            assert!(daemon.again(), "{at}: it looks again");
            assert!(daemon.warnings.iter().any(|warning| warning.contains("abi1 stays")), "{at}: {:?}", daemon.warnings);
            assert_eq!(world.seen(), world.before().0, "{at}: judged as before");
            daemon.follow_links().map_err(|refusal| refusal.text).unwrap();
            assert_eq!(world.seen(), world.before().0, "{at}: judged as before, by the new tables");
            world.is_tidy(&mut daemon, &at);
        }
    }
    assert!(late > 1, "{late} exchanges of {actions} actions");
}

/// Not a test of its own: what the tests above start and see die.
#[test]
fn child_that_dies() {
    let Some(order) = std::env::var_os(CHILD) else { return };
    let order = order.into_string().unwrap();
    let words: Vec<&str> = order.split(' ').collect();
    let [name, turn, kind, place, bpffs, home] = words[..] else { panic!("{order}") };
    let scenario = scenarios::ALL.iter().find(|scenario| scenario.name == name).unwrap();
    let place = place.parse().unwrap();
    let fault = if kind == "action" { Fault::Action(place, Harm::Kill) } else { Fault::Call(place, Harm::Kill) };
    let outcome = attempt(&World::inherited(bpffs, home, scenario.ways), scenario, turn.parse().unwrap(), fault);
    eprintln!("still here: {outcome:?}");
}

macro_rules! tests {
    ($($module:ident: $scenario:ident;)*) => {
        $(
            mod $module {
                use super::*;

                #[test]
                fn one_failure_leaves_before_or_after() {
                    needs_root!();
                    fails_everywhere(&scenarios::$scenario);
                }

                #[test]
                fn death_leaves_before_or_after() {
                    needs_root!();
                    dies_everywhere(&scenarios::$scenario);
                }
            }
        )*
    };
}

tests! {
    first_start: FIRST_START;
    reload: RELOAD;
    link_that_appears: LINK_APPEARS;
    set_replace: SET_REPLACE;
    rollback: ROLLBACK;
    trial: TRIAL;
    confirmation: CONFIRMATION;
    detachment: DETACHMENT;
    xdp_switch: XDP_SWITCH;
    upgrade: UPGRADE;
    other_layout: OTHER_LAYOUT;
    other_layout_by_clsact: OTHER_LAYOUT_BY_CLSACT;
    boot_after_a_change: BOOT;
    boot_after_a_failure: BOOT_AFTER_A_FAILURE;
    boot_with_a_broken_file: BOOT_WITH_A_BROKEN_FILE;
}
