//! Warnings, and none where nothing is odd.

use super::lint;
use crate::policy::judge::fixture::{self, peer, rule};
use crate::policy::model::{Action, IcmpMatch, Rule, TcpFlagsMatch};

fn messages(rules: Vec<Rule>) -> Vec<String> {
    lint(&fixture::host(rules)).into_iter().map(|lint| lint.message).collect()
}

fn tcp(id: &str, source: &str, port: &str) -> Rule {
    Rule { protocol: Some(6), source: peer(source, ""), destination: peer("", port), ..rule(id, Action::Allow) }
}

#[test]
fn a_rule_inside_an_earlier_one_is_shadowed() {
    for (outer, inner, shadowed) in [
        (tcp("a", "10.0.0.0/8", "80"), tcp("b", "10.1.0.0/16", "80"), true),
        (tcp("a", "", "1-1000"), tcp("b", "10.1.0.0/16", "80"), true),
        (tcp("a", "10.0.0.0/9 10.128.0.0/9", "80"), tcp("b", "10.0.0.0/8", "80"), true),
        (tcp("a", "10.0.0.0/8", "80"), tcp("b", "10.1.0.0/16", "80-81"), false),
        (tcp("a", "10.1.0.0/16", "80"), tcp("b", "10.0.0.0/8", "80"), false),
        (tcp("a", "0.0.0.0/0", "80"), tcp("b", "", "80"), false),
        (tcp("a", "0.0.0.0/0 ::/0", "80"), tcp("b", "", "80"), true),
        (Rule { vlan: Some(fixture::vlan(7)), ..tcp("a", "", "80") }, tcp("b", "", "80"), false),
        (Rule { protocol: None, ..tcp("a", "", "80") }, tcp("b", "", "80"), true),
        (Rule { protocol: None, ..tcp("a", "", "") }, tcp("b", "", ""), true),
        (tcp("a", "", "80"), Rule { protocol: None, ..tcp("b", "", "80") }, false),
    ] {
        let wanted = if shadowed { 1 } else { 0 };
        assert_eq!(messages(vec![outer.clone(), inner.clone()]).len(), wanted, "{outer:?} {inner:?}");
    }
}

#[test]
fn the_port_rule_does_not_shadow_what_has_no_ports() {
    let ports = Rule { protocol: None, ..tcp("a", "", "0-65535") };
    let gre = Rule { protocol: Some(47), ..rule("b", Action::Allow) };
    assert_eq!(messages(vec![ports.clone(), gre]), Vec::<String>::new());
    assert_eq!(messages(vec![ports, tcp("c", "", "")]).len(), 1);
}

#[test]
fn a_rule_that_contradicts_itself_never_matches() {
    let flags = Rule { tcp_flags: Some(TcpFlagsMatch { set: 2, clear: 2 }), ..tcp("a", "", "") };
    assert!(messages(vec![flags])[0].contains("set and clear"));
    let families = Rule { source: peer("10.0.0.0/8", ""), destination: peer("2001:db8::/32", ""), ..rule("a", Action::Deny) };
    assert!(messages(vec![families])[0].contains("no pair of addresses"));
}

#[test]
fn an_icmp_type_is_shadowed_by_all_codes_of_it_only() {
    let echo = |id, code| Rule { protocol: Some(1), icmp: Some(IcmpMatch { icmp_type: 8, code }), ..rule(id, Action::Allow) };
    assert_eq!(messages(vec![echo("a", None), echo("b", Some(0))]).len(), 1);
    assert_eq!(messages(vec![echo("a", Some(0)), echo("b", None)]).len(), 0);
}

#[test]
fn ten_thousand_rules_are_read_at_once() {
    let rules =
        |n: usize| (0..n).map(|i| tcp(&format!("r{i}"), &format!("10.{}.{}.0/24", i / 256 % 256, i % 256), &format!("{}", i % 60000)));
    let start = std::time::Instant::now();
    assert_eq!(messages(rules(10_000).collect()).len(), 0);
    let same: Vec<Rule> = (0..10_000).map(|i| tcp(&format!("r{i}"), "", &format!("{i}"))).collect();
    assert_eq!(messages(same).len(), 0);
    assert!(start.elapsed().as_secs() < 20, "{:?}", start.elapsed());
}
