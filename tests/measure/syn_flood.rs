//! A flood of SYNs from forged sources, against standing connections and new ones, with and without a rate for each source.
//! The forged frames go to a MAC address that no one has: the stack behind the firewall has no part in the figures.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use netpol_tests::flood::Flood;
use netpol_tests::policy::{VERSION, policy};
use netpol_tests::sock::{self, Connection};
use netpol_tests::{Bench, Family, Packet, say};

use crate::{alone, median_and_max, milliseconds};

/// For each figure.
const TIME: Duration = Duration::from_secs(2);

fn text(xdp: &str, half_open: u32) -> String {
    let rules = "[[policy.ingress]]\naction = \"allow\"\nprotocol = \"tcp\"\ndestination = { ports = [80, 81] }\n";
    (policy("web", "policy_types = [\"ingress\", \"egress\"]") + xdp + rules).replacen(
        VERSION,
        &format!("{VERSION}[daemon.conntrack]\nmax_half_open = {half_open}\n"),
        1,
    )
}

/// SYNs from so many forged sources of other nets than the honest host's.
fn spoofed(f: Family, sources: u32) -> Vec<Packet> {
    (0..20_000u32)
        .map(|n| {
            let source = n % sources;
            Packet::syn(f.at((source / 200 % 200) as u8 + 10, (source % 200) as u8, 1024 + (n / sources) as u16), f.at(1, 1, 80))
        })
        .collect()
}

/// Megabytes a second over a standing connection.
fn throughput(connection: Connection) -> f64 {
    let Connection { mut client, mut server } = connection;
    let stop = Arc::new(AtomicBool::new(false));
    let bytes = Arc::new(AtomicU64::new(0));
    let (stopped, counted) = (Arc::clone(&stop), Arc::clone(&bytes));
    let writer = thread::spawn(move || {
        client.set_write_timeout(Some(Duration::from_millis(500))).expect("a write timeout");
        while !stopped.load(Ordering::Relaxed) {
            if client.write(&[7; 65536]).is_err() {
                break;
            }
        }
    });
    let reader = thread::spawn(move || {
        server.set_read_timeout(Some(Duration::from_millis(500))).expect("a read timeout");
        let mut buffer = vec![0; 1 << 18];
        while let Ok(length @ 1..) = server.read(&mut buffer) {
            counted.fetch_add(length as u64, Ordering::Relaxed);
        }
    });
    let begin = Instant::now();
    thread::sleep(TIME);
    let rate = bytes.load(Ordering::Relaxed) as f64 / begin.elapsed().as_secs_f64() / 1e6;
    stop.store(true, Ordering::Relaxed);
    writer.join().expect("the writer");
    reader.join().expect("the reader");
    rate
}

/// New connections that succeed within 400 ms, of how many, and how long they take.
fn connects(bench: &Bench, f: Family, listener: &TcpListener) -> (usize, usize, String) {
    let begin = Instant::now();
    let mut times = Vec::new();
    let mut tried = 0;
    while begin.elapsed() < TIME {
        tried += 1;
        let start = Instant::now();
        if Connection::open(&bench.net.src, listener, f.at(1, 1, 81)).is_ok() {
            times.push(start.elapsed());
        }
        // Below the rate that the honest host has itself.
        thread::sleep(Duration::from_millis(120));
    }
    let succeeded = times.len();
    if times.is_empty() {
        return (0, tried, "-".into());
    }
    let (median, max) = median_and_max(&mut times);
    (succeeded, tried, format!("{} / {} ms", milliseconds(median), milliseconds(max)))
}

struct Case {
    what: &'static str,
    xdp: &'static str,
    half_open: u32,
    /// 0 = no flood.
    sources: u32,
}

fn measure(case: &Case, f: Family) {
    let Some(bench) = Bench::start(&text(case.xdp, case.half_open)) else { return };
    let [standing, fresh] = [80, 81].map(|port| sock::listen(&bench.net.dut, f.at(1, 1, port)));
    let connection = Connection::open(&bench.net.src, &standing, f.at(1, 1, 80)).expect("a connection before the flood");
    let mut kept = Connection::open(&bench.net.src, &standing, f.at(1, 1, 80)).expect("a connection before the flood");
    let flood = (case.sources > 0).then(|| Flood::start(&bench.net.src, "eth0", &spoofed(f, case.sources)));
    thread::sleep(Duration::from_millis(500));
    let rate = throughput(connection);
    let (succeeded, tried, times) = connects(&bench, f, &fresh);
    let sent = flood.map_or(0, |flood| flood.stop().rate());
    let reasons = bench.cli().reasons();
    say::aloud(&format!(
        "{:<44} {f:?} {sent:>9} {rate:>9.0} {:>11} {times:>18} {:>10} {:>10}",
        case.what,
        format!("{succeeded}/{tried}"),
        reasons["rate_limit"],
        reasons["conntrack_full"],
    ));
    assert!(kept.lives(), "{}: a standing connection goes on", case.what);
}

#[test]
fn connections_under_a_syn_flood_from_forged_sources() {
    let _alone = alone();
    say::aloud("flood, limit                                    SYNs/s     MB/s    connects   median / max time rate_limit table full");
    const PER_SOURCE: &str = "[policy.xdp]\nmode = \"native\"\nrate_limit = { syns = \"10/s\", syns_burst = 20 }\n";
    const AT_TC: &str = "[policy.xdp]\nmode = \"off\"\nrate_limit = { syns = \"10/s\", syns_burst = 20 }\n";
    let cases = [
        Case { what: "no flood", xdp: "", half_open: 65_536, sources: 0 },
        Case { what: "no flood, XDP native on a veth", xdp: PER_SOURCE, half_open: 65_536, sources: 0 },
        Case { what: "10 sources, no limit", xdp: "", half_open: 1024, sources: 10 },
        Case { what: "10 sources, syns 10/s in XDP", xdp: PER_SOURCE, half_open: 1024, sources: 10 },
        Case { what: "10 sources, syns 10/s at tc", xdp: AT_TC, half_open: 1024, sources: 10 },
        Case { what: "20,000 sources, no limit", xdp: "", half_open: 1024, sources: 20_000 },
        Case { what: "20,000 sources, syns 10/s in XDP", xdp: PER_SOURCE, half_open: 1024, sources: 20_000 },
    ];
    for case in &cases {
        for f in Family::BOTH {
            measure(case, f);
        }
    }
}
