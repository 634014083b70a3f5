//! Fragments: the three answers of a rule, and the memory of first fragments.

use super::*;
use crate::policy::judge::fixture::{peer, rule};
use crate::policy::model::{Action, Hook::*, Xdp};

fn later(protocol: u16) -> Packet {
    let fragment = Fragment { id: 9, protocol: protocol as u8, offset: 800, more: false, l4: [0; 20], l4_length: 0 };
    change(ip(Ingress, "203.0.113.9", "198.51.100.1", protocol, L4::None), |ip| ip.fragment = Some(fragment))
}

fn first(port: u16) -> Packet {
    let mut l4 = [0; 20];
    l4[2..4].copy_from_slice(&port.to_be_bytes());
    let fragment = Fragment { id: 9, protocol: 17, offset: 0, more: true, l4, l4_length: 20 };
    change(udp(Ingress, "203.0.113.9:4000", &format!("198.51.100.1:{port}")), |ip| ip.fragment = Some(fragment))
}

fn dns() -> Rule {
    Rule { protocol: Some(17), destination: peer("", "53"), ..rule("dns", Action::Allow) }
}

#[test]
fn a_later_fragment_follows_the_verdict_of_its_first() {
    let mut bench = Bench::ingress(vec![dns()]);
    assert_eq!(bench.say(&later(17)), Some(Reason::Fragment));
    assert_eq!(bench.say(&first(53)), None);
    assert_eq!(bench.say(&later(17)), None);
    bench.conntrack.generation += 1;
    assert_eq!(bench.say(&later(17)), Some(Reason::Fragment), "a remembered verdict dies with its generation");
    let mut bench = Bench::ingress(vec![dns()]);
    assert_eq!(bench.say(&first(54)), Some(Reason::Default));
    assert_eq!(bench.say(&later(17)), Some(Reason::Default));
    bench.now += 30 * SECOND;
    assert_eq!(bench.say(&later(17)), Some(Reason::Fragment), "forgotten after 30 s");
}

#[test]
fn a_second_different_first_fragment_is_refused_and_the_datagram_forgotten() {
    let mut bench = Bench::ingress(vec![dns()]);
    assert_eq!(bench.say(&first(53)), None);
    assert_eq!(bench.say(&first(53)), None);
    assert_eq!(bench.say(&first(54)), Some(Reason::FragmentConflict));
    assert_eq!(bench.say(&later(17)), Some(Reason::Fragment));
}

#[test]
fn the_first_rule_that_matches_on_l3_alone_decides() {
    let net = |action| Rule { source: peer("203.0.113.0/24", ""), ..rule("net", action) };
    assert_eq!(Bench::ingress(vec![net(Action::Allow), dns()]).say(&later(17)), None);
    assert_eq!(Bench::ingress(vec![net(Action::Deny), dns()]).say(&later(17)), Some(Reason::Rule));
    assert_eq!(Bench::ingress(vec![dns(), net(Action::Allow)]).say(&later(17)), Some(Reason::Fragment));
    assert_eq!(Bench::ingress(vec![dns(), net(Action::Allow)]).say(&later(6)), None, "a UDP rule cannot match TCP");
    let elsewhere = Rule { source: peer("192.0.2.0/24", ""), ..dns() };
    assert_eq!(Bench::ingress(vec![elsewhere]).say(&later(17)), Some(Reason::Default));
}

#[test]
fn a_rule_with_ports_cannot_match_a_protocol_without_them() {
    let ports = Rule { protocol: None, ..dns() };
    assert_eq!(Bench::ingress(vec![ports.clone()]).say(&later(47)), Some(Reason::Default));
    assert_eq!(Bench::ingress(vec![ports]).say(&later(17)), Some(Reason::Fragment));
}

#[test]
fn an_unknown_protocol_could_be_any() {
    let unknown = later(PROTOCOL_UNKNOWN);
    let tcp = Rule { protocol: Some(6), ..rule("tcp", Action::Allow) };
    assert_eq!(Bench::ingress(vec![tcp]).say(&unknown), Some(Reason::Fragment));
    assert_eq!(Bench::ingress(vec![rule("all", Action::Allow)]).say(&unknown), None);
}

#[test]
fn fragments_are_refused_at_ingress_where_a_policy_says_so() {
    let mut bench = Bench::ingress(vec![rule("all", Action::Allow)]);
    bench.set.policies[0].xdp = Some(Xdp { drop_fragments: true, ..Xdp::default() });
    assert_eq!(bench.say(&later(17)), Some(Reason::FragmentsRefused));
    assert_eq!(bench.say(&first(53)), Some(Reason::FragmentsRefused));
    assert_eq!(bench.say(&Packet { hook: Egress, ..later(17) }), None);
}
