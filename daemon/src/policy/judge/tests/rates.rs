//! Rates: the limits of rules, and of sources before everything else.

use super::*;
use crate::policy::judge::fixture::{named_set, origin, peer, rule};
use crate::policy::model::{Action, Failsafe, Hook::*, Limit, LimitPer, Rate, RateLimit, SetId, Xdp};

fn rate(burst: u32) -> Rate {
    Rate { burst, ..Rate::per_second(1) }
}

fn limited(per: LimitPer) -> Vec<Rule> {
    vec![Rule { limit: Some(Limit { rate: rate(2), per }), ..rule("few", Action::Allow) }]
}

fn from(number: u16) -> Packet {
    udp(Ingress, &format!("203.0.113.9:{number}"), "198.51.100.1:53")
}

#[test]
fn above_its_rate_a_rule_does_not_match_and_the_walk_goes_on() {
    let mut bench = Bench::ingress([limited(LimitPer::Rule), vec![rule("many", Action::Reject)]].concat());
    assert_eq!([1, 2, 3].map(|number| bench.say(&from(number))), [None, None, Some(Reason::Reject)]);
    assert_eq!([1, 2].map(|number| bench.say(&from(number))), [None, None], "running flows are not counted");
    bench.now += SECOND;
    assert_eq!([4, 5].map(|number| bench.say(&from(number))), [None, Some(Reason::Reject)], "one a second");
    bench.now += 60 * SECOND;
    assert_eq!([6, 7, 8].map(|number| bench.say(&from(number))), [None, None, Some(Reason::Reject)], "no more than the burst is saved");
}

#[test]
fn a_limit_is_asked_last() {
    let few = Rule { destination: peer("", "53"), ..limited(LimitPer::Rule).remove(0) };
    let mut bench = Bench::ingress(vec![few]);
    for number in 1..9 {
        assert_eq!(bench.say(&udp(Ingress, &format!("203.0.113.9:{number}"), "198.51.100.1:54")), Some(Reason::Default));
    }
    assert_eq!([1, 2, 3].map(|number| bench.say(&from(number))), [None, None, Some(Reason::Default)]);
}

#[test]
fn each_source_or_destination_has_its_own_rate_and_ipv6_counts_by_64_bits() {
    let send = |source: &str, destination: &str, port: usize| udp(Ingress, &format!("{source}:{port}"), &format!("{destination}:53"));
    for (a, other, same) in
        [("203.0.113.9", "203.0.113.8", "203.0.113.9"), ("[2001:db8:9::1]", "[2001:db8:9:1::1]", "[2001:db8:9::ffff:1]")]
    {
        let v6 = a.contains(':');
        let us = if v6 { "[2001:db8::1]" } else { "198.51.100.1" };
        let mut by_source = Bench::ingress(limited(LimitPer::Source));
        let mut by_destination = Bench::ingress(limited(LimitPer::Destination));
        for (number, (host, reason)) in [(a, None), (same, None), (a, Some(Reason::Default)), (other, None)].into_iter().enumerate() {
            assert_eq!(by_source.say(&send(host, us, number)), reason, "{host}");
            assert_eq!(by_destination.say(&send(us, host, number)), reason, "{host}");
        }
    }
}

#[test]
fn a_flow_that_is_judged_again_holds_its_limit_without_using_it_up() {
    let mut bench = Bench::ingress(limited(LimitPer::Rule));
    assert_eq!([1, 2].map(|number| bench.say(&from(number))), [None, None]);
    bench.reload(bench.set.clone());
    assert_eq!([1, 2].map(|number| bench.say(&from(number))), [None, None]);
    bench.now += SECOND;
    assert_eq!([3, 4].map(|number| bench.say(&from(number))), [None, Some(Reason::Default)], "only what the rules judge for itself counts");
}

fn limited_link(packets: Option<u32>, syns: Option<u32>) -> Bench {
    let mut bench = Bench::ingress(vec![rule("all", Action::Allow)]);
    let rate_limit = RateLimit { packets: packets.map(rate), syns: syns.map(rate) };
    bench.set.policies[0].xdp = Some(Xdp { rate_limit, ..Xdp::default() });
    bench
}

#[test]
fn every_arriving_packet_of_a_source_counts_whatever_its_flow() {
    let mut bench = limited_link(Some(3), None);
    assert_eq!([1, 1, 2, 2].map(|number| bench.say(&from(number))), [None, None, None, Some(Reason::RateLimit)]);
    assert_eq!(bench.say(&udp(Egress, "198.51.100.1:53", "203.0.113.9:1")), None, "what leaves is not counted");
    assert_eq!(bench.say(&udp(Ingress, "203.0.113.8:1", "198.51.100.1:53")), None, "another source");
    let v6 = |host: u16| udp(Ingress, &format!("[2001:db8:9::{host}]:1"), "[2001:db8::1]:53");
    assert_eq!([1, 2, 3, 4].map(|host| bench.say(&v6(host))), [None, None, None, Some(Reason::RateLimit)], "one /64");
    bench.interface.ifindex = 2;
    assert_eq!(bench.say(&from(1)), None, "another interface");
    let mut bench = limited_link(Some(1), None);
    bench.set.policies[0].egress = bench.set.policies[0].ingress.take();
    assert_eq!([1, 2].map(|number| bench.say(&from(number))), [None, Some(Reason::RateLimit)], "ingress is not isolated");
}

#[test]
fn syns_have_a_rate_of_their_own() {
    let mut bench = limited_link(None, Some(1));
    let syn = |number: u16, flags| tcp(Ingress, &format!("203.0.113.9:{number}"), "198.51.100.1:80", flags, 1, 0);
    assert_eq!([1, 2].map(|number| bench.say(&syn(number, SYN))), [None, Some(Reason::RateLimit)]);
    assert_eq!(bench.say(&syn(3, SYN | ACK)), Some(Reason::NoConnection), "no SYN of its own");
    assert_eq!(bench.say(&from(1)), None);
    let mut bench = limited_link(Some(2), Some(1));
    assert_eq!([1, 2].map(|number| bench.say(&syn(number, SYN))), [None, Some(Reason::RateLimit)]);
    assert_eq!(bench.say(&from(1)), Some(Reason::RateLimit), "a SYN too many is a packet as well");
}

#[test]
fn of_several_policies_the_lower_rate_counts() {
    let mut bench = limited_link(Some(1), None);
    let generous = RateLimit { packets: Some(Rate { burst: 9, ..Rate::per_second(100) }), syns: None };
    let other = Policy { xdp: Some(Xdp { rate_limit: generous, ..Xdp::default() }), ..policy("other", 1) };
    bench.set.policies.insert(0, other);
    assert_eq!([1, 2].map(|number| bench.say(&from(number))), [None, Some(Reason::RateLimit)]);
}

#[test]
fn deny_sets_come_first_and_failsafe_with_nets_is_excused() {
    let mut bench = limited_link(Some(1), Some(1));
    bench.set.sets.push(named_set("bad", "203.0.113.7/32"));
    bench.set.policies[0].xdp.as_mut().unwrap().deny_sets = vec![SetId(0)];
    let bad = || udp(Ingress, "203.0.113.7:1", "198.51.100.1:53");
    assert_eq!([bad(), bad()].map(|packet| bench.say(&packet)), [Some(Reason::DenySet), Some(Reason::DenySet)]);
    bench.set.daemon.failsafe_inbound =
        vec![Failsafe { protocol: 17, port: 53, nets: vec!["203.0.113.9/32".parse().unwrap()], origin: origin() }];
    assert_eq!([1, 2, 3].map(|number| bench.say(&from(number))), [None, None, None]);
}
