//! What policies in audit mode would have denied, as the judge says it and as the programs' counters do.

use std::collections::BTreeMap;

use netpol_ebpf::compile::ruleset::Core;
use netpol_ebpf::kernel::CounterTotal;
use netpol_ebpf::policy::judge::{Judgement, Objection};
use netpol_probes::abi;

/// Packets by rule ("policy/direction/id"), and in "default" those that defaults would have denied.
pub type Tally = BTreeMap<String, u64>;

/// Notes what the judge says.
pub fn note(tally: &mut Tally, judged: &Judgement) {
    let mut count = |name| *tally.entry(name).or_default() += 1;
    for objection in &judged.would_deny {
        if let Objection::Rule(rule) = objection {
            count(format!("{}/{:?}/{}", rule.policy, rule.direction, rule.id));
        }
    }
    if judged.would_deny.iter().any(|objection| matches!(objection, Objection::Default(_))) {
        count("default".to_owned());
    }
}

/// What the counters say has been counted between two readings.
pub fn counted(core: &Core, before: &[CounterTotal], after: &[CounterTotal]) -> Tally {
    let rose = |index: usize| after[index].packets - before.get(index).map_or(0, |earlier| earlier.packets);
    let objects = |action: u8| [abi::NP_DENY, abi::NP_REJECT].contains(&u32::from(action));
    let mut tally = Tally::new();
    for (number, (rule, info)) in core.rules.iter().zip(&core.rule_info).enumerate() {
        if u32::from(rule.audit) != abi::NP_NOT_AUDIT && objects(rule.action) && rose(number) > 0 {
            *tally.entry(format!("{}/{:?}/{}", info.policy, info.direction, info.id)).or_default() += rose(number);
        }
    }
    for chain in core.chains.iter().filter(|chain| chain.audit_counter != abi::NP_NONE) {
        let rose = rose(chain.audit_counter as usize);
        if rose > 0 {
            *tally.entry("default".to_owned()).or_default() += rose;
        }
    }
    tally
}
