//! `mode = "audit"`: a policy that decides nothing, and tells what it would have said.

use netpol_tests::flags::{ACK, SYN};
use netpol_tests::policy::{VERSION, policy};
use netpol_tests::wire::{ALL, Observer, is_answer};
use netpol_tests::{Bench, Family, Hook, Packet, Place};

use crate::matrix::udp_to;

/// Keys of an audit policy of a place.
fn keys(place: Place, order: i64) -> String {
    format!("mode = \"audit\"\norder = {order}\nendpoint = \"{}\"\npolicy_types = [\"{}\"]", place.endpoint, place.direction)
}

fn audit(place: Place, order: i64, rules: &str) -> String {
    policy("watch", &keys(place, order)) + &place.rules(rules)
}

fn and(first: &str, second: &str) -> String {
    first.to_owned() + second.trim_start_matches(VERSION)
}

/// The line of the test's file on which these words stand, as the log names it.
fn place_of(text: &str, words: &str) -> String {
    let line = text.lines().position(|line| line.contains(words)).unwrap_or_else(|| panic!("{words} in {text}"));
    format!("10-test.toml:{}", line + 1)
}

/// Whatever an enforcing policy would refuse before its rules.
fn monsters(f: Family) -> Vec<(&'static str, Packet)> {
    let (a, b) = (f.at(1, 2, 4000), f.at(1, 1, 80));
    let mut all = vec![
        ("bad version", udp_to(f, 1).version(9)),
        ("cut header", udp_to(f, 2).cut(24)),
        ("mid-stream TCP", Packet::tcp(a, b, ACK, 1, 1)),
        ("unasked SYN-ACK", Packet::tcp(a, b, SYN | ACK, 1, 1)),
        ("unasked echo reply", Packet::echo(a.ip(), b.ip(), f.echo().1, 7)),
        ("ICMP error that quotes nothing", Packet::icmp_error(a.ip(), b.ip(), f.port_unreachable(), &udp_to(f, 3))),
        ("later fragment", Packet::udp_with(a, b, &[1; 100]).piece(5, 64, 999)),
        ("MPLS", Packet::other(0x8847, &[1; 46])),
        ("three tags", udp_to(f, 4).vlan(1).vlan(2).vlan(3)),
        (
            "multicast source",
            match f {
                Family::V4 => Packet::udp("224.0.0.5:1".parse().expect("an address"), b),
                Family::V6 => Packet::udp("[ff02::5]:1".parse().expect("an address"), b),
            },
        ),
    ];
    if f == Family::V4 {
        all.push(("source route", udp_to(f, 5).options(&[131, 7, 4, 10, 0, 0, 1, 0])));
        all.push(("redirect", Packet::icmp(a.ip(), b.ip(), (5, 1), [10, 1, 0, 9], &[0; 28])));
    } else {
        all.push((
            "routing header 0",
            udp_to(f, 5).extension(43, &[0, 2, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]),
        ));
        all.push(("redirect", Packet::icmp(a.ip(), b.ip(), (137, 0), [0; 4], &[0; 32]).ttl(255)));
    }
    all
}

#[test]
fn interface_with_audit_policies_only_refuses_nothing() {
    for place in Place::ALL {
        let text = audit(place, 10, "[[rule]]\naction = \"deny\"\n[[rule]]\naction = \"reject\"\n");
        let Some(bench) = Bench::start(&text) else { return };
        for hook in Hook::BOTH {
            for f in Family::BOTH {
                for (what, packet) in monsters(f) {
                    assert!(bench.passes(hook, &packet), "{what} of {f:?} at {hook:?}, {place:?}");
                }
                assert!(bench.passes(hook, &udp_to(f, 53)), "UDP of {f:?} at {hook:?}, {place:?}");
                assert!(bench.passes(hook, &Packet::syn(f.at(1, 2, 1), f.at(1, 1, 2))), "SYN of {f:?} at {hook:?}, {place:?}");
            }
        }
        assert_eq!(bench.cli().reasons().values().sum::<u64>(), 0, "{place:?}: no packet was dropped");
    }
}

#[test]
fn rules_count_what_they_would_have_judged() {
    let rules = "[[rule]]\nid = \"dns\"\naction = \"allow\"\nprotocol = \"udp\"\ndestination = { ports = [53] }\n\
                 [[rule]]\nid = \"ntp\"\naction = \"deny\"\nprotocol = \"udp\"\ndestination = { ports = [123] }\n\
                 [[rule]]\nid = \"snmp\"\naction = \"reject\"\nprotocol = \"udp\"\ndestination = { ports = [161] }\n";
    for place in Place::ALL {
        let Some(bench) = Bench::start(&audit(place, 10, rules)) else { return };
        for f in Family::BOTH {
            for source in 1..=4 {
                let open = |port| Packet::udp(f.at(1, 2, source), f.at(1, 1, port));
                assert_eq!(bench.through(place.hook, &[open(53), open(123), open(161), open(9)]), 4, "{place:?} {f:?}");
            }
        }
        for id in ["dns", "ntp", "snmp"] {
            assert_eq!(bench.cli().hits(id), 8, "{id} at {place:?}");
            assert!(!bench.cli().rule(id)["last_hit"].is_null() && bench.cli().rule(id)["bytes"].as_u64() > Some(0), "{id}");
        }
    }
}

#[test]
fn denials_are_logged_as_would_deny_with_file_and_line() {
    let rules = "[[rule]]\nid = \"dns\"\naction = \"allow\"\nprotocol = \"udp\"\ndestination = { ports = [53] }\n\
                 [[rule]]\nid = \"ntp\"\naction = \"deny\"\nprotocol = \"udp\"\ndestination = { ports = [123] }\n\
                 [[rule]]\nid = \"snmp\"\naction = \"reject\"\nprotocol = \"udp\"\ndestination = { ports = [161] }\n";
    for place in Place::ALL {
        let text = audit(place, 10, rules);
        let Some(bench) = Bench::start(&text) else { return };
        for f in Family::BOTH {
            for port in [53, 123, 161, 9] {
                assert!(bench.passes(place.hook, &udp_to(f, port)), "{place:?} {f:?} {port}");
            }
            let source = if f == Family::V4 { "10.1.0.2:4000" } else { "[fd00:1::2]:4000" };
            for (what, words) in [("deny", "id = \"ntp\""), ("reject", "id = \"snmp\"")] {
                // The line of the block's head stands before its id.
                let line = place_of(&text, words);
                let (file, number) = line.split_once(':').expect("FILE:LINE");
                let line = format!("{file}:{}", number.parse::<usize>().expect("a number") - 1);
                let lines = bench.daemon.wait_lines(1, &["would", "left", source, &line]);
                assert_eq!(lines.len(), 1, "{what} at {place:?}: {lines:?}");
            }
            let default = bench.daemon.wait_lines(1, &["would", "left", source, ":9,", "default", "10-test.toml"]);
            assert_eq!(default.len(), 1, "the default deny, {place:?}: {default:?}");
        }
        assert!(bench.daemon.lines_with(&["would", ":53,"]).is_empty(), "what is allowed is not logged: {}", bench.daemon.log());
        assert!(bench.daemon.lines_with(&["drop ("]).is_empty(), "nothing was dropped: {}", bench.daemon.log());
    }
}

#[test]
fn default_allow_of_an_audit_policy_would_deny_nothing() {
    for place in Place::ALL {
        let more = format!("{}\ndefault_action = {{ {} = \"allow\" }}", keys(place, 10), place.direction);
        let Some(bench) = Bench::start(&policy("watch", &more)) else { return };
        for f in Family::BOTH {
            assert!(bench.passes(place.hook, &udp_to(f, 9)));
        }
        std::thread::sleep(std::time::Duration::from_millis(500));
        assert!(bench.daemon.lines_with(&["would"]).is_empty(), "{place:?}: {}", bench.daemon.log());
    }
}

/// Enforced: UDP 53 and 54 are allowed, the rest denied.
fn enforced(place: Place) -> String {
    place.policy("real", "[[rule]]\nid = \"real\"\naction = \"allow\"\nprotocol = \"udp\"\ndestination = { ports = [53, 54] }\n")
}

#[test]
fn audit_before_an_enforcing_policy_sees_everything_and_decides_nothing() {
    let rules = "[[rule]]\nid = \"no-dns\"\naction = \"deny\"\nprotocol = \"udp\"\ndestination = { ports = [53] }\n\
                 [[rule]]\nid = \"ntp\"\naction = \"allow\"\nprotocol = \"udp\"\ndestination = { ports = [123] }\n";
    for place in Place::ALL {
        let Some(bench) = Bench::start(&and(&audit(place, 10, rules), &enforced(place))) else { return };
        for f in Family::BOTH {
            assert!(bench.passes(place.hook, &udp_to(f, 53)), "{place:?} {f:?}: denied by the audit, allowed in truth");
            assert!(bench.passes(place.hook, &udp_to(f, 54)), "{place:?} {f:?}: in no audit rule");
            bench.refused(place.hook, "default", &udp_to(f, 123), "allowed by the audit, denied in truth");
            let unasked = Packet::echo(f.host(1, 2), f.host(1, 1), f.echo().1, 7);
            bench.refused(place.hook, "no_connection", &unasked, "the enforcing policy isolates");
            bench.refused(place.hook, "malformed", &udp_to(f, 53).version(9), "likewise");
        }
        assert_eq!((bench.cli().hits("no-dns"), bench.cli().hits("ntp"), bench.cli().hits("real")), (2, 2, 4), "{place:?}");
        bench.daemon.wait_lines(2, &["would", ":53,"]);
        assert!(bench.daemon.lines_with(&["would", ":54,"]).is_empty(), "an enforcing rule has decided: {}", bench.daemon.log());
    }
}

#[test]
fn audit_behind_a_deciding_rule_is_not_asked() {
    let rules = "[[rule]]\nid = \"shut\"\naction = \"deny\"\n";
    for place in Place::ALL {
        let Some(bench) = Bench::start(&and(&audit(place, 200, rules), &enforced(place))) else { return };
        for f in Family::BOTH {
            assert!(bench.passes(place.hook, &udp_to(f, 53)), "{place:?} {f:?}");
        }
        assert_eq!(bench.cli().hits("shut"), 0, "{place:?}: in its place it would not have been asked");
        for f in Family::BOTH {
            bench.refused(place.hook, "default", &udp_to(f, 9), "decided by no rule");
        }
        assert_eq!(bench.cli().hits("shut"), 2, "{place:?}: here it would have");
    }
}

#[test]
fn audit_pass_and_limit_are_walked_like_others() {
    let rules = "[[rule]]\nid = \"some\"\naction = \"deny\"\nprotocol = \"udp\"\nlimit = { rate = \"1/h\", burst = 3 }\n\
                 [[rule]]\nid = \"rest\"\naction = \"pass\"\nprotocol = \"udp\"\n\
                 [[rule]]\nid = \"never\"\naction = \"deny\"\nprotocol = \"udp\"\n";
    for place in Place::ALL {
        let Some(bench) = Bench::start(&audit(place, 10, rules)) else { return };
        let packets: Vec<Packet> = (1..=10).map(|n| Packet::udp(Family::V4.at(1, 2, n), Family::V4.at(1, 1, 9))).collect();
        assert_eq!(bench.through(place.hook, &packets), 10, "{place:?}");
        let hits = ["some", "rest", "never"].map(|id| bench.cli().hits(id));
        assert_eq!(hits, [3, 7, 0], "{place:?}");
    }
}

#[test]
fn audit_reject_answers_nobody() {
    for place in Place::ALL {
        let Some(bench) = Bench::start(&audit(place, 10, "[[rule]]\naction = \"reject\"\n")) else { return };
        let seen = [Observer::open(&bench.net.src, "eth0", ALL), Observer::open(&bench.net.dut, "left", ALL)];
        for f in Family::BOTH {
            assert!(bench.passes(place.hook, &udp_to(f, 9)) && bench.passes(place.hook, &Packet::syn(f.at(1, 2, 5), f.at(1, 1, 6))));
        }
        let answers: Vec<Vec<u8>> = seen.iter().flat_map(Observer::drain).filter(|frame| is_answer(frame)).collect();
        assert_eq!(answers, Vec::<Vec<u8>>::new(), "{place:?}");
    }
}

#[test]
fn everything_else_that_an_audit_policy_says_has_no_effect() {
    let rest = "ethertypes = [\"lldp\"]\nicmpv6_essential = false\n\
                [policy.xdp]\ndeny_sets = [\"bad\"]\ndrop_malformed = true\ndrop_fragments = true\nrate_limit = { packets = \"1/h\" }\n\
                [policy.anti_spoof]\nallowed_sources = [\"192.0.2.1\"]\nallowed_macs = [\"aa:bb:cc:dd:ee:ff\"]\narp = true\nbogons = true\n\
                [[set]]\nname = \"bad\"\nelements = [\"10.1.0.2\", \"fd00:1::2\"]\n";
    for place in Place::ARRIVING {
        let watching = policy("watch", &format!("{}\n{rest}", keys(place, 10)));
        let open = place.policy("real", "[[rule]]\naction = \"allow\"\n");
        let Some(bench) = Bench::start(&and(&watching, &open)) else { return };
        for f in Family::BOTH {
            assert!(bench.arrives(&udp_to(f, 1)) && bench.arrives(&udp_to(f, 2)), "{place:?} {f:?}");
            assert!(
                bench.arrives(&Packet::udp_with(f.at(1, 2, 1), f.at(1, 1, 2), &[1; 100]).piece(5, 0, 64)),
                "{place:?} {f:?}: a fragment"
            );
        }
        let shut = place.policy("real", "");
        let Some(bench) = Bench::start(&and(&watching, &shut)) else { return };
        let solicitation = Packet::icmp(Family::V6.host(1, 2), Family::V6.host(1, 1), (135, 0), [0; 4], &[0; 16]).ttl(255);
        assert!(bench.arrives(&solicitation), "{place:?}: essentials are what the enforcing policy says");
        let lldp = Packet::other(0x88cc, &[2; 46]);
        assert_eq!(bench.arrives(&lldp), place.endpoint == "host", "{place:?}: LLDP by the default of the endpoint alone");
    }
}

#[test]
fn enforcing_afterwards_denies_and_ends_what_the_audit_let_live() {
    let rules = "[[rule]]\naction = \"deny\"\nprotocol = \"udp\"\ndestination = { ports = [53] }\n[[rule]]\naction = \"allow\"\n";
    for place in Place::ALL {
        let text = audit(place, 10, rules);
        let Some(bench) = Bench::start(&text) else { return };
        for f in Family::BOTH {
            assert!(bench.passes(place.hook, &udp_to(f, 53)) && bench.passes(place.hook, &udp_to(f, 54)));
        }
        bench.change(&text.replace("\"audit\"", "\"enforce\""));
        for f in Family::BOTH {
            bench.refused(place.hook, "rule", &udp_to(f, 53), "the flow that began under audit");
            assert!(bench.passes(place.hook, &udp_to(f, 54)), "{place:?} {f:?}");
        }
    }
}

#[test]
fn status_and_rules_say_which_policies_only_watch() {
    let Some(bench) = Bench::start(&audit(Place::ALL[0], 10, "[[rule]]\nid = \"shut\"\naction = \"deny\"\n")) else { return };
    let status = bench.cli().run(&["status"]).text();
    assert!(status.contains("audit"), "{status}");
}
