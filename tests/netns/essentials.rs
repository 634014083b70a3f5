//! `icmpv6_essential` and `dhcp_client`: what an interface needs to work at all.

use netpol_tests::packet_l4::addr;
use netpol_tests::policy::policy;
use netpol_tests::{Bench, Family, Hook, Net, Packet};

const BOTH: &str = "policy_types = [\"ingress\", \"egress\"]";
const NEIGHBOUR: [(&str, u8); 3] = [("RS", 133), ("NS", 135), ("NA", 136)];
const MLD: [(&str, u8); 4] = [("query", 130), ("report", 131), ("done", 132), ("version 2 report", 143)];

fn icmp6(kind: u8, hops: u8) -> Packet {
    Packet::icmp(Family::V6.host(1, 2), Family::V6.host(1, 1), (kind, 0), [0; 4], &[0; 16]).ttl(hops)
}

#[test]
fn neighbour_discovery_passes_with_hop_limit_255_only() {
    let Some(bench) = Bench::start(&policy("n", BOTH)) else { return };
    for hook in Hook::BOTH {
        for (what, kind) in NEIGHBOUR {
            assert!(bench.passes(hook, &icmp6(kind, 255)), "{what} at {hook:?}");
            assert!(!bench.passes(hook, &icmp6(kind, 254)), "{what} from beyond the link at {hook:?}");
            let fragment = icmp6(kind, 255).fragment(1, 0, true);
            assert!(!bench.passes(hook, &fragment), "{what} in a fragment at {hook:?}");
        }
    }
}

#[test]
fn multicast_listener_discovery_comes_from_the_link_and_goes_no_further() {
    let Some(bench) = Bench::start(&policy("n", BOTH)) else { return };
    let mld = |source: &str, kind, hops| {
        Packet::icmp(source.parse().expect("an address"), "ff02::16".parse().expect("an address"), (kind, 0), [0; 4], &[0; 16]).ttl(hops)
    };
    for hook in Hook::BOTH {
        for (what, kind) in MLD {
            assert!(bench.passes(hook, &mld("fe80::9", kind, 1)), "MLD {what} at {hook:?}");
            assert!(!bench.passes(hook, &mld("fe80::9", kind, 64)), "MLD {what} from beyond the link at {hook:?}");
            assert!(!bench.passes(hook, &icmp6(kind, 1)), "MLD {what} from one host to another at {hook:?}");
        }
    }
}

#[test]
fn neighbour_discovery_is_judged_by_rules_where_essentials_are_off() {
    let off = policy("n", &format!("{BOTH}\nicmpv6_essential = false"));
    let Some(bench) = Bench::start(&off) else { return };
    for hook in Hook::BOTH {
        for (what, kind) in NEIGHBOUR.into_iter().chain(MLD) {
            assert!(!bench.passes(hook, &icmp6(kind, 255)), "{what} at {hook:?}");
        }
    }
}

#[test]
fn router_advertisement_passes_only_where_the_kernel_accepts_it() {
    for (accept, expected) in [("0", false), ("1", true), ("2", true)] {
        let Some(net) = Net::new() else { return };
        net.dut.sysctl("ipv6/conf/left/accept_ra", accept);
        let Some(bench) = Bench::start_in(net, &policy("n", BOTH)) else { return };
        assert_eq!(bench.arrives(&icmp6(134, 255)), expected, "accept_ra = {accept}");
        assert!(!bench.arrives(&icmp6(134, 64)), "from beyond the link, accept_ra = {accept}");
    }
}

#[test]
fn router_advertisement_never_comes_from_a_workload() {
    let Some(net) = Net::new() else { return };
    net.dut.sysctl("ipv6/conf/left/accept_ra", "2");
    let Some(bench) = Bench::start_in(net, &policy("n", &format!("{BOTH}\nendpoint = \"workload\""))) else { return };
    assert!(!bench.arrives(&icmp6(134, 255)));
}

/// What a client sends and what a server answers, in both families.
fn exchanges() -> [(&'static str, Packet, Packet); 2] {
    [
        ("DHCP", Packet::udp(addr("0.0.0.0:68"), addr("255.255.255.255:67")), Packet::udp(addr("10.1.0.2:67"), addr("255.255.255.255:68"))),
        ("DHCPv6", Packet::udp(addr("[fe80::1]:546"), addr("[ff02::1:2]:547")), Packet::udp(addr("[fe80::2]:547"), addr("[fe80::1]:546"))),
    ]
}

#[test]
fn dhcp_client_of_a_host_asks_out_and_hears_in() {
    let Some(bench) = Bench::start(&policy("d", &format!("{BOTH}\ndhcp_client = true"))) else { return };
    for (what, request, answer) in exchanges() {
        assert!(bench.leaves(&request), "{what} request leaves");
        assert!(bench.arrives(&answer), "{what} answer arrives");
        assert!(!bench.arrives(&request), "{what} request arrives: this host serves none");
        assert!(!bench.leaves(&answer), "{what} answer leaves");
        assert!(!bench.arrives(&answer.clone().vlan(7)), "{what} answer with a tag");
    }
}

#[test]
fn dhcp_client_of_a_workload_asks_in_and_hears_out() {
    let Some(bench) = Bench::start(&policy("d", &format!("{BOTH}\ndhcp_client = true\nendpoint = \"workload\""))) else { return };
    for (what, request, answer) in exchanges() {
        assert!(bench.arrives(&request), "{what} request arrives");
        assert!(bench.leaves(&answer), "{what} answer leaves");
        assert!(!bench.leaves(&request), "{what} request leaves");
    }
}

#[test]
fn dhcp_client_unstated_is_off() {
    let Some(bench) = Bench::start(&policy("d", BOTH)) else { return };
    for (what, request, answer) in exchanges() {
        assert!(!bench.leaves(&request), "{what} request");
        assert!(!bench.arrives(&answer), "{what} answer");
    }
}

#[test]
fn arp_always_passes() {
    let Some(bench) = Bench::start(&policy("a", BOTH)) else { return };
    for hook in Hook::BOTH {
        assert!(bench.passes(hook, &netpol_tests::wire::fence()));
    }
}
