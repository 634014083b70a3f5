//! Fragments: judged with their first piece, or by L3 alone, never by guessing.

use netpol_tests::policy::{both_ways, policy};
use netpol_tests::{Bench, Family, Hook, Packet};

/// UDP to a port with 120 bytes of payload.
fn datagram(family: Family, port: u16) -> Packet {
    Packet::udp_with(family.at(1, 2, 4000), family.at(1, 1, port), &[0x5a; 120])
}

fn everywhere(bench: &Bench, question: impl Fn(Family, Hook)) {
    assert!(bench.daemon.process() > 0);
    for family in Family::BOTH {
        for hook in Hook::BOTH {
            question(family, hook);
        }
    }
}

const PORT_53: &str = "[[rule]]\naction = \"allow\"\nprotocol = \"udp\"\ndestination = { ports = [53] }\n";

#[test]
fn later_fragments_follow_the_verdict_of_their_first() {
    let Some(bench) = Bench::with_rules(PORT_53) else { return };
    everywhere(&bench, |f, hook| {
        let (good, bad) = (datagram(f, 53), datagram(f, 54));
        assert!(bench.passes(hook, &good.piece(1, 0, 64)), "{f:?} {hook:?}: first of an allowed datagram");
        assert!(bench.passes(hook, &good.piece(1, 64, 96)), "{f:?} {hook:?}: second");
        assert!(bench.passes(hook, &good.piece(1, 96, 999)), "{f:?} {hook:?}: last");
        assert!(!bench.passes(hook, &bad.piece(2, 0, 64)), "{f:?} {hook:?}: first of a denied datagram");
        assert!(!bench.passes(hook, &bad.piece(2, 64, 999)), "{f:?} {hook:?}: its second");
        assert!(bench.passes(hook, &good.piece(1, 64, 96)), "{f:?} {hook:?}: a repeated one");
    });
}

#[test]
fn later_fragment_alone_is_dropped_where_a_rule_reads_ports() {
    let Some(bench) = Bench::with_rules(PORT_53) else { return };
    everywhere(&bench, |f, hook| {
        bench.refused(hook, "fragment", &datagram(f, 53).piece(3, 64, 999), "later fragment, first unseen");
    });
}

#[test]
fn later_fragment_alone_is_decided_by_the_first_rule_that_reads_addresses_only() {
    let rules = r#"
        [[rule]]
        action = "deny"
        protocol = "tcp"
        destination = { ports = [22] }
        [[rule]]
        action = "allow"
        source = { nets = ["10.1.0.0/24", "fd00:1::/120"] }
        [[rule]]
        action = "allow"
        protocol = "udp"
        destination = { ports = [53] }
    "#;
    let Some(bench) = Bench::with_rules(rules) else { return };
    everywhere(&bench, |f, hook| {
        assert!(bench.passes(hook, &datagram(f, 1).piece(4, 64, 999)), "the port rule is for TCP, the second rule decides");
        let tcp = Packet::tcp_with(f.at(1, 2, 1), f.at(1, 1, 2), 0x10, 1, 1, &[1; 100]);
        bench.refused(hook, "fragment", &tcp.piece(5, 64, 999), "the first rule could match TCP");
        let stranger = Packet::udp_with(f.at(3, 2, 1), f.at(1, 1, 2), &[1; 100]);
        bench.refused(hook, "fragment", &stranger.piece(6, 64, 999), "the third rule could match");
        let other = Packet::ip(f.host(3, 2), f.host(1, 1), 99, &[1; 100]);
        bench.refused(hook, "default", &other.piece(7, 64, 999), "no rule could match");
    });
}

#[test]
fn first_fragment_of_other_content_makes_the_datagram_refused() {
    let Some(bench) = Bench::with_rules(PORT_53) else { return };
    everywhere(&bench, |f, hook| {
        assert!(bench.passes(hook, &datagram(f, 53).piece(8, 0, 64)));
        bench.refused(hook, "fragment_conflict", &datagram(f, 54).piece(8, 0, 64), "another first fragment");
        assert!(!bench.passes(hook, &datagram(f, 53).piece(8, 64, 999)), "the datagram is forgotten");
    });
}

#[test]
fn first_fragment_must_hold_its_whole_header() {
    let Some(bench) = Bench::with_rules("[[rule]]\naction = \"allow\"\n") else { return };
    everywhere(&bench, |f, hook| {
        let tcp = Packet::tcp_with(f.at(1, 2, 1), f.at(1, 1, 2), 0x02, 1, 0, &[1; 100]);
        bench.refused(hook, "malformed", &tcp.piece(9, 0, 16), "TCP header in two pieces");
        bench.refused(hook, "malformed", &tcp.piece(10, 8, 999), "TCP at offset 8");
        bench.refused(hook, "malformed", &tcp.piece(11, 16, 999), "TCP at offset 16");
    });
}

#[test]
fn fragments_of_different_datagrams_are_kept_apart() {
    let Some(bench) = Bench::with_rules(PORT_53) else { return };
    everywhere(&bench, |f, hook| {
        assert!(bench.passes(hook, &datagram(f, 53).piece(20, 0, 64)));
        assert!(!bench.passes(hook, &datagram(f, 53).piece(21, 64, 999)), "another identification");
        let other = Packet::udp_with(f.at(1, 3, 4000), f.at(1, 1, 53), &[1; 120]);
        assert!(!bench.passes(hook, &other.piece(20, 64, 999)), "another source");
        assert!(!bench.passes(hook, &datagram(f, 53).piece(20, 64, 999).vlan(7)), "another tag");
    });
}

#[test]
fn ipv6_fragment_header_of_a_whole_packet_is_no_fragment() {
    let Some(bench) = Bench::with_rules(PORT_53) else { return };
    let f = Family::V6;
    for hook in Hook::BOTH {
        bench.judge(
            hook,
            &[("port 53", datagram(f, 53).fragment(30, 0, false), true), ("port 54", datagram(f, 54).fragment(31, 0, false), false)],
        );
    }
}

#[test]
fn ipv6_later_fragment_behind_an_extension_header_has_no_known_protocol() {
    let rules = "[[rule]]\naction = \"allow\"\nprotocol = \"udp\"\n";
    let Some(bench) = Bench::with_rules(rules) else { return };
    let body = datagram(Family::V6, 53);
    let later = Packet::ip(Family::V6.host(1, 2), Family::V6.host(1, 1), 60, &body.body()[64..]).fragment(32, 64, false);
    for hook in Hook::BOTH {
        bench.refused(hook, "fragment", &later, "next header is destination options");
    }
}

#[test]
fn remembered_verdict_dies_with_its_generation() {
    let Some(bench) = Bench::with_rules(PORT_53) else { return };
    for f in Family::BOTH {
        assert!(bench.arrives(&datagram(f, 53).piece(40, 0, 64)));
    }
    bench.change(&both_ways(&PORT_53.replace("[53]", "[54]")));
    for f in Family::BOTH {
        assert!(!bench.arrives(&datagram(f, 53).piece(40, 64, 999)), "{f:?}");
    }
}

#[test]
fn drop_fragments_refuses_every_arriving_fragment() {
    for mode in ["generic", "native", "off"] {
        let text =
            policy("x", "default_action = { ingress = \"allow\" }") + &format!("[policy.xdp]\nmode = \"{mode}\"\ndrop_fragments = true\n");
        let Some(bench) = Bench::start(&text) else { return };
        for f in Family::BOTH {
            bench.refused(Hook::Ingress, "fragments_refused", &datagram(f, 53).piece(50, 0, 64), "first");
            bench.refused(Hook::Ingress, "fragments_refused", &datagram(f, 53).piece(51, 64, 999), "later");
            assert!(bench.arrives(&datagram(f, 53)), "whole, {mode}");
            assert!(bench.leaves(&datagram(f, 53).piece(52, 0, 64)), "leaving, {mode}");
        }
    }
}
