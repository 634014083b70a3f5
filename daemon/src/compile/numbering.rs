//! Rule numbers: policies in order, ingress before egress, then position. They rise along every chain.

use netpol_probes::abi;

use super::ruleset::RuleInfo;
use crate::policy::model::{Action, Direction, PolicySet, Rule};

/// A rule and its place among all rules.
pub(super) struct Numbered<'a> {
    pub(super) rule: &'a Rule,
    /// Rank of its policy.
    pub(super) policy: u32,
    pub(super) direction: Direction,
}

/// All rules of all policies, by number.
pub(super) struct Numbering<'a> {
    pub(super) rules: Vec<Numbered<'a>>,
}

impl<'a> Numbering<'a> {
    /// Numbers the rules of a policy set.
    pub(super) fn of(set: &'a PolicySet) -> Numbering<'a> {
        let mut rules = Vec::new();
        for (policy, rank) in set.policies.iter().zip(0..) {
            for direction in [Direction::Ingress, Direction::Egress] {
                let chain = policy.chain(direction).map_or(&[][..], |chain| &chain.rules);
                rules.extend(chain.iter().map(|rule| Numbered { rule, policy: rank, direction }));
            }
        }
        Numbering { rules }
    }

    /// Numbers of the rules of one direction of the policies with these ranks, rising.
    pub(super) fn of_chain(&self, policies: &[u32], direction: Direction) -> Vec<u32> {
        let belongs = |rule: &Numbered<'_>| rule.direction == direction && policies.binary_search(&rule.policy).is_ok();
        self.rules.iter().zip(0..).filter(|(rule, _)| belongs(rule)).map(|(_, number)| number).collect()
    }

    /// The records of the `rules` map.
    pub(super) fn records(&self) -> Vec<abi::np_rule> {
        self.rules.iter().map(|numbered| record(numbered.rule, numbered.policy)).collect()
    }

    /// What the rules are called.
    pub(super) fn info(&self, set: &PolicySet) -> Vec<RuleInfo> {
        let info = |numbered: &Numbered<'_>| RuleInfo {
            policy: set.policies[numbered.policy as usize].name.clone(),
            direction: numbered.direction,
            id: numbered.rule.id.clone(),
            origin: numbered.rule.origin.clone(),
        };
        self.rules.iter().map(info).collect()
    }
}

fn record(rule: &Rule, policy: u32) -> abi::np_rule {
    let action = match rule.action {
        Action::Allow => abi::NP_ALLOW,
        Action::Deny => abi::NP_DENY,
        Action::Reject => abi::NP_REJECT,
        Action::Pass => abi::NP_PASS,
    };
    let reads_l4 = rule.source.reads_port() || rule.destination.reads_port() || rule.icmp.is_some() || rule.tcp_flags.is_some();
    let mut flags = 0;
    for (is_set, flag) in [
        (rule.log, abi::NP_RULE_LOG),
        (reads_l4, abi::NP_RULE_READS_L4),
        (rule.protocol.is_some() || reads_l4, abi::NP_RULE_READS_PROTOCOL),
    ] {
        flags |= if is_set { flag } else { 0 };
    }
    // Actions and flags are small numbers of the ABI.
    abi::np_rule {
        action: action as u8,
        flags: flags as u8,
        reject_with: 0,
        audit: abi::NP_NOT_AUDIT as u8,
        policy,
        condition: abi::NP_NONE,
    }
}
