//! Flows that have to be judged again, and flows that are adopted.

use std::thread;
use std::time::Duration;

use netpol_probes::abi;

use super::*;
use crate::kernel::tests::needs_root;

fn by_set(conditions: &[abi::np_condition]) -> Rules {
    Rules::new(&[rule_if(abi::NP_ALLOW, 0)]).conditions(conditions).set_lists(&[0])
}

fn only_flow(world: &World) -> abi::np_flow {
    let [(_, flow)] = world.kernel.flows().unwrap()[..] else { panic!("there must be one flow") };
    flow
}

#[test]
fn flow_ends_with_the_element_that_allowed_it() {
    needs_root!();
    let world = World::new("element-ends", by_set(&[abi::np_condition { source_any: list(0, 1), ..condition() }]), 1);
    let end = boot_time() + SECOND / 2;
    world.add(0, "10.0.0.2/32", end);
    world.establish("10.0.0.2", 9);
    assert_eq!(only_flow(&world).expires, end);
    assert_eq!(world.arrives(&udp("10.0.0.2", HERE, 9, 53)), abi::NP_ACCEPTED);
    thread::sleep(Duration::from_millis(700));
    assert_eq!(world.arrives(&udp("10.0.0.2", HERE, 9, 53)), abi::NP_R_DEFAULT);
    assert_eq!(world.kernel.flows().unwrap(), []);
}

#[test]
fn flow_ends_with_the_exemption_that_allowed_it() {
    needs_root!();
    let exempt = abi::np_condition { source_none: list(0, 1), expires: boot_time() + 100 * SECOND, ..condition() };
    let rules = Rules::new(&[rule_if(abi::NP_DENY, 0), rule(abi::NP_ALLOW)]).conditions(&[exempt]).set_lists(&[0]);
    let world = World::new("exemption-ends", rules, 1);
    let end = boot_time() + SECOND / 2;
    world.add(0, "10.0.0.2/32", end);
    world.establish("10.0.0.2", 9);
    assert_eq!(only_flow(&world).expires, end, "the earlier of the two");
    thread::sleep(Duration::from_millis(700));
    assert_eq!(world.arrives(&udp("10.0.0.2", HERE, 9, 53)), abi::NP_R_RULE);
}

#[test]
fn changed_set_is_asked_again_and_stamped_once() {
    needs_root!();
    let mut world = World::new("epoch", by_set(&[abi::np_condition { source_any: list(0, 1), ..condition() }]), 1);
    world.add(0, "10.0.0.0/8", 0);
    world.establish("10.0.0.2", 9);
    world.raise_epoch();
    assert_eq!((only_flow(&world).epoch, only_flow(&world).expires), (0, 0));
    assert_eq!(world.arrives(&udp("10.0.0.2", HERE, 9, 53)), abi::NP_ACCEPTED);
    assert_eq!(only_flow(&world).epoch, 1);
    let hits = world.kernel.counters().unwrap()[0].packets;
    assert_eq!(world.arrives(&udp("10.0.0.2", HERE, 9, 53)), abi::NP_ACCEPTED);
    assert_eq!(world.kernel.counters().unwrap()[0].packets, hits, "it is fresh");

    world.sets[0].delete(&element("10.0.0.0".parse().unwrap(), 8)).unwrap();
    assert_eq!(world.arrives(&udp("10.0.0.2", HERE, 9, 53)), abi::NP_ACCEPTED, "nobody has said that the set changed");
    world.raise_epoch();
    assert_eq!(world.arrives(&udp("10.0.0.2", HERE, 9, 53)), abi::NP_R_DEFAULT);

    world.add(0, "10.0.0.0/8", 0);
    let mut keep = by_set(&[abi::np_condition { source_any: list(0, 1), ..condition() }]);
    keep.core.slot.flags = abi::NP_SLOT_KEEP;
    world.install(keep);
    world.establish("10.0.0.2", 9);
    world.raise_epoch();
    assert_eq!(world.arrives(&udp("10.0.0.2", HERE, 9, 53)), abi::NP_ACCEPTED);
    assert_eq!(only_flow(&world).epoch, 2, "kept flows are not judged again");
}

#[test]
fn limit_holds_for_a_flow_that_is_judged_again() {
    needs_root!();
    let limited = abi::np_condition { limit: 0, ..condition() };
    let rules = || by_set(&[limited]).limits(&[limit(1, 1000, abi::NP_PER_SOURCE, 7)]);
    let world = World::new("limit-holds", rules(), 0);
    world.establish("10.0.0.2", 9);
    assert_eq!(world.arrives(&udp("10.0.0.2", HERE, 10, 53)), abi::NP_R_DEFAULT);
    world.raise_epoch();
    assert_eq!(world.arrives(&udp("10.0.0.2", HERE, 9, 53)), abi::NP_ACCEPTED);
    assert_eq!(world.arrives(&udp("10.0.0.2", HERE, 11, 53)), abi::NP_R_DEFAULT);
}

#[test]
fn segment_opens_a_flow_while_connections_are_adopted() {
    needs_root!();
    let world = World::new("adopt-until", Rules::new(&[rule(abi::NP_ALLOW)]), 0);
    assert_eq!(world.arrives(&tcp("10.0.0.2", 1, ACK)), abi::NP_R_NO_CONNECTION);
    world.change_link(|link| link.adopt_until = boot_time() + 100 * SECOND);
    assert_eq!(world.arrives(&tcp("10.0.0.2", 1, ACK)), abi::NP_ACCEPTED);
    assert_eq!(u32::from(only_flow(&world).state), abi::NP_FLOW_NEW);
    assert_eq!(world.leaves(&turned(&tcp("10.0.0.2", 1, ACK))), abi::NP_ACCEPTED);
    assert_eq!(u32::from(only_flow(&world).state), abi::NP_FLOW_ESTABLISHED);
    world.change_link(|link| link.adopt_until = 1);
    assert_eq!(world.arrives(&tcp("10.0.0.2", 2, ACK)), abi::NP_R_NO_CONNECTION);
    assert_eq!(world.arrives(&tcp("10.0.0.2", 1, ACK)), abi::NP_ACCEPTED);
}

/// A segment of a connection to port 4000 of HERE, or its answer.
fn turned(segment: &[u8]) -> Vec<u8> {
    [&segment[..26], &segment[30..34], &segment[26..30], &segment[36..38], &segment[34..36], &segment[38..]].concat()
}

#[test]
fn forged_segments_fill_no_table_of_connections_where_they_may_open_flows() {
    needs_root!();
    let world = World::new("adopt-flood", Rules::new(&[rule(abi::NP_ALLOW)]), 0);
    world.change_link(|link| link.adopt_until = u64::MAX);
    let segment = |n: u16| tcp(&format!("10.0.{}.{}", n / 250, n % 250), 4000, ACK);
    let full = (0..600).filter(|n| world.arrives(&segment(*n)) == abi::NP_R_CONNTRACK_FULL).count();
    assert_eq!(full, 600 - 512, "they are half-open flows");
    assert!(world.kernel.flows().unwrap().iter().all(|(_, flow)| u32::from(flow.state) == abi::NP_FLOW_NEW));
    assert_eq!(world.leaves(&turned(&segment(1))), abi::NP_ACCEPTED);
    let states = world.kernel.flows().unwrap().into_iter().filter(|(_, flow)| u32::from(flow.state) == abi::NP_FLOW_ESTABLISHED).count();
    assert_eq!(states, 1, "the one that is answered");
}
