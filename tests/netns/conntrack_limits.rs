//! Timeouts and full tables.

use std::thread::sleep;
use std::time::Duration;

use netpol_tests::flags::{ACK, SYN};
use netpol_tests::flood::Flood;
use netpol_tests::policy::{VERSION, policy};
use netpol_tests::sock::{self, Connection};
use netpol_tests::wire::Sender;
use netpol_tests::{Bench, Family, Hook, Packet, machine, sys, wait};

fn start(conntrack: &str) -> Option<Bench> {
    let text = policy("t", "policy_types = [\"ingress\", \"egress\"]\n[[policy.ingress]]\naction = \"allow\"\n");
    Bench::start(&text.replacen(VERSION, &format!("{VERSION}[daemon.conntrack]\nadopt_existing = false\n{conntrack}\n"), 1))
}

fn past(seconds: u64) {
    sleep(Duration::from_millis(seconds * 1000 + 300));
}

#[test]
fn udp_flow_ends_after_its_timeout_and_lives_longer_when_answered() {
    let Some(bench) = start("udp = \"1s\"\nudp_stream = \"3s\"") else { return };
    let question = |f: Family, port| Packet::udp(f.at(1, 2, port), f.at(1, 1, 53));
    let answer = |f: Family, port| Packet::udp(f.at(1, 1, 53), f.at(1, 2, port));
    for f in Family::BOTH {
        assert!(bench.arrives(&question(f, 1)) && bench.arrives(&question(f, 2)));
        assert!(bench.leaves(&answer(f, 2)));
    }
    past(1);
    for f in Family::BOTH {
        assert!(!bench.leaves(&answer(f, 1)), "{f:?}: unanswered, after 1 s");
        assert!(bench.leaves(&answer(f, 2)), "{f:?}: answered, after 1 s");
    }
    past(3);
    for f in Family::BOTH {
        assert!(!bench.leaves(&answer(f, 2)), "{f:?}: answered, after 3 s more");
    }
}

#[test]
fn icmp_generic_and_half_open_tcp_flows_end_after_their_timeouts() {
    let Some(bench) = start("icmp = \"1s\"\ngeneric = \"1s\"\ntcp_syn = \"1s\"\ntcp_established = \"60s\"") else { return };
    for f in Family::BOTH {
        let (a, b) = (f.at(1, 2, 4000), f.at(1, 1, 80));
        assert!(bench.arrives(&Packet::echo(a.ip(), b.ip(), f.echo().0, 1)));
        assert!(bench.arrives(&Packet::ip(a.ip(), b.ip(), 47, &[0; 24])));
        assert!(bench.arrives(&Packet::tcp(a, b, SYN, 1000, 0)));
        let (a, b) = (f.at(1, 2, 4001), f.at(1, 1, 80));
        assert!(bench.arrives(&Packet::tcp(a, b, SYN, 1000, 0)));
        assert!(bench.leaves(&Packet::tcp(b, a, SYN | ACK, 5000, 1001)));
        assert!(bench.arrives(&Packet::tcp(a, b, ACK, 1001, 5001)));
    }
    past(1);
    for f in Family::BOTH {
        let (a, b) = (f.at(1, 2, 4000), f.at(1, 1, 80));
        let cases = [
            ("echo reply", Packet::echo(b.ip(), a.ip(), f.echo().1, 1), false),
            ("GRE answer", Packet::ip(b.ip(), a.ip(), 47, &[0; 24]), false),
            ("late SYN-ACK", Packet::tcp(b, a, SYN | ACK, 5000, 1001), false),
            ("established TCP", Packet::tcp(b, f.at(1, 2, 4001), ACK, 5001, 1001), true),
        ];
        bench.judge(Hook::Egress, &cases);
    }
}

#[test]
fn tcp_established_flow_ends_after_its_timeout() {
    let Some(bench) = start("tcp_established = \"1s\"") else { return };
    for f in Family::BOTH {
        let (a, b) = (f.at(1, 2, 4000), f.at(1, 1, 80));
        assert!(bench.arrives(&Packet::tcp(a, b, SYN, 1000, 0)));
        assert!(bench.leaves(&Packet::tcp(b, a, SYN | ACK, 5000, 1001)));
        assert!(bench.arrives(&Packet::tcp(a, b, ACK, 1001, 5001)));
        past(1);
        bench.refused(Hook::Ingress, "no_connection", &Packet::tcp(a, b, ACK, 1001, 5001), "after 1 s of silence");
    }
}

#[test]
fn full_table_refuses_new_flows_and_keeps_the_others() {
    let Some(bench) = start("max_entries = 64\nmax_half_open = 16") else { return };
    let f = Family::V4;
    let standing = (f.at(1, 2, 1), f.at(1, 1, 53));
    assert!(bench.arrives(&Packet::udp(standing.0, standing.1)));
    assert!(bench.leaves(&Packet::udp(standing.1, standing.0)), "answered: it has moved to the large table");
    let passed = (1000..1400).filter(|port| bench.arrives(&Packet::udp(f.at(1, 3, *port), f.at(1, 1, 53)))).count();
    assert!((1..400).contains(&passed), "of 400 new flows {passed} found room");
    bench.refused(Hook::Ingress, "conntrack_full", &Packet::udp(f.at(1, 3, 9000), f.at(1, 1, 53)), "one more");
    assert!(bench.arrives(&Packet::udp(standing.0, standing.1)), "the standing flow goes on");
    assert!(bench.leaves(&Packet::udp(standing.1, standing.0)), "both ways");
}

/// Hosts that repeat their SYN, while others that come from another CPU are after every place that is free for a moment.
#[test]
fn repeated_syn_keeps_its_place_in_a_full_table() {
    for f in Family::BOTH {
        let Some(bench) = start("max_half_open = 64") else { return };
        let syns = |host: u8, count: u16| (1..=count).map(|port| Packet::syn(f.at(1, host, port), f.at(1, 1, 80))).collect::<Vec<_>>();
        let (there, new) = (syns(7, 64), syns(8, machine::times(20_000, 1_000) as u16));
        assert_eq!(bench.through(Hook::Ingress, &there), 64, "{f:?}: the table is full");
        let before = bench.cli().drops("conntrack_full");
        let flood = Flood::start(&bench.net.src, "eth0", &there);
        wait::until("the flood has begun", Duration::from_secs(10), || flood.rounds() > 5);
        let sender = Sender::open(&bench.net.src, "eth0");
        std::thread::scope(|scope| {
            scope.spawn(|| {
                // Where there is one CPU only, they take turns.
                let cpus = std::thread::available_parallelism().map_or(1, usize::from);
                sys::stay_on_cpu(cpus - 1).expect("a CPU to stay on");
                new.iter().for_each(|packet| sender.send(&packet.frame()));
            });
        });
        flood.stop();
        assert_eq!(bench.through(Hook::Ingress, &there), 64, "{f:?}: each still has its place");
        // A CPU that cannot keep up loses a frame before it is judged.
        let refused = bench.cli().drops("conntrack_full") - before;
        assert!((1..=new.len() as u64).contains(&refused), "{f:?}: {refused} refused: of the {} others, and of nobody else", new.len());
    }
}

#[test]
fn established_connection_survives_a_syn_flood() {
    let Some(bench) = start("max_half_open = 256") else { return };
    let mut connections = Family::BOTH.map(|f| {
        let listener = sock::listen(&bench.net.dut, f.at(1, 1, 80));
        Connection::open(&bench.net.src, &listener, f.at(1, 1, 80)).expect("a connection")
    });
    assert!(connections.iter_mut().all(Connection::lives));
    for (f, connection) in Family::BOTH.into_iter().zip(&mut connections) {
        let before = bench.cli().drops("conntrack_full");
        for port in 1..3000 {
            bench.arrives(&Packet::syn(f.at(1, 7, port), f.at(1, 1, 80)));
        }
        assert!(bench.cli().drops("conntrack_full") > before, "{f:?}: the flood filled the table of half-open flows");
        assert!(connection.lives(), "{f:?}: the standing connection goes on");
    }
}
