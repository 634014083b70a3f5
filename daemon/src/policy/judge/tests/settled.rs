//! Stage 7: laws and settled questions of the policy language.

use super::*;
use crate::policy::judge::fixture::{named_set, peer, rule, vlan};
use crate::policy::model::{Action, DefaultAction::*, Family, Hook::*, Peer, SetId, TcpFlagsMatch, Vlan};

fn say(rules: Vec<Rule>, packet: &Packet) -> Option<Reason> {
    Bench::ingress(rules).say(packet)
}

fn from(source: Peer) -> Rule {
    Rule { source, ..rule("from", Action::Allow) }
}

fn packet(source: &str) -> Packet {
    let destination = if source.contains('[') { "[2001:db8::1]:53" } else { "198.51.100.1:53" };
    udp(Ingress, source, destination)
}

#[test]
fn pass_goes_on_with_the_next_policy_and_deny_wins_among_defaults() {
    let policies = |first, second, rules: Vec<Rule>| {
        let one = Policy { ingress: Some(chain(first, vec![rule("pass", Action::Pass), rule("never", Action::Deny)])), ..policy("a", 1) };
        let two = Policy { ingress: Some(chain(second, rules)), ..policy("b", 2) };
        Bench::new(set_of(vec![one, two])).judge(&packet("192.0.2.1:1"))
    };
    assert_eq!(policies(Deny, Deny, vec![rule("yes", Action::Allow)]).rule.unwrap().id, "yes");
    assert_eq!(policies(Allow, Allow, vec![]).reason, None);
    assert_eq!(policies(Allow, Deny, vec![]).default.unwrap().policy, "b");
    assert_eq!(policies(Deny, Allow, vec![]).default.unwrap().policy, "a");
    assert_eq!(policies(Deny, Allow, vec![]).reason, Some(Reason::Default));
}

#[test]
fn selectors_are_set_algebra() {
    let mut bench = Bench::ingress(vec![]);
    bench.set.sets = vec![named_set("a", "10.0.0.0/8"), named_set("empty", "")];
    let with = |bench: &mut Bench, source: Peer, address: &str| {
        bench.set.policies[0].ingress.as_mut().unwrap().rules = vec![from(source)];
        bench.conntrack = Conntrack::default();
        bench.say(&packet(address)).is_none()
    };
    let any = Peer { sets: vec![SetId(0)], ..peer("192.0.2.0/24", "") };
    assert!(with(&mut bench, any.clone(), "10.1.1.1:1") && with(&mut bench, any.clone(), "192.0.2.1:1"));
    assert!(!with(&mut bench, any.clone(), "192.0.3.1:1") && !with(&mut bench, any.clone(), "[2001:db8::2]:1"));
    let except = Peer { not_nets: vec!["10.1.0.0/16".parse().unwrap()], ..any };
    assert!(!with(&mut bench, except.clone(), "10.1.1.1:1") && with(&mut bench, except, "10.2.1.1:1"));
    let not = Peer { not_sets: vec![SetId(0)], ..Peer::default() };
    assert!(!with(&mut bench, not.clone(), "10.1.1.1:1") && with(&mut bench, not.clone(), "11.0.0.1:1"));
    assert!(with(&mut bench, not, "[2001:db8::2]:1"), "a not_ list of one family leaves the other matching");
    assert!(!with(&mut bench, Peer { sets: vec![SetId(1)], ..Peer::default() }, "10.1.1.1:1"), "an empty set matches nothing");
}

#[test]
fn a_rule_without_ip_version_speaks_for_both_families() {
    let (v4, v6) = (packet("192.0.2.1:1"), packet("[2001:db8::2]:1"));
    for (family, wanted) in [(None, [true, true]), (Some(Family::V4), [true, false]), (Some(Family::V6), [false, true])] {
        let rules = vec![Rule { family, ..rule("r", Action::Allow) }];
        assert_eq!([say(rules.clone(), &v4).is_none(), say(rules, &v6).is_none()], wanted);
    }
}

#[test]
fn ports_are_compared_only_where_there_are_ports() {
    let all_ports = vec![Rule { destination: peer("", "0-65535"), ..rule("r", Action::Allow) }];
    assert_eq!(say(all_ports.clone(), &packet("192.0.2.1:1")), None);
    assert_eq!(say(all_ports.clone(), &ip(Ingress, "192.0.2.1", "198.51.100.1", 47, L4::None)), Some(Reason::Default));
    assert_eq!(say(all_ports, &icmp(Ingress, "192.0.2.1", "198.51.100.1", 8, None)), Some(Reason::Default));
    let not = vec![Rule { destination: Peer { not_ports: peer("", "53").ports, ..Peer::default() }, ..rule("r", Action::Allow) }];
    assert_eq!(say(not.clone(), &packet("192.0.2.1:1")), Some(Reason::Default));
    assert_eq!(say(not, &udp(Ingress, "192.0.2.1:1", "198.51.100.1:54")), None);
}

#[test]
fn tags_are_matched_exactly() {
    let tagged = |tags| Packet { tags, ..packet("192.0.2.1:1") };
    let untagged = vec![rule("r", Action::Allow)];
    assert_eq!(say(untagged.clone(), &tagged([0, 0])), None);
    assert_eq!(say(untagged, &tagged([7, 0])), Some(Reason::Default));
    let seven = vec![Rule { vlan: Some(vlan(7)), ..rule("r", Action::Allow) }];
    assert_eq!(say(seven.clone(), &tagged([7, 0])), None);
    assert_eq!(say(seven.clone(), &tagged([7, 8])), Some(Reason::Default));
    assert_eq!(say(seven, &tagged([0, 0])), Some(Reason::Default));
    let double = vec![Rule { vlan: Some(Vlan { outer: 7, inner: 8 }), ..rule("r", Action::Allow) }];
    assert_eq!(say(double.clone(), &tagged([7, 8])), None);
    assert_eq!(say(double, &tagged([8, 7])), Some(Reason::Default));
}

#[test]
fn named_tcp_flags_must_be_set_negated_ones_clear_the_rest_is_ignored() {
    let rules = vec![Rule { protocol: Some(6), tcp_flags: Some(TcpFlagsMatch { set: SYN, clear: 0x40 }), ..rule("r", Action::Allow) }];
    let syn = |more: u8| tcp(Ingress, "192.0.2.1:1", "198.51.100.1:80", SYN | more, 1, 0);
    assert_eq!(say(rules.clone(), &syn(0)), None);
    assert_eq!(say(rules.clone(), &syn(0x80)), None);
    assert_eq!(say(rules, &syn(0x40)), Some(Reason::Default));
}

#[test]
fn only_isolated_directions_refuse() {
    let refused = Packet { refusal: Some(Reason::SourceRoute), ..packet("192.0.2.1:1") };
    let mut bench = Bench::ingress(vec![rule("all", Action::Allow)]);
    assert_eq!(bench.say(&refused), Some(Reason::SourceRoute));
    assert_eq!(bench.say(&Packet { hook: Egress, ..refused }), None);
    let stray = tcp(Egress, "198.51.100.1:80", "192.0.2.1:1", ACK, 1, 1);
    assert_eq!(bench.say(&stray), None);
}

#[test]
fn drop_malformed_refuses_malformed_arrivals_where_ingress_is_not_isolated() {
    let mut bench = Bench::ingress(vec![]);
    bench.set.policies[0].egress = bench.set.policies[0].ingress.take();
    let arrived = |reason| Packet { refusal: Some(reason), ..packet("192.0.2.1:1") };
    assert_eq!(bench.say(&arrived(Reason::Malformed)), None);
    let xdp = crate::policy::model::Xdp {
        mode: crate::policy::model::XdpMode::Off,
        deny_sets: vec![],
        drop_malformed: true,
        ..Default::default()
    };
    bench.set.policies[0].xdp = Some(xdp);
    assert_eq!(bench.say(&arrived(Reason::Malformed)), Some(Reason::Malformed));
    assert_eq!(bench.say(&arrived(Reason::SourceRoute)), None);
}
