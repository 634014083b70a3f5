//! What changes by itself or at run time: rules and elements that expire, dynamic sets, the adoption of running connections.

use super::*;
use crate::policy::judge::fixture::{named_set, peer, rule};
use crate::policy::model::{Action, Element, Hook::*, Peer, SetId, Xdp};

const US: [&str; 2] = ["198.51.100.1:53", "[2001:db8::1]:53"];
const THEM: [&str; 2] = ["203.0.113.9:4000", "[2001:db8::9]:4000"];
const NETS: &str = "203.0.113.9/32 2001:db8::9/128";

fn arriving(family: usize) -> Packet {
    udp(Ingress, THEM[family], US[family])
}

/// Unix time of the bench's clock at 0, in seconds.
const EPOCH: i64 = 1_800_000_000;

fn in_wall_time(mut bench: Bench) -> Bench {
    bench.conntrack.wall_offset = EPOCH * SECOND as i64;
    bench
}

fn until(seconds: i64, action: Action) -> Rule {
    Rule { expires: Some(EPOCH + seconds), ..rule("until", action) }
}

#[test]
fn an_expired_rule_does_not_match() {
    for (seconds, reason) in [(-5, Some(Reason::Default)), (1, Some(Reason::Default)), (2, None)] {
        assert_eq!(in_wall_time(Bench::ingress(vec![until(seconds, Action::Allow)])).say(&arriving(0)), reason, "{seconds}");
    }
    let mut bench = in_wall_time(Bench::ingress(vec![until(2, Action::Deny), rule("all", Action::Allow)]));
    assert_eq!(bench.say(&arriving(1)), Some(Reason::Rule));
    bench.now = 2 * SECOND;
    assert_eq!(bench.say(&arriving(1)), None);
}

#[test]
fn a_flow_ends_with_the_rule_that_allowed_it_and_lives_on_where_another_does() {
    for family in [0, 1] {
        let mut bench = in_wall_time(Bench::ingress(vec![until(5, Action::Allow)]));
        assert_eq!(bench.say(&arriving(family)), None);
        bench.now = 5 * SECOND;
        assert_eq!(bench.say(&arriving(family)), Some(Reason::Default));
        assert_eq!(bench.conntrack.half_open().count(), 0);
        let mut bench = in_wall_time(Bench::ingress(vec![until(5, Action::Allow), rule("all", Action::Allow)]));
        assert_eq!(bench.say(&arriving(family)), None);
        bench.now = 5 * SECOND;
        assert_eq!(bench.say(&arriving(family)), None);
        assert_eq!(bench.conntrack.half_open().next().unwrap().1.expires, None, "it stands on the other rule now");
    }
}

#[test]
fn a_flow_ends_with_the_pass_or_the_exception_that_it_owes_its_life() {
    let deny = || Some(chain(DefaultAction::Deny, vec![rule("all", Action::Allow)]));
    let first = |rules| Policy { ingress: Some(chain(DefaultAction::Deny, rules)), ..policy("a", 1) };
    let second = Policy { ingress: deny(), ..policy("b", 2) };
    let mut bench = in_wall_time(Bench::new(set_of(vec![first(vec![until(5, Action::Pass), rule("no", Action::Deny)]), second])));
    assert_eq!(bench.say(&arriving(0)), None);
    bench.now = 5 * SECOND;
    assert_eq!(bench.say(&arriving(0)), Some(Reason::Rule));
    let except = Rule { source: Peer { not_sets: vec![SetId(0)], ..Peer::default() }, ..rule("strangers", Action::Deny) };
    let mut bench = Bench::ingress(vec![except, rule("all", Action::Allow)]);
    bench.set.sets = vec![named_set("guests", "")];
    bench.set.sets[0].added = elements(Some(5 * SECOND));
    assert_eq!([0, 1].map(|family| bench.say(&arriving(family))), [None, None]);
    bench.now = 5 * SECOND;
    assert_eq!([0, 1].map(|family| bench.say(&arriving(family))), [Some(Reason::Rule); 2]);
}

#[test]
fn keep_lets_a_flow_outlive_its_rule() {
    let mut bench = in_wall_time(Bench::ingress(vec![until(5, Action::Allow)]));
    bench.set.daemon.conntrack.keep_established = true;
    assert_eq!(bench.say(&arriving(0)), None);
    bench.now = 5 * SECOND;
    assert_eq!(bench.say(&arriving(0)), None);
}

fn elements(expires: Option<u64>) -> Vec<Element> {
    NETS.split(' ').map(|net| Element { net: net.parse().unwrap(), expires }).collect()
}

/// Members of the first set are let in, but for those of the second.
fn bench_of_sets(guests: Vec<Element>, banned: Vec<Element>) -> Bench {
    let source = Peer { sets: vec![SetId(0)], not_sets: vec![SetId(1)], ..Peer::default() };
    let mut bench = Bench::ingress(vec![Rule { source, ..rule("guests", Action::Allow) }]);
    bench.set.sets = vec![named_set("guests", "192.0.2.1/32"), named_set("banned", "")];
    (bench.set.sets[0].added, bench.set.sets[1].added) = (guests, banned);
    bench
}

#[test]
fn a_dynamic_set_is_what_is_written_and_what_was_added_and_has_not_expired() {
    let say = |guests, banned| {
        let mut bench = bench_of_sets(guests, banned);
        assert_eq!(bench.say(&udp(Ingress, "192.0.2.1:1", US[0])), None, "written");
        [0, 1].map(|family| bench.say(&arriving(family)).is_none())
    };
    let (past, future) = (Some(SECOND), Some(9 * SECOND));
    assert_eq!(say(elements(None), vec![]), [true, true]);
    assert_eq!(say(elements(future), vec![]), [true, true]);
    assert_eq!(say(elements(past), vec![]), [false, false]);
    assert_eq!(say(elements(None), elements(future)), [false, false]);
    assert_eq!(say(elements(None), elements(past)), [true, true]);
    assert_eq!(say([elements(past), elements(future)].concat(), vec![]), [true, true], "one of them lives");
}

#[test]
fn a_change_of_a_set_has_flows_judged_again() {
    let mut bench = bench_of_sets(elements(None), vec![]);
    assert_eq!([0, 1].map(|family| bench.say(&arriving(family))), [None, None]);
    bench.set.sets[1].added = elements(None);
    bench.conntrack.set_epoch += 1;
    assert_eq!([0, 1].map(|family| bench.say(&arriving(family))), [Some(Reason::Default); 2]);
    let mut bench = bench_of_sets(elements(None), vec![]);
    assert_eq!(bench.say(&arriving(0)), None);
    bench.conntrack.set_epoch += 1;
    assert_eq!(bench.say(&arriving(0)), None);
    assert_eq!(bench.conntrack.half_open().next().unwrap().1.epoch, 1, "stamped");
}

#[test]
fn a_flow_ends_with_the_longest_lived_element_that_let_it_in() {
    let mut bench = bench_of_sets([elements(Some(3 * SECOND)), elements(Some(6 * SECOND))].concat(), vec![]);
    assert_eq!([0, 1].map(|family| bench.say(&arriving(family))), [None, None]);
    bench.now = 4 * SECOND;
    assert_eq!([0, 1].map(|family| bench.say(&arriving(family))), [None, None]);
    bench.now = 6 * SECOND;
    assert_eq!([0, 1].map(|family| bench.say(&arriving(family))), [Some(Reason::Default); 2]);
}

#[test]
fn a_dynamic_deny_set_acts_on_the_next_packet() {
    let mut bench = Bench::ingress(vec![rule("all", Action::Allow)]);
    bench.set.sets.push(named_set("bad", ""));
    bench.set.policies[0].xdp = Some(Xdp { deny_sets: vec![SetId(0)], ..Xdp::default() });
    assert_eq!([0, 1].map(|family| bench.say(&arriving(family))), [None, None]);
    bench.set.sets[0].added = elements(Some(5 * SECOND));
    assert_eq!([0, 1].map(|family| bench.say(&arriving(family))), [Some(Reason::DenySet); 2]);
    bench.now = 5 * SECOND;
    assert_eq!([0, 1].map(|family| bench.say(&arriving(family))), [None, None]);
}

#[test]
fn a_rejecting_rule_ends_a_flow_with_an_answer() {
    let mut bench = Bench::ingress(vec![rule("all", Action::Allow)]);
    assert_eq!(bench.say(&arriving(0)), None);
    let mut set = bench.set.clone();
    set.policies[0].ingress.as_mut().unwrap().rules = vec![rule("no", Action::Reject)];
    bench.reload(set);
    let said = bench.judge(&arriving(0));
    assert_eq!((said.verdict, said.reason, said.rule.unwrap().id.as_str()), (Verdict::Reject, Some(Reason::Reject), "no"));
    assert_eq!(bench.conntrack.half_open().count(), 0);
}

#[test]
fn while_connections_are_adopted_a_segment_in_mid_stream_may_open_a_flow() {
    let web = Rule { protocol: Some(6), destination: peer("", "80"), ..rule("web", Action::Allow) };
    for us in ["198.51.100.1", "[2001:db8::1]"] {
        let them = if us.contains(':') { "[2001:db8::9]:1" } else { "203.0.113.9:1" };
        let mut bench = Bench::ingress(vec![web.clone()]);
        bench.interface.adopt_until = 60 * SECOND;
        let segment = |port: u16, flags| tcp(Ingress, them, &format!("{us}:{port}"), flags, 5, 5);
        assert_eq!(bench.say(&segment(81, ACK)), Some(Reason::Default), "the rules judge it");
        assert_eq!(bench.say(&segment(80, ACK)), None);
        assert_eq!(bench.conntrack.half_open().count(), 1);
        bench.now = 59 * SECOND;
        assert_eq!(bench.say(&segment(80, ACK)), None);
        bench.now = 60 * SECOND;
        assert_eq!(bench.say(&segment(80, ACK)), None, "adopted");
        bench.conntrack = Conntrack::default();
        assert_eq!(bench.say(&segment(80, ACK)), Some(Reason::NoConnection));
    }
}
