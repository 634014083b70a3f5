//! Stage 1.

use super::*;
use crate::frame::*;

const OPEN: &str = r#"
[[policy]]
name = "open"
interfaces = ["h0", "lo"]
default_action = { ingress = "allow", egress = "allow" }
ethertypes = ["stp", 0x8863]
"#;

fn udp() -> Vec<u8> {
    ports((1000, 53), 8)
}

fn one(step: Shot, wanted: &'static str) -> Step {
    (step, wanted)
}

fn tagged(tags: &[(u16, u16)]) -> Shot {
    at("h0", Hook::Ingress, ethernet(tags, IPV4, &between(PEER, HERE, UDP, &udp())))
}

fn llc(length: u16, payload: &[u8]) -> Shot {
    at("h0", Hook::Ingress, ethernet(&[], length, payload))
}

fn ethernet_steps() -> Vec<Step> {
    // A rule-less default that allows, allows tagged packets too.
    vec![
        one(tagged(&[(CTAG, 0)]), "ok"),
        one(tagged(&[(STAG, 7), (CTAG, 8)]), "ok"),
        one(tagged(&[(CTAG, 0), (CTAG, 7), (CTAG, 0), (CTAG, 8)]), "ok"),
        one(tagged(&[(CTAG, 7), (CTAG, 8), (CTAG, 9)]), "malformed"),
        one(tagged(&[(CTAG, 0), (CTAG, 0), (CTAG, 0), (CTAG, 0)]), "ok"),
        one(tagged(&[(CTAG, 0), (CTAG, 0), (CTAG, 0), (CTAG, 0), (CTAG, 0)]), "malformed"),
        one(at("h0", Hook::Ingress, ethernet(&[(CTAG, 7)], 0x0806, b"arp")), "ok"),
        one(at("h0", Hook::Ingress, ethernet(&[], CTAG, &[0, 7, 8])), "malformed"),
        one(at("h0", Hook::Ingress, ethernet(&[], 0x0806, &[])).longer(1), "ok"),
        one(at("h0", Hook::Ingress, ethernet(&[], 0x8863, b"listed")), "ok"),
        one(at("h0", Hook::Ingress, ethernet(&[(CTAG, 7)], 0x8864, b"not listed")), "ethertype"),
        one(at("h0", Hook::Egress, ethernet(&[], 0x88CC, b"not in the stated list")), "ethertype"),
        one(at("h0", Hook::Ingress, ethernet(&[], 0x9100, b"no tag of ours")), "ethertype"),
        one(llc(6, &[0x42, 0x42, 3, 0, 0, 0]), "ok"),
        one(llc(3, &[0x42, 0x43, 3]), "ethertype"),
        one(llc(3, &[0x42, 0x42]), "malformed"),
        one(llc(9, &[0xAA, 0xAA, 3, 0, 0, 0, 8, 0, 0x45]), "llc_ip"),
        one(llc(9, &[0xAA, 0xAA, 3, 0, 0, 0, 0x86, 0xDD, 0x60]), "llc_ip"),
        one(llc(8, &[0xAA, 0xAA, 3, 0, 0, 0, 8, 6]), "ethertype"),
        one(llc(8, &[0xAA, 0xAA, 3, 0, 0, 1, 8, 0]), "ethertype"),
        one(llc(7, &[0xAA, 0xAA, 3, 0, 0, 0, 8]), "malformed"),
        one(llc(3, &[0x06, 0x06, 3]), "llc_ip"),
        one(llc(0x5FF, &[0xFE, 0xFE, 3]), "ethertype"),
    ]
}

fn ip4(change: impl Fn(&mut Vec<u8>)) -> Shot {
    let mut packet = between(PEER, HERE, UDP, &udp());
    change(&mut packet);
    arrives("h0", &packet)
}

fn options(options: &[u8]) -> Shot {
    arrives("h0", &with(PEER, HERE, UDP, &Ip { options: options.to_vec(), ..Ip::default() }, &udp()))
}

fn ip4_steps() -> Vec<Step> {
    let gso = |shot: Shot| Shot { gso: true, ..shot };
    vec![
        one(ip4(|_| {}), "ok"),
        one(ip4(|packet| packet[0] = 0x55), "malformed"),
        one(ip4(|packet| packet[0] = 0x44), "malformed"),
        one(ip4(|packet| packet[0] = 0x4F), "malformed"),
        one(ip4(|packet| packet[3] = 19), "malformed"),
        one(ip4(|packet| packet[3] = 27), "malformed"),
        one(ip4(|packet| packet[3] = 29), "malformed"),
        one(ip4(|packet| packet.extend([0; 18])), "ok"),
        one(ip4(|packet| packet[3] = 0), "malformed"),
        one(gso(ip4(|packet| packet[3] = 0)), "ok"),
        one(options(&[148, 4, 0, 0]), "ok"),
        one(options(&[1, 1, 1, 0]), "ok"),
        one(options(&[0, 131, 3, 4]), "ok"),
        one(options(&[1, 131, 3, 4]), "source_route"),
        one(options(&[148, 4, 0, 0, 137, 3, 4, 0]), "source_route"),
        one(options(&[7, 1, 0, 0]), "malformed"),
        one(options(&[7, 5, 0, 0]), "malformed"),
        one(options(&[1, 1, 1, 7]), "malformed"),
        one(options(&[1, 1, 1, 131]), "source_route"),
        one(options(&[1; 40]), "ok"),
        one(arrives("h0", &between("127.0.0.1", HERE, UDP, &udp())), "loopback_address"),
        one(arrives("h0", &between(PEER, "127.9.9.9", UDP, &udp())), "loopback_address"),
        one(arrives("lo", &between("127.0.0.1", "127.0.0.1", UDP, &udp())), "ok"),
        one(arrives("h0", &between("224.0.0.1", HERE, UDP, &udp())), "multicast_source"),
        one(arrives("h0", &between("255.255.255.255", HERE, UDP, &udp())), "multicast_source"),
        one(arrives("h0", &between(PEER, "224.0.0.1", UDP, &udp())), "ok"),
        one(arrives("h0", &between("0.0.0.0", HERE, UDP, &udp())), "unspecified_source"),
        one(arrives("h0", &between("0.0.0.0", "255.255.255.255", UDP, &ports((68, 67), 8))), "ok"),
        one(arrives("h0", &between("0.0.0.0", "255.255.255.255", UDP, &ports((67, 68), 8))), "unspecified_source"),
    ]
}

/// A packet with these extension headers (kind, length in units, third byte) before a UDP header.
fn headers(kinds: &[(u8, u8, u8)]) -> Shot {
    let (mut next, mut packet) = (UDP, udp());
    for (kind, units, third) in kinds.iter().rev() {
        let mut header = extension(next, *units, *third);
        header.extend(&packet);
        (next, packet) = (*kind, header);
    }
    arrives("h0", &between(PEER6, HERE6, next, &packet))
}

fn ip6(change: impl Fn(&mut Vec<u8>)) -> Shot {
    let mut packet = between(PEER6, HERE6, UDP, &udp());
    change(&mut packet);
    arrives("h0", &packet)
}

fn ip6_steps() -> Vec<Step> {
    let gso = |shot: Shot| Shot { gso: true, ..shot };
    vec![
        one(ip6(|_| {}), "ok"),
        one(ip6(|packet| packet[0] = 0x50), "malformed"),
        one(ip6(|packet| packet[5] = 9), "malformed"),
        one(ip6(|packet| packet[5] = 7), "malformed"),
        one(ip6(|packet| packet[5] = 0), "malformed"),
        one(ip6(|packet| (packet[5], packet[6]) = (0, 59)), "ok"),
        one(gso(ip6(|packet| packet[5] = 0)), "ok"),
        one(
            gso(ip6(|packet| {
                packet[5] = 0;
                packet.truncate(40);
            })),
            "malformed",
        ),
        one(headers(&[(0, 0, 0), (60, 1, 0), (43, 2, 4)]), "ok"),
        one(headers(&[(0, 0, 0), (135, 0, 0)]), "extension_headers"),
        one(headers(&[(139, 0, 0)]), "extension_headers"),
        one(headers(&[(60, 0, 0), (140, 0, 0)]), "extension_headers"),
        one(headers(&[(43, 0, 0)]), "routing_header"),
        one(headers(&[(60, 0, 0), (43, 2, 0)]), "routing_header"),
        one(headers(&[(60, 0, 0); 8]), "ok"),
        one(headers(&[(60, 0, 0); 9]), "extension_headers"),
        one(ip6(|packet| packet[6] = 0), "malformed").changed(41, 9),
        one(ip6(|packet| packet[6] = 50), "ok"),
        one(ip6(|packet| packet[6] = 51), "ok"),
        one(ip6(|packet| packet[6] = 59), "ok"),
        one(arrives("h0", &between("::1", HERE6, UDP, &udp())), "loopback_address"),
        one(arrives("h0", &between(PEER6, "::1", UDP, &udp())), "loopback_address"),
        one(arrives("lo", &between("::1", "::1", UDP, &udp())), "ok"),
        one(arrives("h0", &between("ff02::1", HERE6, UDP, &udp())), "multicast_source"),
        one(arrives("h0", &between("::", HERE6, UDP, &udp())), "unspecified_source"),
        one(arrives("h0", &between("::", "ff02::1", ICMPV6, &icmp(135, 0, 0, &[0; 16]))), "ok"),
        one(arrives("h0", &between("::", "ff02::16", ICMPV6, &icmp(143, 0, 0, b""))), "ok"),
        one(arrives("h0", &between("::", HERE6, ICMPV6, &icmp(128, 0, 0, b""))), "unspecified_source"),
        one(arrives("h0", &between("::", "ff02::1", ICMPV6, &icmp(137, 0, 0, &[0; 32]))), "unspecified_source"),
    ]
}

fn cut(protocol: u8, payload: &[u8], length: usize) -> Shot {
    arrives("h0", &between(PEER, HERE, protocol, &payload[..length]))
}

fn l4_steps() -> Vec<Step> {
    let syn = tcp((1000, 80), SYN, 1, 0, b"");
    let offset = |words: u8| {
        let mut segment = syn.clone();
        segment[12] = words << 4;
        arrives("h0", &between(PEER, HERE, TCP, &segment))
    };
    let six = |payload: &[u8]| arrives("h0", &between(PEER6, HERE6, ICMPV6, payload));
    vec![
        one(cut(TCP, &syn, 20), "ok"),
        one(cut(TCP, &syn, 19), "malformed"),
        one(offset(4), "malformed"),
        one(offset(6), "malformed"),
        one(cut(UDP, &udp(), 7), "malformed"),
        one(cut(UDPLITE, &udp(), 8), "ok"),
        one(cut(UDPLITE, &udp(), 7), "malformed"),
        one(cut(DCCP, &ports((1, 2), 12), 12), "ok"),
        one(cut(DCCP, &ports((1, 2), 12), 11), "malformed"),
        one(cut(SCTP, &sctp((1, 2), 1), 11), "malformed"),
        one(cut(SCTP, &sctp((1, 2), 1), 16), "ok"),
        one(cut(ICMP, &icmp(8, 0, 1, b""), 8), "ok"),
        one(cut(ICMP, &icmp(8, 0, 1, b""), 7), "malformed"),
        one(cut(ICMP, &icmp(9, 0, 1, b""), 7), "malformed"),
        one(six(&icmp(128, 0, 1, b"")), "ok"),
        one(six(&icmp(128, 0, 1, b"")[..7]), "malformed"),
        one(six(&icmp(150, 0, 1, b"")[..4]), "ok"),
        one(six(&icmp(150, 0, 1, b"")[..3]), "malformed"),
        one(six(&icmp(1, 0, 1, b"")[..4]), "malformed"),
        one(arrives("h0", &between(PEER, HERE, ICMPV6, &[0; 2])), "ok"),
        one(arrives("h0", &between(PEER6, HERE6, ICMP, &[0; 2])), "ok"),
        one(cut(47, &[0; 4], 0), "ok"),
    ]
}

/// Small changes of a step.
trait Change {
    fn changed(self, at: usize, to: u8) -> Self;
}

impl Change for Step {
    /// Byte `at` of the IP packet in an untagged frame.
    fn changed(mut self, at: usize, to: u8) -> Step {
        self.0.bytes[14 + at] = to;
        self
    }
}

trait Longer {
    fn longer(self, by: usize) -> Self;
}

impl Longer for Shot {
    fn longer(mut self, by: usize) -> Shot {
        self.bytes.resize(self.bytes.len() + by, 0);
        self
    }
}

/// The same refusals where the direction is not isolated: only `malformed`, only on arrival, only where a policy says so.
const WATCHED: &str = r#"
[[policy]]
name = "watched"
interfaces = ["h0"]
policy_types = ["egress"]
[[policy]]
name = "strict"
interfaces = ["h1"]
[policy.xdp]
drop_malformed = true
"#;

fn watched_steps() -> Vec<Step> {
    let broken = || frame(&between(PEER, HERE, UDP, &udp()[..7]));
    let looped = || frame(&between("127.0.0.1", HERE, UDP, &udp()));
    vec![
        one(at("h0", Hook::Ingress, broken()), "ok"),
        one(at("h0", Hook::Egress, broken()), "malformed"),
        one(at("h0", Hook::Ingress, looped()), "ok"),
        one(at("h0", Hook::Ingress, ethernet(&[], 0x8864, b"x")), "ok"),
        one(at("h1", Hook::Ingress, broken()), "malformed"),
        one(at("h1", Hook::Egress, broken()), "ok"),
        one(at("h1", Hook::Ingress, looped()), "ok"),
        one(at("n0", Hook::Ingress, broken()), "ok"),
    ]
}

pub fn all(bench: &mut Bench) -> usize {
    play(bench, "ethernet", &[(OPEN, ethernet_steps())])
        + play(bench, "IPv4", &[(OPEN, ip4_steps())])
        + play(bench, "IPv6", &[(OPEN, ip6_steps())])
        + play(bench, "L4", &[(OPEN, l4_steps())])
        + play(bench, "directions that are not isolated", &[(WATCHED, watched_steps())])
}
