//! Conditions of rules: dynamic sets, expiry, limits, and how many of them one packet may meet.

use netpol_probes::abi;

use super::*;
use crate::kernel::tests::needs_root;

#[test]
fn source_in_a_dynamic_set_is_what_the_rule_wants() {
    needs_root!();
    let one = abi::np_condition { source_any: list(0, 2), ..condition() };
    let world = World::new("any", Rules::new(&[rule_if(abi::NP_ALLOW, 0)]).conditions(&[one]).set_lists(&[0, 1]), 2);
    assert_eq!(world.arrives(&udp("10.0.0.2", HERE, 1, 53)), abi::NP_R_DEFAULT);
    world.add(1, "10.0.0.0/24", 0);
    assert_eq!(world.arrives(&udp("10.0.0.2", HERE, 2, 53)), abi::NP_ACCEPTED);
    assert_eq!(world.arrives(&udp("10.0.1.2", HERE, 2, 53)), abi::NP_R_DEFAULT);
    world.add(0, "2001:db8:7::/64", boot_time() + 100 * SECOND);
    assert_eq!(world.arrives(&udp("2001:db8:7::9", HERE6, 2, 53)), abi::NP_ACCEPTED);
    assert_eq!(world.arrives(&udp("2001:db8:8::9", HERE6, 2, 53)), abi::NP_R_DEFAULT);
    world.add(0, "2001:db8:7::/64", boot_time() - SECOND);
    assert_eq!(world.arrives(&udp("2001:db8:7::9", HERE6, 3, 53)), abi::NP_R_DEFAULT, "its element has expired");
}

#[test]
fn every_list_of_a_condition_has_its_say() {
    needs_root!();
    let all = abi::np_condition {
        source_any: list(0, 1),
        source_none: list(1, 1),
        destination_any: list(2, 1),
        destination_none: list(3, 1),
        ..condition()
    };
    let world = World::new("lists", Rules::new(&[rule_if(abi::NP_ALLOW, 0)]).conditions(&[all]).set_lists(&[0, 1, 2, 3]), 4);
    world.add(0, "10.0.0.0/8", 0);
    world.add(1, "10.0.0.9/32", 0);
    world.add(2, "203.0.113.0/24", 0);
    world.add(3, "203.0.113.9/32", 0);
    assert_eq!(world.arrives(&udp("10.0.0.2", HERE, 1, 53)), abi::NP_ACCEPTED);
    assert_eq!(world.arrives(&udp("11.0.0.2", HERE, 1, 53)), abi::NP_R_DEFAULT);
    assert_eq!(world.arrives(&udp("10.0.0.9", HERE, 1, 53)), abi::NP_R_DEFAULT);
    assert_eq!(world.arrives(&udp("10.0.0.2", "203.0.114.1", 1, 53)), abi::NP_R_DEFAULT);
    assert_eq!(world.arrives(&udp("10.0.0.2", "203.0.113.9", 1, 53)), abi::NP_R_DEFAULT);
}

#[test]
fn expired_rule_does_not_match() {
    needs_root!();
    let until = |expires| abi::np_condition { expires, ..condition() };
    let rules = [rule_if(abi::NP_DENY, 0), rule_if(abi::NP_ALLOW, 1)];
    let world = World::new("expires", Rules::new(&rules).conditions(&[until(1), until(boot_time() + 100 * SECOND)]), 0);
    assert_eq!(world.arrives(&udp("10.0.0.2", HERE, 1, 53)), abi::NP_ACCEPTED);
}

#[test]
fn limit_of_a_rule_lets_its_burst_through() {
    needs_root!();
    let limited = abi::np_condition { limit: 0, ..condition() };
    let rules = Rules::new(&[rule_if(abi::NP_ALLOW, 0)]).conditions(&[limited]);
    let world = World::new("limit", rules.limits(&[limit(3, 1000, abi::NP_PER_RULE, 1)]), 0);
    let said: Vec<u32> = (0..5).map(|port| world.arrives(&udp(&format!("10.0.0.{port}"), HERE, port, 53))).collect();
    assert_eq!(said, [0, 0, 0, abi::NP_R_DEFAULT, abi::NP_R_DEFAULT]);
}

#[test]
fn limit_by_source_and_destination_counts_each_alone_and_ipv6_by_network() {
    needs_root!();
    let limited = abi::np_condition { limit: 0, ..condition() };
    let make = |per| Rules::new(&[rule_if(abi::NP_ALLOW, 0)]).conditions(&[limited]).limits(&[limit(1, 1000, per, u64::from(per))]);
    let mut world = World::new("limit-by", make(abi::NP_PER_SOURCE), 0);
    assert_eq!(world.arrives(&udp("10.0.0.1", HERE, 1, 53)), abi::NP_ACCEPTED);
    assert_eq!(world.arrives(&udp("10.0.0.1", HERE, 2, 53)), abi::NP_R_DEFAULT);
    assert_eq!(world.arrives(&udp("10.0.0.2", HERE, 1, 53)), abi::NP_ACCEPTED);
    assert_eq!(world.arrives(&udp("2001:db8:5::1", HERE6, 1, 53)), abi::NP_ACCEPTED);
    assert_eq!(world.arrives(&udp("2001:db8:5::2", HERE6, 1, 53)), abi::NP_R_DEFAULT);
    assert_eq!(world.arrives(&udp("2001:db8:5:1::1", HERE6, 1, 53)), abi::NP_ACCEPTED);
    world.install(make(abi::NP_PER_DESTINATION));
    assert_eq!(world.arrives(&udp("10.0.0.7", HERE, 1, 53)), abi::NP_ACCEPTED);
    assert_eq!(world.arrives(&udp("10.0.0.8", HERE, 1, 53)), abi::NP_R_DEFAULT);
    assert_eq!(world.arrives(&udp("10.0.0.8", "203.0.113.2", 1, 53)), abi::NP_ACCEPTED);
}

#[test]
fn limit_is_not_used_up_where_the_sets_do_not_hold() {
    needs_root!();
    let both = abi::np_condition { source_any: list(0, 1), limit: 0, ..condition() };
    let rules = Rules::new(&[rule_if(abi::NP_ALLOW, 0)]).conditions(&[both]).set_lists(&[0]);
    let world = World::new("limit-last", rules.limits(&[limit(1, 1000, abi::NP_PER_RULE, 1)]), 1);
    world.add(0, "10.0.0.1/32", 0);
    assert_eq!(world.arrives(&udp("10.0.0.2", HERE, 1, 53)), abi::NP_R_DEFAULT);
    assert_eq!(world.arrives(&udp("10.0.0.1", HERE, 1, 53)), abi::NP_ACCEPTED);
    assert_eq!(world.arrives(&udp("10.0.0.1", HERE, 2, 53)), abi::NP_R_DEFAULT);
}

#[test]
fn longest_walk_comes_to_its_end_and_a_longer_one_is_refused() {
    needs_root!();
    let never = abi::np_condition { expires: 1, ..condition() };
    let walk = |conditional: u32, plain: u32| {
        let mut rules = Vec::new();
        // Policies that pass, each with a rule that speaks and rules that come too late, and conditions that do not hold between them.
        for number in 0..conditional.max(plain) {
            if number < conditional {
                rules.push(abi::np_rule { policy: number, ..rule_if(abi::NP_DENY, 0) });
            }
            if number < plain {
                rules.push(abi::np_rule { policy: number, ..rule(abi::NP_PASS) });
            }
        }
        Rules::new(&rules).conditions(&[never])
    };
    let (most, conditional) = (abi::NP_MAX_CANDIDATES, abi::NP_MAX_CONDITIONAL);
    let mut world = World::new("walk", walk(conditional, most - conditional), 0);
    assert_eq!(world.arrives(&udp("10.0.0.2", HERE, 1, 53)), abi::NP_R_DEFAULT);
    assert_eq!(world.kernel.counters().unwrap().last().unwrap().packets, 1, "the default is counted once");
    world.install(walk(conditional + 1, 4));
    assert_eq!(world.arrives(&udp("10.0.0.2", HERE, 2, 53)), abi::NP_R_INTERNAL);
    world.install(walk(0, most + 1));
    assert_eq!(world.arrives(&udp("10.0.0.2", HERE, 3, 53)), abi::NP_R_INTERNAL);
}

#[test]
fn later_fragment_is_dropped_only_where_the_addresses_of_a_condition_hold() {
    needs_root!();
    let reads = abi::np_rule { flags: abi::NP_RULE_READS_L4 as u8, ..rule_if(abi::NP_ALLOW, 0) };
    let only = abi::np_condition { source_any: list(0, 1), limit: 0, ..condition() };
    let rules = Rules::new(&[reads, rule(abi::NP_ALLOW)]).conditions(&[only]).set_lists(&[0]);
    // The rate is 0: it would never hold, and is not asked.
    let world = World::new("later", rules.limits(&[abi::np_limit { cost: 1, ..Default::default() }]), 1);
    let later = ip("10.0.0.2", HERE, 17, 100, &[0; 16]);
    assert_eq!(world.arrives(&later), abi::NP_ACCEPTED);
    world.add(0, "10.0.0.2/32", 0);
    assert_eq!(world.arrives(&later), abi::NP_R_FRAGMENT);
}

#[test]
fn reject_has_a_reason_of_its_own() {
    needs_root!();
    let world = World::new("reject", Rules::new(&[rule(abi::NP_REJECT)]), 0);
    assert_eq!(world.arrives(&udp("10.0.0.2", HERE, 1, 53)), abi::NP_R_REJECT);
    assert_eq!(world.kernel.flows().unwrap(), []);
}

#[test]
fn set_that_is_missing_is_an_internal_error() {
    needs_root!();
    let one = abi::np_condition { source_any: list(0, 1), ..condition() };
    let world = World::new("no-set", Rules::new(&[rule_if(abi::NP_ALLOW, 0)]).conditions(&[one]).set_lists(&[5]), 1);
    assert_eq!(world.arrives(&udp("10.0.0.2", HERE, 1, 53)), abi::NP_R_INTERNAL);
}
