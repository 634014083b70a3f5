//! A changed policy and the flows that the former one let in.

use netpol_tests::policy::{VERSION, allow_port, arriving};
use netpol_tests::sock::{self, Connection};
use netpol_tests::{Bench, Family, Packet};

fn open(bench: &Bench, f: Family, port: u16) -> Connection {
    let listener = sock::listen(&bench.net.dut, f.at(1, 1, port));
    let mut connection = Connection::open(&bench.net.src, &listener, f.at(1, 1, port)).expect("a connection");
    assert!(connection.lives());
    connection
}

#[test]
fn new_deny_cuts_the_live_connection_and_no_other() {
    let ports = |ports: &[u16]| arriving(&ports.iter().map(|port| allow_port(&format!("p{port}"), "tcp", *port)).collect::<String>());
    let Some(bench) = Bench::start(&ports(&[80, 81])) else { return };
    let mut kept = Family::BOTH.map(|f| open(&bench, f, 80));
    let mut cut = Family::BOTH.map(|f| open(&bench, f, 81));
    bench.change(&ports(&[80]));
    assert!(kept.iter_mut().all(Connection::lives), "still allowed");
    assert!(cut.iter_mut().all(Connection::is_cut), "now denied");
}

#[test]
fn established_keep_lets_live_connections_go_on() {
    let keep = |rules: &str| arriving(rules).replacen(VERSION, &format!("{VERSION}[daemon.conntrack]\nestablished = \"keep\"\n"), 1);
    let Some(bench) = Bench::start(&keep(&allow_port("web", "tcp", 80))) else { return };
    let mut connections = Family::BOTH.map(|f| open(&bench, f, 80));
    bench.change(&keep(&allow_port("web", "tcp", 81)));
    assert!(connections.iter_mut().all(Connection::lives), "kept");
    for f in Family::BOTH {
        assert!(sock::connect(&bench.net.src, f.at(1, 1, 80)).is_err(), "{f:?}: but no new one");
    }
}

#[test]
fn changed_set_cuts_the_flows_of_its_members() {
    let text = |elements: &str| {
        arriving("[[rule]]\naction = \"allow\"\nsource = { sets = [\"friends\"] }\n")
            + &format!("[[set]]\nname = \"friends\"\nelements = [{elements}]\n")
    };
    let Some(bench) = Bench::start(&text("\"10.1.0.2\", \"fd00:1::2\"")) else { return };
    let mut connections = Family::BOTH.map(|f| open(&bench, f, 80));
    bench.change(&text("\"10.1.0.2\""));
    assert!(connections[0].lives(), "still a friend");
    assert!(connections[1].is_cut(), "no friend any more");
}

#[test]
fn flow_refused_by_a_new_policy_ends_both_ways() {
    let isolated = |rules: &str| arriving(rules).replace("[\"ingress\"]", "[\"ingress\", \"egress\"]");
    let Some(bench) = Bench::start(&isolated(&allow_port("dns", "udp", 53))) else { return };
    for f in Family::BOTH {
        assert!(bench.arrives(&Packet::udp(f.at(1, 2, 4000), f.at(1, 1, 53))));
    }
    bench.change(&isolated(&allow_port("dns", "udp", 54)));
    for f in Family::BOTH {
        assert!(!bench.leaves(&Packet::udp(f.at(1, 1, 53), f.at(1, 2, 4000))), "{f:?}: an answer is judged by its question");
        assert!(!bench.arrives(&Packet::udp(f.at(1, 2, 4000), f.at(1, 1, 53))), "{f:?}: the question");
    }
}

#[test]
fn flow_of_a_direction_that_is_no_longer_isolated_goes_on() {
    let Some(bench) = Bench::start(&arriving(&allow_port("web", "tcp", 80))) else { return };
    let mut connection = open(&bench, Family::V4, 80);
    bench.change(&netpol_tests::policy::leaving(""));
    assert!(connection.lives(), "answers leave by the flow although egress now denies all");
}
