//! Policies in audit mode: what they would have said is counted and told, and changes no verdict.

use std::time::Duration;

use netpol_probes::abi;

use super::*;
use crate::kernel::tests::needs_root;

/// A rule of the audit policy of that number and rank.
fn audited(action: u32, number: u8) -> abi::np_rule {
    abi::np_rule { audit: number, policy: number.into(), ..rule(action) }
}

/// Events since the last call: (rule, reason, audit policy), an ordinary one with `NP_NOT_AUDIT`.
fn told(world: &World, frame: &[u8]) -> (u32, Vec<(u32, u32, u32)>) {
    let mut events = world.kernel.events().unwrap();
    let reason = world.arrives(frame);
    let mut seen = Vec::new();
    events
        .poll(Duration::from_millis(200), &mut |event| {
            assert_eq!(u32::from(event.flags) == abi::NP_EVENT_AUDIT, u32::from(event.audit) != abi::NP_NOT_AUDIT);
            seen.push((event.rule, event.reason.into(), event.audit.into()));
        })
        .unwrap();
    (reason, seen)
}

#[test]
fn audit_rule_is_counted_and_told_and_the_walk_goes_on() {
    needs_root!();
    let enforced = abi::np_rule { policy: 9, flags: abi::NP_RULE_LOG as u8, ..rule(abi::NP_ALLOW) };
    let rules = [audited(abi::NP_DENY, 0), audited(abi::NP_DENY, 0), audited(abi::NP_REJECT, 1), audited(abi::NP_ALLOW, 2), enforced];
    let world = World::new("audit", Rules::new(&rules), 0);
    let (reason, events) = told(&world, &udp("10.0.0.2", HERE, 1, 53));
    assert_eq!(reason, abi::NP_ACCEPTED);
    let not = abi::NP_NOT_AUDIT;
    assert_eq!(events, [(4, abi::NP_ACCEPTED, not), (0, abi::NP_R_RULE, 0), (2, abi::NP_R_REJECT, 1)]);
    let hits: Vec<u64> = world.kernel.counters().unwrap().iter().map(|counter| counter.packets).collect();
    assert_eq!(hits, [1, 0, 1, 1, 1, 0]);
}

#[test]
fn default_of_a_silent_audit_policy_is_told_and_spoken_ones_are_not() {
    needs_root!();
    let mut rules = Rules::new(&[audited(abi::NP_PASS, 1)]);
    // Counter 0: the rule; 1: what audit defaults would deny; both chains share the numbers in this test.
    rules.core.chains[0].audit_counter = 1;
    rules.core.chains[0].audit_denies = 0b10_1010;
    let world = World::new("audit-default", rules, 0);
    let (reason, events) = told(&world, &udp("10.0.0.2", HERE, 1, 53));
    assert_eq!((reason, events), (abi::NP_R_DEFAULT, vec![(abi::NP_NONE, abi::NP_R_DEFAULT, 3)]));
    assert_eq!(world.kernel.counters().unwrap()[1].packets, 2, "once as audit, once as the default itself");
}

#[test]
fn hook_with_audit_policies_only_refuses_nothing() {
    needs_root!();
    let rules = Rules::new(&[audited(abi::NP_DENY, 0)]).link(|link| {
        link.chain = [NONE; 2];
        link.audit_chain = [0, NONE];
    });
    let world = World::new("audit-chain", rules, 0);
    let query = udp("10.0.0.2", HERE, 1, 53);
    assert_eq!(told(&world, &query), (abi::NP_ACCEPTED, vec![(0, abi::NP_R_RULE, 0)]));
    assert_eq!(world.kernel.flows().unwrap().len(), 1, "state is kept");
    assert_eq!(world.leaves(&udp(HERE, "10.0.0.2", 53, 1)), abi::NP_ACCEPTED);
    assert_eq!(told(&world, &query), (abi::NP_ACCEPTED, vec![]), "only what opens flows is judged");
    assert_eq!(told(&world, &tcp("10.0.0.2", 5, ACK)), (abi::NP_ACCEPTED, vec![]));
    assert_eq!(told(&world, &tcp("10.0.0.2", 5, SYN)).1.len(), 1);
    assert_eq!(world.kernel.counters().unwrap()[0].packets, 2);
}

#[test]
fn fragment_that_an_audit_rule_cannot_judge_is_left_to_the_others() {
    needs_root!();
    let hidden = abi::np_rule { flags: abi::NP_RULE_READS_L4 as u8, ..audited(abi::NP_DENY, 0) };
    let world = World::new("audit-later", Rules::new(&[hidden, abi::np_rule { policy: 1, ..rule(abi::NP_ALLOW) }]), 0);
    assert_eq!(told(&world, &ip("10.0.0.2", HERE, 17, 100, &[0; 16])), (abi::NP_ACCEPTED, vec![]));
}

/// Each CPU has a rate of its own.
fn stay_on_this_cpu() {
    // SAFETY: a set of CPUs is plain data; the call reads as many bytes as it is told.
    unsafe {
        let mut cpus: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(libc::sched_getcpu() as usize, &mut cpus);
        assert_eq!(libc::sched_setaffinity(0, size_of_val(&cpus), &cpus), 0);
    }
}

#[test]
fn events_of_a_rule_above_its_rate_are_suppressed() {
    needs_root!();
    let logging = abi::np_rule { flags: abi::NP_RULE_LOG as u8, ..rule(abi::NP_DENY) };
    let mut rules = Rules::new(&[logging]);
    (rules.core.slot.log_cost, rules.core.slot.log_depth) = (1000 * SECOND, 2000 * SECOND);
    let world = World::new("log-rate", rules, 0);
    stay_on_this_cpu();
    let told: Vec<usize> = (0..4).map(|port| told(&world, &udp("10.0.0.2", HERE, port, 53)).1.len()).collect();
    assert_eq!(told, [1, 1, 0, 0]);
}
