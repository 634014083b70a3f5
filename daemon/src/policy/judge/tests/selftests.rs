//! `[[test]]` blocks.

use super::super::fixture::{host, origin, peer, rule};
use super::super::run_tests;
use super::*;
use crate::policy::model::{Action, Direction, Expect, Limit, LimitPer, Rate, TestCase, TestPacket};

fn sent(protocol: u8, source: &str, destination: &str, tcp_flags: u8) -> TestPacket {
    let (source, destination) = ends(source, destination);
    TestPacket { origin: origin(), protocol, source, destination, icmp: None, tcp_flags, vlan: None }
}

fn case(packet: TestPacket, after: Vec<TestPacket>, expect: Expect, rule: Option<&str>) -> TestCase {
    TestCase {
        name: "case".to_owned(),
        origin: origin(),
        interface: "eth0".to_owned(),
        direction: Direction::Ingress,
        packet,
        after,
        expect,
        rule: rule.map(str::to_owned),
    }
}

fn run(test: TestCase) -> Option<String> {
    let web = Rule { protocol: Some(6), destination: peer("", "80"), ..rule("web", Action::Allow) };
    let set = host(vec![web, Rule { protocol: Some(6), destination: peer("", "81"), ..rule("no", Action::Deny) }]);
    run_in(set, test)
}

fn run_in(mut set: PolicySet, test: TestCase) -> Option<String> {
    set.tests = vec![test];
    run_tests(&set).pop().map(|failure| failure.message)
}

const CLIENT: &str = "203.0.113.9:4000";
const WEB: &str = "198.51.100.1:80";

#[test]
fn a_test_passes_when_verdict_and_rule_are_as_wanted() {
    let syn = || sent(6, CLIENT, WEB, SYN);
    for wanted in [None, Some("web"), Some("host/web")] {
        assert_eq!(run(case(syn(), vec![], Expect::Allow, wanted)), None);
    }
    assert!(
        run(case(syn(), vec![], Expect::Allow, Some("no"))).unwrap().contains("rule \"host/web\" (test.toml:1:1) decided, not rule \"no\"")
    );
    let failed = run(case(sent(6, CLIENT, "198.51.100.1:81", SYN), vec![], Expect::Allow, None)).unwrap();
    assert_eq!(failed, "expected allow, but rule \"host/no\" (test.toml:1:1) says deny (rule)");
    let failed = run(case(sent(6, CLIENT, "198.51.100.1:82", SYN), vec![], Expect::Allow, None)).unwrap();
    assert!(failed.contains("the default of policy \"host\""), "{failed}");
}

#[test]
fn packets_that_come_first_make_state() {
    let ack = || sent(6, CLIENT, WEB, ACK);
    assert!(run(case(ack(), vec![], Expect::Allow, None)).unwrap().contains("no_connection"));
    let handshake = vec![sent(6, CLIENT, WEB, SYN), sent(6, WEB, CLIENT, SYN | ACK)];
    assert_eq!(run(case(ack(), handshake, Expect::Allow, None)), None);
    let asked = vec![sent(17, "198.51.100.1:999", "203.0.113.9:53", 0)];
    assert_eq!(run(case(sent(17, "203.0.113.9:53", "198.51.100.1:999", 0), asked, Expect::Allow, None)), None);
}

#[test]
fn an_icmp_error_quotes_the_packet_before_it() {
    let error = || TestPacket { icmp: Some((3, 3)), ..sent(1, "203.0.113.9:0", "198.51.100.1:0", 0) };
    let asked = || sent(17, "198.51.100.1:999", "203.0.113.9:53", 0);
    assert_eq!(run(case(error(), vec![asked()], Expect::Allow, None)), None);
    assert_eq!(run(case(error(), vec![], Expect::Deny, None)), None);
}

#[test]
fn an_interface_that_no_policy_selects_allows() {
    let test = TestCase { interface: "wlan0".to_owned(), ..case(sent(6, CLIENT, WEB, ACK), vec![], Expect::Allow, None) };
    assert_eq!(run(test), None);
}

#[test]
fn deny_and_reject_are_two_verdicts() {
    let set = |action| host(vec![rule("no", action)]);
    let test = |expect| case(sent(17, CLIENT, "198.51.100.1:53", 0), vec![], expect, Some("no"));
    for (action, expect) in [(Action::Reject, Expect::Reject), (Action::Deny, Expect::Deny)] {
        assert_eq!(run_in(set(action), test(expect)), None);
    }
    let failed = run_in(set(Action::Reject), test(Expect::Deny)).unwrap();
    assert_eq!(failed, "expected deny, but rule \"host/no\" (test.toml:1:1) says reject (reject)");
    let failed = run_in(set(Action::Deny), test(Expect::Reject)).unwrap();
    assert_eq!(failed, "expected reject, but rule \"host/no\" (test.toml:1:1) says deny (rule)");
}

#[test]
fn rules_have_not_expired_and_rates_are_fresh() {
    let limit = Some(Limit { rate: Rate { burst: 1, ..Rate::per_second(1) }, per: LimitPer::Rule });
    let mut set = host(vec![Rule { expires: Some(-1), limit, ..rule("once", Action::Allow) }]);
    let packet = || sent(17, CLIENT, "198.51.100.1:53", 0);
    set.tests = vec![case(packet(), vec![], Expect::Allow, Some("once")), case(packet(), vec![], Expect::Allow, Some("once"))];
    assert_eq!(run_tests(&set), []);
    let elsewhere = || sent(17, "203.0.113.8:4000", "198.51.100.1:53", 0);
    assert_eq!(run_in(set, case(packet(), vec![elsewhere()], Expect::Deny, None)), None, "within one test they are used up");
}
