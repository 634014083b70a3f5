//! The judge and the compiled tables agree on every packet, and compilation is deterministic.

use proptest::prelude::*;

use super::evaluate::{Said, Tables};
use super::random;
use crate::compile::ruleset::{DeviceKind, LinkFacts, Ruleset};
use crate::compile::{compile, compile_within};
use crate::policy::judge::{Interface, Packet, judge_by_rules};
use crate::policy::model::{Hook, PolicySet};

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
