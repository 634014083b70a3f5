//! Stage 2c.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::*;
use crate::frame::*;
use crate::scenario::Goal;

/// A host that lets everything in but what the checks refuse.
fn host(checks: &str) -> String {
    format!(
        "[[set]]\nname = \"more\"\nelements = [\"8.0.0.77\", \"2001:db8:86dd::77\"]\n[[policy]]\nname = \"host\"\n\
         interfaces = [\"h0\", \"t0\", \"lo\"]\ndefault_action = {{ ingress = \"allow\" }}\n[policy.anti_spoof]\n{checks}"
    )
}

fn workload(checks: &str) -> String {
    format!(
        "[[policy]]\nname = \"workload\"\ninterfaces = [\"w0\"]\nendpoint = \"workload\"\n\
         default_action = {{ egress = \"allow\" }}\ndhcp_client = true\n[policy.anti_spoof]\n{checks}"
    )
}

fn from(source: &str) -> Shot {
    from_to(source, if source.contains(':') { HERE6 } else { HERE })
}

fn from_to(source: &str, destination: &str) -> Shot {
    arrives("h0", &between(source, destination, UDP, &ports((1, 53), 8)))
}

fn paths() -> Vec<Path> {
    let path = |table, net, goal| Path { table, net, goal };
    let (here, elsewhere) = (Goal::Out(vec![0]), Goal::Out(vec![1, 2]));
    vec![
        path(254, "8.0.0.0/24", here.clone()),
        path(254, "8.0.0.64/26", elsewhere.clone()),
        path(100, "8.0.0.128/25", elsewhere.clone()),
        path(100, "9.0.0.0/8", here.clone()),
        path(254, "9.1.0.0/16", Goal::Nowhere),
        path(255, "8.0.0.9/32", Goal::Own),
        path(254, "2001:db8:86dd::/64", here),
        path(254, "2001:db8:86dd:0:1::/80", elsewhere),
        path(255, "2001:db8:86dd::9/128", Goal::Own),
    ]
}

fn reverse_path_steps(strict: bool) -> Vec<Step> {
    let elsewhere = if strict { "reverse_path" } else { "ok" };
    vec![
        (from(PEER), "ok"),
        (from("8.0.0.65"), elsewhere),
        // One table leads here, another one elsewhere.
        (from("8.0.0.200"), "ok"),
        // The main table leads nowhere, another one here.
        (from("9.1.0.1"), "ok"),
        (from("9.2.0.1"), "ok"),
        (from("8.0.0.9"), "reverse_path"),
        (from("10.0.0.1"), "reverse_path"),
        (from("169.254.3.4"), "ok"),
        (from_to("10.0.0.1", "224.0.0.5"), "ok"),
        (from_to("10.0.0.1", "224.0.1.5"), "reverse_path"),
        (from(PEER6), "ok"),
        (from("2001:db8:86dd:0:1::1"), elsewhere),
        (from("2001:db8:86dd::9"), "reverse_path"),
        (from("2001:db8:86de::1"), "reverse_path"),
        (from("fe80::77"), "ok"),
        (from_to("2001:db8:86de::1", "ff02::5"), "ok"),
        (from_to("2001:db8:86de::1", "ff05::5"), "reverse_path"),
        (leaves("h0", &between("10.0.0.1", PEER, UDP, &ports((1, 53), 8))), "ok"),
        (arrives("lo", &between("127.0.0.1", "127.0.0.1", UDP, &ports((1, 53), 8))), "ok"),
    ]
}

fn list_steps() -> Vec<Step> {
    let link = |source: &str, kind| arrives("h0", &between(source, "ff02::1", ICMPV6, &icmp(kind, 0, 0, &[0; 16])));
    vec![
        (from("8.0.0.1"), "ok"),
        (from("8.0.0.2"), "allowed_sources"),
        (from("8.0.0.77"), "ok"),
        (from(PEER6), "ok"),
        (from("2001:db8:86dd::2"), "allowed_sources"),
        (from("2001:db8:86dd::77"), "ok"),
        (link("fe80::1", 143), "ok"),
        (link("fe80::1", 138), "allowed_sources"),
        (link("2001:db8:86dd::2", 143), "allowed_sources"),
        (arrives("h0", &between("fe80::1", "ff02::1:2", UDP, &ports((546, 547), 16))), "ok"),
        (arrives("h0", &between("fe80::1", "ff02::1:2", UDP, &ports((547, 546), 16))), "allowed_sources"),
        (arrives("h0", &between("0.0.0.0", "255.255.255.255", UDP, &ports((68, 67), 16))), "ok"),
    ]
}

/// An established flow helps nobody, and a flow that is judged again is not asked for its source.
fn flows(bench: &mut Bench) -> usize {
    let (without, with) = (host("bogons = false\narp = true\n"), host("allowed_sources = [\"8.0.0.7\"]\n"));
    let back = leaves("h0", &between(HERE, PEER, UDP, &ports((53, 1), 8)));
    play(
        bench,
        "anti-spoof and flows",
        &[(&without, vec![(from(PEER), "ok"), (back.clone(), "ok")]), (&with, vec![(back, "ok"), (from(PEER), "allowed_sources")])],
    )
}

fn bogon_steps() -> Vec<Step> {
    vec![
        (from("8.0.0.1"), "ok"),
        (from("10.0.0.1"), "bogon"),
        (from("192.168.1.1"), "bogon"),
        (from("100.64.0.1"), "bogon"),
        (from("169.254.0.1"), "ok"),
        (from(PEER6), "bogon"),
        (from("2a00::1"), "ok"),
        (from("fd00::1"), "bogon"),
        (from("fe80::1"), "ok"),
    ]
}

fn mac_steps() -> Vec<Step> {
    let other = |shot: Shot| Shot { bytes: sent_by(OTHER_MAC, shot.bytes.clone()), ..shot };
    let lldp = at("h0", Hook::Ingress, ethernet(&[], 0x88CC, b"lldp"));
    let asks = at("h0", Hook::Ingress, ethernet(&[], ARP, &arp(1, MAC, Ipv4Addr::new(8, 0, 0, 1))));
    let tagged = at("h0", Hook::Ingress, ethernet(&[(CTAG, 7)], IPV4, &between(PEER, HERE, UDP, &ports((1, 53), 8))));
    let mut steps = Vec::new();
    for shot in [from(PEER), from(PEER6), lldp, asks, tagged] {
        steps.push((shot.clone(), "ok"));
        steps.push((other(shot.clone()), "allowed_macs"));
        steps.push((Shot { hook: Hook::Egress, ..other(shot) }, "ok"));
    }
    // A device without Ethernet header.
    steps.push((at("t0", Hook::Ingress, between("8.0.0.1", HERE, UDP, &ports((1, 53), 16))), "ok"));
    steps
}

fn arp_at(link: &str, tags: &[(u16, u16)], packet: &[u8]) -> Shot {
    at(link, Hook::Ingress, ethernet(tags, ARP, packet))
}

fn arp_steps() -> Vec<Step> {
    let address = |last| Ipv4Addr::new(8, 0, 0, last);
    let changed = |place: usize| {
        let mut packet = arp(1, MAC, address(1));
        packet[place] ^= 1;
        arp_at("h0", &[], &packet)
    };
    vec![
        (arp_at("h0", &[], &arp(1, MAC, address(1))), "ok"),
        (arp_at("h0", &[], &arp(2, MAC, address(1))), "ok"),
        (arp_at("h0", &[(CTAG, 7)], &arp(1, MAC, address(1))), "ok"),
        (arp_at("h0", &[], &arp(1, MAC, address(2))), "arp"),
        (arp_at("h0", &[], &arp(1, MAC, Ipv4Addr::UNSPECIFIED)), "ok"),
        (arp_at("h0", &[], &arp(1, OTHER_MAC, address(1))), "arp"),
        (arp_at("h0", &[], &arp(1, OTHER_MAC, Ipv4Addr::UNSPECIFIED)), "arp"),
        (arp_at("h0", &[], &arp(3, MAC, address(1))), "arp"),
        (arp_at("h0", &[], &arp(1, MAC, address(1))[..27]), "arp"),
        (changed(1), "arp"),
        (changed(3), "arp"),
        (changed(4), "arp"),
        (changed(5), "arp"),
        (at("h0", Hook::Egress, ethernet(&[], ARP, &arp(3, OTHER_MAC, address(2)))), "ok"),
    ]
}

fn discovery_steps() -> Vec<Step> {
    let target = |text: &str| text.parse::<Ipv6Addr>().unwrap();
    let (mine, theirs) = (target(PEER6), target("2001:db8:86dd::2"));
    let said =
        |source: &str, message: &[u8]| arrives("h0", &with(source, "ff02::1", ICMPV6, &Ip { hop_limit: 255, ..Ip::default() }, message));
    let (own, other) = (link_layer(2, MAC), link_layer(2, OTHER_MAC));
    let part = Ip { hop_limit: 255, fragment: Some((1, 0, true)), ..Ip::default() };
    vec![
        (said("fe80::1", &discovery(136, mine, &own)), "ok"),
        (said("fe80::1", &discovery(136, mine, &other)), "arp"),
        (said("fe80::1", &discovery(136, theirs, &own)), "arp"),
        (said("fe80::1", &discovery(136, target("fe80::1"), &own)), "ok"),
        (said("fe80::1", &discovery(136, mine, &[])), "ok"),
        (said("fe80::1", &discovery(136, mine, &[14, 1, 0, 0, 0, 0, 0, 0])), "ok"),
        (said("fe80::1", &discovery(136, mine, &own[..7])), "arp"),
        (said("fe80::1", &discovery(136, mine, &[])[..23]), "arp"),
        (said("fe80::1", &discovery(135, theirs, &link_layer(1, MAC))), "ok"),
        (said("fe80::1", &discovery(135, theirs, &link_layer(1, OTHER_MAC))), "arp"),
        (said("::", &discovery(135, mine, &[])), "ok"),
        (said("::", &discovery(135, theirs, &[])), "arp"),
        (said("fe80::1", &discovery(133, mine, &link_layer(1, OTHER_MAC))), "arp"),
        (said("fe80::1", &discovery(134, mine, &link_layer(1, OTHER_MAC))), "arp"),
        (said("fe80::1", &discovery(134, mine, &link_layer(1, MAC))), "ok"),
        (arrives("h0", &with("fe80::1", "ff02::1", ICMPV6, &part, &discovery(136, theirs, &other))), "ok"),
        (leaves("h0", &with("fe80::1", "ff02::1", ICMPV6, &Ip { hop_limit: 255, ..Ip::default() }, &discovery(136, theirs, &other))), "ok"),
        (said(PEER6, &discovery(136, theirs, &own)), "arp"),
        (said("2001:db8:86dd::2", &discovery(136, mine, &own)), "allowed_sources"),
    ]
}

/// Where nobody lists sources, a strict reverse path says for whom one may speak.
fn claim_steps() -> Vec<Step> {
    let arp_of = |address: [u8; 4]| arp_at("h0", &[], &arp(1, MAC, address.into()));
    let advertised = |text: &str| {
        let message = discovery(136, text.parse().unwrap(), &[]);
        arrives("h0", &with("fe80::1", "ff02::1", ICMPV6, &Ip { hop_limit: 255, ..Ip::default() }, &message))
    };
    vec![
        (arp_of([8, 0, 0, 1]), "ok"),
        (arp_of([8, 0, 0, 65]), "arp"),
        (arp_of([8, 0, 0, 9]), "arp"),
        (arp_of([10, 0, 0, 1]), "arp"),
        (advertised(PEER6), "ok"),
        (advertised("2001:db8:86dd::9"), "arp"),
        (advertised("2001:db8:86de::1"), "arp"),
        (advertised("fe80::1"), "ok"),
    ]
}

fn lease_steps() -> Vec<Step> {
    let dhcp = |source: &str, ports_of| arrives("w0", &between(source, "10.0.0.1", UDP, &ports(ports_of, 16)));
    vec![
        (dhcp("0.0.0.0", (68, 67)), "ok"),
        (dhcp("10.0.0.7", (68, 67)), "ok"),
        (dhcp("10.0.0.7", (68, 69)), "bogon"),
        (arrives("w0", &between("8.0.0.1", HERE, UDP, &ports((1, 53), 8))), "allowed_sources"),
        (arrives("w0", &between("8.0.0.7", HERE, UDP, &ports((1, 53), 8))), "ok"),
    ]
}

pub fn all(bench: &mut Bench) -> usize {
    let (strict, loose) = (host("check_reverse_path = \"strict\"\n"), host("check_reverse_path = \"loose\"\n"));
    let lists = host("allowed_sources = [\"8.0.0.1\", \"2001:db8:86dd::1\", \"@more\"]\n");
    let own = "arp = true\nallowed_sources = [\"8.0.0.1\", \"2001:db8:86dd::1\"]\n";
    play_with(bench, "strict reverse path", &paths(), &[(&strict, reverse_path_steps(true))])
        + play_with(bench, "loose reverse path", &paths(), &[(&loose, reverse_path_steps(false))])
        + play(bench, "allowed sources", &[(&lists, list_steps())])
        + flows(bench)
        + play(bench, "bogons", &[(&host("bogons = true\n"), bogon_steps())])
        + play(bench, "allowed MACs", &[(&host("allowed_macs = [\"02:00:00:00:00:02\"]\n"), mac_steps())])
        + play(bench, "ARP", &[(&host(own), arp_steps())])
        + play(bench, "neighbour discovery", &[(&host(own), discovery_steps())])
        + play_with(bench, "claims", &paths(), &[(&host("arp = true\ncheck_reverse_path = \"strict\"\n"), claim_steps())])
        + play(bench, "leases", &[(&workload("bogons = true\nallowed_sources = [\"8.0.0.7\"]\n"), lease_steps())])
}
