//! Pins that somebody took away or exchanged, maps without room, files of the state directory that are cut short: the daemon puts it
//! right or refuses, and says so; it never opens what was closed.

use std::fs;

use super::frames::policy;
use super::layouts::tree;
use super::world::World;
use crate::kernel::faults::{self, Fault, Harm};
use crate::kernel::tests::needs_root;
use crate::kernel::{fingerprints, witness};
use crate::reconcile::{Reconciler, fallback};

const MODE: &str = "generic";
/// Everything is closed, by no rule.
const CLOSED: &str =
    "version = 1\n[[policy]]\nname = \"closed\"\ninterfaces = [\"np*\"]\ndefault_action = { ingress = \"deny\", egress = \"deny\" }\n";
/// Maps made to measure that a build fills. (A counter that is missing counts nothing.)
const FILLED: [&str; 12] = [
    "chains",
    "layers",
    "views",
    "rows",
    "row_defaults",
    "decisions",
    "candidates",
    "l4_tables",
    "l4_combine",
    "rules",
    "conditions",
    "rule_names",
];

/// Pins to take away: all that generations share, and some, or all, of the others.
fn chosen(names: Vec<String>) -> Vec<String> {
    let all = super::thorough();
    let others = names.iter().filter(|name| !name.contains("/maps/")).enumerate().filter(|(n, _)| all || n % 9 == 0).map(|(_, name)| name);
    names.iter().filter(|name| name.contains("/maps/")).chain(others).cloned().collect()
}

#[test]
fn any_pin_may_be_missing_at_a_start() {
    needs_root!();
    let world = World::new("pin");
    drop(world.settle(&policy(0, MODE)));
    let names: Vec<String> = fingerprints::pinned(world.bpffs()).into_keys().filter(|name| name.contains("/abi")).collect();
    let seen = world.seen();
    let kinds: Vec<String> = chosen(names);
    let (mut refused, mut repaired) = (0, 0);
    for name in &kinds {
        // Numbers of generations go up; what they hold is the same.
        let running = world.settle(&policy(0, MODE)).generation();
        let name = match name.split_once("generation-") {
            Some((front, rest)) => format!("{front}generation-{running}{}", rest.trim_start_matches(|c: char| c.is_ascii_digit())),
            None => name.clone(),
        };
        fs::remove_file(format!("{}{name}", world.bpffs().display())).unwrap_or_else(|error| panic!("{name}: {error}"));
        // A link without its pin is gone: only whoever may do everything can do that. A program array without its pin is emptied by the
        // kernel, and closes.
        if !name.contains("/links/") {
            let opened = world.seen().iter().zip(&seen).any(|(now, before)| *now && !before);
            assert!(!opened, "without {name}, before the start: {:?}", world.seen());
            assert!(name.ends_with("_programs") || world.seen() == seen, "without {name}, before the start: {:?}", world.seen());
        }
        let mut daemon = world.daemon();
        match daemon.start() {
            Ok(()) => {
                repaired += 1;
                if name.contains("/maps/") {
                    assert!(daemon.warnings.iter().any(|warning| warning.contains("missing")), "{name}: {:?}", daemon.warnings);
                }
                drop(daemon);
                assert_eq!(world.seen(), seen, "without {name}, after the start");
                world.next_start(&[&seen], &name);
            }
            Err(refusal) => {
                refused += 1;
                assert_eq!(world.seen(), seen, "without {name}, refused: {}", refusal.text);
                eprintln!("without {name}: {}", refusal.text);
                drop(daemon);
                world.blank();
            }
        }
    }
    eprintln!("{} pins taken away: {repaired} repaired, {refused} refused", kinds.len());
    assert!(repaired > refused);
}

#[test]
fn pinned_map_of_a_foreign_layout_is_refused_and_what_runs_goes_on() {
    needs_root!();
    let world = World::new("foreign");
    for map in ["links", "connections", "slots"] {
        drop(world.settle(&policy(0, MODE)));
        let seen = world.seen();
        witness::exchange_for_foreign(&tree(&world).join("maps").join(map));
        let refusal = world.daemon().start().err().map(|refusal| refusal.text).unwrap_or_default();
        assert!(refusal.contains("another layout") && refusal.contains(map), "{refusal}");
        assert_eq!(world.seen(), seen, "{map}");
        world.blank();
    }
}

#[test]
fn map_with_one_entry_less_than_it_needs_is_refused_and_nothing_of_it_stays() {
    needs_root!();
    let world = World::new("room");
    let mut daemon = world.settle(&policy(0, MODE));
    let (mut tried, mut next) = (0, 1);
    for map in FILLED {
        world.ready_without_faults();
        world.write(&policy(next, MODE));
        faults::shrink(map);
        let result = daemon.reload(false).map_err(|refusal| refusal.text);
        if !faults::has_shrunk() {
            assert_eq!(result, Ok(()), "{map}");
            next += 1;
            continue;
        }
        tried += 1;
        let error = result.unwrap_err();
        assert!(error.contains(map), "{error}");
        let (before, pinned) = world.before();
        assert_eq!(world.seen(), before, "{map}");
        world.same_pins(&pinned, map);
    }
    assert!(tried >= 5, "{tried} maps with more than one entry");
    faults::shrink("");
    world.ready_without_faults();
    daemon.reload(true).map_err(|refusal| refusal.text).unwrap();
    assert_ne!(world.seen(), world.before().0, "with room for all");
}

/// A daemon with a ruleset on trial, and what the former one lets through.
fn on_trial(world: &World) -> (Reconciler, Vec<bool>) {
    let mut daemon = world.settle(&policy(0, MODE));
    let former = world.seen();
    world.write(&policy(1, MODE));
    daemon.apply_on_trial(Some(1000)).map_err(|refusal| refusal.text).unwrap();
    (daemon, former)
}

#[test]
fn damaged_note_of_a_trial_lets_nothing_in_that_was_rolled_back() {
    needs_root!();
    let world = World::new("note");
    for cut in [0, 7, 40] {
        let (daemon, seen) = on_trial(&world);
        assert_ne!(world.seen(), seen, "on trial");
        witness::end_trial(daemon.kernel.as_ref().unwrap());
        drop(daemon);
        assert_eq!(world.seen(), seen, "rolled back by the programs");
        let note = world.home().join("state/on-trial");
        assert_eq!(fs::read(&note).unwrap().len(), 32);
        fs::write(&note, vec![7; cut]).unwrap();
        let mut daemon = world.daemon();
        daemon.start().map_err(|refusal| refusal.text).unwrap();
        assert_eq!(world.seen(), seen, "after the start, the note has {cut} bytes");
        assert!(daemon.rolled_back.is_some(), "it stays out");
    }
}

#[test]
fn trial_goes_on_and_ends_though_one_of_its_tables_has_lost_its_pin() {
    needs_root!();
    let world = World::new("torn");
    for map in ["connections", "generation", "links", "slots", "tc_programs", "xdp_programs"] {
        let (daemon, former) = on_trial(&world);
        drop(daemon);
        fs::remove_file(tree(&world).join("maps").join(map)).unwrap();
        let mut daemon = world.daemon();
        daemon.start().map_err(|refusal| refusal.text).unwrap();
        witness::end_trial(daemon.kernel.as_ref().unwrap());
        // An array of programs that the kernel emptied stays closed for the former generation, until the daemon has followed it.
        let opened = world.seen().iter().zip(&former).any(|(now, before)| *now && !before);
        assert!(!opened, "without {map}: {:?}, before {former:?}", world.seen());
        drop(daemon);
        world.daemon().start().map_err(|refusal| refusal.text).unwrap();
        assert_eq!(world.seen(), former, "without {map}: not confirmed, and over");
        world.blank();
    }
}

/// Two faults at once: the tables were lost while no daemon ran. What is put in their place knows no deadline.
#[test]
fn trial_does_not_count_for_good_because_its_tables_were_lost() {
    needs_root!();
    let world = World::new("lost");
    let (daemon, former) = on_trial(&world);
    drop(daemon);
    // No program is left that knows the table of connections; what says that there is a trial is still there.
    for name in fingerprints::pinned(world.bpffs()).into_keys() {
        if name.contains("/programs-") || name.contains("/links/") || name.ends_with("/maps/connections") {
            fs::remove_file(format!("{}{name}", world.bpffs().display())).unwrap();
        }
    }
    let mut daemon = world.daemon();
    daemon.start().map_err(|refusal| refusal.text).unwrap();
    assert!(daemon.warnings.iter().any(|warning| warning.contains("built anew")), "{:?}", daemon.warnings);
    assert!(daemon.rolled_back.is_some(), "it stays out");
    assert_eq!(world.seen(), former, "not confirmed, and over");
}

#[test]
fn ruleset_that_the_watcher_made_live_and_that_was_rolled_back_is_not_the_last_good_one() {
    needs_root!();
    let world = World::new("watched");
    let mut daemon = world.settle(&policy(0, MODE));
    let seen = world.seen();
    world.write(&policy(1, MODE));
    daemon.reload(false).map_err(|refusal| refusal.text).unwrap();
    daemon.apply_on_trial(Some(1000)).map_err(|refusal| refusal.text).unwrap();
    witness::end_trial(daemon.kernel.as_ref().unwrap());
    drop(daemon);
    assert_eq!(world.seen(), seen, "rolled back by the programs");
    let mut daemon = world.daemon();
    daemon.start().map_err(|refusal| refusal.text).unwrap();
    assert_eq!(world.seen(), seen, "and it stays out");
}

#[test]
fn last_good_ruleset_that_is_cut_short_is_no_ruleset_and_everything_stays_closed() {
    needs_root!();
    let world = World::new("cut");
    let daemon = world.settle(&policy(0, MODE));
    let good = fallback::last_good(&daemon.directories);
    drop(daemon);
    let whole = fs::read(&good).unwrap();
    for length in [0, 1, whole.len() / 2, whole.len() - 1] {
        fs::write(&good, &whole[..length]).unwrap();
        // Nothing is in the kernel, and the directory says nothing either: only failsafe entries are left, and there are none.
        witness::wait_until_unlocked(world.bpffs());
        crate::kernel::detach_directory(world.bpffs()).unwrap();
        world.write("version = 1\n[[policy]\n");
        let mut daemon = world.daemon();
        daemon.start().map_err(|refusal| refusal.text).unwrap();
        assert!(world.seen().iter().all(|passes| !passes), "cut to {length} bytes: {:?}", world.seen());
        assert!(daemon.last_error.is_some());
    }
}

/// The kernel takes every ruleset but that of the directory: at boot, and where something runs already.
#[test]
fn ruleset_that_the_kernel_does_not_take_is_replaced_by_the_last_good_one() {
    needs_root!();
    let world = World::new("unfit");
    for reboot in [true, false] {
        drop(world.settle(CLOSED));
        let good = world.seen();
        if reboot {
            crate::kernel::detach_directory(world.bpffs()).unwrap();
            assert_ne!(world.seen(), good, "off");
        }
        world.write(&policy(0, MODE));
        faults::shrink("rules");
        let mut daemon = world.daemon();
        daemon.start().map_err(|refusal| refusal.text).unwrap();
        assert!(faults::has_shrunk());
        faults::shrink("");
        assert_eq!(world.seen(), good, "after a reboot: {reboot}");
        assert!(daemon.last_error.as_ref().is_some_and(|error| error.contains("rules")), "{:?}", daemon.last_error);
        daemon.reload(true).map_err(|refusal| refusal.text).unwrap();
        assert_ne!(world.seen(), good, "as soon as it fits");
    }
}

#[test]
fn table_of_connections_that_memory_does_not_hold_becomes_smaller() {
    needs_root!();
    let world = World::new("table");
    let mut smaller = 0;
    for call in 0.. {
        world.blank();
        world.write(CLOSED);
        let (warnings, counted) = faults::run(Fault::Call(call, Harm::Errno(libc::ENOMEM)), || {
            let mut daemon = world.daemon();
            faults::arm();
            let started = daemon.start().map(|()| daemon.kernel.as_ref().unwrap().warnings().to_vec());
            faults::disarm();
            started.unwrap_or_default()
        });
        if warnings.iter().any(|warning| warning.contains("no memory for the 262144") || warning.contains("no memory for the 65536")) {
            assert!(world.seen().iter().all(|passes| !passes), "{warnings:?}");
            smaller += 1;
        }
        if counted.at.is_none() || smaller == 2 {
            break;
        }
    }
    assert_eq!(smaller, 2, "connections and half_open");
}
