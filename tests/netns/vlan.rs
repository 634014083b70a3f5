//! `vlan`: exactly the tags that a rule names, untagged where it names none.

use netpol_tests::{Bench, Family, Net, Packet};

use crate::matrix::{Case, everywhere, udp_to};

const RULES: &str = r#"
    [[rule]]
    action = "allow"
    destination = { ports = [1] }
    [[rule]]
    action = "allow"
    vlan = 7
    destination = { ports = [2] }
    [[rule]]
    action = "allow"
    vlan = [7, 8]
    destination = { ports = [3] }
"#;

/// For each port which tags pass: 1 = none, 2 = tag 7, 3 = tags 7 and 8.
fn cases(f: Family) -> Vec<Case> {
    let mut cases = Vec::new();
    for port in 1..=3 {
        let udp = || udp_to(f, port);
        cases.extend([
            ("untagged", udp(), port == 1),
            ("VID 0", udp().vlan(0), port == 1),
            ("VID 7", udp().vlan(7), port == 2),
            ("VID 7 in 802.1ad", udp().tag(0x88a8, 7), port == 2),
            ("VID 7 with priority bits", udp().vlan(0xe007), port == 2),
            ("VID 8", udp().vlan(8), false),
            ("VID 0 over 7", udp().vlan(0).vlan(7), port == 2),
            ("VID 7 over 0", udp().vlan(7).vlan(0), port == 2),
            ("QinQ 7 over 8", udp().tag(0x88a8, 7).vlan(8), port == 3),
            ("two 802.1Q tags", udp().vlan(7).vlan(8), port == 3),
            ("QinQ with priority tags", udp().vlan(0).tag(0x88a8, 7).vlan(0).vlan(8), port == 3),
            ("QinQ 8 over 7", udp().tag(0x88a8, 8).vlan(7), false),
        ]);
    }
    cases
}

#[test]
fn tags_of_a_packet_must_be_exactly_those_of_the_rule() {
    let Some(bench) = Bench::with_rules(RULES) else { return };
    everywhere(&bench, cases);
}

#[test]
fn tags_without_offload_are_judged_the_same() {
    let Some(net) = Net::new() else { return };
    for (namespace, link) in [(&net.dut, "left"), (&net.src, "eth0")] {
        namespace.must("ethtool", &format!("-K {link} rxvlan off txvlan off"));
    }
    let Some(bench) = Bench::start_in(net, &netpol_tests::policy::both_ways(RULES)) else { return };
    everywhere(&bench, cases);
}

#[test]
fn tags_too_many_are_malformed() {
    let Some(bench) = Bench::with_rules("[[rule]]\naction = \"allow\"\n") else { return };
    for hook in netpol_tests::Hook::BOTH {
        let three = udp_to(Family::V4, 1).vlan(1).vlan(2).vlan(3);
        bench.refused(hook, "malformed", &three, "three tags");
        let five = udp_to(Family::V4, 1).vlan(0).vlan(0).vlan(0).vlan(0).vlan(7);
        bench.refused(hook, "malformed", &five, "five tags");
    }
}

#[test]
fn vlan_device_above_the_link_speaks_only_by_the_rule_of_its_tag() {
    let Some(net) = Net::new() else { return };
    if !net.dut.can_make("vlan", "link left type vlan id 5") {
        return;
    }
    for (namespace, parent, n) in [(&net.dut, "left", 1), (&net.src, "eth0", 2)] {
        for vid in [7, 9] {
            namespace.ip(&format!("link add link {parent} name tag{vid} type vlan id {vid}"));
            namespace.ip(&format!("address add 10.{}.0.{n}/24 dev tag{vid}", 100 + vid));
            namespace.ip(&format!("link set tag{vid} up"));
        }
    }
    let rules = "[[rule]]\naction = \"allow\"\nvlan = 7\nprotocol = \"udp\"\n";
    let Some(bench) = Bench::start_in(net, &netpol_tests::policy::both_ways(rules)) else { return };
    for (vid, expected) in [(7, true), (9, false)] {
        let at = |n: u8| std::net::SocketAddr::from(([10, 100 + vid, 0, n], 5000));
        let inside = netpol_tests::sock::udp(&bench.net.dut, at(1));
        let outside = netpol_tests::sock::udp(&bench.net.src, at(2));
        assert_eq!(netpol_tests::sock::datagram_passes(&outside, &inside, at(1)), expected, "VID {vid} in");
        assert_eq!(netpol_tests::sock::datagram_passes(&inside, &outside, at(2)), expected, "VID {vid} out");
    }
}

#[test]
fn flow_of_one_tag_is_not_a_flow_of_another() {
    let rules = "[[rule]]\naction = \"allow\"\nvlan = 7\n";
    let policy = netpol_tests::policy::arriving(rules).replace("policy_types = [\"ingress\"]", "policy_types = [\"ingress\", \"egress\"]");
    let Some(bench) = Bench::start(&policy) else { return };
    let f = Family::V4;
    assert!(bench.arrives(&udp_to(f, 53).vlan(7)));
    let answer = || Packet::udp(f.at(1, 1, 53), f.at(1, 2, 4000));
    assert!(!bench.leaves(&answer()), "an untagged answer");
    assert!(!bench.leaves(&answer().vlan(8)), "an answer with another tag");
    assert!(bench.leaves(&answer().vlan(7)), "the answer");
}
