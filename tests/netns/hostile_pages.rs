//! Packets whose headers do not lie in the linear part of an skb: sent from the pages of a ring, as cards that split headers from data
//! deliver them. `BPF_PROG_TEST_RUN` cannot make such packets.

use netpol_tests::flags::{ACK, SYN};
use netpol_tests::policy::{both_ways, settled};
use netpol_tests::wire::{Observer, is_answer};
use netpol_tests::{Bench, Family, Hook, Packet};

const RULES: &str = r#"
    [[rule]]
    action = "allow"
    protocol = "udp"
    destination = { ports = [53] }
    [[rule]]
    action = "allow"
    vlan = [7, 8]
    destination = { ports = [54] }
    [[rule]]
    action = "reject"
    protocol = "udp"
    destination = { ports = [55] }
"#;
const MODES: [&str; 3] = ["off", "generic", "native"];

/// Asks in each XDP mode.
fn in_pages(question: impl Fn(&Bench)) {
    for mode in MODES {
        println!("XDP {mode}");
        let text = both_ways(RULES) + &format!("[policy.xdp]\nmode = \"{mode}\"\ndrop_malformed = true\n");
        let Some(bench) = Bench::start(&settled(&text)) else { return };
        question(&bench.in_pages());
    }
}

fn udp(f: Family, port: u16) -> Packet {
    Packet::udp_with(f.at(1, 2, 4000), f.at(1, 1, port), &[0x5a; 120])
}

#[test]
fn ports_in_pages_are_found_behind_every_header() {
    in_pages(|bench| {
        for (f, hook) in Family::BOTH.iter().flat_map(|f| Hook::BOTH.map(|hook| (*f, hook))) {
            for (port, tagged) in [(53, false), (54, true)] {
                let cases = [
                    ("untagged", udp(f, port), !tagged),
                    ("a priority tag", udp(f, port).vlan(0), !tagged),
                    ("two tags", udp(f, port).tag(0x88a8, 7).vlan(8), tagged),
                    ("two tags and priority tags", udp(f, port).vlan(0).vlan(7).vlan(0).vlan(8), tagged),
                    ("padding", udp(f, port).padding(64), !tagged),
                ];
                bench.judge(hook, &cases);
            }
        }
        for hook in Hook::BOTH {
            let chain = |port, headers| (0..headers).fold(udp(Family::V6, port), |packet, _| packet.extension(60, &[0; 8]));
            let cases = [
                ("options", udp(Family::V4, 53).options(&[1; 40]), true),
                ("options, a wrong port", udp(Family::V4, 54).options(&[1; 40]), false),
                ("eight headers", chain(53, 8), true),
                ("eight headers, a wrong port", chain(54, 8), false),
                ("long headers", udp(Family::V6, 53).extension(60, &long_header()).extension(60, &long_header()), true),
                ("long headers, a wrong port", udp(Family::V6, 54).extension(60, &long_header()), false),
            ];
            bench.judge(hook, &cases);
        }
    });
}

/// Destination options of 512 bytes.
fn long_header() -> Vec<u8> {
    let mut header = vec![0; 512];
    header[1] = 63;
    header
}

#[test]
fn what_is_refused_is_refused_in_pages_too() {
    in_pages(|bench| {
        for hook in Hook::BOTH {
            let nine = (0..9).fold(udp(Family::V6, 53), |packet, _| packet.extension(60, &[0; 8]));
            bench.refused(hook, "extension_headers", &nine, "nine headers");
            bench.refused(hook, "routing_header", &udp(Family::V6, 53).extension(43, &[0; 8]), "routing header 0");
            bench.refused(hook, "source_route", &udp(Family::V4, 53).options(&[131, 7, 4, 10, 1, 0, 9, 0]), "source route");
            bench.refused(hook, "malformed", &udp(Family::V4, 53).options(&[7, 99, 0, 0]), "option beyond the header");
            bench.refused(hook, "llc_ip", &Packet::other(60, &[0xaa, 0xaa, 3, 0, 0, 0, 8, 0, 0x45, 0, 0, 0]), "IPv4 in SNAP");
            for f in Family::BOTH {
                bench.refused(hook, "malformed", &udp(f, 53).length(900), "a length beyond the frame");
                bench.refused(hook, "default", &udp(f, 57), "a port of no rule");
                bench.refused(hook, "fragment", &udp(f, 53).piece(1, 64, 999), "a later fragment alone");
                bench.refused(hook, "no_connection", &Packet::tcp(f.at(1, 2, 1), f.at(1, 1, 53), ACK, 1, 1), "an ACK to nothing");
                bench.refused(hook, "default", &Packet::tcp(f.at(1, 2, 1), f.at(1, 1, 53), SYN, 1, 1), "a SYN");
            }
        }
    });
}

#[test]
fn fragments_and_quotes_in_pages_are_known() {
    in_pages(|bench| {
        for f in Family::BOTH {
            for (hook, id) in [(Hook::Ingress, 7), (Hook::Egress, 8)] {
                assert!(bench.passes(hook, &udp(f, 53).piece(id, 0, 64)), "{f:?} {hook:?}: first");
                assert!(bench.passes(hook, &udp(f, 53).piece(id, 64, 999)), "{f:?} {hook:?}: later");
                bench.refused(hook, "fragment_conflict", &udp(f, 54).piece(id, 0, 64), "another beginning");
            }
            assert!(bench.arrives(&udp(f, 53)));
            let error = |quoted: &Packet| Packet::icmp_error(f.host(9, 9), f.host(1, 2), f.port_unreachable(), quoted);
            assert!(bench.leaves(&error(&udp(f, 53))), "{f:?}: quotes the flow");
            bench.refused(Hook::Egress, "no_connection", &error(&udp(f, 54)), "quotes another port");
        }
    });
}

#[test]
fn rejected_packets_in_pages_are_answered() {
    in_pages(|bench| {
        let seen = Observer::open(&bench.net.src, "eth0", netpol_tests::wire::ALL);
        for f in Family::BOTH {
            seen.drain();
            bench.refused(Hook::Ingress, "reject", &udp(f, 55).to_mac(netpol_tests::net::LEFT_MAC), "a rejected port");
            let answers = seen.drain().into_iter().filter(|frame| is_answer(frame) && frame[..6] == netpol_tests::packet::SENDER).count();
            assert_eq!(answers, 1, "{f:?}");
        }
    });
}
