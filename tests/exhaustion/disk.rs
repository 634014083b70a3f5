//! State and runtime directories that are full: a command is refused, nothing that was kept is lost, the next start works.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use netpol_tests::cli::{DONE, REFUSED};
use netpol_tests::policy::{allow_port, arriving};
use netpol_tests::{Bench, Daemon, Family, Net, Packet};
use serde_json::Value;

/// A small file system over a directory; taken off on drop.
struct Small(PathBuf);

impl Small {
    fn on(directory: &Path, options: &str) -> Small {
        let mount = ["-t", "tmpfs", "-o", options, "np-test"];
        assert!(Command::new("mount").args(mount).arg(directory).status().expect("mount starts").success());
        Small(directory.to_path_buf())
    }

    /// Takes all the room that is left.
    fn fill(&self) {
        let mut file = fs::File::create(self.0.join("filler")).expect("a file");
        while file.write_all(&[7; 512]).is_ok() {}
    }

    /// Takes all the names that are left.
    fn fill_names(&self) {
        let taken = (0..).take_while(|n| fs::write(self.0.join(format!("filler{n}")), "").is_ok()).count();
        assert!(taken < 1000, "a file system of few files");
    }

    fn empty(&self) {
        for entry in fs::read_dir(&self.0).expect("the directory").flatten() {
            if entry.file_name().to_string_lossy().starts_with("filler") {
                fs::remove_file(entry.path()).expect("a file of ours");
            }
        }
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        // Lazily: the daemon may still hold files.
        let done = Command::new("umount").arg("-l").arg(&self.0).status();
        assert!(std::thread::panicking() || done.expect("umount starts").success());
    }
}

/// Dropped in this order: the file system before the world around it.
struct World {
    small: Small,
    bench: Bench,
}

const SET: &str = "[[rule]]\nid = \"friends\"\naction = \"allow\"\nsource = { sets = [\"friends\"] }\n\
    [[set]]\nname = \"friends\"\ndynamic = true\nmax_entries = 5000\n";

fn text(port: u16) -> String {
    arriving(&(allow_port("one", "udp", port) + SET))
}

/// The same for the reader of the policy, and some pages longer.
fn long(port: u16) -> String {
    format!("{}# {}\n", text(port), "x".repeat(20_000))
}

fn start() -> Option<World> {
    let net = Net::new()?;
    let small = Small::on(&net.state_dir(), "size=64k");
    Some(World { small, bench: Bench::start_in(net, &text(1))? })
}

fn udp(host: u8, port: u16) -> Packet {
    Packet::udp(Family::V4.at(1, host, 4000), Family::V4.at(1, 1, port))
}

fn elements(bench: &Bench) -> Vec<String> {
    let shown: Value = serde_json::from_str(&bench.cli().run(&["set", "show", "friends", "--json"]).expect(DONE).out).expect("JSON");
    shown["elements"].as_array().expect("elements").iter().map(|e| e.as_str().expect("text").to_owned()).collect()
}

#[test]
fn journal_on_a_full_disk_refuses_the_change_and_keeps_all_before_it() {
    let Some(mut world) = start() else { return };
    let World { small, bench } = &mut world;
    bench.cli().run(&["set", "add", "friends", "10.1.0.7"]).expect(DONE);
    small.fill();
    let mut answered = vec!["10.1.0.7".to_owned()];
    // What is left of the last page takes a few.
    let refused = (0..200u32).find_map(|n| {
        let some: Vec<String> = (0..50).map(|m| format!("10.9.{n}.{m}")).collect();
        let line: Vec<&str> = ["set", "add", "friends"].into_iter().chain(some.iter().map(String::as_str)).collect();
        let answer = bench.cli().run(&line);
        if answer.code == DONE {
            answered.extend(some)
        } else {
            return Some(answer);
        };
        None
    });
    let refused = refused.expect("the disk is full");
    assert!(refused.text().contains("No space left on device") && refused.text().contains("cannot be kept"), "{}", refused.text());
    bench.cli().run(&["set", "replace", "friends", "/dev/null"]);
    bench.cli().run(&["set", "flush", "friends"]);
    answered.sort();
    let shown = |bench: &Bench| {
        let mut all = elements(bench);
        all.sort();
        all
    };
    // Emptying a set needs a page as well; it may have found one, and then the set is empty, whole.
    let held = shown(bench);
    assert!(held == answered || held.is_empty(), "{} of {}", held.len(), answered.len());
    assert_eq!(bench.arrives(&udp(7, 9)), !held.is_empty(), "the kernel holds what is shown");
    bench.daemon.kill();
    bench.daemon = Daemon::start(&bench.net);
    assert_eq!(shown(bench), held, "and the next daemon too");
    assert_eq!(bench.cli().status()["state"], "ok", "{}", bench.cli().status());
    small.empty();
    bench.cli().run(&["set", "add", "friends", "10.1.0.8"]).expect(DONE);
    assert!(bench.arrives(&udp(8, 9)), "with room it goes on");
}

#[test]
fn ruleset_that_cannot_be_kept_is_enforced_and_the_last_good_one_is_not_lost() {
    let Some(mut world) = start() else { return };
    let World { small, bench } = &mut world;
    bench.change(&text(2));
    let usual = bench.cli().warnings();
    assert!(usual == "[]" || usual.contains("no guard"), "{usual}");
    small.fill();
    bench.change(&long(3));
    assert!(bench.arrives(&udp(2, 3)) && !bench.arrives(&udp(2, 2)), "a saved file is live");
    assert!(bench.cli().warnings().contains("the last good ruleset could not be kept"), "{}", bench.cli().warnings());
    small.fill();
    bench.net.write("10-test.toml", &text(4));
    let answer = bench.cli().run(&["apply", "--confirm", "60s"]);
    assert!(answer.code == REFUSED && answer.text().contains("No space left"), "{}", answer.text());
    bench.net.write("10-test.toml", &long(3));
    bench.cli().run(&["apply"]).expect(DONE);
    // A start with a broken directory: what was kept last, whole.
    bench.daemon.kill();
    bench.net.write("10-test.toml", "version = 1\n[[policy]\n");
    bench.daemon = Daemon::start(&bench.net);
    let status = bench.cli().status();
    assert_eq!((&status["source"], &status["state"]), (&"last-good".into(), &"degraded".into()), "{status}");
    assert!(bench.arrives(&udp(2, 2)) && !bench.arrives(&udp(2, 3)), "the last one for which there was room");
    small.empty();
    bench.change(&text(5));
    assert_eq!(bench.cli().warnings(), usual, "with room it is kept");
    let beside = fs::read_dir(bench.net.state_dir()).expect("state").flatten();
    let beside: Vec<_> = beside.map(|entry| entry.file_name()).filter(|name| name.to_string_lossy().ends_with(".new")).collect();
    assert!(beside.is_empty(), "half files are left behind: {beside:?}");
}

#[test]
fn runtime_directory_without_room_for_the_socket_leaves_the_policy_enforced() {
    let Some(net) = Net::new() else { return };
    net.write("10-test.toml", &text(1));
    let small = Small::on(&net.runtime_dir(), "size=64k,nr_inodes=8");
    small.fill_names();
    let why = Daemon::try_start(&net).map(drop).expect_err("there is no room for its socket");
    assert!(why.contains("No space left on device") && why.contains(&net.runtime_dir().display().to_string()), "{why}");
    let ways = netpol_tests::bench::Ways::new(&net);
    assert!(ways.passes(&net, netpol_tests::Hook::Ingress, &udp(2, 1)), "allowed");
    assert!(!ways.passes(&net, netpol_tests::Hook::Ingress, &udp(2, 2)), "what was to be enforced is");
    small.empty();
    let daemon = Daemon::start(&net);
    assert_eq!(netpol_tests::Cli(&net).status()["state"], "ok");
    drop((small, daemon));
}
