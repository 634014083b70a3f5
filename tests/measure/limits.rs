//! How exact rates are, and what they cost: packets a second that come through, beside the rate that was written.

use std::time::{Duration, Instant};

use netpol_tests::bench::Way;
use netpol_tests::flood::Flood;
use netpol_tests::policy::{arriving, policy};
use netpol_tests::wire::Observer;
use netpol_tests::{Bench, Family, Packet, say};

use crate::alone;

const TIME: Duration = Duration::from_secs(1);

/// Openers to port 53 from so many sources, each packet a flow of its own.
fn openers(sources: u32, flows: u32) -> Vec<Packet> {
    let f = Family::V4;
    (0..sources * flows)
        .map(|n| Packet::udp(f.at((n % sources / 200) as u8 + 10, (n % sources % 200) as u8, 1000 + (n / sources) as u16), f.at(1, 1, 53)))
        .collect()
}

/// Floods for a while: frames sent a second, and packets a second that were within the rate.
fn flood(bench: &Bench, packets: &[Packet], by_rule: bool) -> (u64, f64) {
    let observer = Observer::open(&bench.net.dut, "left", 0x0800);
    let begin = Instant::now();
    let flood = Flood::start(&bench.net.src, "eth0", packets);
    let mut seen = 0;
    while begin.elapsed() < TIME {
        std::thread::sleep(Duration::from_millis(5));
        seen += observer.drain().len() as u64;
    }
    let sent = flood.stop();
    seen += observer.drain().len() as u64;
    // What follows in a flow that a rule has let in is not limited: the rule's own count tells how many it let in.
    let within = if by_rule { bench.cli().hits("limited") } else { seen };
    (sent.rate(), within as f64 / sent.time.as_secs_f64())
}

#[test]
fn written_rates_and_what_comes_through() {
    let _alone = alone();
    say::aloud("limit                                        sent/s    within/s   written/s");
    let rule = |limit: &str| arriving(&format!("[[rule]]\nid = \"limited\"\naction = \"allow\"\nlimit = {{ {limit} }}\n"));
    let xdp = |mode: &str, limit: &str| {
        policy("x", "default_action = { ingress = \"allow\" }") + &format!("[policy.xdp]\nmode = \"{mode}\"\nrate_limit = {{ {limit} }}\n")
    };
    let cases = [
        ("rule, 100/s", rule("rate = \"100/s\", burst = 1"), 1, 100.0),
        ("rule, 1000/s", rule("rate = \"1000/s\", burst = 8"), 1, 1000.0),
        ("rule, 1000/s, one at a time", rule("rate = \"1000/s\", burst = 1"), 1, 1000.0),
        ("source, 100/s, 10 sources", rule("rate = \"100/s\", burst = 8, per = \"source\""), 10, 1000.0),
        ("source, 10/s, 200 sources", rule("rate = \"10/s\", burst = 1, per = \"source\""), 200, 2000.0),
        ("rate_limit 1000/s, XDP native", xdp("native", "packets = \"1000/s\", packets_burst = 8"), 1, 1000.0),
        ("rate_limit 1000/s, XDP generic", xdp("generic", "packets = \"1000/s\", packets_burst = 8"), 1, 1000.0),
        ("rate_limit 1000/s, tc", xdp("off", "packets = \"1000/s\", packets_burst = 8"), 1, 1000.0),
        ("rate_limit 100/s, XDP native, 10 sources", xdp("native", "packets = \"100/s\", packets_burst = 8"), 10, 1000.0),
    ];
    for (what, text, sources, written) in cases {
        let Some(bench) = Bench::start(&text) else { return };
        let (sent, within) = flood(&bench, &openers(sources, 20_000 / sources), !what.starts_with("rate_limit"));
        say::aloud(&format!("{what:<42} {sent:>8} {within:>11.1} {written:>11.1}"));
    }
}

#[test]
fn sources_that_outnumber_the_remembered_ones() {
    let _alone = alone();
    let text = policy("x", "policy_types = [\"egress\"]")
        + "[policy.xdp]\nmode = \"native\"\nrate_limit = { packets = \"1/h\", packets_burst = 1 }\n";
    let Some(bench) = Bench::start(&text) else { return };
    let f = Family::V4;
    let packets: Vec<Packet> = (0..100_000u32)
        .map(|n| Packet::udp(std::net::SocketAddr::new(std::net::Ipv4Addr::from(0x0b00_0000 + n).into(), 7), f.at(1, 1, 53)))
        .collect();
    let begin = Instant::now();
    let way = Way::new(&bench.net.src, "eth0", &bench.net.dut, "left", &[0x0800]);
    let count = |chunk: &[Packet]| way.deliver(&bench.net.dut, "left", chunk).len();
    let first: usize = packets.chunks(500).map(count).sum();
    // Youngest first: in the order of the first round, each would have been forgotten just before it comes again.
    let second: usize = packets.chunks(500).rev().map(count).sum();
    say::aloud(&format!(
        "100,000 sources, 1 packet each: {first} through; the same again, youngest first: {second} (65,536 sources are remembered); {:.1} s",
        begin.elapsed().as_secs_f64()
    ));
}
