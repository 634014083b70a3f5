//! Big policies: that they compile, how big the tables get, and how long it takes (`cargo test --release size -- --nocapture`).

use std::time::Instant;

use super::agree::link;
use super::random::{daemon, policy};
use crate::compile::compile;
use crate::compile::ruleset::{LinkFacts, Ruleset};
use crate::policy::judge::fixture::{chain, peer, rule};
use crate::policy::model::*;

fn rules(count: usize) -> Vec<Rule> {
    let one = |i: usize| {
        let net = format!("10.{}.{}.{}/32", i >> 16 & 0xFF, i >> 8 & 0xFF, i & 0xFF);
        Rule {
            protocol: Some(6),
            source: peer(&net, ""),
            destination: peer("", &format!("{}", 1 + i % 60_000)),
            ..rule(&format!("r{i}"), Action::Allow)
        }
    };
    (0..count).map(one).collect()
}

fn set(rules: Vec<Rule>) -> PolicySet {
    let ingress = Some(chain(DefaultAction::Deny, rules));
    PolicySet { daemon: daemon(), sets: Vec::new(), policies: vec![policy("big", 1, ingress, None)], tests: Vec::new() }
}

fn measure(name: &str, set: &PolicySet, links: &[LinkFacts]) -> Ruleset {
    let start = Instant::now();
    let ruleset = compile(set, links).unwrap();
    let compiled = start.elapsed();
    let core = &ruleset.core;
    let digest = Instant::now();
    core.digest();
    println!(
        "{name}: {compiled:?}, digest {:?}; layers {} rows {} decisions {} classes {} prefixes {} l4 cells {} tables {}",
        digest.elapsed(),
        core.layers.len(),
        core.rows.len(),
        core.decisions.len(),
        core.classes.len(),
        core.addresses4.len() + core.addresses6.len(),
        core.l4_combine.len(),
        core.l4_tables.len()
    );
    ruleset
}

#[test]
fn thousands_of_rules_with_a_few_for_everybody_stay_small() {
    let mut rules = rules(2_000);
    for port in [22, 80, 443] {
        rules.push(Rule { protocol: Some(6), destination: peer("", &port.to_string()), ..rule(&format!("all-{port}"), Action::Allow) });
    }
    let ruleset = measure("2,000 + 3 for everybody", &set(rules), &[link(1, "eth0")]);
    assert!(ruleset.core.rows.len() + ruleset.core.decisions.len() < 20_000);
}

#[test]
fn compile_times() {
    for count in [1, 100, 10_000] {
        measure(&format!("{count} rules"), &set(rules(count)), &[link(1, "eth0")]);
    }
    let mut mixed = rules(10_000);
    mixed.extend([22, 80, 443].map(|port: u16| Rule {
        protocol: Some(6),
        destination: peer("", &port.to_string()),
        ..rule(&format!("all-{port}"), Action::Allow)
    }));
    measure("10,000 rules + 3 for everybody", &set(mixed), &[link(1, "eth0")]);
    let million: Vec<ipnet::IpNet> = (0..1_000_000u32).map(|i| ipnet::Ipv4Net::new((i * 4096).into(), 32).unwrap().into()).collect();
    let mut big = set(vec![Rule { source: Peer { sets: vec![SetId(0)], ..Peer::default() }, ..rule("set", Action::Allow) }]);
    big.sets = vec![Set {
        name: "big".to_owned(),
        origin: super::random::origin(1),
        element_count: million.len(),
        nets: million,
        dynamic: None,
        added: Vec::new(),
    }];
    measure("1,000,000 prefixes", &big, &[link(1, "eth0")]);
    let links: Vec<LinkFacts> = (1..=100).map(|i| link(i, &format!("eth{i}"))).collect();
    measure("1,000 rules, 100 links", &set(rules(1_000)), &links);
    let mut own = set(Vec::new());
    own.policies = (1..=100)
        .map(|i| {
            let ingress = Some(chain(DefaultAction::Deny, rules(100)));
            let include = vec![glob::Pattern::new(&format!("eth{i}")).unwrap()];
            Policy { interfaces: InterfaceSelector { include, exclude: Vec::new() }, ..policy(&format!("p{i:03}"), 1, ingress, None) }
        })
        .collect();
    measure("100 links with 100 rules of their own each", &own, &links);
}

#[test]
fn judge_times() {
    let mut big = set(rules(10_000));
    let packet = TestPacket {
        origin: super::random::origin(1),
        protocol: 6,
        source: "10.0.39.15:4000".parse().unwrap(),
        destination: "198.51.100.1:10000".parse().unwrap(),
        icmp: None,
        tcp_flags: 2,
        vlan: None,
    };
    let test = TestCase {
        name: "t".to_owned(),
        origin: super::random::origin(1),
        interface: "eth0".to_owned(),
        direction: Direction::Ingress,
        packet,
        after: Vec::new(),
        expect: Expect::Allow,
        rule: Some("r9999".to_owned()),
    };
    big.tests = vec![test; 100];
    let start = Instant::now();
    assert_eq!(crate::policy::judge::run_tests(&big), []);
    println!("10,000 rules x 100 tests: {:?}", start.elapsed());
}
