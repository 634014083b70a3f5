//! The connection tables, filled with what is valid: completed handshakes, requests, from one source and from many.

use std::thread;
use std::time::{Duration, Instant};

use netpol_tests::flags::{ACK, SYN};
use netpol_tests::flood::Flood;
use netpol_tests::policy::{VERSION, policy};
use netpol_tests::sock::{self, Connection};
use netpol_tests::standing::Standing;
use netpol_tests::{Bench, Family, Hook, Packet, say, wait};

/// Standing connections, over both families.
const STANDING: usize = 100;

fn text(conntrack: &str, keys: &str, rule: &str) -> String {
    let rules = format!("[[policy.ingress]]\naction = \"allow\"\n{rule}\n");
    let keys = format!("policy_types = [\"ingress\", \"egress\"]\n{keys}");
    (policy("open", &keys) + &rules + "[[policy.egress]]\naction = \"allow\"\n").replacen(
        VERSION,
        &format!("{VERSION}[daemon.conntrack]\nadopt_existing = false\n{conntrack}\n"),
        1,
    )
}

/// How many handshakes from that source get through to their end.
fn handshakes(bench: &Bench, f: Family, source: u8, ports: std::ops::Range<u16>) -> usize {
    let parts = ports.clone().step_by(200).map(|first| first..ports.end.min(first + 200));
    parts.map(|part| handshakes_at_once(bench, f, source, part)).sum()
}

fn handshakes_at_once(bench: &Bench, f: Family, source: u8, ports: std::ops::Range<u16>) -> usize {
    let ends = |port| (f.at(9, source, port), f.at(1, 1, 81));
    let syns: Vec<Packet> = ports.clone().map(|port| Packet::tcp(ends(port).0, ends(port).1, SYN, 1000, 0)).collect();
    let answers: Vec<Packet> = ports.clone().map(|port| Packet::tcp(ends(port).1, ends(port).0, SYN | ACK, 5000, 1001)).collect();
    let acks: Vec<Packet> = ports.map(|port| Packet::tcp(ends(port).0, ends(port).1, ACK, 1001, 5001)).collect();
    bench.through(Hook::Ingress, &syns);
    bench.through(Hook::Egress, &answers);
    bench.through(Hook::Ingress, &acks)
}

#[test]
fn table_full_of_completed_connections_refuses_new_ones_and_cuts_none() {
    let Some(bench) = Bench::start(&text("max_entries = 512\nmax_half_open = 4096\ntcp_fin = \"1s\"", "", "protocol = \"tcp\"")) else {
        return;
    };
    let standing = Standing::start(&bench.net, STANDING, 80, Duration::from_millis(1));
    for (what, sources) in [("one source", 1), ("many sources", 200u16)] {
        for f in Family::BOTH {
            let before = bench.cli().drops("conntrack_full");
            let made: usize = (0..sources).map(|n| handshakes(&bench, f, n as u8, 1000..1000 + 1000 / sources)).sum();
            let refused = bench.cli().drops("conntrack_full") - before;
            say::aloud(&format!("{what}, {f:?}: of 1,000 handshakes {made} completed, {refused} refused (conntrack_full)"));
            assert_eq!(made as u64 + refused, u64::from(1000 / sources * sources), "{what} {f:?}: each is completed or counted");
            assert!(refused > 400, "{what} {f:?}: the table is full");
        }
    }
    wait::until("status says how full it is", Duration::from_secs(15), || {
        let table = &bench.cli().status()["flows"]["connections"];
        table["max"] == 512 && table["flows"].as_u64() > Some(460)
    });
    assert!(bench.cli().warnings().contains("the table `connections` holds"), "{}", bench.cli().warnings());
    assert!(standing.live() && standing.finish() > 0);
    // Those that stood have closed: there is room again, for whoever comes.
    let end = Instant::now() + Duration::from_secs(30);
    while handshakes(&bench, Family::V4, 250, 1..2) == 0 {
        assert!(Instant::now() < end, "no room after {STANDING} connections have closed");
        thread::sleep(Duration::from_millis(300));
    }
}

#[test]
fn half_open_floods_of_three_protocols_leave_standing_connections_alone() {
    let Some(bench) = Bench::start(&text("max_half_open = 1024", "", "")) else { return };
    let standing = Standing::start(&bench.net, STANDING, 80, Duration::ZERO);
    let quiet = {
        thread::sleep(Duration::from_secs(2));
        standing.words() / 2
    };
    for f in Family::BOTH {
        let source = |n: u16| f.at(10 + (n % 100) as u8, (n / 100) as u8, 1024 + n);
        let to = f.at(1, 1, 81);
        let kinds: [(&str, Vec<Packet>); 3] = [
            ("SYN", (0..10_000).map(|n| Packet::syn(source(n), to)).collect()),
            ("UDP", (0..10_000).map(|n| Packet::udp(source(n), to)).collect()),
            ("ICMP", (0..10_000).map(|n| Packet::echo(source(n).ip(), to.ip(), f.echo().0, n)).collect()),
        ];
        for (what, packets) in kinds {
            let (before, words) = (bench.cli().drops("conntrack_full"), standing.words());
            let flood = Flood::start(&bench.net.src, "eth0", &packets);
            thread::sleep(Duration::from_secs(2));
            let moved = (standing.words() - words) / 2;
            let sent = flood.stop();
            let refused = bench.cli().drops("conntrack_full") - before;
            say::aloud(&format!(
                "{what} {f:?}: {} packets/s, {refused} of {} refused (conntrack_full); {STANDING} connections carry {moved} words/s, {quiet} without",
                sent.rate(),
                sent.frames
            ));
            assert!(refused > 0, "{what} {f:?}: the table of half-open flows is full, and says so");
            assert!(standing.live() && moved > 0, "{what} {f:?}");
        }
    }
    standing.finish();
}

/// No key of the language bounds how many flows a source may have; rates bound how fast it can get them, so that others stay ahead.
#[test]
fn rate_of_a_source_keeps_it_from_filling_the_tables() {
    let in_xdp = "[policy.xdp]\nmode = \"off\"\nrate_limit = { syns = \"1/h\", syns_burst = 20 }\n";
    let in_rule = "limit = { rate = \"1/h\", burst = 20, per = \"source\" }";
    for (keys, limit) in [(in_xdp, ""), ("", in_rule)] {
        let Some(bench) = Bench::start(&text("max_entries = 128\nmax_half_open = 128", keys, limit)) else { return };
        for f in Family::BOTH {
            assert_eq!(handshakes(&bench, f, 1, 1000..1500), 20, "{f:?} {keys}{limit}: its burst and no more");
            let listener = sock::listen(&bench.net.dut, f.at(1, 1, 81));
            let another = Connection::open(&bench.net.src, &listener, f.at(1, 1, 81));
            assert!(another.is_ok_and(|mut connection| connection.lives()), "{f:?} {keys}{limit}: another source connects");
        }
        assert_eq!(bench.cli().drops("conntrack_full"), 0, "{keys}{limit}: there was room all the time");
    }
}

/// Limit, said aloud: openings from outside and this host's own share one table. What bounds the former keeps room for the latter.
#[test]
fn flood_of_openings_shuts_out_the_hosts_own_only_where_no_rate_bounds_it() {
    let bounded = "protocol = \"udp\"\nlimit = { rate = \"10/s\", burst = 100 }";
    for (rule, room) in [("protocol = \"udp\"", false), (bounded, true)] {
        let Some(bench) = Bench::start(&text("max_half_open = 1024", "", rule)) else { return };
        for f in Family::BOTH {
            let packets: Vec<Packet> =
                (0..20_000u16).map(|n| Packet::udp(f.at(10 + (n / 200) as u8, (n % 200) as u8, 1024), f.at(1, 1, 53))).collect();
            let flood = Flood::start(&bench.net.src, "eth0", &packets);
            thread::sleep(Duration::from_secs(1));
            let listener = sock::listen(&bench.net.src, f.at(1, 2, 81));
            let own = Connection::open(&bench.net.dut, &listener, f.at(1, 2, 81));
            flood.stop();
            let reasons = bench.cli().reasons();
            let (full, default) = (reasons["conntrack_full"], reasons["default"]);
            assert_eq!(own.is_ok(), room, "{f:?} {rule}: its own connection ({full} refused: conntrack_full)");
            assert!(if room { full == 0 && default > 0 } else { full > 0 }, "{f:?} {rule}: {reasons:?}");
        }
    }
}
