//! `ports` and `not_ports` on both sides; a port key never matches what has no ports.

use netpol_tests::{Bench, Packet};

use crate::matrix::{everywhere, opener_of, udp_to};

#[test]
fn destination_ports_and_ranges_match_in_every_protocol_with_ports() {
    let Some(bench) = Bench::with_rules("[[rule]]\naction = \"allow\"\ndestination = { ports = [53, \"1000-2000\"] }\n") else { return };
    everywhere(&bench, |f| {
        let (a, b) = (f.at(1, 2, 4000), |port| f.at(1, 1, port));
        vec![
            ("UDP port", Packet::udp(a, b(53)), true),
            ("below it", Packet::udp(a, b(52)), false),
            ("above it", Packet::udp(a, b(54)), false),
            ("before the range", Packet::syn(a, b(999)), false),
            ("first of the range", Packet::syn(a, b(1000)), true),
            ("last of the range", Packet::syn(a, b(2000)), true),
            ("after the range", Packet::syn(a, b(2001)), false),
            ("SCTP", Packet::sctp(a, b(1500), 1), true),
            ("SCTP outside", Packet::sctp(a, b(3000), 1), false),
            ("DCCP", Packet::dccp(a, b(1500)), true),
            ("DCCP outside", Packet::dccp(a, b(3000)), false),
            ("UDP-Lite", Packet::udplite(a, b(1500)), true),
            ("UDP-Lite outside", Packet::udplite(a, b(3000)), false),
        ]
    });
}

#[test]
fn port_key_never_matches_packets_without_ports() {
    let Some(bench) = Bench::with_rules("[[rule]]\naction = \"allow\"\ndestination = { ports = [\"0-65535\"] }\n") else { return };
    everywhere(&bench, |f| {
        vec![
            ("UDP", udp_to(f, 9), true),
            ("UDP to port 0", udp_to(f, 0), true),
            ("echo request", opener_of(f, f.icmp()), false),
            ("GRE", opener_of(f, 47), false),
            ("ESP", opener_of(f, 50), false),
            ("protocol 99", opener_of(f, 99), false),
        ]
    });
}

#[test]
fn not_ports_alone_match_every_other_port_and_nothing_without_ports() {
    let Some(bench) = Bench::with_rules("[[rule]]\naction = \"allow\"\ndestination = { not_ports = [22, \"6000-7000\"] }\n") else {
        return;
    };
    everywhere(&bench, |f| {
        vec![
            ("listed", udp_to(f, 22), false),
            ("in the listed range", udp_to(f, 6500), false),
            ("not listed", udp_to(f, 23), true),
            ("echo request", opener_of(f, f.icmp()), false),
        ]
    });
}

#[test]
fn source_and_destination_ports_are_both_required() {
    let rules = r#"
        [[rule]]
        action = "allow"
        protocol = "udp"
        source = { ports = ["1024-65535"], not_ports = [5555] }
        destination = { ports = ["50-60"], not_ports = [53] }
    "#;
    let Some(bench) = Bench::with_rules(rules) else { return };
    everywhere(&bench, |f| {
        let udp = |from, to| Packet::udp(f.at(1, 2, from), f.at(1, 1, to));
        vec![
            ("both", udp(1024, 50), true),
            ("source port too low", udp(1023, 50), false),
            ("source port excepted", udp(5555, 50), false),
            ("destination port excepted", udp(1024, 53), false),
            ("destination port outside", udp(1024, 61), false),
            ("another protocol", Packet::syn(f.at(1, 2, 1024), f.at(1, 1, 50)), false),
        ]
    });
}
