//! The judge and the compiled tables agree on every packet, and compilation is deterministic.

use proptest::prelude::*;

use super::evaluate::{Said, Tables};
use super::random;
use crate::compile::ruleset::{DeviceKind, LinkFacts, Ruleset};
use crate::compile::{compile, compile_within};
use crate::policy::judge::fixture::{chain, peer, policy, rule, set_of};
use crate::policy::judge::{Interface, IpPacket, L4, Packet, Sender, judge_by_rules};
use crate::policy::model::{Action, DefaultAction, Hook, Policy, PolicySet, Rule};
use crate::policy::reason::Reason;

pub fn link(ifindex: u32, name: &str) -> LinkFacts {
    LinkFacts { ifindex, name: name.to_owned(), device: DeviceKind::Ethernet, accepts_router_advertisements: true }
}

fn compare(set: &PolicySet, ruleset: &Ruleset, packet: &Packet) -> Result<(), TestCaseError> {
    let record = ruleset.links[&1].record;
    let chain = record.chain[if packet.hook == Hook::Ingress { 0 } else { 1 }];
    if chain == netpol_probes::abi::NP_NONE {
        return Ok(());
    }
    let judged = judge_by_rules(set, &Interface::named("eth0"), packet).unwrap();
    let number = |name: &crate::policy::judge::RuleName| {
        ruleset.core.rule_info.iter().position(|info| info.policy == name.policy && info.id == name.id).unwrap() as u32
    };
    let wanted = Said { reason: judged.reason, rule: judged.rule.as_ref().map(number) };
    prop_assert_eq!(Tables::of(&ruleset.core).evaluate(chain, packet), wanted, "{:?}", judged);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, max_shrink_iters: 20_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn tables_say_what_the_judge_says(
        set in random::policy_set(),
        packets in prop::collection::vec(random::packet(), 24),
        comfortable in prop_oneof![Just(0u64), Just(40), Just(1 << 16)],
    ) {
        let ruleset = compile_within(&set, &[link(1, "eth0")], comfortable).unwrap();
        for packet in &packets {
            compare(&set, &ruleset, packet)?;
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
        let (once, again) = (compile(&set, &links).unwrap(), compile(&set, &turned).unwrap());
        prop_assert_eq!(once.core.digest(), again.core.digest());
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
        let said = Tables::of(&ruleset.core).evaluate(0, &packet);
        assert_eq!(said, Said { reason: Some(Reason::Rule), rule: Some(2) });
    }
}
