//! The log, flooded and unread: verdicts and counters know nothing of it, what is lost is counted, and the daemon never waits.

use std::io::Read;
use std::os::unix::net::UnixDatagram;
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use netpol_tests::cli::DONE;
use netpol_tests::flood::Flood;
use netpol_tests::policy::{VERSION, policy};
use netpol_tests::{Bench, Daemon, Family, Net, Packet, say, wait};
use serde_json::Value;

/// As many lines as there are packets.
const ALL: &str = "log = { rate = \"10000000/s\", burst = 10000000 }";

fn text(logs: bool, port: u16) -> String {
    let rule = |id: &str, action: &str, port: u16| {
        format!(
            "[[policy.ingress]]\nid = \"{id}\"\naction = \"{action}\"\nprotocol = \"udp\"\ndestination = {{ ports = [{port}] }}\nlog = {logs}\n"
        )
    };
    let set = "[[set]]\nname = \"friends\"\ndynamic = true\n[[policy.ingress]]\nid = \"friend\"\naction = \"allow\"\nsource = { sets = [\"friends\"] }\n";
    let rules = rule("yes", "allow", port) + &rule("no", "deny", 2) + set;
    (policy("p", "policy_types = [\"ingress\"]") + &rules).replacen(VERSION, &format!("{VERSION}[daemon]\n{ALL}\n"), 1)
}

/// One that passes, four that are logged and dropped, in both families.
fn mixed() -> Vec<Packet> {
    let of = |f: Family| {
        let one = |n: u16| Packet::udp(f.at(1, 2, 1000 + n), f.at(1, 1, if n % 5 == 0 { 1 } else { 2 }));
        (0..100).map(one).collect::<Vec<Packet>>()
    };
    Family::BOTH.into_iter().flat_map(of).collect()
}

fn lost(status: &Value, what: &str) -> u64 {
    status["log"][what].as_u64().unwrap_or_else(|| panic!("no log.{what} in {status}"))
}

/// Packets let through and dropped by the rules so far.
fn judged(bench: &Bench) -> (u64, u64) {
    let status = bench.cli().status();
    (status["packets"]["accepted"].as_u64().expect("a number"), bench.cli().drops("rule"))
}

/// A flood of some time in front of a daemon in some state; its rate. `after` brings the daemon back.
fn flood(bench: &mut Bench, what: &str, before: &dyn Fn(&mut Bench), after: &dyn Fn(&mut Bench)) -> u64 {
    let (accepted, dropped) = judged(bench);
    before(bench);
    let flood = Flood::start(&bench.net.src, "eth0", &mixed());
    thread::sleep(Duration::from_secs(2));
    let sent = flood.stop();
    after(bench);
    let (accepted, dropped) = {
        let now = judged(bench);
        (now.0 - accepted, now.1 - dropped)
    };
    say::aloud(&format!("{what}: {} packets/s; events lost so far: {}", sent.rate(), lost(&bench.cli().status(), "events")));
    assert_eq!(dropped, sent.rounds * 160, "{what}: each denied packet is dropped and counted");
    assert!(accepted >= sent.rounds * 40, "{what}: {accepted} accepted of {} allowed", sent.rounds * 40);
    sent.rate()
}

#[test]
fn flood_of_logged_packets_changes_no_verdict_whoever_reads_or_not() {
    let Some(mut bench) = Bench::start(&text(false, 1)) else { return };
    let (nothing, restart) = (|_: &mut Bench| (), |bench: &mut Bench| bench.daemon = Daemon::start(&bench.net));
    let quiet = flood(&mut bench, "nothing is logged", &nothing, &nothing);
    bench.change(&text(true, 1));
    let read = flood(&mut bench, "each denied packet is logged, the daemon reads", &nothing, &nothing);
    let stopped = flood(&mut bench, "the daemon is stopped", &|bench| bench.daemon.freeze(true), &|bench| bench.daemon.freeze(false));
    let of_stopped = lost(&bench.cli().status(), "events");
    assert!(of_stopped > 0, "a ring that nobody reads loses events, and says so");
    let dead = flood(&mut bench, "the daemon is dead", &|bench| bench.daemon.kill(), &restart);
    assert!(lost(&bench.cli().status(), "events") > of_stopped, "without a daemon too");
    let percent = |rate: u64| rate * 100 / quiet.max(1);
    say::aloud(&format!(
        "of the rate without a log: {} % while it is read, {} % stopped, {} % dead",
        percent(read),
        percent(stopped),
        percent(dead)
    ));
    assert!(bench.cli().run(&["status"]).expect(DONE).out.contains("packets lost because the ring was full"));
    bench.change(&text(true, 7));
}

/// A daemon whose standard error is a pipe, a bench around it, and the pipe full.
fn with_full_pipe() -> Option<Bench> {
    let net = Net::new()?;
    net.write("10-test.toml", &text(true, 1));
    let daemon = Daemon::start_under(&net, &[], |command| {
        command.stderr(Stdio::piped());
    });
    let bench = Bench::around(net, daemon);
    let flood = Flood::start(&bench.net.src, "eth0", &mixed());
    let full = || lost(&bench.cli().status(), "lines") > 0;
    wait::until("the pipe and the queue behind it are full", Duration::from_secs(60), full);
    flood.stop();
    Some(bench)
}

#[test]
fn standard_error_that_nobody_reads_stops_nothing() {
    let Some(mut bench) = with_full_pipe() else { return };
    bench.change(&text(true, 8));
    let f = Family::V4;
    assert!(bench.arrives(&Packet::udp(f.at(1, 2, 9), f.at(1, 1, 8))), "a saved file goes live");
    bench.cli().run(&["set", "add", "friends", "10.1.0.3"]).expect(DONE);
    assert!(bench.arrives(&Packet::udp(f.at(1, 3, 9), f.at(1, 1, 9))), "a set changes");
    assert!(!bench.change_badly("version = 2\n").is_empty(), "a bad file is refused");
    bench.net.write("10-test.toml", &text(true, 8));
    wait::until("and the good one is good again", Duration::from_secs(10), || bench.cli().last_error().is_empty());
    for _ in 0..200 {
        bench.daemon.reload();
    }
    assert!(lost(&bench.cli().status(), "lines") > 0);
    assert!(bench.daemon.terminate().success(), "SIGTERM ends it, though its last words find no reader");
    bench.daemon = Daemon::start(&bench.net);
    assert!(bench.arrives(&Packet::udp(f.at(1, 2, 10), f.at(1, 1, 8))), "the next one goes on");
}

#[test]
fn reader_that_comes_back_is_told_what_was_lost() {
    let Some(mut bench) = with_full_pipe() else { return };
    let mut pipe = bench.daemon.standard_error();
    let reader = thread::spawn(move || {
        let mut text = Vec::new();
        pipe.read_to_end(&mut text).expect("what it writes");
        String::from_utf8_lossy(&text).into_owned()
    });
    thread::sleep(Duration::from_secs(1));
    bench.daemon.terminate();
    let text = reader.join().expect("the reader");
    let lines = text.lines().filter(|line| line.contains("drop (rule) left")).count();
    assert!(lines > 100, "packets that were logged in time: {lines}");
    assert!(text.contains("lines of this log were lost"), "{}", text.lines().rev().take(5).collect::<Vec<_>>().join("\n"));
    assert!(text.contains("stopping"), "its last words are there");
}

#[test]
fn service_manager_that_reads_nothing_stops_nothing() {
    let Some(mut bench) = Bench::start(&text(false, 1)) else { return };
    // Where the daemon's notifications go, in place of the bench's own socket.
    let path = bench.net.scratch("notify-0");
    std::fs::remove_file(&path).expect("the bench's socket");
    let unread = UnixDatagram::bind(&path).expect("a socket");
    for _ in 0..100 {
        bench.daemon.reload();
        thread::sleep(Duration::from_millis(20));
    }
    wait::until("its queue is full", Duration::from_secs(60), || !bench.daemon.lines_with(&["could not be told"]).is_empty());
    bench.net.write("10-test.toml", &text(false, 8));
    let f = Family::V4;
    let live = || bench.arrives(&Packet::udp(f.at(1, 2, 9), f.at(1, 1, 8)));
    wait::until("a saved file goes live", Duration::from_secs(60), live);
    drop(unread);
    assert!(bench.daemon.terminate().success());
}
