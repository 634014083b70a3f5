//! What is asked of packets as they arrive: deny sets, rates of sources, anti-spoofing.

use netpol_probes::abi;

use super::*;
use crate::kernel::tests::needs_root;

fn open() -> Rules {
    Rules::new(&[rule(abi::NP_ALLOW)])
}

#[test]
fn dynamic_deny_set_beats_an_established_flow_at_tc_and_xdp() {
    needs_root!();
    let rules = open().set_lists(&[0, 1]).link(|link| link.deny_sets = list(0, 2));
    let world = World::new("deny-sets", rules, 2);
    world.establish("10.0.0.2", 9);
    assert_eq!(world.arrives_at_xdp(&udp("10.0.0.2", HERE, 9, 53)), abi::NP_ACCEPTED);
    world.add(1, "10.0.0.0/24", 0);
    assert_eq!(world.arrives(&udp("10.0.0.2", HERE, 9, 53)), abi::NP_R_DENY_SET);
    assert_eq!(world.arrives_at_xdp(&udp("10.0.0.2", HERE, 9, 53)), abi::NP_R_DENY_SET);
    assert_eq!(world.leaves(&udp(HERE, "10.0.0.2", 53, 9)), abi::NP_ACCEPTED, "deny sets match what arrives");
    world.add(1, "10.0.0.0/24", 1);
    assert_eq!(world.arrives(&udp("10.0.0.2", HERE, 9, 53)), abi::NP_ACCEPTED, "its element has expired");
    world.change_link(|link| link.deny_groups = 1);
    assert_eq!(world.arrives(&udp("192.0.2.1", HERE, 9, 53)), abi::NP_R_DENY_SET, "static ones stand beside them");
}

#[test]
fn failsafe_with_nets_is_excused_from_deny_sets_and_rates() {
    needs_root!();
    let mut rules = open().set_lists(&[0]).limits(&[limit(1, 1000, abi::NP_PER_SOURCE, 1)]);
    rules.core.failsafe = vec![(abi::np_failsafe_key { hook: 0, protocol: 17, port: 53 }, 1)];
    rules.core.classes[LISTED as usize].failsafe = 1;
    rules.core.classes[LISTED as usize].failsafe_nets = 1;
    let rules = rules.link(|link| (link.deny_sets, link.limit_packets) = (list(0, 1), 0));
    let world = World::new("excused", rules, 1);
    world.add(0, "192.0.2.0/24", 0);
    for _ in 0..3 {
        assert_eq!(world.arrives(&udp("192.0.2.1", HERE, 1, 53)), abi::NP_ACCEPTED);
        assert_eq!(world.arrives_at_xdp(&udp("192.0.2.1", HERE, 1, 53)), abi::NP_ACCEPTED);
    }
    assert_eq!(world.arrives(&udp("192.0.2.1", HERE, 1, 54)), abi::NP_R_DENY_SET);
}

#[test]
fn packets_of_one_source_above_its_rate_are_refused_by_tc_where_xdp_is_not() {
    needs_root!();
    let rules = open().limits(&[limit(4, 1000, abi::NP_PER_SOURCE, 1)]).link(|link| link.limit_packets = 0);
    let world = World::new("rate", rules, 0);
    world.establish("10.0.0.2", 9);
    let said: Vec<u32> = (0..4).map(|_| world.arrives(&udp("10.0.0.2", HERE, 9, 53))).collect();
    assert_eq!(said, [0, 0, 0, abi::NP_R_RATE_LIMIT], "packets of an established flow count as well");
    assert_eq!(world.arrives(&udp("10.0.0.3", HERE, 9, 53)), abi::NP_ACCEPTED);
    assert_eq!(world.arrives_at_xdp(&udp("10.0.0.2", HERE, 9, 53)), abi::NP_R_RATE_LIMIT);
    world.change_link(|link| link.flags |= abi::NP_LINK_XDP);
    assert_eq!(world.arrives(&udp("10.0.0.2", HERE, 9, 53)), abi::NP_ACCEPTED, "XDP has counted it");
    world.change_link(|link| (link.flags, link.chain) = (0, [NONE; 2]));
    assert_eq!(world.arrives(&udp("10.0.0.2", HERE, 9, 53)), abi::NP_R_RATE_LIMIT, "isolated or not");
}

#[test]
fn syns_have_a_rate_of_their_own() {
    needs_root!();
    let rules = open().limits(&[limit(2, 1000, abi::NP_PER_SOURCE, 1)]).link(|link| link.limit_syns = 0);
    let world = World::new("rate-syns", rules, 0);
    let said: Vec<u32> = (0..3).map(|port| world.arrives(&tcp("10.0.0.2", port, SYN))).collect();
    assert_eq!(said, [0, 0, abi::NP_R_RATE_LIMIT]);
    assert_eq!(world.arrives(&udp("10.0.0.2", HERE, 9, 53)), abi::NP_ACCEPTED);
    assert_eq!(world.arrives(&tcp("10.0.0.2", 1, ACK)), abi::NP_ACCEPTED);
    assert_eq!(world.arrives_at_xdp(&tcp("10.0.0.2", 9, SYN)), abi::NP_R_RATE_LIMIT);
}

/// Anti-spoofing with these flags.
fn guarded(flags: u32) -> Rules {
    open().link(|link| link.flags = abi::NP_LINK_ANTI_SPOOF | abi::NP_LINK_ICMPV6_ESSENTIAL | flags)
}

#[test]
fn only_listed_macs_may_send_frames_of_any_kind() {
    needs_root!();
    let mut rules = guarded(0).link(|link| link.mac_group = 5);
    rules.core.macs = vec![(abi::np_mac_key { group: 5, mac: MAC, pad: [0; 2] }, 1)];
    rules.core.ethertypes = vec![(abi::np_ethertype_key { group: 0, ethertype: 0x88CC, pad: 0 }, 1)];
    let world = World::new("macs", rules, 0);
    world.establish("10.0.0.2", 9);
    for bytes in [udp("10.0.0.2", HERE, 9, 53), frame(0x0806, &[0; 28]), frame(0x88CC, &[0; 28])] {
        assert_eq!(world.arrives(&bytes), abi::NP_ACCEPTED);
        let mut forged = bytes.clone();
        forged[11] = 3;
        assert_eq!(world.arrives(&forged), abi::NP_R_ALLOWED_MACS);
        assert_eq!(world.arrives(&[&bytes[..6], &forged[6..]].concat()), abi::NP_R_ALLOWED_MACS);
    }
    world.change_link(|link| link.chain = [NONE; 2]);
    let mut forged = udp("10.0.0.2", HERE, 9, 53);
    forged[11] = 3;
    assert_eq!(world.arrives(&forged), abi::NP_ACCEPTED, "only where the hook is isolated");
}

#[test]
fn bogons_are_refused_but_link_local_ones() {
    needs_root!();
    let mut rules = guarded(abi::NP_LINK_BOGONS);
    rules.core.addresses4.push((abi::np_lpm4 { prefixlen: 16, address: u32::from_ne_bytes([169, 254, 0, 0]) }, BOGON));
    let world = World::new("bogons", rules, 0);
    assert_eq!(world.arrives(&udp("198.51.100.7", HERE, 9, 53)), abi::NP_R_BOGON);
    assert_eq!(world.arrives(&udp("169.254.1.1", HERE, 9, 53)), abi::NP_ACCEPTED);
    assert_eq!(world.arrives(&udp("10.0.0.2", HERE, 9, 53)), abi::NP_ACCEPTED);
}

#[test]
fn source_must_be_in_every_list_of_allowed_sources() {
    needs_root!();
    let mut rules = guarded(0).set_lists(&[0]).link(|link| link.source_checks = list(0, 2));
    rules.core.source_checks =
        vec![abi::np_source_check { group: 1, sets: list(0, 1) }, abi::np_source_check { group: 1, sets: list(0, 1) }];
    let world = World::new("sources", rules, 1);
    assert_eq!(world.arrives(&udp("192.0.2.1", HERE, 9, 53)), abi::NP_ACCEPTED);
    assert_eq!(world.arrives(&udp("10.0.0.2", HERE, 9, 53)), abi::NP_R_ALLOWED_SOURCES);
    world.add(0, "10.0.0.0/24", 0);
    assert_eq!(world.arrives(&udp("10.0.0.2", HERE, 9, 53)), abi::NP_ACCEPTED);
    assert_eq!(world.arrives(&udp("2001:db8:2::1", HERE6, 9, 53)), abi::NP_ACCEPTED);
    assert_eq!(world.arrives(&udp("2001:db8:3::1", HERE6, 9, 53)), abi::NP_R_ALLOWED_SOURCES);
    assert_eq!(world.arrives(&udp("fe80::1", "ff02::1:2", 546, 547)), abi::NP_ACCEPTED);
    assert_eq!(world.arrives(&udp("fe80::1", HERE6, 546, 53)), abi::NP_R_ALLOWED_SOURCES);
    assert_eq!(world.arrives(&ip("fe80::1", "ff02::1", 58, 0, &[135, 0, 0, 0, 0, 0, 0, 0])), abi::NP_ACCEPTED);
    assert_eq!(world.arrives(&udp("0.0.0.0", "255.255.255.255", 68, 67)), abi::NP_ACCEPTED, "the unspecified source is exempt");
}

fn route4(world: &World, prefix: [u8; 4], length: u32, set: u32) {
    world.share("routes4", &abi::np_lpm4 { prefixlen: length, address: u32::from_ne_bytes(prefix) }, &set);
}

#[test]
fn reverse_path_is_asked_strictly_or_loosely() {
    needs_root!();
    let world = World::new("reverse", guarded(abi::NP_LINK_REVERSE_STRICT), 0);
    route4(&world, [10, 0, 0, 0], 8, 3);
    route4(&world, [10, 1, 0, 0], 16, 4);
    route4(&world, [10, 0, 0, 1], 32, 0);
    world.share("route_links", &abi::np_route_key { set: 3, ifindex: world.ifindex }, &1u8);
    world.share("route_links", &abi::np_route_key { set: 4, ifindex: world.ifindex + 1 }, &1u8);
    world.share("routes6", &abi::np_lpm6 { prefixlen: 32, address: words("2001:db8::") }, &3u32);
    let ask = |source: &str| world.arrives(&udp(source, if source.contains(':') { HERE6 } else { HERE }, 9, 53));
    let refused = abi::NP_R_REVERSE_PATH;
    assert_eq!([ask("10.0.0.2"), ask("10.1.0.2"), ask("10.0.0.1"), ask("11.0.0.1")], [0, refused, refused, refused]);
    assert_eq!([ask("169.254.0.9"), ask("2001:db8::7"), ask("2001:db9::7")], [0, 0, refused]);
    assert_eq!(world.arrives(&udp("11.0.0.1", "224.0.0.9", 9, 53)), abi::NP_ACCEPTED);
    assert_eq!(world.arrives(&udp("11.0.0.1", "224.0.1.9", 9, 53)), refused);
    world.change_link(|link| link.flags = abi::NP_LINK_ANTI_SPOOF | abi::NP_LINK_REVERSE_LOOSE);
    assert_eq!([ask("10.0.0.2"), ask("10.1.0.2"), ask("10.0.0.1"), ask("11.0.0.1")], [0, 0, refused, refused]);
}

fn arp(operation: u8, mac: [u8; 6], sender: [u8; 4]) -> Vec<u8> {
    let parts: [&[u8]; 4] = [&[0, 1, 8, 0, 6, 4, 0, operation], &mac, &sender, &[0; 10]];
    frame(0x0806, &parts.concat())
}

#[test]
fn arp_speaks_for_its_sender_only() {
    needs_root!();
    let mut rules = guarded(abi::NP_LINK_ARP).set_lists(&[0]).link(|link| link.source_checks = list(0, 1));
    rules.core.source_checks = vec![abi::np_source_check { group: 1, sets: list(0, 1) }];
    let world = World::new("arp", rules, 1);
    assert_eq!(world.arrives(&arp(1, MAC, [192, 0, 2, 9])), abi::NP_ACCEPTED);
    assert_eq!(world.arrives(&arp(2, MAC, [0; 4])), abi::NP_ACCEPTED);
    assert_eq!(world.arrives(&arp(2, MAC, [10, 0, 0, 9])), abi::NP_R_ARP);
    assert_eq!(world.arrives(&arp(3, MAC, [192, 0, 2, 9])), abi::NP_R_ARP);
    assert_eq!(world.arrives(&arp(1, [2, 0, 0, 0, 0, 3], [192, 0, 2, 9])), abi::NP_R_ARP);
    assert_eq!(world.arrives(&arp(1, MAC, [192, 0, 2, 9])[..40]), abi::NP_R_ARP, "cut");
    assert_eq!(world.leaves(&arp(3, MAC, [10, 0, 0, 9])), abi::NP_ACCEPTED);
    world.add(0, "10.0.0.9/32", 0);
    assert_eq!(world.arrives(&arp(2, MAC, [10, 0, 0, 9])), abi::NP_ACCEPTED);
    world.change_link(|link| (link.flags, link.source_checks) = (link.flags | abi::NP_LINK_REVERSE_STRICT, list(0, 0)));
    assert_eq!(world.arrives(&arp(2, MAC, [10, 0, 0, 9])), abi::NP_R_ARP, "no route");
    route4(&world, [10, 0, 0, 0], 8, 3);
    world.share("route_links", &abi::np_route_key { set: 3, ifindex: world.ifindex }, &1u8);
    assert_eq!(world.arrives(&arp(2, MAC, [10, 0, 0, 9])), abi::NP_ACCEPTED);
}

/// A neighbour's message: type, source, target, first option.
fn neighbour(kind: u8, source: &str, target: &str, option: &[u8]) -> Vec<u8> {
    let mut bytes = vec![kind, 0, 0, 0, 0, 0, 0, 0];
    bytes.extend(words(target).iter().flat_map(|word| word.to_ne_bytes()));
    bytes.extend(option);
    ip(source, "ff02::1", 58, 0, &bytes)
}

#[test]
fn neighbour_discovery_speaks_for_its_sender_only() {
    needs_root!();
    let mut rules = guarded(abi::NP_LINK_ARP).link(|link| link.source_checks = list(0, 1));
    rules.core.source_checks = vec![abi::np_source_check { group: 1, sets: list(0, 0) }];
    let world = World::new("nd", rules, 0);
    let (own, other) = ("2001:db8:2::9", "2001:db8:3::9");
    let honest = [&[2, 1][..], &MAC].concat();
    let forged = [2, 1, 2, 0, 0, 0, 0, 3];
    assert_eq!(world.arrives(&neighbour(136, "fe80::9", own, &honest)), abi::NP_ACCEPTED);
    assert_eq!(world.arrives(&neighbour(136, "fe80::9", "fe80::8", &[])), abi::NP_ACCEPTED);
    assert_eq!(world.arrives(&neighbour(136, "fe80::9", other, &honest)), abi::NP_R_ARP);
    assert_eq!(world.arrives(&neighbour(136, "fe80::9", own, &forged)), abi::NP_R_ARP);
    assert_eq!(world.arrives(&neighbour(136, "fe80::9", own, &honest[..4])), abi::NP_R_ARP, "cut");
    assert_eq!(world.arrives(&neighbour(136, "fe80::9", own, &[14, 1, 9, 9, 9, 9, 9, 9])), abi::NP_ACCEPTED, "a nonce");
    assert_eq!(world.arrives(&neighbour(135, "fe80::9", other, &honest)), abi::NP_ACCEPTED, "it asks for another");
    assert_eq!(world.arrives(&neighbour(135, "::", other, &[])), abi::NP_R_ARP, "it wants the address for itself");
    assert_eq!(world.arrives(&neighbour(135, "::", own, &[])), abi::NP_ACCEPTED);
    assert_eq!(world.arrives(&ip("fe80::9", "ff02::2", 58, 0, &[&[133, 0, 0, 0, 0, 0, 0, 0][..], &forged].concat())), abi::NP_R_ARP);
    assert_eq!(world.arrives(&ip("fe80::9", "ff02::1", 58, 0, &[136, 0, 0, 0, 0, 0, 0, 0])), abi::NP_R_ARP, "no target");
}

#[test]
fn rates_of_an_ipv4_source_and_of_an_ipv6_network_of_the_same_bytes_are_two() {
    needs_root!();
    let rules = open().limits(&[limit(1, 1000, abi::NP_PER_SOURCE, 1)]).link(|link| link.limit_packets = 0);
    let world = World::new("rate-families", rules, 0);
    assert_eq!(world.arrives(&udp("32.1.13.184", HERE, 9, 53)), abi::NP_ACCEPTED);
    assert_eq!(world.arrives(&udp("32.1.13.184", HERE, 9, 53)), abi::NP_R_RATE_LIMIT);
    assert_eq!(world.arrives(&udp("2001:db8::7", HERE6, 9, 53)), abi::NP_ACCEPTED);
}
