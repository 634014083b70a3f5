//! Memory that runs out while a large ruleset is loaded, in the kernel (a cgroup's limit) and in the process (RLIMIT_AS): the ruleset
//! is refused or the process dies, and either way packets are judged by the former one, whole.

use std::fmt::Write as _;
use std::fs;
use std::process::Command;
use std::time::Duration;

use netpol_tests::cgroup::Group;
use netpol_tests::cli::DONE;
use netpol_tests::policy::{allow_port, arriving};
use netpol_tests::{Bench, Daemon, Family, Net, Packet, say, wait};

/// Elements of the large set.
const ELEMENTS: u32 = 60_000;
const MIB: u64 = 1 << 20;

fn small() -> String {
    arriving(&allow_port("one", "udp", 1))
}

/// Another port, for a large set of sources beside the bench's own.
fn large() -> String {
    let rule =
        "[[rule]]\nid = \"two\"\naction = \"allow\"\nprotocol = \"udp\"\nsource = { sets = [\"many\"] }\ndestination = { ports = [2] }\n";
    arriving(rule) + "[[set]]\nname = \"many\"\nfiles = [\"many*.txt\"]\n"
}

fn write_set(net: &Net) {
    write_elements(net, ELEMENTS);
}

fn write_elements(net: &Net, elements: u32) {
    let mut list = String::from("10.1.0.2\nfd00:1::2\n");
    for n in 0..elements {
        writeln!(list, "{}.{}.{}.{}", 20 + (n >> 23), n >> 15 & 255, n >> 7 & 255, (n & 127) * 2).expect("a String takes everything");
    }
    fs::write(net.policy_dir().join("many.txt"), list).expect("the list");
}

#[derive(Debug, PartialEq, Eq, Clone, Copy)]
enum Fate {
    Live,
    Refused,
    Killed,
}

/// Which of the two rulesets judges, in both families; anything between fails the test.
fn large_judges(bench: &Bench, what: &str) -> bool {
    let passes = |port| Family::BOTH.map(|f| bench.arrives(&Packet::udp(f.at(1, 2, 4000), f.at(1, 1, port))));
    match (passes(1), passes(2)) {
        ([true, true], [false, false]) => false,
        ([false, false], [true, true]) => true,
        other => panic!("{what}: neither ruleset: {other:?}"),
    }
}

/// Saves the large ruleset and looks what becomes of it.
fn try_large(bench: &mut Bench, what: &str) -> Fate {
    let before = bench.cli().generation();
    bench.net.write("10-test.toml", &large());
    let fate = wait::poll(Duration::from_secs(60), || {
        if !bench.daemon.lives() {
            return Some(Fate::Killed);
        }
        let answer = bench.cli().run(&["status", "--json"]);
        let status: serde_json::Value = serde_json::from_str(&answer.out).unwrap_or_default();
        match (answer.code == DONE, status["last_error"].as_str(), &status["generation"]) {
            (true, Some(_), _) => Some(Fate::Refused),
            (true, None, now) if *now != before => Some(Fate::Live),
            _ => None,
        }
    });
    fate.unwrap_or_else(|| panic!("{what}: neither live nor refused nor dead\n{}", bench.daemon.log()))
}

/// After each fate: the verdicts are those of one ruleset, and a daemon without the limit gets everything done.
fn settle(bench: &mut Bench, fate: Fate, what: &str, lift: &dyn Fn(&Bench)) {
    assert_eq!(large_judges(bench, what), fate == Fate::Live, "{what}: {fate:?}");
    let why = if fate == Fate::Refused { bench.cli().last_error() } else { String::new() };
    say::aloud(&format!("{what}: {fate:?} {}", why.lines().next().unwrap_or_default()));
    if fate == Fate::Killed {
        bench.net.write("10-test.toml", &small());
        bench.daemon = Daemon::start(&bench.net);
        assert!(!large_judges(bench, what), "{what}: the next daemon goes on");
        bench.net.write("10-test.toml", &large());
    }
    lift(bench);
    bench.cli().run(&["apply"]).expect(DONE);
    assert!(large_judges(bench, what), "{what}: with memory it is live");
    assert_eq!(bench.cli().status()["state"], "ok", "{what}");
    bench.change(&small());
}

#[test]
fn memory_cgroup_that_is_full_refuses_the_ruleset_or_kills_the_daemon_and_changes_no_verdict() {
    let (Some(net), Some(group)) = (Net::new(), Group::new()) else { return };
    write_set(&net);
    net.write("10-test.toml", &small());
    let entering = group.entering();
    let start = |net: &Net| Daemon::start_under(net, &["sh", "-c", &entering], |_| ());
    let daemon = start(&net);
    let mut bench = Bench::around(net, daemon);
    let before = group.usage();
    assert_eq!(try_large(&mut bench, "without limit"), Fate::Live);
    let needed = group.usage().saturating_sub(before);
    say::aloud(&format!("the daemon and its maps: {} MiB; {ELEMENTS} elements more: {} MiB", before / MIB, needed / MIB));
    bench.change(&small());
    let mut fates = Vec::new();
    for share in [2, 20, 50, 80, 300] {
        // Without what former rounds left to be given back.
        bench.daemon.kill();
        bench.daemon = start(&bench.net);
        let room = (needed * share / 100).max(MIB / 4);
        group.limit(group.usage() + room);
        let what = format!("cgroup with room for {} KiB, {share} % of what it takes", room / 1024);
        let fate = try_large(&mut bench, &what);
        group.no_limit();
        settle(&mut bench, fate, &what, &|_| ());
        fates.push(fate);
    }
    assert_ne!(fates[0], Fate::Live, "the limit does limit");
    assert_eq!(fates.last(), Some(&Fate::Live), "and with enough room it fits");
    drop(bench);
}

#[test]
fn address_space_that_is_full_does_no_harm_either() {
    let Some(net) = Net::new() else { return };
    write_set(&net);
    let Some(mut bench) = Bench::start_in(net, &small()) else { return };
    let mut fates = Vec::new();
    for mebibytes in [16, 24, 4096] {
        let what = format!("{mebibytes} MiB of address space");
        bench.daemon.kill();
        let limit = format!("--as={}:unlimited", mebibytes * MIB);
        match Daemon::try_start_under(&bench.net, &["prlimit", &limit], |_| ()) {
            Ok(daemon) => {
                bench.daemon = daemon;
                let fate = try_large(&mut bench, &what);
                settle(&mut bench, fate, &what, &no_limit);
                fates.push(fate);
            }
            Err(why) => {
                say::aloud(&format!("{what}: no start: {}", why.lines().last().unwrap_or_default()));
                assert!(!large_judges(&bench, &what), "{what}: what ran goes on");
                fates.push(Fate::Killed);
            }
        }
    }
    assert_ne!(fates[0], Fate::Live, "the limit does limit");
    assert_eq!(fates.last(), Some(&Fate::Live), "and with enough room it fits");
}

fn remove_lists(net: &Net) {
    let files = fs::read_dir(net.policy_dir()).expect("the policy directory").map(|entry| entry.expect("an entry").path());
    files.filter(|path| path.extension().is_some_and(|end| end == "txt")).for_each(|path| fs::remove_file(path).expect("a list"));
}

/// After a boot nothing is enforced, and a list that is too large kills every start: the second one closes before it reads the list.
#[test]
fn list_that_kills_every_start_leaves_the_host_to_what_was_good_last() {
    let (Some(net), Some(group)) = (Net::new(), Group::new()) else { return };
    net.write("10-test.toml", &small());
    let entering = group.entering();
    let start = |net: &Net| Daemon::try_start_under(net, &["sh", "-c", &entering], |_| ());
    let daemon = start(&net).expect("a start");
    let mut bench = Bench::around(net, daemon);
    let room = group.usage() + 64 * MIB;
    let dies = |bench: &mut Bench| {
        remove_lists(&bench.net);
        bench.net.write("10-test.toml", &large());
        write_elements(&bench.net, 50 * ELEMENTS);
        for n in 0..8 {
            let list = |name: &str| bench.net.policy_dir().join(name);
            fs::hard_link(list("many.txt"), list(&format!("many-{n}.txt"))).expect("another name");
        }
        group.limit(room);
        let why = start(&bench.net).map(drop).expect_err("there is no memory for the list");
        group.no_limit();
        assert!(why.contains("signal: 9"), "{why}");
    };
    let passes = |bench: &Bench| [1, 2].map(|port| bench.arrives(&Packet::udp(Family::V4.at(1, 2, 4000), Family::V4.at(1, 1, port))));
    bench.cli().run(&["detach"]).expect(DONE);
    assert!(bench.daemon.terminate().success());
    // Its memory is given back by and by.
    wait::until("the group is empty", Duration::from_secs(30), || group.usage() < room / 4);
    dies(&mut bench);
    assert_eq!(passes(&bench), [true, true], "nothing is enforced");
    for start in 2..4 {
        dies(&mut bench);
        assert_eq!(passes(&bench), [true, false], "start {start}");
    }
    remove_lists(&bench.net);
    write_set(&bench.net);
    bench.daemon = start(&bench.net).expect("a start");
    assert!(large_judges(&bench, "with memory"));
    assert_eq!(bench.cli().status()["state"], "ok");
}

fn no_limit(bench: &Bench) {
    let status = Command::new("prlimit").args(["--pid", &bench.daemon.process().to_string(), "--as=unlimited:unlimited"]).status();
    assert!(status.expect("prlimit starts").success());
}
