//! Stages 2, 3, 4 and 6, and stage 5 for everything but TCP.

use super::*;
use crate::policy::judge::fixture::{named_set, origin, peer, rule};
use crate::policy::model::{Action, EndpointKind, Failsafe, Hook::*, SetId, Xdp, XdpMode};

const US: &str = "198.51.100.1:53";
const THEM: &str = "203.0.113.9:4000";

fn all() -> Vec<Rule> {
    vec![rule("all", Action::Allow)]
}

fn deny_set(bench: &mut Bench, nets: &str) {
    bench.set.sets.push(named_set("bad", nets));
    let deny_sets = vec![SetId(bench.set.sets.len() as u32 - 1)];
    bench.set.policies[0].xdp = Some(Xdp { mode: XdpMode::Off, deny_sets, ..Xdp::default() });
}

fn failsafe(protocol: u8, port: u16, nets: &str) -> Failsafe {
    Failsafe { protocol, port, nets: nets.split_whitespace().map(|net| net.parse().unwrap()).collect(), origin: origin() }
}

#[test]
fn an_interface_that_no_policy_selects_is_untouched() {
    let mut bench = Bench::ingress(vec![]);
    bench.interface = Interface::named("wlan0");
    assert_eq!(bench.say(&udp(Ingress, THEM, US)), None);
}

#[test]
fn a_deny_set_beats_an_established_flow_and_speaks_in_an_unisolated_direction() {
    let mut bench = Bench::ingress(all());
    assert_eq!(bench.say(&udp(Ingress, THEM, US)), None);
    deny_set(&mut bench, "203.0.113.0/24");
    assert_eq!(bench.say(&udp(Ingress, THEM, US)), Some(Reason::DenySet));
    bench.set.policies[0].egress = bench.set.policies[0].ingress.take();
    assert_eq!(bench.say(&udp(Ingress, THEM, US)), Some(Reason::DenySet));
    assert_eq!(bench.say(&udp(Egress, US, THEM)), None);
}

#[test]
fn a_deny_set_beats_failsafe_unless_the_source_is_inside_its_nets() {
    let mut bench = Bench::ingress(vec![]);
    deny_set(&mut bench, "203.0.113.0/24");
    let ssh = |source: &str| tcp(Ingress, source, "198.51.100.1:22", SYN, 1, 0);
    bench.set.daemon.failsafe_inbound = vec![failsafe(6, 22, "")];
    assert_eq!(bench.say(&ssh("203.0.113.9:1")), Some(Reason::DenySet));
    assert_eq!(bench.say(&ssh("192.0.2.1:1")), None);
    bench.set.daemon.failsafe_inbound = vec![failsafe(6, 22, "203.0.113.9/32")];
    assert_eq!(bench.say(&ssh("203.0.113.9:1")), None);
    assert_eq!(bench.say(&ssh("203.0.113.8:1")), Some(Reason::DenySet));
}

#[test]
fn answers_to_a_failsafe_with_nets_pass_a_deny_set() {
    let mut bench = Bench::both(vec![], vec![]);
    deny_set(&mut bench, "203.0.113.0/24");
    bench.set.daemon.failsafe_outbound = vec![failsafe(17, 53, "203.0.113.53/32")];
    assert_eq!(bench.say(&udp(Egress, "198.51.100.1:999", "203.0.113.53:53")), None);
    assert_eq!(bench.say(&udp(Ingress, "203.0.113.53:53", "198.51.100.1:999")), None);
    assert_eq!(bench.say(&udp(Ingress, "203.0.113.54:53", "198.51.100.1:999")), Some(Reason::DenySet));
}

#[test]
fn failsafe_beats_rules_and_state_and_makes_a_flow() {
    let mut bench = Bench::both(vec![rule("none", Action::Deny)], vec![]);
    bench.set.daemon.failsafe_inbound = vec![failsafe(6, 22, "")];
    bench.set.daemon.conntrack.max_entries = 1;
    assert_eq!(bench.say(&tcp(Ingress, THEM, "198.51.100.1:22", ACK, 5, 5)), None);
    assert_eq!(bench.say(&tcp(Egress, "198.51.100.1:22", THEM, ACK, 5, 5)), None);
    assert_eq!(bench.say(&tcp(Ingress, "203.0.113.9:4001", "198.51.100.1:22", ACK, 5, 5)), None, "a full table does not refuse it");
}

#[test]
fn failsafe_is_for_host_endpoints() {
    let mut bench = Bench::ingress(vec![]);
    bench.set.daemon.failsafe_inbound = vec![failsafe(17, 53, "")];
    assert_eq!(bench.say(&udp(Ingress, THEM, US)), None);
    bench.set.policies[0].endpoint = EndpointKind::Workload;
    assert_eq!(bench.say(&udp(Egress, "203.0.113.9:4001", US)), Some(Reason::Default));
}

#[test]
fn direction_is_seen_from_the_protected_thing() {
    let mut bench = Bench::ingress(vec![]);
    bench.set.policies[0].endpoint = EndpointKind::Workload;
    assert_eq!(bench.say(&udp(Egress, THEM, US)), Some(Reason::Default));
    assert_eq!(bench.say(&udp(Ingress, US, "192.0.2.1:1")), None);
}

fn frame(hook: crate::policy::model::Hook, ethertype: u16) -> Packet {
    Packet { hook, tags: [0, 0], ethertype, length: 60, sender: Sender::default(), refusal: None, ip: None }
}

#[test]
fn other_ethertypes_pass_as_listed_and_arp_always() {
    let mut bench = Bench::ingress(all());
    for (ethertype, reason) in
        [(0x0806, None), (0x888E, None), (0x88CC, None), (0x0042, None), (0x8863, Some(Reason::Ethertype)), (0, Some(Reason::Ethertype))]
    {
        assert_eq!(bench.say(&frame(Ingress, ethertype)), reason, "{ethertype:#x}");
        assert_eq!(bench.say(&frame(Egress, ethertype)), None, "{ethertype:#x}");
    }
    bench.set.policies[0].ethertypes = Some(vec![0x8863]);
    assert_eq!(bench.say(&frame(Ingress, 0x8863)), None);
    assert_eq!(bench.say(&frame(Ingress, 0x888E)), Some(Reason::Ethertype));
    bench.set.policies[0].ethertypes = None;
    bench.set.policies[0].endpoint = EndpointKind::Workload;
    assert_eq!(bench.say(&frame(Egress, 0x888E)), Some(Reason::Ethertype));
}

#[test]
fn udp_answers_pass_until_the_timeout() {
    let mut bench = Bench::both(all(), vec![]);
    assert_eq!(bench.say(&udp(Egress, US, THEM)), Some(Reason::Default));
    assert_eq!(bench.say(&udp(Ingress, THEM, US)), None);
    assert_eq!(bench.conntrack.half_open().count(), 1);
    assert_eq!(bench.say(&udp(Egress, US, THEM)), None);
    assert_eq!(bench.conntrack.connections().count(), 1);
    bench.now += 181 * SECOND;
    assert_eq!(bench.say(&udp(Egress, US, THEM)), Some(Reason::Default));
}

#[test]
fn an_unsolicited_echo_reply_is_no_connection() {
    let mut bench = Bench::both(all(), vec![]);
    for (us, them, request, reply) in [("198.51.100.1", "203.0.113.9", 8, 0), ("2001:db8::1", "2001:db8::2", 128, 129)] {
        assert_eq!(bench.say(&icmp(Ingress, them, us, reply, None)), Some(Reason::NoConnection));
        assert_eq!(bench.say(&icmp(Ingress, them, us, request, None)), None);
        assert_eq!(bench.say(&icmp(Egress, us, them, reply, None)), None);
        assert_eq!(bench.say(&icmp(Ingress, them, us, reply, None)), Some(Reason::NoConnection), "not the other way round");
    }
}

#[test]
fn an_icmp_error_passes_if_it_quotes_a_live_flow_to_its_sender() {
    let mut bench = Bench::both(all(), vec![]);
    let opener = udp(Ingress, THEM, US);
    assert_eq!(bench.say(&opener), None);
    assert_eq!(bench.say(&icmp(Egress, "198.51.100.1", "203.0.113.9", 3, quote(&opener))), None);
    assert_eq!(bench.say(&icmp(Egress, "198.51.100.1", "203.0.113.8", 3, quote(&opener))), Some(Reason::NoConnection));
    assert_eq!(bench.say(&icmp(Egress, "198.51.100.1", "203.0.113.9", 3, None)), Some(Reason::NoConnection));
    let answer = udp(Egress, US, THEM);
    assert_eq!(bench.say(&icmp(Ingress, "192.0.2.77", "198.51.100.1", 11, quote(&answer))), None, "a router on the way");
    let foreign = udp(Egress, US, "192.0.2.1:1");
    assert_eq!(bench.say(&icmp(Ingress, "192.0.2.77", "198.51.100.1", 11, quote(&foreign))), Some(Reason::NoConnection));
}

#[test]
fn redirects_are_always_dropped() {
    let mut bench = Bench::ingress(all());
    assert_eq!(bench.say(&icmp(Ingress, "192.0.2.1", "198.51.100.1", 5, None)), Some(Reason::IcmpRedirect));
    assert_eq!(bench.say(&icmp(Ingress, "fe80::1", "2001:db8::1", 137, None)), Some(Reason::IcmpRedirect));
    assert_eq!(bench.say(&icmp(Egress, "192.0.2.1", "198.51.100.1", 5, None)), None);
}

fn neighbour(hook: crate::policy::model::Hook, icmp_type: u8) -> Packet {
    change(icmp(hook, "fe80::1", "fe80::2", icmp_type, None), |ip| ip.hop_limit = 255)
}

#[test]
fn neighbour_discovery_passes_with_hop_limit_255_only() {
    let mut bench = Bench::both(vec![], vec![]);
    for icmp_type in [133, 134, 135, 136] {
        assert_eq!(bench.say(&neighbour(Ingress, icmp_type)), None);
        let far = change(neighbour(Ingress, icmp_type), |ip| ip.hop_limit = 254);
        assert_eq!(bench.say(&far), Some(Reason::Default));
        let coded = change(neighbour(Ingress, icmp_type), |ip| {
            ip.l4 = L4::Icmp(Icmp { icmp_type, code: 1, identifier: 0, quoted: None });
        });
        assert_eq!(bench.say(&coded), Some(Reason::Default));
    }
    bench.interface.accepts_router_advertisements = false;
    assert_eq!(bench.say(&neighbour(Ingress, 134)), Some(Reason::Default));
    bench.set.policies[0].icmpv6_essential = false;
    assert_eq!(bench.say(&neighbour(Ingress, 135)), Some(Reason::Default));
}

#[test]
fn multicast_listener_discovery_comes_from_the_link() {
    let mut bench = Bench::both(vec![], vec![]);
    let said = |source, destination, icmp_type, hops| change(icmp(Ingress, source, destination, icmp_type, None), |ip| ip.hop_limit = hops);
    for icmp_type in [130, 131, 132, 143] {
        for source in ["fe80::1", "::"] {
            assert_eq!(bench.say(&said(source, "ff02::1", icmp_type, 1)), None);
            assert_eq!(bench.say(&said(source, "ff02::1", icmp_type, 2)), Some(Reason::Default), "from beyond the link");
        }
        assert_eq!(bench.say(&said("2001:db8::9", "2001:db8::1", icmp_type, 1)), Some(Reason::Default), "no address of the link");
    }
}

#[test]
fn router_advertisements_never_arrive_from_a_workload() {
    let mut bench = Bench::both(vec![], vec![]);
    bench.set.policies[0].endpoint = EndpointKind::Workload;
    assert_eq!(bench.say(&neighbour(Ingress, 134)), Some(Reason::Default));
    assert_eq!(bench.say(&neighbour(Egress, 134)), None);
}

#[test]
fn the_dhcp_client_exchange_passes_where_a_policy_says_so() {
    let exchange = [
        (udp(Egress, "198.51.100.1:68", "198.51.100.254:67"), udp(Ingress, "198.51.100.254:67", "198.51.100.1:68")),
        (udp(Egress, "[fe80::1]:546", "[ff02::1:2]:547"), udp(Ingress, "[fe80::2]:547", "[fe80::1]:546")),
    ];
    for (out, back) in exchange {
        let mut bench = Bench::both(vec![], vec![]);
        assert_eq!(bench.say(&out), Some(Reason::Default));
        bench.set.policies[0].dhcp_client = true;
        assert_eq!((bench.say(&out), bench.say(&back)), (None, None));
        assert_eq!(bench.conntrack.half_open().count(), 0, "no flow is made");
        assert_eq!(bench.say(&Packet { tags: [7, 0], ..out.clone() }), Some(Reason::Default));
        bench.set.policies[0].endpoint = EndpointKind::Workload;
        assert_eq!(bench.say(&out), Some(Reason::Default));
        assert_eq!(bench.say(&Packet { hook: Ingress, ..out }), None);
    }
}

#[test]
fn dhcpv6_stays_on_the_link() {
    let mut bench = Bench::both(vec![], vec![]);
    bench.set.policies[0].dhcp_client = true;
    assert_eq!(bench.say(&udp(Ingress, "[fe80::2]:547", "[2001:db8::1]:546")), Some(Reason::Default));
    assert_eq!(bench.say(&udp(Ingress, "[2001:db8::2]:547", "[fe80::1]:546")), None, "a relay's address is as it is");
    assert_eq!(bench.say(&udp(Egress, "[2001:db8::1]:546", "[ff02::1:2]:547")), Some(Reason::Default));
}

#[test]
fn sctp_needs_an_init_and_every_init_is_judged() {
    let sctp =
        |port: u16, first_chunk| ip(Ingress, "203.0.113.9", "198.51.100.1", SCTP, L4::Sctp { source: 9, destination: port, first_chunk });
    let only = Rule { protocol: Some(132), destination: peer("", "5000"), ..rule("sctp", Action::Allow) };
    let mut bench = Bench::ingress(vec![only]);
    assert_eq!(bench.say(&sctp(5000, Some(0))), Some(Reason::NoConnection));
    assert_eq!(bench.say(&sctp(5000, None)), Some(Reason::NoConnection));
    assert_eq!(bench.say(&sctp(5000, Some(1))), None);
    assert_eq!(bench.say(&sctp(5000, Some(0))), None);
    bench.set.policies[0].ingress.as_mut().unwrap().rules.clear();
    assert_eq!(bench.say(&sctp(5000, Some(1))), Some(Reason::Default));
}
