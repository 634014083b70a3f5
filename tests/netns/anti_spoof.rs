//! `[policy.anti_spoof]`: who may send from beyond the interface. The reverse path has a file of its own.

use std::net::{IpAddr, SocketAddr};

use netpol_tests::cli::DONE;
use netpol_tests::flags::SYN;
use netpol_tests::packet::{SENDER, STRANGER};
use netpol_tests::packet_l4::addr;
use netpol_tests::policy::VERSION;
use netpol_tests::sock::{self, Connection};
use netpol_tests::{Bench, Family, Hook, Net, Packet, Place};

use crate::matrix::udp_to;

/// Own addresses of whoever is beyond the interface.
const OWN: &str = "allowed_sources = [\"10.1.0.0/30\", \"fd00:1::/126\"]";
const ALLOW: &str = "[[rule]]\nid = \"all\"\naction = \"allow\"\n";
/// The sender's, another, and the one of the kernel behind the sender, which has words of its own to say.
const MACS: &str = "allowed_macs = [\"02:00:00:00:00:98\", \"AA:BB:CC:DD:EE:01\", \"02:00:00:00:01:02\"]";
const SECOND_MAC: [u8; 6] = [0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0x01];

/// A policy that allows everything that is no forgery.
fn text(place: Place, checks: &str) -> String {
    with_keys(place, "", checks)
}

fn with_keys(place: Place, keys: &str, checks: &str) -> String {
    place.policy("p", &format!("{keys}\n[policy.anti_spoof]\n{checks}\n{ALLOW}"))
}

/// Asks at both kinds of endpoints.
fn arriving(checks: &str, ask: impl Fn(&Bench)) {
    for place in Place::ARRIVING {
        println!("{place:?}");
        let Some(bench) = Bench::start(&text(place, checks)) else { return };
        ask(&bench);
    }
}

fn from(f: Family, host: u8) -> Packet {
    Packet::udp(f.at(1, host, 4000), f.at(1, 1, 53))
}

fn v6(text: &str) -> IpAddr {
    text.parse().unwrap_or_else(|e| panic!("{text}: {e}"))
}

// ---- allowed_sources

#[test]
fn source_outside_the_allowed_ones_is_refused_and_leaving_packets_are_not_asked() {
    arriving(OWN, |bench| {
        for f in Family::BOTH {
            for (host, expected) in [(0, true), (3, true), (4, false), (200, false)] {
                assert_eq!(bench.arrives(&from(f, host)), expected, "{f:?} host {host}");
            }
            bench.refused(Hook::Ingress, "allowed_sources", &from(f, 4), "UDP");
            bench.refused(Hook::Ingress, "allowed_sources", &Packet::syn(f.at(9, 2, 1), f.at(1, 1, 80)), "SYN");
            bench.refused(Hook::Ingress, "allowed_sources", &Packet::echo(f.host(9, 2), f.host(1, 1), f.echo().0, 1), "ping");
            bench.refused(Hook::Ingress, "allowed_sources", &Packet::ip(f.host(9, 2), f.host(1, 1), 47, &[0; 24]), "GRE");
            bench.refused(Hook::Ingress, "allowed_sources", &from(f, 4).vlan(7), "inside a tag");
            bench.refused(
                Hook::Ingress,
                "allowed_sources",
                &Packet::udp_with(f.at(1, 4, 1), f.at(1, 1, 2), &[1; 100]).piece(5, 64, 999),
                "a later fragment",
            );
            assert!(bench.leaves(&from(f, 4)), "{f:?}: leaving");
        }
    });
}

#[test]
fn established_flow_is_checked_too() {
    for place in Place::ARRIVING {
        let open = place.policy("p", ALLOW);
        let Some(bench) = Bench::start(&open) else { return };
        let mut connections = Family::BOTH.map(|f| {
            let listener = sock::listen(&bench.net.dut, f.at(1, 1, 80));
            Connection::open(&bench.net.src, &listener, f.at(1, 1, 80)).expect("a connection")
        });
        for f in Family::BOTH {
            assert!(bench.arrives(&from(f, 9)) && bench.leaves(&Packet::udp(f.at(1, 1, 53), f.at(1, 9, 4000))));
            assert!(bench.leaves(&Packet::udp(f.at(1, 1, 5353), f.at(1, 10, 53))), "a question to host 10");
        }
        bench.change(&text(place, OWN));
        for f in Family::BOTH {
            bench.refused(Hook::Ingress, "allowed_sources", &from(f, 9), "packet of an established flow");
            bench.refused(Hook::Ingress, "allowed_sources", &Packet::udp(f.at(1, 10, 53), f.at(1, 1, 5353)), "an answer");
        }
        assert!(connections.iter_mut().all(Connection::lives), "the permitted host's connections go on");
        bench.change(&text(place, "allowed_sources = [\"10.1.0.3\", \"fd00:1::3\"]"));
        assert!(connections.iter_mut().all(Connection::is_cut), "{place:?}: no longer permitted");
    }
}

#[test]
fn allowed_sources_may_name_static_and_dynamic_sets() {
    let sets = "[[set]]\nname = \"fixed\"\nelements = [\"10.1.0.8/29\", \"fd00:1::8/125\"]\n\
                [[set]]\nname = \"live\"\ndynamic = true\nelements = [\"10.1.0.20\", \"fd00:1::14\"]\n";
    for place in Place::ARRIVING {
        let text = text(place, "allowed_sources = [\"10.1.0.2\", \"fd00:1::2\", \"@fixed\", \"@live\"]") + sets;
        let Some(bench) = Bench::start(&text) else { return };
        for f in Family::BOTH {
            for (host, expected) in [(2, true), (3, false), (8, true), (15, true), (16, false), (20, true), (21, false)] {
                assert_eq!(bench.arrives(&from(f, host)), expected, "{place:?} {f:?} host {host}");
            }
        }
        bench.cli().run(&["set", "add", "live", "10.1.0.21", "fd00:1::15"]).expect(DONE);
        for f in Family::BOTH {
            assert!(bench.arrives(&from(f, 21)), "{place:?} {f:?}: added");
        }
        bench.cli().run(&["set", "del", "live", "10.1.0.21", "fd00:1::15"]).expect(DONE);
        for f in Family::BOTH {
            bench.refused(Hook::Ingress, "allowed_sources", &from(f, 21), "removed, although the flow stands");
        }
    }
}

#[test]
fn every_policy_that_lists_sources_must_allow_them() {
    for place in Place::ARRIVING {
        let second =
            text(place, "allowed_sources = [\"10.1.0.2/31\", \"10.1.0.64\", \"fd00:1::2/127\", \"fd00:1::40\"]").replace("\"p\"", "\"q\"");
        let Some(bench) = Bench::start(&(text(place, OWN) + second.trim_start_matches(VERSION))) else { return };
        for f in Family::BOTH {
            for (host, expected) in [(2, true), (3, true), (1, false), (64, false), (5, false)] {
                assert_eq!(bench.arrives(&from(f, host)), expected, "{place:?} {f:?} host {host}");
            }
        }
    }
}

#[test]
fn allowed_sources_of_one_family_refuse_the_other() {
    arriving("allowed_sources = [\"10.1.0.0/16\"]", |bench| {
        assert!(bench.arrives(&from(Family::V4, 2)));
        bench.refused(Hook::Ingress, "allowed_sources", &from(Family::V6, 2), "no IPv6 source is listed");
    });
}

#[test]
fn neighbour_discovery_and_mld_pass_whatever_sources_are_allowed() {
    arriving("allowed_sources = [\"10.1.0.2\", \"fd00:1::2\"]", |bench| {
        let nobody = v6("fe80::7");
        for kind in [133, 135, 136] {
            assert!(bench.arrives(&Packet::icmp(nobody, v6("ff02::1"), (kind, 0), [0; 4], &[0; 16]).ttl(255)), "type {kind}");
        }
        for kind in [130, 131, 132, 143] {
            assert!(bench.arrives(&Packet::icmp(nobody, v6("ff02::16"), (kind, 0), [0; 4], &[0; 16]).ttl(1)), "type {kind}");
        }
        assert!(
            bench.arrives(&Packet::icmp(v6("::"), v6("ff02::16"), (143, 0), [0; 4], &[0; 16]).ttl(1)),
            "MLD of an address that is tried out"
        );
        let forged = Packet::icmp(Family::V6.host(1, 9), v6("ff02::1"), (135, 0), [0; 4], &[0; 16]).ttl(255);
        bench.refused(Hook::Ingress, "allowed_sources", &forged, "a neighbour that speaks from somebody else's address");
        let ping = Packet::echo(nobody, v6("fd00:1::1"), 128, 1);
        bench.refused(Hook::Ingress, "allowed_sources", &ping, "any other ICMPv6 from a link-local address");
    });
}

#[test]
fn dhcp_passes_whatever_sources_are_allowed() {
    let checks = "allowed_sources = [\"192.0.2.1\", \"2001:db8::1\"]\nbogons = true";
    let request = Packet::udp(addr("0.0.0.0:68"), addr("255.255.255.255:67"));
    let renewal = Packet::udp(addr("10.1.0.2:68"), addr("10.1.0.1:67"));
    let answer = Packet::udp(addr("10.1.0.2:67"), addr("255.255.255.255:68"));
    let six = [Packet::udp(addr("[fe80::1]:546"), addr("[ff02::1:2]:547")), Packet::udp(addr("[fe80::2]:547"), addr("[fe80::1]:546"))];
    let [host, workload] = Place::ARRIVING;
    let Some(bench) = Bench::start(&with_keys(host, "dhcp_client = true", checks)) else { return };
    assert!(bench.arrives(&answer), "the server's answer to this host's client");
    assert!(bench.arrives(&six[1]), "and in DHCPv6");
    bench.refused(Hook::Ingress, "bogon", &renewal, "this host serves none");
    let Some(bench) = Bench::start(&with_keys(workload, "dhcp_client = true", checks)) else { return };
    assert!(bench.arrives(&request), "a workload without address asks");
    assert!(bench.arrives(&renewal), "a workload asks again");
    assert!(bench.arrives(&six[0]), "and in DHCPv6");
    bench.refused(Hook::Ingress, "bogon", &answer, "a workload is no server");
    let Some(bench) = Bench::start(&with_keys(workload, "", checks)) else { return };
    assert!(bench.arrives(&request), "the unspecified source is nobody's: allowed by the rule");
    assert!(bench.arrives(&six[0]), "so is a client's request from its link-local address");
    bench.refused(Hook::Ingress, "bogon", &renewal, "no DHCP client here");
}

#[test]
fn anti_spoof_stands_between_deny_sets_and_failsafe() {
    let failsafe = "[daemon]\nfailsafe.inbound = [{ protocol = \"tcp\", port = 22 }, { protocol = \"tcp\", port = 23, nets = [\"10.9.0.0/16\", \"fd00:9::/64\"] }]\n";
    let sets = "[[set]]\nname = \"bad\"\nelements = [\"10.8.0.0/16\", \"fd00:8::/64\"]\n";
    let place = Place::ARRIVING[0];
    let text = text(place, OWN)
        .replacen(VERSION, &format!("{VERSION}{failsafe}{sets}"), 1)
        .replace("[policy.anti_spoof]", "[policy.xdp]\ndeny_sets = [\"bad\"]\n[policy.anti_spoof]");
    let Some(bench) = Bench::start(&text) else { return };
    for f in Family::BOTH {
        bench.refused(Hook::Ingress, "deny_set", &Packet::udp(f.at(8, 2, 1), f.at(1, 1, 2)), "deny sets come first");
        for port in [22, 23] {
            let syn = Packet::syn(f.at(9, 2, 1), f.at(1, 1, port));
            bench.refused(Hook::Ingress, "allowed_sources", &syn, "failsafe comes after anti-spoof");
        }
        assert!(bench.arrives(&Packet::syn(f.at(1, 2, 1), f.at(1, 1, 22))));
    }
}

// ---- allowed_macs

#[test]
fn frames_from_other_macs_are_refused_whatever_they_carry() {
    arriving(MACS, |bench| {
        for f in Family::BOTH {
            assert!(bench.arrives(&from(f, 2)) && bench.arrives(&from(f, 2).from_mac(SECOND_MAC)), "{f:?}: both listed");
            bench.refused(Hook::Ingress, "allowed_macs", &from(f, 2).from_mac(STRANGER), "of the same flow");
            bench.refused(Hook::Ingress, "allowed_macs", &from(f, 2).from_mac(STRANGER).vlan(7), "inside a tag");
            assert!(bench.leaves(&from(f, 2).from_mac(STRANGER)), "{f:?}: leaving");
        }
        bench.refused(Hook::Ingress, "allowed_macs", &arp(1, STRANGER, [10, 1, 0, 2]).from_mac(STRANGER), "ARP");
        bench.refused(Hook::Ingress, "allowed_macs", &Packet::other(0x88cc, &[2; 46]).from_mac(STRANGER), "LLDP");
        bench.refused(
            Hook::Ingress,
            "allowed_macs",
            &Packet::udp(addr("0.0.0.0:68"), addr("255.255.255.255:67")).from_mac(STRANGER),
            "DHCP",
        );
        let solicitation = neighbour(135, "fe80::7", "fd00:1::1", None).from_mac(STRANGER);
        bench.refused(Hook::Ingress, "allowed_macs", &solicitation, "neighbour discovery");
    });
}

#[test]
fn mac_must_be_in_the_list_of_every_policy_that_has_one() {
    for place in Place::ARRIVING {
        let second = text(place, "allowed_macs = [\"02:00:00:00:00:98\", \"02:00:00:00:01:02\"]").replace("\"p\"", "\"q\"");
        let Some(bench) = Bench::start(&(text(place, MACS) + second.trim_start_matches(VERSION))) else { return };
        assert!(bench.arrives(&from(Family::V4, 2)), "{place:?}: in both");
        bench.refused(Hook::Ingress, "allowed_macs", &from(Family::V4, 2).from_mac(SECOND_MAC), "in one only");
    }
}

// ---- arp

/// ARP of an operation: hardware and protocol address of the sender; it asks for, or answers to, 10.1.0.1.
fn arp(operation: u8, mac: [u8; 6], ip: [u8; 4]) -> Packet {
    let mut content = vec![0, 1, 8, 0, 6, 4, 0, operation];
    content.extend(mac);
    content.extend(ip);
    content.extend([0; 6]);
    content.extend([10, 1, 0, 1]);
    // Unlike any other frame, also where only its end is seen.
    content.extend(netpol_tests::packet_l4::unique().to_be_bytes());
    Packet::other(0x0806, &content)
}

/// Neighbour discovery: type, sender, target, and the MAC address of the first option.
fn neighbour(kind: u8, source: &str, target: &str, option: Option<[u8; 6]>) -> Packet {
    let mut payload = match v6(target) {
        IpAddr::V6(target) => target.octets().to_vec(),
        IpAddr::V4(_) => unreachable!("IPv6 only"),
    };
    if kind == 133 {
        payload.clear();
    }
    if let Some(mac) = option {
        payload.extend([if kind == 136 { 2 } else { 1 }, 1]);
        payload.extend(mac);
    }
    Packet::icmp(v6(source), v6("ff02::1"), (kind, 0), [0x20, 0, 0, 0], &payload).ttl(255)
}

#[test]
fn arp_may_speak_only_for_permitted_addresses_and_its_own_mac() {
    arriving(&format!("{OWN}\narp = true"), |bench| {
        for operation in [1, 2] {
            assert!(bench.arrives(&arp(operation, SENDER, [10, 1, 0, 2])), "operation {operation}: true");
            assert!(bench.arrives(&arp(operation, SENDER, [0; 4])), "operation {operation}: a probe");
            bench.refused(Hook::Ingress, "arp", &arp(operation, SENDER, [10, 1, 0, 9]), "somebody else's address");
            bench.refused(Hook::Ingress, "arp", &arp(operation, SENDER, [10, 2, 0, 1]), "this host's address");
            bench.refused(Hook::Ingress, "arp", &arp(operation, STRANGER, [10, 1, 0, 2]), "somebody else's MAC inside");
            bench.refused(Hook::Ingress, "arp", &arp(operation, STRANGER, [0; 4]), "a probe with somebody else's MAC");
            bench.refused(Hook::Ingress, "arp", &arp(operation, STRANGER, [10, 1, 0, 2]).vlan(7), "inside a tag");
            assert!(bench.leaves(&arp(operation, STRANGER, [10, 1, 0, 9])), "operation {operation}: leaving");
        }
    });
}

#[test]
fn arp_that_is_not_whole_or_of_another_kind_is_refused() {
    arriving("arp = true", |bench| {
        assert!(bench.arrives(&arp(1, SENDER, [10, 1, 0, 77])), "without allowed_sources every address is permitted");
        bench.refused(Hook::Ingress, "arp", &arp(1, STRANGER, [10, 1, 0, 77]), "but not every MAC");
        for operation in [0, 3, 4, 8, 9] {
            bench.refused(Hook::Ingress, "arp", &arp(operation, SENDER, [10, 1, 0, 2]), "another operation");
        }
        let edited = |at: usize, value: u8| {
            let mut content = arp(1, SENDER, [10, 1, 0, 2]).l3();
            content[at] = value;
            Packet::other(0x0806, &content)
        };
        for (what, at, value) in [
            ("hardware", 1, 6),
            ("hardware", 0, 1),
            ("protocol", 2, 0x86),
            ("protocol", 3, 6),
            ("MAC length", 4, 8),
            ("IP length", 5, 16),
            ("operation", 6, 1),
        ] {
            bench.refused(Hook::Ingress, "arp", &edited(at, value), what);
        }
        let short = arp(1, SENDER, [10, 1, 0, 2]).l3();
        bench.refused(Hook::Ingress, "arp", &Packet::other(0x0806, &short[..27]), "cut short");
    });
}

#[test]
fn arp_unchecked_passes_as_ever() {
    arriving(OWN, |bench| {
        assert!(bench.arrives(&arp(2, STRANGER, [10, 1, 0, 1])), "allowed_sources alone says nothing of ARP");
    });
}

#[test]
fn neighbour_advertisement_for_somebody_elses_address_is_refused() {
    arriving(&format!("{OWN}\narp = true"), |bench| {
        for source in ["fe80::7", "fd00:1::2"] {
            for option in [None, Some(SENDER)] {
                assert!(bench.arrives(&neighbour(136, source, "fd00:1::2", option)), "own address, from {source}");
                assert!(bench.arrives(&neighbour(136, source, "fe80::1234", option)), "a link-local one, from {source}");
                bench.refused(Hook::Ingress, "arp", &neighbour(136, source, "fd00:1::9", option), "somebody else's");
                bench.refused(Hook::Ingress, "arp", &neighbour(136, source, "fd00:1::9", option).vlan(7), "inside a tag");
            }
        }
        assert!(bench.leaves(&neighbour(136, "fe80::7", "fd00:1::9", Some(STRANGER))), "leaving");
    });
}

#[test]
fn foreign_link_layer_option_is_refused() {
    arriving(&format!("{OWN}\narp = true"), |bench| {
        for (what, kind) in [("RS", 133), ("NS", 135), ("NA", 136)] {
            assert!(bench.arrives(&neighbour(kind, "fe80::7", "fd00:1::2", Some(SENDER))), "{what}: own MAC");
            bench.refused(Hook::Ingress, "arp", &neighbour(kind, "fe80::7", "fd00:1::2", Some(STRANGER)), what);
        }
    });
}

#[test]
fn neighbour_solicitation_may_ask_for_anybody_but_try_out_only_permitted_addresses() {
    arriving(&format!("{OWN}\narp = true"), |bench| {
        assert!(bench.arrives(&neighbour(135, "fe80::7", "fd00:1::99", Some(SENDER))), "asks for another host");
        assert!(bench.arrives(&neighbour(135, "::", "fd00:1::3", None)), "tries its own address out");
        assert!(bench.arrives(&neighbour(135, "::", "fe80::7", None)), "tries its link-local address out");
        bench.refused(Hook::Ingress, "arp", &neighbour(135, "::", "fd00:1::9", None), "tries somebody else's address out");
    });
}

#[test]
fn strict_reverse_path_permits_what_is_routed_here() {
    arriving("check_reverse_path = \"strict\"\narp = true", |bench| {
        assert!(bench.arrives(&arp(1, SENDER, [10, 1, 0, 77])), "a neighbour on this link");
        bench.refused(Hook::Ingress, "arp", &arp(1, SENDER, [10, 2, 0, 2]), "a neighbour on the other link");
        bench.refused(Hook::Ingress, "arp", &arp(2, SENDER, [10, 1, 0, 1]), "this host itself");
        assert!(bench.arrives(&neighbour(136, "fe80::7", "fd00:1::77", None)), "a neighbour on this link");
        bench.refused(Hook::Ingress, "arp", &neighbour(136, "fe80::7", "fd00:2::2", None), "a neighbour on the other link");
    });
}

// ---- bogons

/// Prefixes that are not of the public internet: first and last address, and the public neighbours on both sides.
const BOGONS: [(&str, &str, &str, &str); 14] = [
    ("0.0.0.1", "0.255.255.255", "", "1.0.0.0"),
    ("10.0.0.0", "10.255.255.255", "9.255.255.255", "11.0.0.0"),
    ("100.64.0.0", "100.127.255.255", "100.63.255.255", "100.128.0.0"),
    ("172.16.0.0", "172.31.255.255", "172.15.255.255", "172.32.0.0"),
    ("192.0.2.0", "192.0.2.255", "192.0.1.255", "192.0.3.0"),
    ("192.168.0.0", "192.168.255.255", "192.167.255.255", "192.169.0.0"),
    ("198.18.0.0", "198.19.255.255", "198.17.255.255", "198.20.0.0"),
    ("198.51.100.0", "198.51.100.255", "198.51.99.255", "198.51.101.0"),
    ("203.0.113.0", "203.0.113.255", "203.0.112.255", "203.0.114.0"),
    ("240.0.0.0", "255.255.255.254", "223.255.255.255", ""),
    ("fc00::", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "", ""),
    ("2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", "2001:db7:ffff:ffff:ffff:ffff:ffff:ffff", "2001:db9::"),
    ("100::", "100::ffff:ffff:ffff:ffff", "", ""),
    ("::ffff:8.8.8.8", "::ffff:9.9.9.9", "", ""),
];

fn from_address(text: &str) -> Packet {
    let source = v6(text);
    let f = if source.is_ipv4() { Family::V4 } else { Family::V6 };
    Packet::udp(SocketAddr::new(source, 4000), f.at(1, 1, 53))
}

#[test]
fn bogons_are_refused_up_to_their_edges() {
    arriving("bogons = true", |bench| {
        for (first, last, before, after) in BOGONS {
            for bogon in [first, last] {
                bench.refused(Hook::Ingress, "bogon", &from_address(bogon), bogon);
            }
            for public in [before, after].into_iter().filter(|text| !text.is_empty()) {
                assert!(bench.arrives(&from_address(public)), "{public} is public");
            }
            assert!(bench.leaves(&from_address(first)), "{first} leaving");
        }
        for bogon in ["192.0.0.1", "192.0.0.8", "3fff::1", "2001:2::1", "64:ff9b:1::1", "5f00::1", "fec0::1", "4000::1"] {
            bench.refused(Hook::Ingress, "bogon", &from_address(bogon), bogon);
        }
        for public in
            ["8.8.8.8", "223.1.2.3", "192.0.0.9", "2a00:1450::1", "2606:4700::1111", "64:ff9b::808:808", "2001::1", "2002:808:808::1"]
        {
            assert!(bench.arrives(&from_address(public)), "{public} is public");
        }
        for local in ["169.254.0.1", "169.254.255.254", "fe80::1", "fe80::ffff:1"] {
            assert!(bench.arrives(&from_address(local)), "{local} is link-local: not refused as a bogon");
        }
    });
}

#[test]
fn bogons_are_refused_in_running_flows_too() {
    for place in Place::ARRIVING {
        let Some(bench) = Bench::start(&place.policy("p", ALLOW)) else { return };
        for f in Family::BOTH {
            assert!(bench.arrives(&from(f, 2)) && bench.leaves(&Packet::udp(f.at(1, 1, 53), f.at(1, 2, 4000))));
        }
        bench.change(&text(place, "bogons = true"));
        for f in Family::BOTH {
            bench.refused(Hook::Ingress, "bogon", &from(f, 2), "10/8 and fd00::/8");
        }
    }
}

// ---- all together

#[test]
fn checks_are_asked_in_their_order() {
    arriving(&format!("{MACS}\n{OWN}\narp = true\nbogons = true"), |bench| {
        let forged = arp(1, SENDER, [10, 9, 0, 9]);
        bench.refused(Hook::Ingress, "allowed_macs", &forged.clone().from_mac(STRANGER), "MAC before ARP");
        bench.refused(Hook::Ingress, "arp", &forged, "ARP");
        bench.refused(Hook::Ingress, "bogon", &udp_to(Family::V4, 9), "bogons before allowed_sources, although 10.1.0.2 is listed");
        bench.refused(Hook::Ingress, "allowed_sources", &from_address("8.8.8.8"), "public, but not listed");
        bench.refused(Hook::Ingress, "allowed_macs", &from_address("8.8.8.8").from_mac(STRANGER), "MAC before all");
    });
}

#[test]
fn only_the_isolated_arriving_direction_is_checked() {
    let keys = "interfaces = [\"right\"]";
    let elsewhere = text(Place::ARRIVING[0], &format!("{MACS}\n{OWN}")).replace("interfaces = [\"left\"]", keys)
        + Place::ARRIVING[0].policy("l", ALLOW).trim_start_matches(VERSION);
    let Some(bench) = Bench::start(&elsewhere) else { return };
    for f in Family::BOTH {
        assert!(bench.arrives(&from(f, 99).from_mac(STRANGER)), "{f:?}: the checks of another interface");
    }
}

#[test]
fn permitted_real_traffic_works_under_all_checks() {
    let Some(net) = Net::new() else { return };
    let checks = "check_reverse_path = \"strict\"\nallowed_sources = [\"10.1.0.2\", \"fd00:1::2\"]\nallowed_macs = [\"02:00:00:00:01:02\", \"02:00:00:00:00:98\"]\narp = true";
    net.dut.ip("neighbour flush dev left nud permanent");
    net.src.ip("neighbour flush dev eth0 nud permanent");
    let Some(bench) = Bench::start_in(net, &text(Place::ARRIVING[0], checks)) else { return };
    for f in Family::BOTH {
        let listener = sock::listen(&bench.net.dut, f.at(1, 1, 80));
        let mut connection = Connection::open(&bench.net.src, &listener, f.at(1, 1, 80)).expect("a connection");
        assert!(connection.lives(), "{f:?}: with neighbours that have to be found first");
        bench.refused(Hook::Ingress, "allowed_sources", &Packet::tcp(f.at(1, 3, 1), f.at(1, 1, 80), SYN, 1, 0), "a forged neighbour");
    }
}
