//! `nets` and `not_nets` on both sides.

use netpol_tests::Bench;

use crate::matrix::{everywhere, udp_between};

#[test]
fn nets_of_source_and_destination_are_both_required() {
    let rules = r#"
        [[rule]]
        action = "allow"
        source = { nets = ["10.1.0.0/24", "10.9.0.7", "fd00:1::/120", "fd00:9::7"] }
        destination = { nets = ["10.2.0.0/30", "fd00:2::/126"] }
    "#;
    let Some(bench) = Bench::with_rules(rules) else { return };
    everywhere(&bench, |f| {
        vec![
            ("both in their nets", udp_between(f, (1, 2), (2, 3)), true),
            ("a single address", udp_between(f, (9, 7), (2, 1)), true),
            ("its neighbour", udp_between(f, (9, 6), (2, 1)), false),
            ("source outside", udp_between(f, (3, 2), (2, 3)), false),
            ("destination just outside", udp_between(f, (1, 2), (2, 4)), false),
            ("sides exchanged", udp_between(f, (2, 3), (1, 2)), false),
        ]
    });
}

#[test]
fn not_nets_take_away_from_nets() {
    let rules = r#"
        [[rule]]
        action = "allow"
        source = { nets = ["10.1.0.0/16", "fd00:1::/64"], not_nets = ["10.1.0.64/26", "fd00:1::40/122"] }
        destination = { not_nets = ["10.2.0.9", "fd00:2::9"] }
    "#;
    let Some(bench) = Bench::with_rules(rules) else { return };
    everywhere(&bench, |f| {
        vec![
            ("in, not excepted", udp_between(f, (1, 63), (2, 1)), true),
            ("first of the exception", udp_between(f, (1, 64), (2, 1)), false),
            ("last of the exception", udp_between(f, (1, 127), (2, 1)), false),
            ("after the exception", udp_between(f, (1, 128), (2, 1)), true),
            ("excepted destination", udp_between(f, (1, 2), (2, 9)), false),
            ("any other destination", udp_between(f, (1, 2), (77, 9)), true),
        ]
    });
}

#[test]
fn not_nets_of_one_family_leave_the_other_matching() {
    let Some(bench) = Bench::with_rules("[[rule]]\naction = \"allow\"\nsource = { not_nets = [\"10.1.0.0/16\"] }\n") else { return };
    everywhere(&bench, |f| {
        let v6 = f == netpol_tests::Family::V6;
        vec![("source in not_nets, or IPv6", udp_between(f, (1, 2), (2, 2)), v6), ("elsewhere", udp_between(f, (3, 2), (2, 2)), true)]
    });
}

#[test]
fn nets_of_one_family_never_match_the_other() {
    let Some(bench) = Bench::with_rules("[[rule]]\naction = \"allow\"\nsource = { nets = [\"0.0.0.0/0\"] }\n") else { return };
    everywhere(&bench, |f| vec![("any source", udp_between(f, (1, 2), (2, 2)), f == netpol_tests::Family::V4)]);
}

#[test]
fn overlapping_nets_in_several_rules_are_decided_by_the_first_rule() {
    let rules = r#"
        [[rule]]
        action = "allow"
        source = { nets = ["10.1.0.0/28", "fd00:1::/124"] }
        [[rule]]
        action = "deny"
        source = { nets = ["10.1.0.0/24", "fd00:1::/120"] }
        [[rule]]
        action = "allow"
        source = { nets = ["10.0.0.0/8", "fd00::/8"] }
    "#;
    let Some(bench) = Bench::with_rules(rules) else { return };
    everywhere(&bench, |f| {
        vec![
            ("narrow allow", udp_between(f, (1, 15), (2, 1)), true),
            ("middle deny", udp_between(f, (1, 16), (2, 1)), false),
            ("wide allow", udp_between(f, (3, 16), (2, 1)), true),
        ]
    });
}
