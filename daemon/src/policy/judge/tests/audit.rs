//! Policies in audit mode have no say, and what they would have said is told.

use super::*;
use crate::policy::judge::fixture::{named_set, peer, rule};
use crate::policy::model::{Action, AntiSpoof, DefaultAction::*, Hook::*, Mode, RateLimit, ReversePath, SetId, Xdp};

const US: [&str; 2] = ["198.51.100.1:53", "[2001:db8::1]:53"];
const THEM: [&str; 2] = ["203.0.113.9:4000", "[2001:db8::9]:4000"];

/// Arrives, of either family.
fn arriving() -> [Packet; 2] {
    [0, 1].map(|family| udp(Ingress, THEM[family], US[family]))
}

fn audit(order: i64, default: DefaultAction, rules: Vec<Rule>) -> Policy {
    Policy { mode: Mode::Audit, ingress: Some(chain(default, rules)), ..policy(&format!("audit{order}"), order) }
}

fn enforce(order: i64, default: DefaultAction, rules: Vec<Rule>) -> Policy {
    Policy { ingress: Some(chain(default, rules)), ..policy(&format!("enforce{order}"), order) }
}

/// Verdict's reason and what would have been said.
fn ask(policies: Vec<Policy>) -> (Option<Reason>, Vec<String>) {
    let [v4, v6] = arriving().map(|packet| {
        let said = Bench::new(set_of(policies.clone())).judge(&packet);
        (said.reason, said.would_deny.iter().map(ToString::to_string).collect::<Vec<_>>())
    });
    assert_eq!(v4, v6);
    v4
}

fn told(reason: Option<Reason>, names: &[&str]) -> (Option<Reason>, Vec<String>) {
    (reason, names.iter().map(|name| (*name).to_owned()).collect())
}

#[test]
fn an_interface_with_audit_policies_only_refuses_nothing() {
    assert_eq!(ask(vec![audit(1, Deny, vec![])]), told(None, &["the default of audit1"]));
    assert_eq!(ask(vec![audit(1, Allow, vec![rule("no", Action::Reject)])]), told(None, &["audit1/no"]));
    assert_eq!(ask(vec![audit(1, Deny, vec![rule("yes", Action::Allow)])]), told(None, &[]));
    assert_eq!(ask(vec![audit(1, Deny, vec![rule("pass", Action::Pass)])]), told(None, &[]), "a rule has matched");
    let mut bench = Bench::new(set_of(vec![audit(1, Deny, vec![])]));
    assert_eq!(bench.say(&Packet { refusal: Some(Reason::SourceRoute), ..arriving()[0].clone() }), None);
    assert_eq!(bench.judge(&tcp(Ingress, THEM[0], US[0], ACK, 1, 1)).would_deny, [], "no rule would judge it");
}

#[test]
fn it_speaks_in_its_place_and_the_walk_goes_on() {
    let deny = || vec![rule("no", Action::Deny)];
    let allow = || vec![rule("yes", Action::Allow)];
    assert_eq!(ask(vec![audit(1, Deny, deny()), enforce(2, Deny, allow())]), told(None, &["audit1/no"]));
    assert_eq!(ask(vec![enforce(1, Deny, allow()), audit(2, Deny, deny())]), told(None, &[]), "decided before its turn");
    assert_eq!(ask(vec![audit(1, Deny, vec![]), enforce(2, Deny, allow())]), told(None, &[]), "defaults speak when no rule decides");
    assert_eq!(
        ask(vec![audit(1, Deny, deny()), enforce(2, Allow, vec![]), audit(3, Deny, vec![]), audit(4, Allow, vec![])]),
        told(None, &["audit1/no", "the default of audit3"])
    );
    assert_eq!(ask(vec![audit(1, Allow, allow()), enforce(2, Deny, vec![])]), told(Some(Reason::Default), &[]));
}

#[test]
fn a_flow_is_made_and_judged_again_without_harm() {
    let mut bench = Bench::new(set_of(vec![audit(1, Deny, vec![])]));
    let [packet, _] = arriving();
    assert_eq!(bench.judge(&packet).would_deny.len(), 1);
    assert_eq!(bench.conntrack.half_open().count(), 1);
    assert_eq!(bench.judge(&packet).would_deny, [], "it belongs to a flow now");
    bench.reload(set_of(vec![audit(1, Deny, vec![]), enforce(2, Allow, vec![])]));
    assert_eq!((bench.say(&packet), bench.judge(&packet).would_deny), (None, vec![]));
}

#[test]
fn nothing_else_of_it_has_effect_either() {
    let mut silent = audit(1, Allow, vec![]);
    let rate = Some(crate::policy::model::Rate::per_second(1));
    silent.xdp = Some(Xdp {
        deny_sets: vec![SetId(0)],
        drop_malformed: true,
        drop_fragments: true,
        rate_limit: RateLimit { packets: rate, syns: rate },
        ..Xdp::default()
    });
    silent.anti_spoof = Some(AntiSpoof {
        check_reverse_path: ReversePath::Strict,
        allowed_sources: Some(Default::default()),
        allowed_macs: vec![[2; 6]],
        arp: true,
        bogons: true,
        origin: crate::policy::judge::fixture::origin(),
    });
    (silent.icmpv6_essential, silent.dhcp_client, silent.ethertypes) = (false, true, Some(vec![]));
    let all = Rule { source: peer("0.0.0.0/0", ""), ..rule("four", Action::Allow) };
    let mut set = set_of(vec![silent, enforce(2, Deny, vec![all])]);
    set.sets = vec![named_set("bad", "203.0.113.0/24 2001:db8::/64")];
    let mut bench = Bench::new(set);
    let [v4, v6] = arriving().map(|packet| Packet { sender: Sender { mac: Some([4; 6]), ..Sender::default() }, ..packet });
    for _ in 0..3 {
        assert_eq!((bench.say(&v4), bench.say(&v6)), (None, Some(Reason::Default)));
    }
    assert_eq!(bench.say(&udp(Ingress, "203.0.113.9:67", "198.51.100.1:68")), None, "by its rule");
    assert_eq!(bench.say(&udp(Ingress, "[2001:db8::9]:547", "[fe80::1]:546")), Some(Reason::Default));
    let lldp = Packet { ip: None, ethertype: 0x88CC, ..v4 };
    assert_eq!(bench.say(&lldp), None);
    let solicitation = change(icmp(Ingress, "fe80::9", "fe80::1", 135, None), |ip| ip.hop_limit = 255);
    assert_eq!(bench.say(&solicitation), None);
}
