//! Conditions of rules: what they hold, what they share, how many one packet may meet, and what they mean for candidate lists.

use std::net::IpAddr;

use netpol_probes::abi;

use super::agree::link;
use super::evaluate::{Said, Tables, World, Would};
use crate::compile::compile;
use crate::compile::ruleset::{Core, SetSlot};
use crate::policy::judge::fixture::{chain, host, named_set, peer, policy, rule, set_of, vlan};
use crate::policy::judge::{Fragment, IpPacket, L4, Packet, Sender};
use crate::policy::model::*;
use crate::policy::reason::Reason;

fn core(set: &PolicySet) -> Core {
    compile(set, &[link(1, "eth0")]).unwrap().core
}

fn error(set: &PolicySet) -> String {
    compile(set, &[link(1, "eth0")]).unwrap_err().to_string()
}

fn limit(events: u32) -> Option<Limit> {
    Some(Limit { rate: Rate::per_second(events), per: LimitPer::Source })
}

pub fn dynamic_set(name: &str, nets: &str) -> Set {
    Set { dynamic: Some(Dynamic { timeout: None, max_entries: 100 }), ..named_set(name, nets) }
}

fn in_sets(ids: &[u32]) -> Peer {
    Peer { sets: ids.iter().map(|id| SetId(*id)).collect(), ..Peer::default() }
}

fn packet(source: &str) -> Packet {
    let ip = IpPacket {
        source: source.parse().unwrap(),
        destination: "192.0.2.1".parse().unwrap(),
        protocol: 47,
        hop_limit: 64,
        fragment: None,
        l4: L4::None,
    };
    Packet { hook: Hook::Ingress, tags: [0, 0], ethertype: 0x0800, length: 60, sender: Sender::default(), refusal: None, ip: Some(ip) }
}

fn isolated(rules: Vec<Rule>) -> Option<Chain> {
    Some(chain(DefaultAction::Allow, rules))
}

#[test]
fn a_rule_that_may_not_match_hides_nothing() {
    let first = Policy {
        ingress: isolated(vec![Rule { limit: limit(1), ..rule("limited", Action::Deny) }, rule("allow", Action::Allow)]),
        ..policy("a", 1)
    };
    let core = core(&set_of(vec![first]));
    let said = |within_limits| {
        let world = World { within_limits, ..World::default() };
        Tables::of(&core).evaluate(0, &packet("10.0.0.1"), &world).rule
    };
    assert_eq!((said(true), said(false)), (Some(0), Some(1)));
}

#[test]
fn a_pass_that_may_not_match_lets_the_next_policy_speak_behind_an_allow() {
    let passing = vec![Rule { limit: limit(1), ..rule("pass", Action::Pass) }, rule("allow", Action::Allow)];
    let denying = Policy { ingress: isolated(vec![rule("deny", Action::Deny)]), ..policy("b", 2) };
    let core = core(&set_of(vec![Policy { ingress: isolated(passing), ..policy("a", 1) }, denying]));
    let said = |within_limits| {
        let world = World { within_limits, ..World::default() };
        Tables::of(&core).evaluate(0, &packet("10.0.0.1"), &world).rule
    };
    assert_eq!((said(true), said(false)), (Some(2), Some(1)));
}

#[test]
fn an_audit_rule_speaks_once_for_its_policy_and_decides_nothing() {
    let rules = vec![rule("deny", Action::Deny), rule("never-asked", Action::Reject)];
    let audit = |name, ingress| Policy { mode: Mode::Audit, ingress, ..policy(name, 1) };
    let silent = Some(chain(DefaultAction::Deny, Vec::new()));
    let reject = Rule { reject_with: Some(RejectWith::HostUnreachable), ..rule("reject", Action::Reject) };
    let last = Policy { ingress: isolated(vec![reject]), ..policy("c", 2) };
    let core = core(&set_of(vec![audit("a", isolated(rules)), audit("b", silent), last]));
    assert_eq!(core.candidates, [0, 2]);
    let said = Tables::of(&core).evaluate(0, &packet("10.0.0.1"), &World::default());
    assert_eq!(said, Said { reason: Some(Reason::Reject), rule: Some(2), would_deny: vec![Would::Rule(0)] });
    assert_eq!((core.rules[0].audit, u32::from(core.rules[2].audit)), (0, abi::NP_NOT_AUDIT));
    assert_eq!(u32::from(core.rules[2].reject_with), abi::NP_REJECT_HOST);
    let audits: Vec<(&str, bool)> =
        core.audit_info.iter().map(|audit| (audit.policy.as_str(), audit.default_origins[0].is_some())).collect();
    assert_eq!((audits, core.chains[0].audit_denies), (vec![("a", true), ("b", true)], 0b10));
    assert_eq!((core.chains[0].default_counter, core.chains[0].audit_counter, core.counters()), (3, 4, 5));
}

#[test]
fn equal_conditions_are_one_but_each_limit_is_a_rules_own() {
    let until = |id, at| Rule { expires: Some(at), ..rule(id, Action::Allow) };
    let within = |id, events| Rule { limit: limit(events), ..rule(id, Action::Allow) };
    let core = core(&host(vec![until("a", 9), until("b", 9), until("c", 10), within("d", 5), within("e", 5)]));
    let of_rule: Vec<u32> = core.rules.iter().map(|rule| rule.condition).collect();
    assert_eq!(of_rule, [0, 0, 1, 2, 3]);
    assert_eq!(core.condition_expiry, [Some(9), Some(10), None, None]);
    let limits: Vec<u32> = core.conditions.iter().map(|condition| condition.limit).collect();
    assert_eq!(limits, [abi::NP_NONE, abi::NP_NONE, 0, 1]);
    let first = core.limits[0];
    assert_eq!((first.cost, first.depth, first.arrival, first.per), (200_000_000, 1_000_000_000, 0, abi::NP_PER_SOURCE));
    assert_ne!(first.id, core.limits[1].id);
}

#[test]
fn a_limit_keeps_its_id_as_long_as_its_rule_and_rate_stay() {
    let id = |set: &PolicySet| core(set).limits[0].id;
    let one = |name, events| Rule { limit: limit(events), ..rule(name, Action::Allow) };
    let known = id(&host(vec![one("a", 5)]));
    assert_eq!(id(&host(vec![rule("before", Action::Deny), one("a", 5)])), known);
    assert_ne!(id(&host(vec![one("a", 6)])), known);
    assert_ne!(id(&host(vec![one("b", 5)])), known);
    let mut other = host(vec![one("a", 5)]);
    other.policies[0].name = "other".to_owned();
    assert_ne!(id(&other), known);
    let per_destination = Limit { rate: Rate::per_second(5), per: LimitPer::Destination };
    assert_ne!(id(&host(vec![Rule { limit: Some(per_destination), ..rule("a", Action::Allow) }])), known);
}

#[test]
fn dynamic_sets_are_asked_by_condition_and_are_in_no_class() {
    let mixed = Peer { nets: vec!["10.2.0.0/16".parse().unwrap()], not_nets: vec!["10.2.9.0/24".parse().unwrap()], ..in_sets(&[2, 0, 1]) };
    let without = Peer { not_sets: vec![SetId(0), SetId(1)], ..Peer::default() };
    let rules = vec![
        Rule { source: mixed.clone(), ..rule("mixed", Action::Allow) },
        Rule { source: mixed, ..rule("again", Action::Deny) },
        Rule { source: without, ..rule("without", Action::Deny) },
    ];
    let mut set = host(rules);
    set.sets = vec![dynamic_set("zeta", ""), named_set("fixed", "10.3.0.0/16"), dynamic_set("alpha", "10.4.0.0/16"), dynamic_set("no", "")];
    let core = core(&set);
    let dynamic = |name: &str| SetSlot::Dynamic { name: name.to_owned(), max_entries: 100 };
    let literal = SetSlot::Literal(vec!["10.2.0.0/15".parse().unwrap()]);
    assert_eq!(core.sets, [dynamic("alpha"), dynamic("zeta"), literal]);
    assert_eq!(core.set_lists, [0, 1, 2, 1]);
    assert_eq!(core.rules[0].condition, core.rules[1].condition);
    let world = World {
        sets: [("zeta", ""), ("alpha", "10.4.0.0/16")].map(|(name, nets)| (name.to_owned(), peer(nets, "").nets)).into(),
        ..World::default()
    };
    let by = |source: &str| Tables::of(&core).evaluate(0, &packet(source), &world).rule;
    assert_eq!((by("10.2.0.1"), by("10.3.0.1"), by("10.4.0.1")), (Some(0), Some(0), Some(0)));
    // `not_nets` and static `not_sets` are in the classes.
    assert_eq!((by("10.2.9.1"), by("10.5.0.1")), (Some(2), Some(2)));
    let class = |address: &str| Tables::of(&core).class(address.parse::<IpAddr>().unwrap());
    assert_eq!(class("10.4.0.1"), class("10.5.0.1"));
}

#[test]
fn too_many_sets_in_one_selector_are_refused_with_the_rule() {
    let mut set = host(vec![Rule { source: in_sets(&(0..9).collect::<Vec<u32>>()), ..rule("nine", Action::Allow) }]);
    set.sets = (0..9).map(|i| dynamic_set(&format!("s{i}"), "")).collect();
    let wanted = "dynamic sets in the source of rule host/nine (test.toml:1:1) (prefixes and static sets beside them count as one; \
                  join some of them): 9, and no more than 8 are possible";
    assert_eq!(error(&set), wanted);
    if let Some(chain) = &mut set.policies[0].ingress {
        chain.rules[0].source.sets.pop();
    }
    assert_eq!(core(&set).set_lists.len(), 8);
    if let Some(chain) = &mut set.policies[0].ingress {
        chain.rules[0].source.nets = vec!["10.0.0.0/8".parse().unwrap()];
    }
    assert!(error(&set).contains(": 9, and no more than 8"));
}

#[test]
fn too_many_dynamic_sets_are_refused() {
    let mut set = host(
        (0..257).map(|i| Rule { vlan: Some(vlan(i as u16 + 1)), source: in_sets(&[i]), ..rule(&format!("r{i}"), Action::Allow) }).collect(),
    );
    set.sets = (0..257).map(|i| dynamic_set(&format!("s{i:03}"), "")).collect();
    assert!(error(&set).contains(": 257, and no more than 256"), "{}", error(&set));
}

#[test]
fn too_many_lists_of_dynamic_sets_are_refused() {
    // Different selections of eight out of twelve sets.
    let selections = (0u32..4096).filter(|bits| bits.count_ones() == 8);
    let all: Vec<Vec<u32>> = selections.map(|bits| (0..12).filter(|set| bits >> set & 1 == 1).collect()).collect();
    let one = |(i, sets): (usize, &Vec<u32>)| Rule {
        destination: peer("", &format!("{}", i / 2 + 1)),
        source: if i % 2 == 0 { in_sets(sets) } else { Peer::default() },
        protocol: Some(6),
        ..rule(&format!("r{i}"), Action::Allow)
    };
    let mut set = host(all.iter().flat_map(|sets| [sets, sets]).enumerate().map(one).collect());
    for (rule, sets) in
        set.policies[0].ingress.iter_mut().flat_map(|chain| &mut chain.rules).filter(|rule| rule.source.sets.is_empty()).zip(&all)
    {
        rule.destination.sets = sets[1..].iter().map(|id| SetId(*id)).collect();
    }
    set.sets = (0..12).map(|i| dynamic_set(&format!("s{i:02}"), "")).collect();
    assert!(error(&set).contains("entries of all lists of dynamic sets"), "{}", error(&set));
}

#[test]
fn as_many_conditional_rules_as_the_programs_can_ask_and_one_more() {
    let rules = |count: i64| (0..count).map(|i| Rule { expires: Some(i), ..rule(&format!("r{i}"), Action::Allow) }).collect();
    assert_eq!(core(&host(rules(12))).candidates.len(), 12);
    let wanted = "rules with `limit`, `expires` or a dynamic set that one packet may have to be compared with in the ingress chain of \
                  policies host (host/r0, host/r1, host/r2, host/r3, host/r4, host/r5 and 7 more; join some, or let their static \
                  addresses, ports or protocols exclude each other): 13, and no more than 12 are possible";
    assert_eq!(error(&host(rules(13))), wanted);
    let apart = |i: i64| Rule { vlan: Some(vlan(i as u16 + 1)), expires: Some(i), ..rule(&format!("r{i}"), Action::Allow) };
    assert_eq!(core(&host((0..200).map(apart).collect())).conditions.len(), 200);
}

#[test]
fn as_many_candidates_as_the_programs_can_walk_and_one_more() {
    let passing = |count: i64| {
        set_of((0..count).map(|i| Policy { ingress: isolated(vec![rule("on", Action::Pass)]), ..policy(&format!("p{i:02}"), i) }).collect())
    };
    assert_eq!(core(&passing(48)).candidates.len(), 48);
    let error = error(&passing(49));
    assert!(error.starts_with("rules that one packet may have to be compared with in the ingress chain of policies p00, p01"), "{error}");
    assert!(error.contains("(p00/on, p01/on, p02/on, p03/on, p04/on, p05/on and 43 more; join some"), "{error}");
    assert!(error.ends_with("): 49, and no more than 48 are possible"), "{error}");
}

#[test]
fn too_many_limits_and_audit_policies_are_refused() {
    let limited = |i: u32| Rule { vlan: Some(vlan(i as u16 + 1)), limit: limit(1), ..rule(&format!("r{i}"), Action::Allow) };
    assert_eq!(core(&host((0..1024).map(limited).collect())).limits.len(), 1024);
    assert!(error(&host((0..1025).map(limited).collect())).contains("rates (`limit` of rules, `rate_limit` of policies): 1025"));
    let audits = |count: i64| set_of((0..count).map(|i| Policy { mode: Mode::Audit, ..policy(&format!("p{i}"), i) }).collect());
    assert_eq!(core(&audits(64)).audit_info.len(), 64);
    assert!(error(&audits(65)).contains("policies in audit mode: 65, and no more than 64"));
}

fn later_fragment() -> Packet {
    let mut packet = packet("10.0.0.1");
    if let Some(ip) = &mut packet.ip {
        let fragment = Fragment { id: 1, protocol: 17, offset: 64, more: false, l4: [0; 20], l4_length: 0 };
        (ip.protocol, ip.fragment) = (17, Some(fragment));
    }
    packet
}

/// A later fragment carries no ports, so it could match the rules of all ports; the first one refuses it, within its rate or not.
#[test]
fn rates_of_many_ports_do_not_add_up_for_later_fragments() {
    let port = |i: u32| Rule {
        protocol: Some(17),
        destination: peer("", &i.to_string()),
        limit: limit(1),
        ..rule(&format!("r{i}"), Action::Allow)
    };
    let not_port = |i: u32| {
        let but = PortRange { first: i as u16, last: i as u16 };
        Rule { destination: Peer { not_ports: vec![but], ..Peer::default() }, ..port(i) }
    };
    let one = core(&host((1..200).map(port).collect()));
    assert_eq!((one.limits.len(), one.candidates.len()), (199, 199));
    let many = core(&host((1..=12).map(not_port).collect()));
    let packet = later_fragment();
    let wanted = Said { reason: Some(Reason::Fragment), rule: Some(0), would_deny: Vec::new() };
    assert_eq!(Tables::of(&one).evaluate(0, &packet, &World::default()), wanted);
    assert_eq!(Tables::of(&many).evaluate(0, &packet, &World::default()), wanted);
    assert!(error(&host((1..=13).map(not_port).collect())).contains(": 13, and no more than 12"));
}

/// The programs ask no more than so many conditions, and a rate that a fragment cannot exceed is one of them.
#[test]
fn what_a_later_fragment_meets_is_counted_with_the_rate_that_ends_it() {
    let until = |i: u32| Rule { expires: Some(i64::from(i)), ..rule(&format!("u{i}"), Action::Allow) };
    let last = Rule { protocol: Some(17), destination: peer("", "53"), limit: limit(1), ..rule("dns", Action::Allow) };
    let rules = |count| (0..count).map(until).chain([last.clone()]).collect();
    let most = core(&host(rules(11)));
    let wanted = Said { reason: Some(Reason::Fragment), rule: Some(11), would_deny: Vec::new() };
    let world = World { now: 100, ..World::default() };
    assert_eq!(Tables::of(&most).evaluate(0, &later_fragment(), &world), wanted);
    assert!(error(&host(rules(12))).contains(": 13, and no more than 12"));
}
