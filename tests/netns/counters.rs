//! Counters of rules: what they judged, kept across reloads by id.

use netpol_tests::policy::{allow_port, arriving};
use netpol_tests::{Bench, Family, Packet};

use crate::matrix::udp_to;

#[test]
fn rule_counts_the_packets_that_it_judged() {
    let rules = allow_port("dns", "udp", 53)
        + "[[rule]]\nid = \"no-ntp\"\naction = \"deny\"\nprotocol = \"udp\"\ndestination = { ports = [123] }\n";
    let Some(bench) = Bench::start(&arriving(&rules)) else { return };
    let opener = |port| Packet::udp(Family::V4.at(1, 2, port), Family::V4.at(1, 1, 53));
    for port in 1..=5 {
        assert!(bench.arrives(&opener(port)) && bench.arrives(&opener(port)));
    }
    assert_eq!(bench.cli().hits("dns"), 5, "five flows: later packets of a flow are not judged by rules");
    let bytes = bench.cli().rule("dns")["bytes"].as_u64().expect("bytes");
    assert!((5 * 32..=5 * 64).contains(&bytes), "bytes of five packets of 32 bytes, with or without Ethernet: {bytes}");
    for _ in 0..3 {
        assert!(!bench.arrives(&udp_to(Family::V6, 123)));
    }
    assert_eq!(bench.cli().hits("no-ntp"), 3, "every denied packet is judged");
    assert!(!bench.cli().rule("no-ntp")["last_hit"].is_null(), "last hit is known");
}

#[test]
fn counters_of_a_rule_are_kept_across_a_reload_by_its_id() {
    let Some(bench) = Bench::start(&arriving(&allow_port("dns", "udp", 53))) else { return };
    assert!(bench.arrives(&udp_to(Family::V4, 53)));
    let before = bench.cli().hits("dns");
    bench.change(&arriving(&(allow_port("ntp", "udp", 123) + &allow_port("dns", "udp", 53))));
    assert!(bench.cli().hits("dns") >= before, "not counted anew");
    assert_eq!(bench.cli().hits("ntp"), 0);
    assert!(bench.arrives(&udp_to(Family::V6, 53)));
    assert!(bench.cli().hits("dns") > before, "counts on");
}

#[test]
fn every_packet_is_either_accepted_or_dropped_for_one_reason() {
    let Some(bench) = Bench::start(&arriving(&allow_port("dns", "udp", 53))) else { return };
    let drops = || netpol_tests::cli::reasons(&bench.cli().status()).values().sum::<u64>();
    let before = drops();
    for n in 0..50 {
        bench.arrives(&udp_to(Family::V4, 53));
        bench.arrives(&udp_to(Family::V4, 1000 + n));
    }
    assert_eq!(drops() - before, 50, "fifty of a hundred");
}
