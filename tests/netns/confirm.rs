//! Commit-confirm: a ruleset on trial returns by itself, with or without a daemon, and then stays out.

use std::time::Duration;

use netpol_tests::cli::{BAD, DONE, REFUSED};
use netpol_tests::policy::{VERSION, allow_port, arriving};
use netpol_tests::{Bench, Daemon, Family, residue, wait};

use crate::matrix::udp_to;

const FILE: &str = "10-test.toml";

/// A file is live only when `apply` says so.
fn by_hand(port: u16) -> String {
    let policy = arriving(&allow_port("one", "udp", port));
    format!("{VERSION}[daemon]\nreload = \"manual\"\n{}", policy.trim_start_matches(VERSION))
}

fn open(bench: &Bench, port: u16) -> bool {
    Family::BOTH.iter().all(|f| bench.arrives(&udp_to(*f, port)))
}

fn becomes(bench: &Bench, port: u16, what: &str) {
    wait::until(what, Duration::from_secs(8), || open(bench, port));
}

#[test]
fn unconfirmed_ruleset_returns_and_stays_out_until_apply() {
    let Some(bench) = Bench::start(&by_hand(1000)) else { return };
    bench.net.write(FILE, &by_hand(2000));
    let answer = bench.cli().run(&["apply", "--confirm", "2s"]).expect(DONE);
    assert!(answer.out.contains("confirm"), "{}", answer.text());
    assert!(open(&bench, 2000) && !open(&bench, 1000), "live at once");
    becomes(&bench, 1000, "the former ruleset returns");
    assert!(!open(&bench, 2000));
    wait::until("status says so", Duration::from_secs(8), || bench.cli().last_error().contains("rolled back"));
    assert_eq!(bench.cli().status()["state"], "degraded");
    bench.cli().run(&["confirm"]).expect(REFUSED);
    bench.cli().run(&["apply"]).expect(DONE);
    assert!(open(&bench, 2000), "apply makes it live after all");
    assert_eq!(bench.cli().status()["state"], "ok");
}

#[test]
fn confirmed_ruleset_stays_and_rollback_returns_to_the_former() {
    let Some(bench) = Bench::start(&by_hand(1000)) else { return };
    bench.net.write(FILE, &by_hand(2000));
    bench.cli().run(&["apply", "--confirm", "3s"]).expect(DONE);
    bench.cli().run(&["confirm"]).expect(DONE);
    bench.cli().run(&["confirm"]).expect(REFUSED);
    std::thread::sleep(Duration::from_secs(4));
    assert!(open(&bench, 2000) && !open(&bench, 1000), "it counts for good");
    bench.cli().run(&["rollback"]).expect(DONE);
    assert!(open(&bench, 1000) && !open(&bench, 2000), "rolled back");
}

#[test]
fn deadline_counts_without_a_daemon_and_the_next_one_knows() {
    let Some(mut bench) = Bench::start(&by_hand(1000)) else { return };
    bench.net.write(FILE, &by_hand(2000));
    bench.cli().run(&["apply", "--confirm", "2s"]).expect(DONE);
    bench.daemon.kill();
    assert!(open(&bench, 2000));
    becomes(&bench, 1000, "the former ruleset returns with nobody there");
    bench.daemon = Daemon::start(&bench.net);
    assert!(open(&bench, 1000) && !open(&bench, 2000), "what was rolled back stays out");
    assert_eq!(bench.cli().status()["state"], "degraded");
}

#[test]
fn restarted_daemon_keeps_the_trial_and_can_confirm_it() {
    let Some(mut bench) = Bench::start(&by_hand(1000)) else { return };
    bench.net.write(FILE, &by_hand(2000));
    bench.cli().run(&["apply", "--confirm", "6s"]).expect(DONE);
    bench.daemon.kill();
    bench.daemon = Daemon::start(&bench.net);
    assert!(open(&bench, 2000));
    bench.cli().run(&["confirm"]).expect(DONE);
    std::thread::sleep(Duration::from_secs(6));
    assert!(open(&bench, 2000) && !open(&bench, 1000));
}

#[test]
fn content_that_the_watcher_made_live_a_moment_ago_can_be_put_on_trial() {
    let automatic = |port| arriving(&allow_port("one", "udp", port));
    let Some(bench) = Bench::start(&automatic(1000)) else { return };
    bench.net.write(FILE, &automatic(2000));
    becomes(&bench, 2000, "the watcher's reload");
    bench.cli().run(&["apply", "--confirm", "3s"]).expect(DONE);
    assert!(open(&bench, 2000));
    becomes(&bench, 1000, "the ruleset before the watcher's returns");
    std::thread::sleep(Duration::from_secs(2));
    assert!(open(&bench, 1000) && !open(&bench, 2000), "and the watcher does not bring it in again");
    bench.net.write(FILE, &automatic(3000));
    becomes(&bench, 3000, "files that change again are followed");
}

#[test]
fn rolled_back_content_that_is_written_anew_after_another_goes_live() {
    let automatic = |port| arriving(&allow_port("one", "udp", port));
    let Some(mut bench) = Bench::start(&automatic(1000)) else { return };
    for restart in [false, true] {
        bench.net.write(FILE, &automatic(2000));
        bench.cli().run(&["apply", "--confirm", "60s"]).expect(DONE);
        bench.cli().run(&["rollback"]).expect(DONE);
        assert!(open(&bench, 1000) && bench.cli().last_error().contains("rolled back"));
        bench.net.write(FILE, &automatic(1000));
        wait::until("the files say what is live", Duration::from_secs(8), || bench.cli().last_error().is_empty());
        if restart {
            bench.daemon.kill();
            bench.daemon = Daemon::start(&bench.net);
        }
        bench.net.write(FILE, &automatic(2000));
        becomes(&bench, 2000, "somebody has written it again: it counts");
        bench.net.write(FILE, &automatic(1000));
        becomes(&bench, 1000, "and back");
    }
}

#[test]
fn rollback_a_moment_too_late_does_not_bring_back_what_was_left() {
    let Some(mut bench) = Bench::start(&by_hand(1000)) else { return };
    bench.net.write(FILE, &by_hand(2000));
    bench.cli().run(&["apply", "--confirm", "1s"]).expect(DONE);
    becomes(&bench, 1000, "the trial is over");
    let late = bench.cli().run(&["rollback"]);
    assert!([DONE, REFUSED].contains(&late.code) && late.text().contains("already"), "{}", late.text());
    assert!(open(&bench, 1000) && !open(&bench, 2000), "{}", late.text());
    for restart in [false, true] {
        if restart {
            bench.daemon.kill();
            bench.daemon = Daemon::start(&bench.net);
        }
        bench.cli().run(&["rollback"]).expect(REFUSED);
        assert!(open(&bench, 1000) && !open(&bench, 2000), "restarted: {restart}");
    }
    bench.cli().run(&["apply"]).expect(DONE);
    assert!(open(&bench, 2000), "whoever applies it gets it");
    bench.cli().run(&["rollback"]).expect(DONE);
    assert!(open(&bench, 1000), "and can go back once more");
}

#[test]
fn file_that_is_put_back_ends_the_trial_and_is_the_last_good_ruleset() {
    let Some(mut bench) = Bench::start(&by_hand(900)) else { return };
    bench.net.write(FILE, &by_hand(1000));
    bench.cli().run(&["apply"]).expect(DONE);
    bench.net.write(FILE, &by_hand(2000));
    bench.cli().run(&["apply", "--confirm", "4s"]).expect(DONE);
    bench.net.write(FILE, &by_hand(1000));
    bench.cli().run(&["apply"]).expect(DONE);
    std::thread::sleep(Duration::from_secs(5));
    assert!(open(&bench, 1000) && !open(&bench, 2000) && !open(&bench, 900));
    assert_eq!(bench.cli().status()["state"], "ok");
    bench.net.write(FILE, "version = 1\n[[policy]\n");
    bench.daemon.kill();
    bench.daemon = Daemon::start(&bench.net);
    assert!(open(&bench, 1000) && !open(&bench, 900), "the last good ruleset is what was confirmed");
}

#[test]
fn trial_that_is_refused_does_not_let_in_what_was_rolled_back() {
    let Some(mut bench) = Bench::start(&by_hand(1000)) else { return };
    bench.net.write(FILE, &by_hand(2000));
    bench.cli().run(&["apply", "--confirm", "60s"]).expect(DONE);
    bench.cli().run(&["rollback"]).expect(DONE);
    // Two policies that want XDP in two modes on one interface: only the compiler notices.
    let xdp = |mode: &str| {
        format!(
            "version = 1\n[[policy]]\nname = \"{mode}\"\ninterfaces = [\"left\"]\npolicy_types = [\"ingress\"]\n[policy.xdp]\nmode = \"{mode}\"\ndrop_fragments = true\n"
        )
    };
    bench.net.write("20-one.toml", &xdp("native"));
    bench.net.write("30-other.toml", &xdp("generic"));
    assert_ne!(bench.cli().run(&["apply", "--confirm", "60s"]).code, DONE, "refused");
    bench.net.remove("20-one.toml");
    bench.net.remove("30-other.toml");
    bench.daemon.kill();
    bench.daemon = Daemon::start(&bench.net);
    assert!(open(&bench, 1000) && !open(&bench, 2000), "it stays out");
}

#[test]
fn what_was_left_does_not_come_back_with_an_interface() {
    let Some(mut bench) = Bench::start(&by_hand(1000)) else { return };
    bench.net.write(FILE, &by_hand(2000));
    bench.cli().run(&["apply", "--confirm", "3s"]).expect(DONE);
    bench.daemon.kill();
    bench.daemon = Daemon::start(&bench.net);
    // Nobody knows any more what the former ruleset was made from.
    for file in ["last-good.json", "former-good.json"] {
        std::fs::remove_file(bench.net.state_dir().join(file)).unwrap_or_default();
    }
    becomes(&bench, 1000, "the trial is over");
    bench.net.dut.ip("link add new0 type veth peer name new1");
    std::thread::sleep(Duration::from_secs(2));
    assert!(open(&bench, 1000) && !open(&bench, 2000), "and stays over");
    assert!(bench.cli().last_error().contains("no longer known"), "{}", bench.cli().last_error());
}

#[test]
fn nonsense_is_refused_and_changes_nothing() {
    let Some(bench) = Bench::start(&by_hand(1000)) else { return };
    bench.cli().run(&["apply", "--confirm", "soon"]).expect(BAD);
    bench.cli().run(&["rollback"]).expect(REFUSED);
    assert!(open(&bench, 1000));
}

/// The daemon dies in the trial, and what was live before is written back meanwhile: that ends the trial, for the last good ruleset too.
#[test]
fn files_that_were_put_back_while_nobody_ran_end_the_trial() {
    for before in [900, 1000] {
        let Some(mut bench) = Bench::start(&by_hand(before)) else { return };
        bench.net.write(FILE, &by_hand(1000));
        bench.cli().run(&["apply"]).expect(DONE);
        // Otherwise what `apply` made live is a part of the trial.
        std::thread::sleep(Duration::from_secs(1));
        bench.net.write(FILE, &by_hand(2000));
        bench.cli().run(&["apply", "--confirm", "5s"]).expect(DONE);
        bench.daemon.kill();
        bench.net.write(FILE, &by_hand(1000));
        bench.daemon = Daemon::start(&bench.net);
        for when in ["at once", "after the deadline"] {
            assert!(open(&bench, 1000) && !open(&bench, 2000) && !open(&bench, 900), "{when}");
            assert_eq!(bench.cli().last_error(), "", "{when}");
            std::thread::sleep(Duration::from_secs(6));
        }
        bench.daemon.kill();
        residue::remove_tree(&bench.net.bpffs());
        bench.net.write(FILE, "version = 1\n[[policy]]\n");
        bench.daemon = Daemon::start(&bench.net);
        assert!(open(&bench, 1000) && !open(&bench, 900), "it is the last good one at the next boot");
    }
}

#[test]
fn trial_after_a_detach_returns_to_nothing() {
    let Some(bench) = Bench::start(&by_hand(1000)) else { return };
    bench.cli().run(&["detach"]).expect(DONE);
    assert!(open(&bench, 2000), "off");
    bench.cli().run(&["apply", "--confirm", "2s"]).expect(DONE);
    assert!(open(&bench, 1000) && !open(&bench, 2000), "on trial");
    becomes(&bench, 2000, "nothing is enforced again");
    std::thread::sleep(Duration::from_secs(2));
    assert!(open(&bench, 2000), "and stays so");
    assert!(bench.cli().last_error().contains("rolled back"));
    bench.cli().run(&["apply"]).expect(DONE);
    assert!(open(&bench, 1000) && !open(&bench, 2000));
    bench.cli().run(&["detach"]).expect(DONE);
    bench.cli().run(&["apply", "--confirm", "60s"]).expect(DONE);
    bench.cli().run(&["confirm"]).expect(DONE);
    assert!(open(&bench, 1000) && !open(&bench, 2000), "confirmed");
}

/// `rollback`, the files are put back, `rollback` once more: it goes back and forth, and the last good ruleset is never lost.
#[test]
fn second_rollback_returns_and_there_is_a_last_good_ruleset_at_the_next_boot() {
    let Some(mut bench) = Bench::start(&by_hand(1000)) else { return };
    bench.net.write(FILE, &by_hand(2000));
    bench.cli().run(&["apply"]).expect(DONE);
    bench.cli().run(&["rollback"]).expect(DONE);
    bench.net.write(FILE, &by_hand(1000));
    bench.cli().run(&["apply"]).expect(DONE);
    assert!(open(&bench, 1000) && !open(&bench, 2000));
    bench.cli().run(&["rollback"]).expect(DONE);
    let live = if open(&bench, 1000) { 1000 } else { 2000 };
    bench.daemon.kill();
    residue::remove_tree(&bench.net.bpffs());
    bench.net.write(FILE, "version = 1\n[[policy]]\n");
    bench.daemon = Daemon::start(&bench.net);
    assert!(open(&bench, live), "{live} ran last and was good");
}
