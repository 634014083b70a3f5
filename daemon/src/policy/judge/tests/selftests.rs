//! `[[test]]` blocks.

use super::super::fixture::{host, origin, peer, rule};
use super::super::run_tests;
use super::*;
use crate::policy::model::{Action, Direction, Expect, TestCase, TestPacket};

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
    let mut set = host(vec![web, Rule { protocol: Some(6), destination: peer("", "81"), ..rule("no", Action::Deny) }]);
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
