//! What no rule can allow on an isolated hook, each by its own reason.

use std::net::{IpAddr, Ipv6Addr};

use netpol_tests::net::LEFT_MAC;
use netpol_tests::packet_l4::addr;
use netpol_tests::policy::{arriving, both_ways, settled};
use netpol_tests::wire::Sender;
use netpol_tests::{Bench, Family, Hook, Net, Packet, sock};

const ALLOW_ALL: &str = "[[rule]]\naction = \"allow\"\n";

fn udp4() -> Packet {
    Packet::udp(addr("10.1.0.2:4000"), addr("10.1.0.1:53"))
}

fn udp6() -> Packet {
    Packet::udp(addr("[fd00:1::2]:4000"), addr("[fd00:1::1]:53"))
}

fn refused_everywhere(reason: &str, packets: &[(&str, Packet)]) {
    let Some(bench) = Bench::with_rules(ALLOW_ALL) else { return };
    for hook in Hook::BOTH {
        for (what, packet) in packets {
            bench.refused(hook, reason, packet, what);
        }
    }
}

#[test]
fn malformed_ip_headers_are_refused() {
    refused_everywhere(
        "malformed",
        &[
            ("IPv4 version 5", udp4().version(5)),
            ("IPv4 version 6", udp4().version(6)),
            ("IHL 4", udp4().ihl(4)),
            ("IHL 0", udp4().ihl(0)),
            ("IHL beyond the frame", udp4().ihl(15)),
            ("total length below the header", udp4().length(19)),
            ("total length beyond the frame", udp4().length(500)),
            ("IPv4 header cut", udp4().cut(12)),
            ("IPv4 without a byte", Packet::other(0x0800, &[])),
            ("option of length 0", udp4().options(&[7, 0, 0, 0])),
            ("option beyond the header", udp4().options(&[7, 9, 0, 0])),
            ("IPv6 version 4", udp6().version(4)),
            ("payload length beyond the frame", udp6().length(500)),
            ("payload length 0", udp6().length(0)),
            ("IPv6 header cut", udp6().cut(30)),
            ("extension header beyond the payload", udp6().extension(60, &[0, 200, 0, 0, 0, 0, 0, 0])),
        ],
    );
}

#[test]
fn malformed_transport_headers_are_refused() {
    let (a, b) = (addr("10.1.0.2:4000"), addr("10.1.0.1:53"));
    let (a6, b6) = (addr("[fd00:1::2]:4000"), addr("[fd00:1::1]:53"));
    let short = |protocol, bytes: &[u8]| Packet::ip(a.ip(), b.ip(), protocol, bytes);
    let short6 = |protocol, bytes: &[u8]| Packet::ip(a6.ip(), b6.ip(), protocol, bytes);
    refused_everywhere(
        "malformed",
        &[
            ("TCP of 19 bytes", short(6, &[0x50; 19])),
            ("TCP data offset 4", Packet::syn(a, b).edit(|body| body[12] = 0x40)),
            ("TCP data offset beyond the packet", Packet::syn(a6, b6).edit(|body| body[12] = 0xf0)),
            ("UDP of 7 bytes", short(17, &[1; 7])),
            ("UDP of nothing", short6(17, &[])),
            ("SCTP of 11 bytes", short(132, &[1; 11])),
            ("DCCP of 11 bytes", short6(33, &[1; 11])),
            ("UDP-Lite of 7 bytes", short6(136, &[1; 7])),
            ("ICMP of 7 bytes", short(1, &[8; 7])),
            ("ICMPv6 of 3 bytes", short6(58, &[128; 3])),
            ("ICMPv6 echo of 7 bytes", short6(58, &[128, 0, 0, 0, 0, 0, 0])),
            ("ports in the padding behind the IP packet", short(17, &[]).padding(26)),
        ],
    );
}

#[test]
fn source_routes_are_refused() {
    refused_everywhere(
        "source_route",
        &[
            ("loose", udp4().options(&[131, 7, 4, 10, 1, 0, 9, 0])),
            ("strict", udp4().options(&[137, 7, 4, 10, 1, 0, 9, 0])),
            ("behind no-ops", udp4().options(&[1, 1, 1, 131, 7, 4, 10, 1, 0, 9, 0, 0])),
        ],
    );
}

#[test]
fn routing_headers_that_lead_elsewhere_and_long_header_chains_are_refused() {
    let routing = |kind, left| udp6().extension(43, &[0, 2, kind, left, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    let left = [("type 0", routing(0, 0)), ("mobile, a segment left", routing(2, 1)), ("RPL, one left", routing(3, 1))];
    refused_everywhere("routing_header", &left);
    refused_everywhere("routing_header", &[("segment routing, one left", routing(4, 1)), ("unknown, all left", routing(200, 255))]);
    let nine = (0..9).fold(udp6(), |packet, _| packet.extension(60, &[0; 8]));
    refused_everywhere("extension_headers", &[("nine headers", nine)]);
}

#[test]
fn options_and_headers_that_are_harmless_pass_and_ports_are_still_found() {
    let Some(bench) = Bench::with_rules("[[rule]]\naction = \"allow\"\ndestination = { ports = [53] }\n") else { return };
    let eight = (0..8).fold(udp6(), |packet, _| packet.extension(60, &[0; 8]));
    for hook in Hook::BOTH {
        let cases = [
            ("router alert", udp4().options(&[148, 4, 0, 0]), true),
            ("no-ops to the largest header", udp4().options(&[1; 40]), true),
            ("hop-by-hop", udp6().extension(0, &[0; 8]), true),
            ("routing header 2", udp6().extension(43, &[0, 2, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]), true),
            ("eight headers", eight.clone(), true),
            ("Ethernet padding", udp4().padding(20), true),
            ("wrong port behind options", Packet::udp(addr("10.1.0.2:53"), addr("10.1.0.1:54")).options(&[53; 4].map(|_| 1)), false),
        ];
        bench.judge(hook, &cases);
    }
}

#[test]
fn addresses_of_the_loopback_are_refused() {
    let from = |source: &str, to: &str| Packet::udp(addr(source), addr(to));
    refused_everywhere(
        "loopback_address",
        &[
            ("source 127.0.0.1", from("127.0.0.1:1", "10.1.0.1:53")),
            ("destination 127.0.0.1", from("10.1.0.2:1", "127.0.0.1:53")),
            ("destination 127.255.1.1", from("10.1.0.2:1", "127.255.1.1:53")),
            ("source ::1", from("[::1]:1", "[fd00:1::1]:53")),
            ("destination ::1", from("[fd00:1::2]:1", "[::1]:53")),
        ],
    );
}

#[test]
fn sources_that_no_host_has_are_refused() {
    let from = |source: &str, to: &str| Packet::udp(addr(source), addr(to));
    refused_everywhere(
        "multicast_source",
        &[
            ("IPv4 multicast", from("224.0.0.1:1", "10.1.0.1:53")),
            ("broadcast", from("255.255.255.255:1", "10.1.0.1:53")),
            ("IPv6 multicast", from("[ff02::1]:1", "[fd00:1::1]:53")),
        ],
    );
    refused_everywhere(
        "unspecified_source",
        &[
            ("0.0.0.0", from("0.0.0.0:1", "10.1.0.1:53")),
            ("0.0.0.0 from another port to DHCP", from("0.0.0.0:69", "255.255.255.255:67")),
            ("::", from("[::]:1", "[fd00:1::1]:53")),
        ],
    );
}

#[test]
fn redirects_are_refused() {
    let ip = |text: &str| text.parse::<IpAddr>().expect("an address");
    let redirect = Packet::icmp(ip("10.1.0.2"), ip("10.1.0.1"), (5, 1), [10, 1, 0, 9], &udp4().l3());
    let redirect6 = Packet::icmp(ip("fd00:1::2"), ip("fd00:1::1"), (137, 0), [0; 4], &[0; 32]).ttl(255);
    refused_everywhere("icmp_redirect", &[("ICMP", redirect), ("ICMPv6", redirect6)]);
}

#[test]
fn refusals_speak_only_where_a_policy_isolates() {
    let Some(bench) = Bench::start(&arriving(ALLOW_ALL)) else { return };
    for family in Family::BOTH {
        let udp = Packet::udp(family.at(1, 2, 4000), family.at(1, 1, 53));
        bench.refused(Hook::Ingress, "malformed", &udp.clone().version(9), "bad version");
        assert!(bench.leaves(&udp.version(9)), "egress is not isolated");
    }
    assert!(bench.leaves(&Packet::udp(addr("127.0.0.1:1"), addr("10.1.0.2:53"))), "egress is not isolated");
}

#[test]
fn rules_and_defaults_have_reasons_of_their_own() {
    let rules = "[[rule]]\naction = \"deny\"\nprotocol = \"udp\"\n";
    let Some(bench) = Bench::start(&settled(&both_ways(rules))) else { return };
    for hook in Hook::BOTH {
        bench.refused(hook, "rule", &udp4(), "UDP");
        bench.refused(hook, "default", &Packet::syn(addr("10.1.0.2:1"), addr("10.1.0.1:2")), "TCP");
        bench.refused(hook, "no_connection", &Packet::tcp(addr("10.1.0.2:1"), addr("10.1.0.1:2"), 0x10, 1, 1), "ACK");
    }
}

/// SRv6 (RFC 8754): the rules would be asked about the header's own destination, and the host deliver to the segment that is left.
#[test]
fn segment_routing_is_no_way_around_a_rule() {
    let Some(net) = Net::new() else { return };
    for key in ["all", "left"] {
        if !net.dut.has_sysctl(&format!("ipv6/conf/{key}/seg6_enabled")) {
            return;
        }
        net.dut.sysctl(&format!("ipv6/conf/{key}/seg6_enabled"), "1");
    }
    let socket = sock::udp(&net.dut, addr("[fd00:2::1]:53"));
    let (first, last): (Ipv6Addr, Ipv6Addr) = ("fd00:1::1".parse().expect("an address"), "fd00:2::1".parse().expect("an address"));
    let segments = [&[0, 4, 4, 1, 1, 0, 0, 0][..], &last.octets(), &first.octets()].concat();
    let mut frame = Packet::udp(addr("[fd00:1::2]:4000"), addr("[fd00:2::1]:53")).extension(43, &segments).to_mac(LEFT_MAC).frame();
    // The checksum is that of the last segment.
    frame[38..54].copy_from_slice(&first.octets());
    let delivered = |net: &Net| {
        Sender::open(&net.src, "eth0").send(&frame);
        socket.recv_from(&mut [0; 64]).is_ok()
    };
    assert!(delivered(&net), "without a firewall");
    let rules = "[[rule]]\naction = \"deny\"\ndestination = { nets = [\"fd00:2::1/128\"] }\n[[rule]]\naction = \"allow\"\n";
    let Some(bench) = Bench::start_in(net, &arriving(rules)) else { return };
    assert!(!delivered(&bench.net), "the rule denies its destination");
    assert_eq!(bench.cli().drops("routing_header"), 1);
}
