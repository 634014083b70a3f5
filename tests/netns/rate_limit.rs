//! `policy.xdp.rate_limit`: how much one source may send, in every XDP mode and without XDP.

use std::thread::sleep;
use std::time::{Duration, Instant};

use netpol_tests::flags::{ACK, CWR, ECE, FIN, RST, SYN};
use netpol_tests::flood::Flood;
use netpol_tests::packet_l4::unique;
use netpol_tests::policy::{VERSION, policy};
use netpol_tests::sock::{self, Connection};
use netpol_tests::{Bench, Family, Hook, Packet};

const MODES: [&str; 4] = ["native", "generic", "off", "auto"];
const OPEN: &str = "default_action = { ingress = \"allow\" }";
/// Nothing comes back while a test runs.
const FIVE_PACKETS: &str = "{ packets = \"1/h\", packets_burst = 5 }";
const THREE_SYNS: &str = "{ syns = \"1/h\", syns_burst = 3 }";

fn text(mode: &str, limit: &str, keys: &str) -> String {
    policy("x", keys) + &format!("[policy.xdp]\nmode = \"{mode}\"\nrate_limit = {limit}\n")
}

/// Asks in every mode, each with a bench of its own.
fn in_every_mode(limit: &str, keys: &str, ask: impl Fn(&Bench, Family, &str)) {
    for mode in MODES {
        let Some(bench) = Bench::start(&text(mode, limit, keys)) else { return };
        for f in Family::BOTH {
            println!("{mode} {f:?}");
            ask(&bench, f, mode);
        }
    }
}

fn port() -> u16 {
    1024 + (unique() % 60_000) as u16
}

fn udp(f: Family, net: u8, host: u8) -> Packet {
    Packet::udp(f.at(net, host, port()), f.at(1, 1, 53))
}

fn syn(f: Family, net: u8, host: u8) -> Packet {
    Packet::syn(f.at(net, host, port()), f.at(1, 1, 80))
}

fn many(count: usize, packet: impl Fn() -> Packet) -> Vec<Packet> {
    (0..count).map(|_| packet()).collect()
}

#[test]
fn each_source_may_send_its_burst_of_packets() {
    in_every_mode(FIVE_PACKETS, OPEN, |bench, f, mode| {
        let before = bench.cli().reasons();
        assert_eq!(bench.through(Hook::Ingress, &many(20, || udp(f, 3, 2))), 5, "{f:?} {mode}");
        let after = bench.cli().reasons();
        assert_eq!(after["rate_limit"] - before["rate_limit"], 15, "{f:?} {mode}");
        assert_eq!(after.values().sum::<u64>() - before.values().sum::<u64>(), 15, "{f:?} {mode}: each has one reason");
        assert_eq!(bench.through(Hook::Ingress, &many(20, || udp(f, 4, 2))), 5, "{f:?} {mode}: another source");
        bench.refused(Hook::Ingress, "rate_limit", &Packet::syn(f.at(3, 2, 1), f.at(1, 1, 80)), "every protocol counts");
        bench.refused(Hook::Ingress, "rate_limit", &udp(f, 3, 2).vlan(7), "inside a tag: the same source");
        bench.refused(Hook::Ingress, "rate_limit", &Packet::ip(f.host(3, 2), f.host(1, 1), 99, &[0; 20]), "every protocol counts");
        assert_eq!(bench.through(Hook::Egress, &many(20, || udp(f, 3, 2))), 20, "{f:?} {mode}: leaving packets are not counted");
    });
}

#[test]
fn ipv6_sources_of_one_64_share_a_rate_and_ipv4_sources_do_not() {
    for mode in MODES {
        let Some(bench) = Bench::start(&text(mode, FIVE_PACKETS, OPEN)) else { return };
        for (f, expected) in [(Family::V4, 20), (Family::V6, 5)] {
            let neighbours: Vec<Packet> = (1..=20).map(|host| udp(f, 3, host)).collect();
            assert_eq!(bench.through(Hook::Ingress, &neighbours), expected, "{f:?} {mode}");
        }
    }
}

#[test]
fn packets_of_running_flows_count_too() {
    in_every_mode(FIVE_PACKETS, OPEN, |bench, f, mode| {
        let (a, b) = (f.at(3, 2, 4000), f.at(1, 1, 53));
        assert_eq!(bench.through(Hook::Ingress, &many(3, || Packet::udp(a, b))), 3, "{f:?} {mode}");
        assert!(bench.leaves(&Packet::udp(b, a)), "{f:?} {mode}: answered");
        assert_eq!(bench.through(Hook::Ingress, &many(10, || Packet::udp(a, b))), 2, "{f:?} {mode}");
    });
}

#[test]
fn rate_limit_speaks_where_ingress_is_not_isolated() {
    in_every_mode(FIVE_PACKETS, "policy_types = [\"egress\"]", |bench, f, mode| {
        assert_eq!(bench.through(Hook::Ingress, &many(20, || udp(f, 3, 2))), 5, "{f:?} {mode}");
    });
}

#[test]
fn each_source_may_send_its_burst_of_syns_and_as_much_else_as_it_likes() {
    in_every_mode(THREE_SYNS, OPEN, |bench, f, mode| {
        assert_eq!(bench.through(Hook::Ingress, &many(20, || syn(f, 3, 2))), 3, "{f:?} {mode}");
        bench.refused(Hook::Ingress, "rate_limit", &syn(f, 3, 2), "one more");
        let marked = Packet::tcp(f.at(3, 2, port()), f.at(1, 1, 80), SYN | ECE | CWR, 1, 0);
        bench.refused(Hook::Ingress, "rate_limit", &marked, "a SYN that offers ECN");
        assert_eq!(bench.through(Hook::Ingress, &many(20, || udp(f, 3, 2))), 20, "{f:?} {mode}: UDP");
        assert_eq!(bench.through(Hook::Ingress, &many(20, || syn(f, 4, 2))), 3, "{f:?} {mode}: another source");
    });
}

#[test]
fn other_tcp_segments_are_no_syns() {
    // Where nothing is isolated, rules and state let everything pass: only the rate speaks.
    in_every_mode(THREE_SYNS, "policy_types = [\"egress\"]", |bench, f, mode| {
        for flags in [ACK, SYN | ACK, SYN | RST, SYN | FIN, FIN | ACK, RST, 0] {
            let segments = many(10, || Packet::tcp(f.at(3, 2, port()), f.at(1, 1, 80), flags, 1, 1));
            assert_eq!(bench.through(Hook::Ingress, &segments), 10, "{f:?} {mode}: flags {flags:#04x}");
        }
        assert_eq!(bench.through(Hook::Ingress, &many(10, || syn(f, 3, 2))), 3, "{f:?} {mode}: none of these was counted");
    });
}

#[test]
fn both_rates_hold_side_by_side() {
    in_every_mode("{ packets = \"1/h\", packets_burst = 10, syns = \"1/h\", syns_burst = 2 }", OPEN, |bench, f, mode| {
        assert_eq!(
            bench.through(Hook::Ingress, &many(5, || syn(f, 3, 2))),
            2,
            "{f:?} {mode}: five packets, two of them within the rate of SYNs"
        );
        assert_eq!(bench.through(Hook::Ingress, &many(20, || udp(f, 3, 2))), 5, "{f:?} {mode}: what is left of ten");
    });
}

#[test]
fn later_fragments_are_packets_and_no_syns() {
    in_every_mode(THREE_SYNS, "policy_types = [\"egress\"]", |bench, f, mode| {
        // At offset 64 stands what would be a SYN at offset 0.
        let body = [vec![0; 64], syn(f, 3, 2).body().to_vec()].concat();
        let later: Vec<Packet> = (0..10).map(|id| Packet::ip(f.host(3, 2), f.host(1, 1), 6, &body).piece(100 + id, 64, 999)).collect();
        assert_eq!(bench.through(Hook::Ingress, &later), 10, "{f:?} {mode}");
    });
    in_every_mode(FIVE_PACKETS, "policy_types = [\"egress\"]", |bench, f, mode| {
        let later: Vec<Packet> =
            (0..10).map(|id| Packet::udp_with(f.at(3, 2, 1), f.at(1, 1, 2), &[id; 120]).piece(200 + u32::from(id), 64, 999)).collect();
        assert_eq!(bench.through(Hook::Ingress, &later), 5, "{f:?} {mode}");
    });
}

#[test]
fn rate_comes_back_with_time() {
    in_every_mode("{ packets = \"20/s\", packets_burst = 10 }", OPEN, |bench, f, mode| {
        let begin = Instant::now();
        let first = bench.through(Hook::Ingress, &many(40, || udp(f, 3, 2)));
        sleep(Duration::from_millis(300));
        let second = bench.through(Hook::Ingress, &many(40, || udp(f, 3, 2)));
        let most = 11 + (20.0 * begin.elapsed().as_secs_f64()) as usize;
        assert!(first >= 10 && second >= 5 && first + second <= most, "{f:?} {mode}: {first}, then {second}, of at most {most}");
    });
}

#[test]
fn burst_unstated_is_what_one_period_brings() {
    in_every_mode("{ packets = \"7/h\" }", OPEN, |bench, f, mode| {
        assert_eq!(bench.through(Hook::Ingress, &many(20, || udp(f, 3, 2))), 7, "{f:?} {mode}");
    });
    in_every_mode("{ syns = \"4/h\" }", OPEN, |bench, f, mode| {
        assert_eq!(bench.through(Hook::Ingress, &many(20, || syn(f, 3, 2))), 4, "{f:?} {mode}");
    });
}

#[test]
fn of_several_policies_the_lower_rate_holds() {
    for (first, second) in [("5/h", "3/h"), ("3/h", "5/h")] {
        let limit =
            |name: &str, rate: &str| text("auto", &format!("{{ packets = \"{rate}\" }}"), OPEN).replace("\"x\"", &format!("\"{name}\""));
        let both = limit("a", first) + limit("b", second).trim_start_matches(VERSION);
        let Some(bench) = Bench::start(&both) else { return };
        for f in Family::BOTH {
            assert_eq!(bench.through(Hook::Ingress, &many(20, || udp(f, 3, 2))), 3, "{f:?}: {first} and {second}");
        }
    }
}

#[test]
fn failsafe_with_nets_is_not_limited() {
    let failsafe = "[daemon]\nfailsafe.inbound = [{ protocol = \"tcp\", port = 22 }, { protocol = \"tcp\", port = 23, nets = [\"10.3.0.0/16\", \"fd00:3::/64\"] }]\n";
    for limit in [FIVE_PACKETS, THREE_SYNS] {
        for mode in MODES {
            let text = text(mode, limit, OPEN).replacen(VERSION, &format!("{VERSION}{failsafe}"), 1);
            let Some(bench) = Bench::start(&text) else { return };
            for f in Family::BOTH {
                let to = |net, port_to| Packet::syn(f.at(net, 2, port()), f.at(1, 1, port_to));
                assert_eq!(bench.through(Hook::Ingress, &many(20, || to(3, 23))), 20, "{f:?} {mode}: inside the nets");
                assert!(bench.through(Hook::Ingress, &many(20, || to(4, 23))) <= 5, "{f:?} {mode}: outside the nets");
                assert!(bench.through(Hook::Ingress, &many(20, || to(3, 22))) <= 5, "{f:?} {mode}: an entry without nets");
            }
        }
    }
}

#[test]
fn what_was_used_up_stays_used_up_over_a_reload() {
    for mode in MODES {
        let Some(bench) = Bench::start(&text(mode, FIVE_PACKETS, OPEN)) else { return };
        for f in Family::BOTH {
            assert_eq!(bench.through(Hook::Ingress, &many(20, || udp(f, 3, 2))), 5, "{f:?} {mode}");
        }
        bench.change(
            &(text(mode, FIVE_PACKETS, OPEN)
                + "[[policy.ingress]]\naction = \"deny\"\nprotocol = \"udp\"\ndestination = { ports = [9] }\n"),
        );
        for f in Family::BOTH {
            assert_eq!(bench.through(Hook::Ingress, &many(20, || udp(f, 3, 2))), 0, "{f:?} {mode}");
        }
    }
}

#[test]
fn interfaces_are_limited_apart() {
    let both = text("auto", FIVE_PACKETS, OPEN).replace("[\"left\"]", "[\"left\", \"right\"]");
    let Some(bench) = Bench::start(&both) else { return };
    for f in Family::BOTH {
        assert_eq!(bench.through(Hook::Ingress, &many(20, || udp(f, 3, 2))), 5, "{f:?}: left");
        let right = netpol_tests::bench::Way::new(&bench.net.dst, "eth0", &bench.net.dut, "right", &[0x0800, 0x86dd]);
        let seen = right.deliver(&bench.net.dut, "right", &many(20, || udp(f, 3, 2)));
        assert_eq!(seen.len(), 5, "{f:?}: the same source on the right");
    }
}

#[test]
fn one_source_is_held_back_while_another_connects() {
    for mode in MODES {
        let limits = "{ packets = \"2000/s\", syns = \"20/s\" }";
        let web = "[[policy.ingress]]\naction = \"allow\"\nprotocol = \"tcp\"\ndestination = { ports = [80] }\n";
        let Some(bench) = Bench::start(&(text(mode, limits, "policy_types = [\"ingress\"]") + web)) else { return };
        for f in Family::BOTH {
            let listener = sock::listen(&bench.net.dut, f.at(1, 1, 80));
            let bad: Vec<Packet> = (1..=200).map(|port| Packet::syn(f.at(3, 7, port), f.at(1, 1, 80))).collect();
            let before = bench.cli().drops("rate_limit");
            let flood = Flood::start(&bench.net.src, "eth0", &bad);
            for n in 0..10 {
                let mut connection = Connection::open(&bench.net.src, &listener, f.at(1, 1, 80))
                    .unwrap_or_else(|e| panic!("{f:?} {mode}: connection {n}: {e}"));
                assert!(connection.lives(), "{f:?} {mode}: connection {n}");
            }
            let sent = flood.stop();
            let dropped = bench.cli().drops("rate_limit") - before;
            let allowed = 20.0 * (sent.time.as_secs_f64() + 2.0);
            assert!(
                dropped as f64 >= 0.9 * sent.frames as f64 - allowed,
                "{f:?} {mode}: {dropped} of {} dropped in {:?}",
                sent.frames,
                sent.time
            );
        }
    }
}

#[test]
fn standing_connections_carry_data_while_many_sources_flood() {
    for mode in MODES {
        let small = "[daemon.conntrack]\nmax_half_open = 512\n";
        let web = "[[policy.ingress]]\naction = \"allow\"\nprotocol = \"tcp\"\ndestination = { ports = [80] }\n";
        let text = (text(mode, "{ syns = \"50/s\" }", "policy_types = [\"ingress\", \"egress\"]") + web).replacen(
            VERSION,
            &format!("{VERSION}{small}"),
            1,
        );
        let Some(bench) = Bench::start(&text) else { return };
        // Both stand before the first flood: it leaves the table of half-open flows full.
        let connections = Family::BOTH.map(|f| {
            let listener = sock::listen(&bench.net.dut, f.at(1, 1, 80));
            Connection::open(&bench.net.src, &listener, f.at(1, 1, 80)).expect("a connection")
        });
        for (f, mut connection) in Family::BOTH.into_iter().zip(connections) {
            let spoofed: Vec<Packet> =
                (0..2000u16).map(|n| Packet::syn(f.at((n / 200) as u8 + 10, (n % 200) as u8, n + 1), f.at(1, 1, 80))).collect();
            let flood = Flood::start(&bench.net.src, "eth0", &spoofed);
            while flood.rounds() < 5 {
                assert!(connection.lives(), "{f:?} {mode}: in the flood");
            }
            assert!((0..50).all(|_| connection.lives()), "{f:?} {mode}: in the flood");
            flood.stop();
            assert!(connection.lives(), "{f:?} {mode}: after the flood");
        }
        assert!(bench.cli().drops("conntrack_full") > 0, "{mode}: the floods filled the table of half-open flows");
    }
}
