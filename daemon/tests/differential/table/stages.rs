//! Stages 2 to 4, 6 and 7.

use super::*;
use crate::frame::*;

const SERVER: &str = r#"
[[daemon.failsafe.inbound]]
protocol = "tcp"
port = 22
[[daemon.failsafe.inbound]]
protocol = "udp"
port = 53
nets = ["8.0.0.2"]
[[daemon.failsafe.outbound]]
protocol = "tcp"
port = 443
nets = ["8.0.0.2", "8.0.0.9"]
[[set]]
name = "bad"
elements = ["8.0.0.2", "8.0.0.77"]
[[policy]]
name = "host"
interfaces = ["h0", "h1"]
default_action = { ingress = "deny", egress = "deny" }
dhcp_client = true
[policy.xdp]
mode = "MODE"
deny_sets = ["bad"]
drop_fragments = FRAGMENTS
[[policy.ingress]]
id = "web"
action = "allow"
protocol = "tcp"
destination = { ports = [80] }
[[policy.ingress]]
id = "tagged"
action = "allow"
protocol = "udp"
vlan = [7, 8]
[[policy.ingress]]
id = "router-message"
action = "allow"
protocol = "icmp"
icmp = { type = 9 }
[[policy]]
name = "workload"
interfaces = ["w0", "w1"]
endpoint = "workload"
dhcp_client = true
default_action = { ingress = "deny", egress = "deny" }
"#;

fn syn(port: u16) -> Vec<u8> {
    tcp((1000, port), SYN, 100, 0, b"")
}

fn deny_set_steps() -> Vec<Step> {
    let both = |link: &'static str| {
        let from = move |source: &str, protocol: u8, payload: &[u8]| arrives(link, &between(source, HERE, protocol, payload));
        vec![
            (from(PEER, TCP, &syn(80)), "ok"),
            (from(PEER, TCP, &syn(81)), "default"),
            (from("8.0.0.77", TCP, &syn(80)), "deny_set"),
            // Failsafe without nets is weaker than a deny set, failsafe with nets is stronger, and so are answers to it.
            (from("8.0.0.77", TCP, &syn(22)), "deny_set"),
            (from(PEER, TCP, &syn(22)), "ok"),
            (from("8.0.0.2", UDP, &ports((1000, 53), 8)), "ok"),
            (from("8.0.0.77", UDP, &ports((1000, 53), 8)), "deny_set"),
            (leaves(link, &between(HERE, "8.0.0.2", TCP, &syn(443))), "ok"),
            (from("8.0.0.2", TCP, &tcp((443, 1000), SYN | ACK, 500, 101, b"")), "ok"),
            (from("8.0.0.2", TCP, &tcp((444, 1000), SYN | ACK, 500, 101, b"")), "deny_set"),
            (leaves(link, &between(HERE, "8.0.0.9", TCP, &syn(443))), "ok"),
            (leaves(link, &between(HERE, PEER, TCP, &syn(443))), "default"),
            (from("8.0.0.77", 47, b""), "deny_set"),
            (at(link, Hook::Ingress, ethernet(&[(CTAG, 7)], IPV4, &between("8.0.0.77", HERE, UDP, &ports((1, 2), 8)))), "deny_set"),
        ]
    };
    [both("h0"), both("h1")].concat()
}

fn refused_fragment_steps() -> Vec<Step> {
    let part = |source: &str, offset, payload: &[u8]| {
        arrives("h0", &with(source, HERE, UDP, &Ip { fragment: Some((1, offset, true)), ..Ip::default() }, payload))
    };
    vec![
        (part(PEER, 0, &ports((1000, 80), 24)), "fragments_refused"),
        (part(PEER, 24, &[0; 24]), "fragments_refused"),
        (part("8.0.0.2", 0, &ports((1000, 53), 24)), "ok"),
        // Which port a later fragment goes to nobody knows: no exception.
        (part("8.0.0.2", 24, &[0; 24]), "deny_set"),
    ]
}

fn tag_steps() -> Vec<Step> {
    let udp = |tags: &[(u16, u16)]| at("h0", Hook::Ingress, ethernet(tags, IPV4, &between(PEER, HERE, UDP, &ports((1, 2), 8))));
    vec![
        (udp(&[]), "default"),
        (udp(&[(STAG, 7), (CTAG, 8)]), "ok"),
        (udp(&[(CTAG, 0), (CTAG, 7), (CTAG, 8)]), "ok"),
        (udp(&[(CTAG, 8), (CTAG, 7)]), "default"),
        (udp(&[(CTAG, 7)]), "default"),
        (at("h0", Hook::Ingress, ethernet(&[], 0x888E, b"eapol")), "ok"),
        (at("h0", Hook::Egress, ethernet(&[], 0x88CC, b"lldp")), "ok"),
        (at("h0", Hook::Ingress, ethernet(&[], 6, &[0x42, 0x42, 3])), "ok"),
        (at("w0", Hook::Ingress, ethernet(&[], 0x888E, b"eapol")), "ethertype"),
    ]
}

fn essential_steps() -> Vec<Step> {
    let nd = |kind: u8, code: u8, hop_limit: u8| {
        with("fe80::1", "ff02::1", ICMPV6, &Ip { hop_limit, ..Ip::default() }, &icmp(kind, code, 0, &[0; 16]))
    };
    let fragment = Ip { hop_limit: 255, fragment: Some((1, 0, true)), ..Ip::default() };
    let dhcp = |source: &str, destination: &str, between_ports: (u16, u16)| between(source, destination, UDP, &ports(between_ports, 16));
    let tagged = ethernet(&[(CTAG, 7)], IPV4, &dhcp(PEER, HERE, (67, 68)));
    vec![
        (arrives("h0", &nd(135, 0, 255)), "ok"),
        (arrives("h0", &nd(136, 0, 255)), "ok"),
        (leaves("h0", &nd(133, 0, 255)), "ok"),
        (arrives("h0", &nd(135, 0, 254)), "default"),
        (arrives("h0", &nd(135, 1, 255)), "default"),
        (arrives("h0", &with("fe80::1", "ff02::1", ICMPV6, &fragment, &icmp(135, 0, 0, &[0; 16]))), "default"),
        (arrives("h0", &nd(134, 0, 255)), "ok"),
        // accept_ra is 0 there.
        (arrives("h1", &nd(134, 0, 255)), "default"),
        (arrives("w0", &nd(134, 0, 255)), "default"),
        (leaves("w0", &nd(134, 0, 255)), "ok"),
        (arrives("w0", &nd(135, 0, 255)), "ok"),
        (arrives("h0", &nd(137, 0, 255)), "icmp_redirect"),
        (arrives("h0", &nd(143, 0, 1)), "ok"),
        (arrives("h0", &nd(130, 3, 1)), "ok"),
        (arrives("h0", &nd(130, 3, 64)), "default"),
        (arrives("h0", &with("::", "ff02::16", ICMPV6, &Ip { hop_limit: 1, ..Ip::default() }, &icmp(143, 0, 0, &[0; 16]))), "ok"),
        (arrives("h0", &with(PEER6, HERE6, ICMPV6, &Ip { hop_limit: 1, ..Ip::default() }, &icmp(131, 0, 0, &[0; 16]))), "default"),
        (arrives("h0", &nd(144, 0, 255)), "default"),
        (leaves("h0", &dhcp("0.0.0.0", "255.255.255.255", (68, 67))), "ok"),
        (arrives("h0", &dhcp(PEER, HERE, (67, 68))), "ok"),
        (arrives("h0", &dhcp("0.0.0.0", "255.255.255.255", (68, 67))), "default"),
        (at("h0", Hook::Ingress, tagged), "default"),
        (arrives("w0", &dhcp("0.0.0.0", "255.255.255.255", (68, 67))), "ok"),
        (leaves("w0", &dhcp(PEER, HERE, (67, 68))), "ok"),
        (arrives("w0", &dhcp(PEER, HERE, (67, 68))), "default"),
        (leaves("h0", &dhcp("fe80::1", "ff02::1:2", (546, 547))), "ok"),
        (arrives("h0", &dhcp("fe80::2", "fe80::1", (547, 546))), "ok"),
        (arrives("h0", &dhcp("fe80::2", "fe80::1", (546, 547))), "default"),
        (arrives("h0", &dhcp("fe80::2", HERE6, (547, 546))), "default"),
        (leaves("h0", &dhcp(HERE6, "ff02::1:2", (546, 547))), "default"),
        // A message that is no request, answer or error is judged each time.
        (arrives("h0", &between(PEER, HERE, ICMP, &icmp(9, 0, 0, b""))), "ok"),
        (arrives("h0", &between(PEER, HERE, ICMP, &icmp(10, 0, 0, b""))), "default"),
        (arrives("h0", &between(PEER, HERE, ICMP, &icmp(5, 0, 0, &[0; 28]))), "icmp_redirect"),
    ]
}

pub fn all(bench: &mut Bench) -> usize {
    let text = |mode: &str, fragments: &str| SERVER.replace("MODE", mode).replace("FRAGMENTS", fragments);
    play(bench, "deny sets at XDP", &[(&text("generic", "false"), deny_set_steps())])
        + play(bench, "deny sets at tc", &[(&text("off", "false"), deny_set_steps())])
        + play(bench, "no fragments", &[(&text("off", "true"), refused_fragment_steps())])
        + play(bench, "no fragments at XDP", &[(&text("generic", "true"), refused_fragment_steps())])
        + play(bench, "tags", &[(&text("off", "false"), tag_steps())])
        + play(bench, "essentials", &[(&text("off", "false"), essential_steps())])
}
