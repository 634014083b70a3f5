//! The judge and the compiled tables agree on every packet, and compilation is deterministic.

use netpol_probes::abi;
use proptest::prelude::*;

use super::evaluate::{Said, Tables, World, Would};
use super::random;
use crate::compile::ruleset::{DeviceKind, LinkFacts, Ruleset};
use crate::compile::{CompileError, compile, compile_within};
use crate::policy::judge::fixture::{chain, peer, policy, rule, set_of};
use crate::policy::judge::{Interface, IpPacket, L4, Objection, Packet, RuleName, Sender, judge_by_rules};
use crate::policy::model::{Action, DefaultAction, Direction, Hook, Policy, PolicySet, Rule};
use crate::policy::reason::Reason;

pub fn link(ifindex: u32, name: &str) -> LinkFacts {
    LinkFacts { ifindex, name: name.to_owned(), device: DeviceKind::Ethernet, accepts_router_advertisements: true, owners: vec![] }
}

/// The chain of a packet's hook, be it one that only audit policies make.
fn chain_of(ruleset: &Ruleset, packet: &Packet) -> Option<u32> {
    let record = ruleset.links[&1].record;
    let hook = if packet.hook == Hook::Ingress { 0 } else { 1 };
    [record.chain[hook], record.audit_chain[hook]].into_iter().find(|chain| *chain != abi::NP_NONE)
}

/// The same policies with limits that nothing is within.
fn exhausted(set: &PolicySet) -> PolicySet {
    let mut set = set.clone();
    let chains = set.policies.iter_mut().flat_map(|policy| policy.ingress.iter_mut().chain(&mut policy.egress));
    chains.flat_map(|chain| &mut chain.rules).flat_map(|rule| &mut rule.limit).for_each(|limit| limit.rate.burst = 0);
    set
}

fn compare(set: &PolicySet, ruleset: &Ruleset, packet: &Packet, world: &World) -> Result<(), TestCaseError> {
    let Some(chain) = chain_of(ruleset, packet) else { return Ok(()) };
    let core = &ruleset.core;
    let judged = judge_by_rules(set, &Interface::named("eth0"), packet).unwrap();
    let number = |name: &RuleName| core.rule_info.iter().position(|info| info.policy == name.policy && info.id == name.id).unwrap() as u32;
    let would = |objection: &Objection| match objection {
        Objection::Rule(name) => Would::Rule(number(name)),
        Objection::Default(name) => Would::Default(core.audit_info.iter().position(|audit| audit.policy == name.policy).unwrap() as u8),
    };
    let would_deny = judged.would_deny.iter().map(would).collect();
    let wanted = Said { reason: judged.reason, rule: judged.rule.as_ref().map(number), would_deny };
    prop_assert_eq!(Tables::of(core).evaluate(chain, packet, world), wanted, "{:?}", judged);
    Ok(())
}

/// Whether so many conditional rules stand in one direction that there may be no tables for them.
fn may_be_refused(set: &PolicySet, error: &CompileError) -> bool {
    let conditional = |rule: &&Rule| {
        let peers = [&rule.source, &rule.destination].into_iter();
        let sets = peers.flat_map(|peer| peer.sets.iter().chain(&peer.not_sets));
        rule.limit.is_some() || rule.expires.is_some() || sets.into_iter().any(|id| id.0 >= 2)
    };
    let most = [Direction::Ingress, Direction::Egress].map(|direction| {
        let rules = set.policies.iter().filter_map(|policy| policy.chain(direction)).flat_map(|chain| &chain.rules);
        rules.filter(conditional).count()
    });
    matches!(error, CompileError::TooMany { .. }) && most.into_iter().max() > Some(abi::NP_MAX_CONDITIONAL as usize)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, max_shrink_iters: 20_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn tables_say_what_the_judge_says(
        set in random::policy_set(),
        packets in prop::collection::vec(random::packet(), 24),
        comfortable in prop_oneof![Just(0u64), Just(40), Just(1 << 16)],
    ) {
        let ruleset = match compile_within(&set, &[link(1, "eth0")], comfortable) {
            Ok(ruleset) => ruleset,
            Err(error) => {
                prop_assert!(may_be_refused(&set, &error), "{error}");
                return Ok(());
            }
        };
        let exhausted = exhausted(&set);
        for packet in &packets {
            compare(&set, &ruleset, packet, &World::of(&set, true))?;
            compare(&exhausted, &ruleset, packet, &World::of(&set, false))?;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn equal_input_gives_an_equal_ruleset(set in random::policy_set()) {
        let links = [link(3, "eth0"), link(1, "eth1"), link(2, "wlan0")];
        let mut turned = links.clone();
        turned.reverse();
        let (once, again) = (compile(&set, &links), compile(&set, &turned));
        if let (Ok(once), Ok(again)) = (&once, &again) {
            prop_assert_eq!(once.core.digest(), again.core.digest());
        }
        prop_assert!(once == again);
    }
}

/// A `pass` in one layer makes the rules behind an `allow` of the same policy in another layer matter.
#[test]
fn a_pass_skips_its_policy_in_all_layers() {
    let from = |id, action| Rule { source: peer("10.0.0.0/8", ""), ..rule(id, action) };
    let isolated = |rules| Some(chain(DefaultAction::Allow, rules));
    let first = Policy { ingress: isolated(vec![rule("pass", Action::Pass), from("never", Action::Allow)]), ..policy("a", 1) };
    let second = Policy { ingress: isolated(vec![from("deny", Action::Deny)]), ..policy("b", 2) };
    let set = set_of(vec![first, second]);
    let ip = IpPacket {
        source: "10.1.2.3".parse().unwrap(),
        destination: "192.0.2.1".parse().unwrap(),
        protocol: 47,
        hop_limit: 64,
        fragment: None,
        l4: L4::None,
    };
    let packet =
        Packet { hook: Hook::Ingress, tags: [0, 0], ethertype: 0x0800, length: 60, sender: Sender::default(), refusal: None, ip: Some(ip) };
    for comfortable in [0, 1 << 16] {
        let ruleset = compile_within(&set, &[link(1, "eth0")], comfortable).unwrap();
        assert_eq!(ruleset.core.layers.len(), if comfortable == 0 { 2 } else { 1 });
        let said = Tables::of(&ruleset.core).evaluate(0, &packet, &World::default());
        assert_eq!(said, Said { reason: Some(Reason::Rule), rule: Some(2), would_deny: Vec::new() });
    }
}
