//! Failsafe entries: what reaches a host endpoint whatever the rules say.

use netpol_tests::flags::{ACK, SYN};
use netpol_tests::policy::{VERSION, policy};
use netpol_tests::{Bench, Family, Packet};

const FAILSAFE: &str = r#"
    [daemon]
    failsafe.inbound = [
        { protocol = "tcp", port = 22 },
        { protocol = "tcp", port = 23, nets = ["10.1.0.0/30", "fd00:1::/126"] },
    ]
    failsafe.outbound = [{ protocol = "udp", port = 53, nets = ["10.1.0.9", "fd00:1::9"] }]
"#;

fn deny_all(keys: &str) -> String {
    let rules = "[[policy.ingress]]\naction = \"deny\"\n[[policy.egress]]\naction = \"deny\"\n";
    policy("shut", &format!("{keys}\n{rules}")).replacen(VERSION, &format!("{VERSION}{FAILSAFE}"), 1)
}

fn tcp(f: Family, host: u8, port: u16, flags: u8) -> Packet {
    Packet::tcp(f.at(1, host, 4000), f.at(1, 1, port), flags, 100, 1)
}

#[test]
fn inbound_failsafe_passes_whatever_rules_and_state_say() {
    let Some(bench) = Bench::start(&deny_all("")) else { return };
    for f in Family::BOTH {
        assert!(bench.arrives(&tcp(f, 2, 22, SYN)), "{f:?}: SYN");
        assert!(bench.arrives(&tcp(f, 3, 22, ACK)), "{f:?}: mid-stream");
        assert!(bench.leaves(&Packet::tcp(f.at(1, 1, 22), f.at(1, 3, 4000), ACK, 1, 101)), "{f:?}: its answer");
        assert!(!bench.arrives(&tcp(f, 2, 21, SYN)), "{f:?}: another port");
        assert!(!bench.arrives(&Packet::udp(f.at(1, 2, 4000), f.at(1, 1, 22))), "{f:?}: another protocol");
    }
}

#[test]
fn inbound_failsafe_with_nets_passes_from_them_only() {
    let Some(bench) = Bench::start(&deny_all("")) else { return };
    for f in Family::BOTH {
        assert!(bench.arrives(&tcp(f, 3, 23, SYN)), "{f:?}: inside");
        assert!(!bench.arrives(&tcp(f, 4, 23, SYN)), "{f:?}: outside");
    }
}

#[test]
fn outbound_failsafe_passes_to_its_nets_and_back() {
    let Some(bench) = Bench::start(&deny_all("")) else { return };
    for f in Family::BOTH {
        assert!(bench.leaves(&Packet::udp(f.at(1, 1, 5000), f.at(1, 9, 53))), "{f:?}: question");
        assert!(bench.arrives(&Packet::udp(f.at(1, 9, 53), f.at(1, 1, 5000))), "{f:?}: answer");
        assert!(!bench.leaves(&Packet::udp(f.at(1, 1, 5000), f.at(1, 8, 53))), "{f:?}: another server");
        assert!(!bench.arrives(&Packet::udp(f.at(1, 9, 53), f.at(1, 1, 5001))), "{f:?}: unasked");
    }
}

#[test]
fn failsafe_is_not_for_workloads() {
    let Some(bench) = Bench::start(&deny_all("endpoint = \"workload\"")) else { return };
    for f in Family::BOTH {
        assert!(!bench.arrives(&tcp(f, 2, 22, SYN)), "{f:?}: arriving");
        assert!(!bench.leaves(&tcp(f, 2, 22, SYN)), "{f:?}: leaving");
    }
}

#[test]
fn failsafe_against_a_deny_set_needs_nets() {
    for mode in ["native", "generic", "off"] {
        let text = deny_all("").replace(
            "interfaces = [\"left\"]",
            &format!("interfaces = [\"left\"]\n[policy.xdp]\nmode = \"{mode}\"\ndeny_sets = [\"bad\"]"),
        ) + "[[set]]\nname = \"bad\"\nelements = [\"10.1.0.0/24\", \"fd00:1::/120\"]\n";
        let Some(bench) = Bench::start(&text) else { return };
        for f in Family::BOTH {
            assert!(!bench.arrives(&tcp(f, 2, 22, SYN)), "{f:?} {mode}: entry without nets");
            assert!(bench.arrives(&tcp(f, 2, 23, SYN)), "{f:?} {mode}: entry with nets");
            assert!(!bench.arrives(&tcp(f, 5, 23, SYN)), "{f:?} {mode}: outside its nets");
            assert!(bench.leaves(&Packet::udp(f.at(1, 1, 5000), f.at(1, 9, 53))), "{f:?} {mode}: question");
            assert!(bench.arrives(&Packet::udp(f.at(1, 9, 53), f.at(1, 1, 5000))), "{f:?} {mode}: answer of an outbound entry with nets");
        }
    }
}
