//! `tcp_flags`: named flags must be set, `!flag` must be clear, the rest is ignored.

use netpol_tests::flags::{ACK, CWR, ECE, FIN, PSH, RST, SYN, URG};
use netpol_tests::policy::{VERSION, both_ways, settled};
use netpol_tests::{Bench, Packet};

use crate::matrix::{everywhere, udp_to};

#[test]
fn flags_of_opening_packets_match_set_and_clear() {
    let rules = r#"
        [[rule]]
        action = "allow"
        protocol = "tcp"
        tcp_flags = "syn,!ece,!urg"
        destination = { ports = [80] }
        [[rule]]
        action = "allow"
        protocol = "tcp"
        tcp_flags = "psh,cwr"
    "#;
    let Some(bench) = Bench::with_rules(rules) else { return };
    everywhere(&bench, |f| {
        let tcp = |port, flags| Packet::tcp(f.at(1, 2, 4000), f.at(1, 1, port), flags, 1, 0);
        vec![
            ("SYN", tcp(80, SYN), true),
            ("SYN with a flag that is not named", tcp(80, SYN | PSH), true),
            ("a flag that must be clear", tcp(80, SYN | ECE), false),
            ("the other one", tcp(80, SYN | URG), false),
            ("second rule, both set", tcp(81, SYN | PSH | CWR | ECE), true),
            ("second rule, one missing", tcp(82, SYN | PSH), false),
            ("not TCP", udp_to(f, 80), false),
        ]
    });
}

#[test]
fn flags_of_segments_that_cannot_open_are_never_judged_by_rules() {
    let Some(bench) = Bench::start(&settled(&both_ways("[[rule]]\naction = \"allow\"\nprotocol = \"tcp\"\n"))) else { return };
    everywhere(&bench, |f| {
        let tcp = |flags| Packet::tcp(f.at(1, 2, 4000), f.at(1, 1, 80), flags, 1, 1);
        [
            ("null", 0),
            ("ACK", ACK),
            ("SYN-ACK", SYN | ACK),
            ("SYN-FIN", SYN | FIN),
            ("SYN-RST", SYN | RST),
            ("FIN", FIN),
            ("RST", RST),
            ("all", 255),
        ]
        .map(|(what, flags)| (what, tcp(flags), false))
        .to_vec()
    });
}

#[test]
fn flags_of_mid_stream_segments_are_judged_when_loose() {
    let rules = "[[rule]]\naction = \"allow\"\nprotocol = \"tcp\"\ntcp_flags = \"ack,!fin\"\n";
    let loose = format!("{VERSION}[daemon.conntrack]\nloose = true\n");
    let Some(bench) = Bench::start(&both_ways(rules).replacen(VERSION, &loose, 1)) else { return };
    everywhere(&bench, |f| {
        let tcp = |port, flags| Packet::tcp(f.at(1, 2, port), f.at(1, 1, 80), flags, 1, 1);
        vec![("ACK", tcp(4001, ACK), true), ("FIN-ACK", tcp(4002, FIN | ACK), false), ("SYN", tcp(4003, SYN), false)]
    });
}
