//! Pins that others remove, one by one and all together, under a running daemon and behind the back of one that is not there.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use netpol_tests::policy::{allow_port, both_ways};
use netpol_tests::residue::{files_below, remove_tree};
use netpol_tests::sock::{self, Connection};
use netpol_tests::{Bench, Daemon, Family, Hook, Net, Packet, wait};

const PATIENCE: Duration = Duration::from_secs(10);

fn policy() -> String {
    both_ways(&(allow_port("dns", "udp", 53) + &allow_port("web", "tcp", 80)))
}

fn judged(bench: &Bench) -> bool {
    let f = Family::V4;
    let to = |port| Packet::udp(f.at(1, 2, 4000), f.at(1, 1, port));
    Hook::BOTH.iter().all(|hook| bench.passes(*hook, &to(53)) && !bench.passes(*hook, &to(54)))
}

fn connection(bench: &Bench) -> Connection {
    let at = Family::V4.at(1, 1, 80);
    Connection::open(&bench.net.src, &sock::listen(&bench.net.dut, at), at).expect("a connection")
}

/// Every pin, whatever the number of the generation.
fn pins(bench: &Bench) -> BTreeSet<String> {
    let base = bench.net.bpffs();
    let relative = |path: PathBuf| path.strip_prefix(&base).expect("below the base").to_string_lossy().into_owned();
    files_below(&base).into_iter().map(relative).filter(|name| !name.contains("/generation-")).collect()
}

fn healthy(bench: &Bench) -> bool {
    bench.cli().run(&["status", "--json"]).code == 0 && bench.cli().status()["state"] == "ok" && bench.cli().run(&["rules"]).code == 0
}

/// The directory of the layout, `maps` and the like below it.
fn part(bench: &Bench, name: &str) -> PathBuf {
    let base = fs::read_dir(bench.net.bpffs())
        .expect("the directory")
        .flatten()
        .find(|entry| entry.file_name().to_string_lossy().starts_with("abi"));
    let abi = base.expect("a layout").path();
    let found = fs::read_dir(&abi).expect("the layout").flatten().find(|entry| entry.file_name().to_string_lossy().starts_with(name));
    found.unwrap_or_else(|| panic!("no {name} in {}", abi.display())).path()
}

/// What is removed, and how.
type Removal<'a> = (&'a str, &'a dyn Fn(&Bench));

#[test]
fn pins_removed_under_a_running_daemon_open_nothing_and_come_back() {
    let Some(mut bench) = Bench::start(&policy()) else { return };
    let mut connection = connection(&bench);
    let before = pins(&bench);
    let removals: [Removal<'_>; 5] = [
        ("links", &|bench| files_below(&part(bench, "links")).iter().for_each(|pin| fs::remove_file(pin).expect("rm"))),
        ("maps", &|bench| files_below(&part(bench, "maps")).iter().for_each(|pin| fs::remove_file(pin).expect("rm"))),
        ("programs", &|bench| remove_tree(&part(bench, "programs-"))),
        ("generation", &|bench| remove_tree(&part(bench, "generation-"))),
        ("everything", &|bench| remove_tree(&bench.net.bpffs())),
    ];
    for (what, remove) in removals {
        remove(&bench);
        assert!(judged(&bench), "at once after rm of {what}");
        wait::until(&format!("every pin is back after rm of {what}"), PATIENCE, || pins(&bench) == before && healthy(&bench));
        assert!(judged(&bench) && connection.lives(), "after rm of {what}");
    }
    assert!(bench.cli().status()["restored"]["pins"].as_u64() >= Some(before.len() as u64), "{}", bench.cli().status());
    assert!(bench.daemon.lines_with(&["removed a pin or an attachment of ours", "map `links`"]).len() >= 2, "{}", bench.daemon.log());
    // What was pinned again outlives the daemon as before.
    bench.daemon.kill();
    assert!(judged(&bench) && connection.lives(), "no daemon");
    bench.daemon = Daemon::start(&bench.net);
    assert!(judged(&bench) && connection.lives(), "the next daemon");
    assert!(healthy(&bench));
}

#[test]
fn map_pins_removed_while_no_daemon_runs_are_found_again_through_the_programs() {
    let Some(mut bench) = Bench::start(&policy()) else { return };
    let mut connection = connection(&bench);
    let before = pins(&bench);
    bench.daemon.kill();
    for pin in files_below(&part(&bench, "maps")) {
        fs::remove_file(pin).expect("rm");
    }
    // The arrays of programs are emptied with their last holder: nothing passes, and nothing is let past.
    let f = Family::V4;
    assert!(!bench.arrives(&Packet::udp(f.at(1, 2, 4000), f.at(1, 1, 54))), "closed");
    bench.daemon = Daemon::start(&bench.net);
    assert!(judged(&bench), "{}", bench.daemon.log());
    assert!(connection.lives(), "the connection tables are the same");
    assert_eq!(pins(&bench), before);
    assert!(bench.cli().warnings().contains("map `links` was missing"), "{}", bench.cli().warnings());
    bench.change(&both_ways(&allow_port("ntp", "udp", 123)));
    assert!(bench.arrives(&Packet::udp(f.at(1, 2, 4000), f.at(1, 1, 123))), "a change of policy reaches the programs");
}

#[test]
fn link_pins_removed_while_no_daemon_runs_open_until_the_next_one() {
    let Some(mut bench) = Bench::start(&policy()) else { return };
    bench.daemon.kill();
    let links = files_below(&part(&bench, "links"));
    links.iter().for_each(|pin| fs::remove_file(pin).expect("rm"));
    let f = Family::V4;
    if !links.is_empty() {
        let open = || bench.arrives(&Packet::udp(f.at(1, 2, 4000), f.at(1, 1, 54)));
        wait::until("the limit: the pin was the last that held the link", PATIENCE, open);
    }
    bench.daemon = Daemon::start(&bench.net);
    assert!(judged(&bench));
    assert_eq!(bench.daemon.lines_with(&["took our program off"]).len(), links.len(), "{}", bench.daemon.log());
}

#[test]
fn unmounted_bpffs_is_mounted_again_with_everything_in_it() {
    let Some(net) = Net::with_own_bpffs() else { return };
    fs::create_dir_all(net.bpffs()).expect("a directory");
    let Some(mut bench) = Bench::start_in(net, &policy()) else { return };
    let mut connection = connection(&bench);
    let before = pins(&bench);
    let mounted = |path: &Path| {
        let mounts = fs::read_to_string("/proc/self/mounts").expect("/proc/self/mounts");
        mounts.lines().any(|line| line.split(' ').nth(1).map(Path::new) == Some(path))
    };
    let umount =
        |bench: &Bench, how: &[&str]| Command::new("umount").args(how).arg(bench.net.bpffs()).output().expect("umount").status.success();
    assert!(mounted(&bench.net.bpffs()), "the daemon mounts one where there is none");
    assert!(!umount(&bench, &[]), "it is busy while the daemon runs");
    for round in 0..2 {
        assert!(umount(&bench, &["--lazy"]));
        assert!(judged(&bench), "at once, round {round}");
        wait::until("it is mounted again, and every pin is back", PATIENCE, || mounted(&bench.net.bpffs()) && pins(&bench) == before);
        assert!(judged(&bench) && connection.lives(), "round {round}");
    }
    wait::until("healthy", PATIENCE, || healthy(&bench));
    assert!(!bench.daemon.lines_with(&["unmounted"]).is_empty());
    bench.daemon.kill();
    assert!(judged(&bench) && connection.lives(), "no daemon");
    // Without a daemon nothing holds it: what was pinned is gone, and the next daemon begins anew.
    assert!(umount(&bench, &[]));
    bench.daemon = Daemon::start(&bench.net);
    assert!(judged(&bench));
}
