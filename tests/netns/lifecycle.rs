//! Start, stop, kill, restart: the kernel goes on enforcing.

use std::fs::File;
use std::io::Write;
use std::time::Duration;

use netpol_tests::policy::{VERSION, allow_port, arriving};
use netpol_tests::sock::{self, Connection};
use netpol_tests::{Bench, Cli, Daemon, Family, Net};

use crate::matrix::udp_to;

fn policy() -> String {
    arriving(&(allow_port("dns", "udp", 53) + &allow_port("web", "tcp", 80)))
}

fn enforced(bench: &Bench, what: &str) {
    for f in Family::BOTH {
        assert!(bench.arrives(&udp_to(f, 53)), "{what}, {f:?}: allowed");
        assert!(!bench.arrives(&udp_to(f, 54)), "{what}, {f:?}: denied");
    }
}

#[test]
fn killed_daemon_leaves_verdicts_and_connections_and_is_adopted_by_the_next() {
    let Some(mut bench) = Bench::start(&policy()) else { return };
    let mut connections = Family::BOTH.map(|f| {
        let listener = sock::listen(&bench.net.dut, f.at(1, 1, 80));
        Connection::open(&bench.net.src, &listener, f.at(1, 1, 80)).expect("a connection")
    });
    let generation = bench.cli().generation();
    bench.daemon.kill();
    enforced(&bench, "no daemon");
    assert!(connections.iter_mut().all(Connection::lives), "connections go on without a daemon");
    bench.daemon = Daemon::start(&bench.net);
    assert_eq!(bench.cli().generation(), generation, "the second daemon adopts what it finds");
    enforced(&bench, "second daemon");
    assert!(connections.iter_mut().all(Connection::lives), "connections go on under the second daemon");
}

#[test]
fn many_kills_leave_one_attachment_and_no_pile_of_pins() {
    let Some(mut bench) = Bench::start(&policy()) else { return };
    let pins = |bench: &Bench| netpol_tests::residue::files_below(&bench.net.bpffs()).len();
    let before = pins(&bench);
    for _ in 0..5 {
        bench.daemon.kill();
        bench.daemon = Daemon::start(&bench.net);
    }
    assert_eq!(pins(&bench), before, "pins");
    enforced(&bench, "after five kills");
}

#[test]
fn restart_with_a_changed_policy_enforces_the_new_one() {
    let Some(mut bench) = Bench::start(&policy()) else { return };
    bench.daemon.kill();
    bench.net.write("10-test.toml", &arriving(&allow_port("ntp", "udp", 123)));
    enforced(&bench, "no daemon");
    bench.daemon = Daemon::start(&bench.net);
    for f in Family::BOTH {
        assert!(bench.arrives(&udp_to(f, 123)), "{f:?}: new rule");
        assert!(!bench.arrives(&udp_to(f, 55)), "{f:?}: default");
        assert!(!bench.arrives(&udp_to(f, 53)), "{f:?}: removed rule");
    }
}

#[test]
fn stop_leaves_the_policy_in_force() {
    let Some(mut bench) = Bench::start(&policy()) else { return };
    assert!(bench.daemon.terminate().success(), "a clean end");
    enforced(&bench, "stopped");
    bench.daemon = Daemon::start(&bench.net);
    enforced(&bench, "started again");
}

#[test]
fn stop_takes_the_firewall_off_where_on_stop_says_detach() {
    let text = policy().replacen(VERSION, &format!("{VERSION}[daemon]\non_stop = \"detach\"\n"), 1);
    let Some(mut bench) = Bench::start(&text) else { return };
    enforced(&bench, "running");
    assert!(bench.daemon.terminate().success(), "a clean end");
    assert!(bench.arrives(&udp_to(Family::V4, 54)), "open");
}

#[test]
fn second_daemon_on_the_same_pins_is_refused_and_disturbs_nothing() {
    let Some(mut bench) = Bench::start(&policy()) else { return };
    let why = Daemon::try_start(&bench.net).expect_err("one daemon at a time");
    assert!(!why.contains("nothing within"), "it ends at once and says why: {why}");
    assert!(bench.daemon.lives(), "the first one runs on");
    enforced(&bench, "after the second daemon's end");
    bench.change(&arriving(&allow_port("ntp", "udp", 123)));
    assert!(bench.arrives(&udp_to(Family::V4, 123)), "and still reloads");
}

#[test]
fn daemons_of_two_namespaces_do_not_disturb_each_other() {
    let Some(first) = Bench::start(&policy()) else { return };
    let Some(mut second) = Bench::start(&policy()) else { return };
    second.change(&arriving(&allow_port("ntp", "udp", 123)));
    second.daemon.terminate();
    enforced(&first, "the other one has stopped");
}

#[test]
fn start_with_a_broken_directory_enforces_the_last_good_ruleset() {
    let Some(mut bench) = Bench::start(&policy()) else { return };
    bench.daemon.terminate();
    netpol_tests::residue::remove_tree(&bench.net.bpffs());
    bench.net.write("10-test.toml", "version = 1\n[[policy]\n");
    bench.daemon = Daemon::start(&bench.net);
    enforced(&bench, "last good");
    let status = bench.cli().status();
    assert_eq!(status["state"], "degraded", "{status}");
    assert!(bench.cli().last_error().contains("10-test.toml"), "{status}");
    assert!(bench.daemon.log().contains("10-test.toml"), "the error stands in the log");
    bench.change(&arriving(&allow_port("ntp", "udp", 123)));
    assert!(bench.arrives(&udp_to(Family::V4, 123)), "mended");
    assert_eq!(bench.cli().status()["state"], "ok");
}

#[test]
fn first_start_with_a_broken_directory_is_ready_degraded_and_open_to_no_one() {
    let Some(net) = Net::new() else { return };
    net.write("10-test.toml", "version = 1\n[[policy]\n");
    let daemon = Daemon::start(&net);
    let bench = Bench::around(net, daemon);
    let status = bench.cli().status();
    assert_eq!(status["state"], "degraded", "{status}");
    assert!(bench.cli().last_error().contains("10-test.toml"), "{status}");
    assert!(!bench.arrives(&udp_to(Family::V4, 53)), "failsafe entries only, and there are none");
    bench.net.write("10-test.toml", &policy());
    netpol_tests::wait::until("mended", std::time::Duration::from_secs(5), || Cli(&bench.net).status()["state"] == "ok");
    enforced(&bench, "mended");
}

/// `reload = "manual"`: half of somebody's work is not made live by a crash.
#[test]
fn what_nobody_has_applied_waits_over_a_crash() {
    let by_hand =
        |port| arriving(&allow_port("one", "udp", port)).replacen(VERSION, &format!("{VERSION}[daemon]\nreload = \"manual\"\n"), 1);
    let open = |bench: &Bench, port| Family::BOTH.iter().all(|f| bench.arrives(&udp_to(*f, port)));
    let Some(mut bench) = Bench::start(&by_hand(1000)) else { return };
    for half_done in [by_hand(2000), format!("{VERSION}[[policy]]\n"), VERSION.into()] {
        bench.net.write("10-test.toml", &half_done);
        bench.daemon.kill();
        bench.daemon = Daemon::start(&bench.net);
        assert!(open(&bench, 1000) && !open(&bench, 2000), "not applied:\n{half_done}");
        assert!(bench.daemon.log().contains("waits for `netpol-ebpf apply`"), "{}", bench.daemon.log());
        // Nor by the next interface.
        bench.net.dut.ip("link add other type veth peer name another");
        std::thread::sleep(Duration::from_millis(500));
        bench.net.dut.ip("link del other");
        assert!(open(&bench, 1000) && !open(&bench, 2000), "not applied:\n{half_done}");
    }
    bench.net.write("10-test.toml", &by_hand(2000));
    bench.cli().run(&["apply"]).expect(0);
    assert!(open(&bench, 2000) && !open(&bench, 1000), "applied");
}

/// A reload that was asked for while somebody was writing is tried again, but not after `detach`.
#[test]
fn detach_ends_what_was_to_be_tried_again() {
    let Some(bench) = Bench::start(&policy()) else { return };
    let path = bench.net.policy_dir().join("20-more.toml");
    let writer = std::thread::spawn(move || {
        let mut file = File::create(path).expect("a file");
        file.write_all(VERSION.as_bytes()).expect("a start");
        for _ in 0..600 {
            file.write_all(b"#\n").expect("a line");
            std::thread::sleep(Duration::from_millis(5));
        }
    });
    std::thread::sleep(Duration::from_millis(300));
    bench.daemon.reload();
    std::thread::sleep(Duration::from_millis(900));
    bench.cli().run(&["detach"]).expect(0);
    writer.join().expect("the end of writing");
    std::thread::sleep(Duration::from_secs(3));
    assert!(Family::BOTH.iter().all(|f| bench.arrives(&udp_to(*f, 54))), "it stays off: {}", bench.daemon.log());
}
