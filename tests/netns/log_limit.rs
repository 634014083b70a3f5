//! `[daemon] log`: how much one rule or default may log, which takes nothing away from verdicts and counters.

use std::thread;
use std::time::Duration;

use netpol_tests::policy::{VERSION, policy};
use netpol_tests::{Bench, Family, Packet, Place};

fn text(place: Place, log: &str) -> String {
    let rule = |id: &str, action: &str, port: u16| {
        format!("[[rule]]\nid = \"{id}\"\naction = \"{action}\"\nprotocol = \"udp\"\ndestination = {{ ports = [{port}] }}\nlog = true\n")
    };
    let keys = format!("endpoint = \"{}\"\npolicy_types = [\"{}\"]\nlog_default_deny = true", place.endpoint, place.direction);
    let rules = rule("yes", "allow", 1) + &rule("no", "deny", 2);
    (policy("p", &keys) + &place.rules(&rules)).replacen(VERSION, &format!("{VERSION}[daemon]\n{log}\n"), 1)
}

fn burst(f: Family, port: u16, count: u16) -> Vec<Packet> {
    (0..count).map(|n| Packet::udp(f.at(1, 2, 1000 + n), f.at(1, 1, port))).collect()
}

/// Lines about packets to that port of one address family.
fn lines(bench: &Bench, f: Family, port: u16, at_least: usize) -> usize {
    let to = if f == Family::V4 { format!("> 10.1.0.1:{port},") } else { format!("> [fd00:1::1]:{port},") };
    bench.daemon.wait_lines(at_least, &[&to]).len()
}

#[test]
fn each_rule_and_each_default_logs_its_own_burst() {
    for place in Place::ALL {
        let Some(bench) = Bench::start(&text(place, "log = { rate = \"1/h\", burst = 4 }")) else { return };
        let (f, before) = (Family::V4, bench.cli().warnings());
        for (port, passed) in [(1, 20), (2, 0), (3, 0)] {
            assert_eq!(bench.through(place.hook, &burst(f, port, 20)), passed, "{place:?} port {port}: verdicts know no log");
            assert_eq!(lines(&bench, f, port, 4), 4, "{place:?} port {port}: {}", bench.daemon.log());
        }
        let reasons = bench.cli().reasons();
        assert_eq!((reasons["rule"], reasons["default"], reasons.values().sum::<u64>()), (20, 20, 40), "{place:?}");
        assert_eq!((bench.cli().hits("yes"), bench.cli().hits("no")), (20, 20), "{place:?}: counters know no log");
        assert_eq!(bench.cli().warnings(), before, "{place:?}: suppressed events are not lost ones");
    }
}

#[test]
fn both_families_share_the_rate_of_a_rule() {
    let Some(bench) = Bench::start(&text(Place::ALL[0], "log = { rate = \"1/h\", burst = 6 }")) else { return };
    for f in Family::BOTH {
        bench.through(Place::ALL[0].hook, &burst(f, 2, 4));
    }
    assert_eq!(lines(&bench, Family::V4, 2, 4), 4);
    assert_eq!(lines(&bench, Family::V6, 2, 2), 2);
}

#[test]
fn rate_comes_back_with_time() {
    let Some(bench) = Bench::start(&text(Place::ALL[0], "log = { rate = \"2/s\", burst = 2 }")) else { return };
    let f = Family::V6;
    bench.through(Place::ALL[0].hook, &burst(f, 3, 20));
    let first = lines(&bench, f, 3, 2);
    assert!((2..=3).contains(&first), "{first}");
    thread::sleep(Duration::from_millis(1500));
    bench.through(Place::ALL[0].hook, &burst(f, 3, 20));
    let second = lines(&bench, f, 3, first + 2) - first;
    assert!((2..=3).contains(&second), "{second}");
}

#[test]
fn unstated_rate_is_ten_a_second() {
    let Some(bench) = Bench::start(&text(Place::ALL[0], "reload = \"auto\"")) else { return };
    let f = Family::V4;
    bench.through(Place::ALL[0].hook, &burst(f, 2, 100));
    let seen = lines(&bench, f, 2, 10);
    assert!((10..=14).contains(&seen), "{seen} lines at once");
}

#[test]
fn another_rate_is_live_after_a_reload() {
    let place = Place::ALL[0];
    let Some(bench) = Bench::start(&text(place, "log = { rate = \"1/h\", burst = 1 }")) else { return };
    let f = Family::V4;
    bench.through(place.hook, &burst(f, 2, 10));
    assert_eq!(lines(&bench, f, 2, 1), 1);
    bench.change(&text(place, "log = { rate = \"100/s\", burst = 50 }"));
    bench.through(place.hook, &burst(f, 3, 30));
    assert_eq!(lines(&bench, f, 3, 30), 30);
}
