//! Stage 2c: who may send from beyond the interface.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::*;
use crate::policy::judge::fixture::{named_set, origin, rule};
use crate::policy::model::{Action, AntiSpoof, EndpointKind, Hook::*, ReversePath, SetId, SourceList};

const MAC: [u8; 6] = [2, 0, 0, 0, 0, 9];
const OTHER: [u8; 6] = [2, 0, 0, 0, 0, 8];

fn off() -> AntiSpoof {
    AntiSpoof {
        check_reverse_path: ReversePath::Off,
        allowed_sources: None,
        allowed_macs: vec![],
        arp: false,
        bogons: false,
        origin: origin(),
    }
}

fn sources(nets: &str) -> Option<SourceList> {
    Some(SourceList { nets: nets.split_whitespace().map(|net| net.parse().unwrap()).collect(), sets: vec![] })
}

/// Everything is allowed but what the checks refuse.
fn checking(checks: AntiSpoof) -> Bench {
    let mut bench = Bench::ingress(vec![rule("all", Action::Allow)]);
    bench.set.policies[0].anti_spoof = Some(checks);
    bench
}

fn sent_by(mac: [u8; 6], packet: Packet) -> Packet {
    Packet { sender: Sender { mac: Some(mac), ..packet.sender }, ..packet }
}

/// An arriving datagram from that address.
fn from(source: &str) -> Packet {
    let us = if source.contains(':') { "2001:db8::1" } else { "198.51.100.1" };
    sent_by(MAC, ip(Ingress, source, us, UDP, L4::Ports { source: 9, destination: 53 }))
}

fn routes(of: &[(&str, &[u32])]) -> Option<Arc<Routes>> {
    let route = |links: &[u32]| if links.is_empty() { Route::Refused } else { Route::Via(links.iter().copied().collect::<BTreeSet<_>>()) };
    Some(Arc::new(Routes { prefixes: of.iter().map(|(net, links)| (net.parse().unwrap(), route(links))).collect() }))
}

/// The interface has number 1; 2 is another one; no number at all: an address of this host.
fn routed(check_reverse_path: ReversePath) -> Bench {
    let mut bench = checking(AntiSpoof { check_reverse_path, ..off() });
    bench.interface.routes = routes(&[
        ("203.0.113.0/24", &[1]),
        ("203.0.113.128/25", &[2]),
        ("203.0.113.9/32", &[]),
        ("192.0.2.0/24", &[1, 2]),
        ("2001:db8:9::/48", &[1]),
        ("2001:db8:9:2::/64", &[2]),
        ("2001:db8:9::9/128", &[]),
    ]);
    bench
}

#[test]
fn a_strict_reverse_path_leads_back_through_the_interface() {
    let mut bench = routed(ReversePath::Strict);
    let wrong = Some(Reason::ReversePath);
    for (source, reason) in [
        ("203.0.113.1", None),
        ("203.0.113.129", wrong),
        ("203.0.113.9", wrong),
        ("192.0.2.1", None),
        ("8.8.8.8", wrong),
        ("169.254.1.1", None),
        ("2001:db8:9::1", None),
        ("2001:db8:9:2::1", wrong),
        ("2001:db8:9::9", wrong),
        ("2001:db8:a::1", wrong),
        ("fe80::1", None),
    ] {
        assert_eq!(bench.say(&from(source)), reason, "{source}");
    }
    for (source, destination, reason) in [
        ("8.8.8.8", "224.0.0.1", None),
        ("8.8.8.8", "224.0.1.1", wrong),
        ("2001:db8:a::1", "ff02::1", None),
        ("2001:db8:a::1", "ff05::1", wrong),
    ] {
        let packet = ip(Ingress, source, destination, UDP, L4::Ports { source: 9, destination: 53 });
        assert_eq!(bench.say(&packet), reason, "{destination}");
    }
}

#[test]
fn a_loose_reverse_path_leads_anywhere_and_strict_wins() {
    let mut bench = routed(ReversePath::Loose);
    let wrong = Some(Reason::ReversePath);
    for (source, reason) in
        [("203.0.113.129", None), ("203.0.113.9", wrong), ("8.8.8.8", wrong), ("2001:db8:9:2::1", None), ("2001:db8:9::9", wrong)]
    {
        assert_eq!(bench.say(&from(source)), reason, "{source}");
    }
    let strict = AntiSpoof { check_reverse_path: ReversePath::Strict, ..off() };
    bench.set.policies.push(Policy { anti_spoof: Some(strict), ..policy("strict", 200) });
    assert_eq!(bench.say(&from("203.0.113.129")), wrong);
}

#[test]
fn where_routes_are_not_known_or_the_device_is_the_loopback_device_they_are_not_asked() {
    let mut bench = routed(ReversePath::Strict);
    bench.interface.device = DeviceKind::Loopback;
    assert_eq!(bench.say(&from("8.8.8.8")), None);
    let mut bench = routed(ReversePath::Strict);
    bench.interface.routes = None;
    assert_eq!(bench.say(&from("8.8.8.8")), None);
}

#[test]
fn it_speaks_at_an_isolated_ingress_hook_for_every_packet() {
    let mut bench = checking(off());
    assert_eq!(bench.say(&from("203.0.113.9")), None);
    bench.set.policies[0].anti_spoof = Some(AntiSpoof { allowed_sources: sources("192.0.2.0/24"), ..off() });
    assert_eq!(bench.say(&from("203.0.113.9")), Some(Reason::AllowedSources), "its flow does not help");
    assert_eq!(bench.say(&Packet { hook: Egress, ..from("203.0.113.8") }), None);
    bench.set.policies[0].egress = bench.set.policies[0].ingress.take();
    assert_eq!(bench.say(&from("203.0.113.9")), None, "ingress is not isolated");
}

#[test]
fn the_opening_packet_of_a_flow_is_not_asked_again() {
    let mut bench = checking(off());
    assert_eq!(bench.say(&from("203.0.113.9")), None);
    bench.set.policies[0].anti_spoof = Some(AntiSpoof { allowed_sources: sources("192.0.2.0/24"), ..off() });
    bench.reload(bench.set.clone());
    assert_eq!(bench.say(&udp(Egress, "198.51.100.1:53", "203.0.113.9:9")), None);
}

#[test]
fn a_source_is_in_the_lists_of_all_policies() {
    let mut bench = checking(AntiSpoof { allowed_sources: sources("203.0.113.0/24 2001:db8:9::/48"), ..off() });
    let with_set = SourceList { nets: vec!["203.0.113.9/32".parse().unwrap()], sets: vec![SetId(0)] };
    bench.set.policies.push(Policy { anti_spoof: Some(AntiSpoof { allowed_sources: Some(with_set), ..off() }), ..policy("b", 200) });
    bench.set.sets.push(named_set("more", "2001:db8:9:9::/64 198.18.0.0/15"));
    let wrong = Some(Reason::AllowedSources);
    for (source, reason) in
        [("203.0.113.9", None), ("203.0.113.8", wrong), ("198.18.0.1", wrong), ("2001:db8:9:9::1", None), ("2001:db8:9::1", wrong)]
    {
        assert_eq!(bench.say(&from(source)), reason, "{source}");
    }
}

#[test]
fn link_business_from_link_local_addresses_needs_no_list() {
    let mut bench = checking(AntiSpoof { allowed_sources: sources("2001:db8:9::/48"), ..off() });
    let message = |source: &str, kind| icmp(Ingress, source, "ff02::1", kind, None);
    for kind in [130, 131, 132, 133, 134, 135, 136, 143] {
        assert_ne!(bench.say(&message("fe80::9", kind)), Some(Reason::AllowedSources), "{kind}");
        assert_eq!(bench.say(&message("2001:db8::9", kind)), Some(Reason::AllowedSources), "{kind}");
    }
    assert_eq!(bench.say(&message("fe80::9", 128)), Some(Reason::AllowedSources));
    assert_eq!(bench.say(&udp(Ingress, "[fe80::9]:546", "[ff02::1:2]:547")), None);
    assert_eq!(bench.say(&udp(Ingress, "[fe80::9]:547", "[ff02::1:2]:546")), Some(Reason::AllowedSources));
    assert_eq!(bench.say(&message("::", 135)), None, "the unspecified source is exempt");
}

#[test]
fn the_dhcp_exchange_is_exempt_where_it_is_allowed() {
    let mut bench = checking(AntiSpoof { allowed_sources: sources("192.0.2.1/32"), bogons: true, ..off() });
    bench.set.policies[0].endpoint = EndpointKind::Workload;
    bench.set.policies[0].egress = bench.set.policies[0].ingress.take();
    let renewal = udp(Ingress, "10.0.0.9:68", "10.0.0.1:67");
    assert_eq!(bench.say(&renewal), Some(Reason::Bogon));
    assert_eq!(bench.say(&udp(Ingress, "0.0.0.0:68", "255.255.255.255:67")), None);
    bench.set.policies[0].dhcp_client = true;
    assert_eq!(bench.say(&renewal), None);
}

#[test]
fn bogons_are_refused_but_not_link_local_addresses() {
    let mut bench = checking(AntiSpoof { bogons: true, ..off() });
    let bogon = Some(Reason::Bogon);
    for (source, reason) in
        [("10.0.0.1", bogon), ("8.8.8.8", None), ("169.254.0.1", None), ("fd00::1", bogon), ("2a00::1", None), ("fe80::1", None)]
    {
        assert_eq!(bench.say(&from(source)), reason, "{source}");
    }
}

#[test]
fn the_source_mac_is_in_the_list_of_each_policy_that_has_one() {
    let mut bench = checking(AntiSpoof { allowed_macs: vec![MAC, OTHER], ..off() });
    bench.set.policies.push(Policy { anti_spoof: Some(AntiSpoof { allowed_macs: vec![MAC], ..off() }), ..policy("b", 200) });
    bench.set.policies.push(Policy { anti_spoof: Some(off()), ..policy("c", 201) });
    let lldp = Packet { ip: None, ethertype: 0x88CC, ..from("8.8.8.8") };
    for packet in [from("8.8.8.8"), from("2a00::1"), lldp, arp(MAC, "8.8.8.8")] {
        assert_eq!(bench.say(&packet), None);
        assert_eq!(bench.say(&sent_by(OTHER, packet.clone())), Some(Reason::AllowedMacs));
        let raw = Packet { sender: Sender { mac: None, ..packet.sender }, ..packet };
        assert_eq!(bench.say(&raw), None, "no Ethernet header");
    }
}

fn arp(mac: [u8; 6], address: &str) -> Packet {
    let sender = Sender { mac: Some(MAC), arp: Some(Arp { mac, address: address.parse().unwrap() }), neighbour: None };
    Packet { ip: None, ethertype: ETHERTYPE_ARP, sender, ..from("8.8.8.8") }
}

#[test]
fn arp_speaks_for_its_own_station_and_a_permitted_address() {
    let wrong = Some(Reason::Arp);
    let mut bench = checking(AntiSpoof { arp: true, ..off() });
    assert_eq!(bench.say(&arp(MAC, "8.8.8.8")), None);
    assert_eq!(bench.say(&arp(OTHER, "8.8.8.8")), wrong);
    let cut = Packet { sender: Sender { mac: Some(MAC), ..Sender::default() }, ..arp(MAC, "8.8.8.8") };
    assert_eq!(bench.say(&cut), wrong);
    bench.set.policies[0].anti_spoof = Some(AntiSpoof { arp: true, allowed_sources: sources("192.0.2.1/32"), ..off() });
    assert_eq!(["192.0.2.1", "192.0.2.2", "0.0.0.0"].map(|address| bench.say(&arp(MAC, address))), [None, wrong, None]);
    let mut bench = routed(ReversePath::Strict);
    bench.set.policies[0].anti_spoof.as_mut().unwrap().arp = true;
    assert_eq!(["203.0.113.1", "203.0.113.9", "8.8.8.8"].map(|address| bench.say(&arp(MAC, address))), [None, wrong, wrong]);
    bench.set.policies[0].anti_spoof.as_mut().unwrap().arp = false;
    assert_eq!(bench.say(&arp(OTHER, "8.8.8.8")), None);
}

fn discovery(icmp_type: u8, source: &str, target: Option<&str>, option: LinkLayerOption) -> Packet {
    let neighbour = Neighbour { target: target.map(|target| target.parse().unwrap()), option };
    let sender = Sender { mac: Some(MAC), arp: None, neighbour: Some(neighbour) };
    Packet { sender, ..change(icmp(Ingress, source, "ff02::1", icmp_type, None), |ip| ip.hop_limit = 255) }
}

#[test]
fn neighbour_discovery_speaks_for_its_own_station_and_a_permitted_target() {
    use LinkLayerOption::{Absent, Mac, Unreadable};
    let wrong = Some(Reason::Arp);
    let mut bench = checking(AntiSpoof { arp: true, allowed_sources: sources("2001:db8:9::/64"), ..off() });
    let (mine, theirs, link_local) = (Some("2001:db8:9::1"), Some("2001:db8:8::1"), Some("fe80::9"));
    for (icmp_type, source, target, option, reason) in [
        (136, "fe80::9", mine, Mac(MAC), None),
        (136, "fe80::9", theirs, Mac(MAC), wrong),
        (136, "fe80::9", link_local, Absent, None),
        (136, "fe80::9", None, Absent, wrong),
        (136, "fe80::9", mine, Mac(OTHER), wrong),
        (135, "fe80::9", theirs, Mac(MAC), None),
        (135, "::", theirs, Absent, wrong),
        (135, "::", mine, Absent, None),
        (135, "fe80::9", theirs, Mac(OTHER), wrong),
        (134, "fe80::9", None, Mac(MAC), None),
        (134, "fe80::9", None, Mac(OTHER), wrong),
        (133, "fe80::9", None, Unreadable, wrong),
        (133, "::", None, Absent, None),
    ] {
        assert_eq!(bench.say(&discovery(icmp_type, source, target, option)), reason, "{icmp_type} {source} {target:?} {option:?}");
    }
    bench.set.policies[0].anti_spoof.as_mut().unwrap().arp = false;
    assert_eq!(bench.say(&discovery(136, "fe80::9", theirs, Mac(OTHER))), None);
}
