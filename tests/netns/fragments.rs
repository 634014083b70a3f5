//! Fragments: judged with their first piece, or by L3 alone, never by guessing.

use netpol_tests::cli::DONE;
use netpol_tests::policy::{both_ways, policy};
use netpol_tests::wire::{ALL, Observer, is_answer};
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

/// First and later pieces of so many datagrams to port 53, each from a port and with an identification of its own.
fn datagrams(f: Family, first_id: u32, count: u16) -> (Vec<Packet>, Vec<Packet>) {
    let whole = (0..count).map(|n| (first_id + u32::from(n), Packet::udp_with(f.at(1, 2, 5000 + n), f.at(1, 1, 53), &[n as u8; 120])));
    whole.map(|(id, datagram)| (datagram.piece(id, 0, 64), datagram.piece(id, 64, 999))).unzip()
}

#[test]
fn later_fragments_follow_a_first_that_a_limit_let_through_or_held_back() {
    let rule = |version| PORT_53.to_owned() + &format!("ip_version = {version}\nlimit = {{ rate = \"1/h\", burst = 3 }}\n");
    let Some(bench) = Bench::with_rules(&(rule(4) + &rule(6))) else { return };
    everywhere(&bench, |f, hook| {
        let (firsts, laters) = datagrams(f, 60, 8);
        assert_eq!(bench.through(hook, &firsts), 3, "{f:?} {hook:?}: three openers are within the rate");
        assert_eq!(bench.through(hook, &laters), 3, "{f:?} {hook:?}: their later fragments pass, those of the others do not");
        assert_eq!(bench.through(hook, &laters), 3, "{f:?} {hook:?}: and use nothing up");
        bench.refused(hook, "default", &laters[7], "a later fragment has its first one's reason");
        bench.refused(hook, "fragment", &datagram(f, 53).piece(90, 64, 999), "first unseen: the rule with a limit could match");
    });
}

#[test]
fn later_fragment_alone_counts_against_a_limit_that_reads_addresses_only() {
    let rule = |version| format!("[[rule]]\naction = \"allow\"\nip_version = {version}\nlimit = {{ rate = \"1/h\", burst = 3 }}\n");
    let Some(bench) = Bench::with_rules(&(rule(4) + &rule(6))) else { return };
    everywhere(&bench, |f, hook| {
        let (_, laters) = datagrams(f, 100, 10);
        assert_eq!(bench.through(hook, &laters), 3, "{f:?} {hook:?}: judged by the rule");
        bench.refused(hook, "default", &datagram(f, 53).piece(120, 64, 999), "above its rate the rule could not match");
    });
}

#[test]
fn fragments_of_a_rejected_datagram_are_dropped_and_answered_by_nobody() {
    for rule in ["protocol = \"udp\"\ndestination = { ports = [53] }", "protocol = \"udp\""] {
        let Some(bench) = Bench::with_rules(&format!("[[rule]]\naction = \"reject\"\n{rule}\n[[rule]]\naction = \"allow\"\n")) else {
            return;
        };
        let seen = [Observer::open(&bench.net.src, "eth0", ALL), Observer::open(&bench.net.dut, "left", ALL)];
        everywhere(&bench, |f, hook| {
            bench.refused(hook, "reject", &datagram(f, 53).piece(130, 0, 64), "first");
            bench.refused(hook, "reject", &datagram(f, 53).piece(130, 64, 999), "later, of the same datagram");
        });
        let answers: Vec<Vec<u8>> = seen.iter().flat_map(Observer::drain).filter(|frame| is_answer(frame)).collect();
        assert_eq!(answers, Vec::<Vec<u8>>::new(), "{rule}");
    }
}

#[test]
fn later_fragment_alone_before_a_reject_that_reads_ports_is_dropped_as_a_fragment() {
    let rules = PORT_53.replace("allow", "reject") + "[[rule]]\naction = \"allow\"\n";
    let Some(bench) = Bench::with_rules(&rules) else { return };
    everywhere(&bench, |f, hook| bench.refused(hook, "fragment", &datagram(f, 53).piece(140, 64, 999), "first unseen"));
}

#[test]
fn fragments_and_dynamic_sets() {
    let rules = "[[rule]]\naction = \"allow\"\nprotocol = \"udp\"\nsource = { sets = [\"live\"] }\ndestination = { ports = [53] }\n\
                 [[rule]]\naction = \"allow\"\nsource = { sets = [\"trusted\"] }\n";
    let sets = "[[set]]\nname = \"live\"\ndynamic = true\n[[set]]\nname = \"trusted\"\ndynamic = true\n";
    let Some(bench) = Bench::start(&(both_ways(rules) + sets)) else { return };
    everywhere(&bench, |f, hook| {
        bench.refused(hook, "default", &datagram(f, 53).piece(150, 0, 64), "in no set yet");
        bench.refused(hook, "default", &datagram(f, 53).piece(150, 64, 999), "its later fragment");
        bench.refused(hook, "default", &datagram(f, 53).piece(151, 64, 999), "first unseen, but no rule could match");
    });
    bench.cli().run(&["set", "add", "live", "10.1.0.2", "fd00:1::2"]).expect(DONE);
    everywhere(&bench, |f, hook| {
        assert!(bench.passes(hook, &datagram(f, 53).piece(152, 0, 64)), "{f:?} {hook:?}: first");
        assert!(bench.passes(hook, &datagram(f, 53).piece(152, 64, 999)), "{f:?} {hook:?}: later");
        bench.refused(hook, "fragment", &datagram(f, 53).piece(153, 64, 999), "first unseen: now the rule could match");
    });
    bench.cli().run(&["set", "add", "trusted", "10.1.0.2", "fd00:1::2"]).expect(DONE);
    bench.cli().run(&["set", "flush", "live"]).expect(DONE);
    everywhere(&bench, |f, hook| {
        assert!(bench.passes(hook, &datagram(f, 53).piece(154, 64, 999)), "{f:?} {hook:?}: first unseen, the second rule reads no port");
    });
    bench.cli().run(&["set", "flush", "trusted"]).expect(DONE);
    everywhere(&bench, |f, hook| {
        bench.refused(hook, "default", &datagram(f, 53).piece(155, 64, 999), "in no set any more");
        assert!(!bench.passes(hook, &datagram(f, 53).piece(156, 0, 64)), "{f:?} {hook:?}: first of a new datagram of the old flow");
    });
}

#[test]
fn expired_rule_is_no_rule_for_fragments() {
    let rules = PORT_53.to_owned()
        + "expires = 2020-01-01T00:00:00Z\n[[rule]]\naction = \"allow\"\nprotocol = \"udp\"\nsource = { nets = [\"10.1.0.2\", \"fd00:1::2\"] }\n";
    let Some(bench) = Bench::with_rules(&rules) else { return };
    everywhere(&bench, |f, hook| {
        assert!(bench.passes(hook, &datagram(f, 53).piece(160, 64, 999)), "{f:?} {hook:?}: the second rule decides");
    });
}
