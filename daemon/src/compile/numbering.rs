//! Rule numbers: policies in order, ingress before egress, then position. They rise along every chain.

use netpol_probes::abi;

use super::CompileError;
use super::l4::Part;
use super::ruleset::RuleInfo;
use super::sets::reads_dynamic;
use crate::policy::model::{Action, Direction, Mode, Policy, PolicySet, RejectWith, Rule};

/// What of a rule the tables do not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asks {
    /// Nothing: it matches where they say so.
    Nothing,
    /// Its rate, which is asked last: not where it is not certain that the rest matches.
    Rate,
    /// Its expiry or a dynamic set.
    More,
}

/// A rule and its place among all rules.
pub(super) struct Numbered<'a> {
    pub(super) rule: &'a Rule,
    pub(super) policy: &'a Policy,
    /// Of its policy.
    pub(super) rank: u32,
    pub(super) direction: Direction,
    /// Number among the policies in audit mode, if its policy is one.
    pub(super) audit: Option<u8>,
    pub(super) asks: Asks,
}

impl Numbered<'_> {
    /// For people.
    pub(super) fn name(&self) -> String {
        format!("{}/{}", self.policy.name, self.rule.id)
    }

    /// Whether it reads something that such a part does not carry: there, it can only be said that it could match.
    pub(super) fn is_hidden_from(&self, part: Part) -> bool {
        let rule = self.rule;
        let reads_l4 = || rule.source.reads_port() || rule.destination.reads_port() || rule.icmp.is_some() || rule.tcp_flags.is_some();
        match part {
            Part::Whole => false,
            Part::Later => reads_l4(),
            Part::Unknown => rule.protocol.is_some() || reads_l4(),
        }
    }

    /// Whether it may not match although the tables say so; `hidden`: it reads what the packet does not carry.
    pub(super) fn is_conditional(&self, hidden: bool) -> bool {
        self.asks == Asks::More || (self.asks == Asks::Rate && !hidden)
    }

    /// Whether nothing behind it is asked where it matches. What could match is refused, if it is hidden whether it does.
    pub(super) fn decides(&self, hidden: bool) -> bool {
        !self.is_conditional(hidden) && self.audit.is_none() && (hidden || self.rule.action != Action::Pass)
    }
}

/// All rules of all policies, by number.
pub(super) struct Numbering<'a> {
    pub(super) rules: Vec<Numbered<'a>>,
    /// By rank: the number of a policy in audit mode.
    audits: Vec<Option<u8>>,
}

impl<'a> Numbering<'a> {
    /// Numbers the rules of a policy set.
    pub(super) fn of(set: &'a PolicySet) -> Result<Numbering<'a>, CompileError> {
        let audits = audits(&set.policies)?;
        let mut rules = Vec::new();
        for ((policy, rank), audit) in set.policies.iter().zip(0..).zip(&audits) {
            for direction in [Direction::Ingress, Direction::Egress] {
                let chain = policy.chain(direction).map_or(&[][..], |chain| &chain.rules);
                let numbered = |rule| Numbered { rule, policy, rank, direction, audit: *audit, asks: asks(set, rule) };
                rules.extend(chain.iter().map(numbered));
            }
        }
        Ok(Numbering { rules, audits })
    }

    /// Numbers of the rules of one direction of the policies with these ranks, rising.
    pub(super) fn of_chain(&self, policies: &[u32], direction: Direction) -> Vec<u32> {
        let belongs = |rule: &Numbered<'_>| rule.direction == direction && policies.binary_search(&rule.rank).is_ok();
        self.rules.iter().zip(0..).filter(|(rule, _)| belongs(rule)).map(|(_, number)| number).collect()
    }

    /// The number of the policy with that rank among those in audit mode.
    pub(super) fn audit(&self, rank: u32) -> Option<u8> {
        self.audits.get(rank as usize).copied().flatten()
    }

    /// The records of the `rules` map, given the condition of each rule.
    pub(super) fn records(&self, conditions: &[u32]) -> Vec<abi::np_rule> {
        self.rules.iter().zip(conditions).map(|(numbered, condition)| record(numbered, *condition)).collect()
    }

    /// What the rules are called.
    pub(super) fn info(&self) -> Vec<RuleInfo> {
        let info = |numbered: &Numbered<'_>| RuleInfo {
            policy: numbered.policy.name.clone(),
            direction: numbered.direction,
            id: numbered.rule.id.clone(),
            origin: numbered.rule.origin.clone(),
        };
        self.rules.iter().map(info).collect()
    }
}

fn asks(set: &PolicySet, rule: &Rule) -> Asks {
    let reads_dynamic = [&rule.source, &rule.destination].into_iter().any(|peer| reads_dynamic(&set.sets, peer));
    match (rule.expires.is_some() || reads_dynamic, rule.limit.is_some()) {
        (true, _) => Asks::More,
        (false, true) => Asks::Rate,
        (false, false) => Asks::Nothing,
    }
}

/// By rank: the numbers of the policies in audit mode.
fn audits(policies: &[Policy]) -> Result<Vec<Option<u8>>, CompileError> {
    let found = policies.iter().filter(|policy| policy.mode == Mode::Audit).count();
    super::addresses::limit("policies in audit mode", found, abi::NP_MAX_AUDITS as usize)?;
    let mut next = 0..;
    Ok(policies.iter().map(|policy| if policy.mode == Mode::Audit { next.next() } else { None }).collect())
}

fn record(numbered: &Numbered<'_>, condition: u32) -> abi::np_rule {
    let rule = numbered.rule;
    let action = match rule.action {
        Action::Allow => abi::NP_ALLOW,
        Action::Deny => abi::NP_DENY,
        Action::Reject => abi::NP_REJECT,
        Action::Pass => abi::NP_PASS,
    };
    let reject_with = match rule.reject_with {
        None => abi::NP_REJECT_UNSTATED,
        Some(RejectWith::TcpReset) => abi::NP_REJECT_TCP_RESET,
        Some(RejectWith::PortUnreachable) => abi::NP_REJECT_PORT,
        Some(RejectWith::HostUnreachable) => abi::NP_REJECT_HOST,
        Some(RejectWith::AdminProhibited) => abi::NP_REJECT_ADMIN,
    };
    let mut flags = 0;
    for (is_set, flag) in [
        (rule.log, abi::NP_RULE_LOG),
        (numbered.is_hidden_from(Part::Later), abi::NP_RULE_READS_L4),
        (numbered.is_hidden_from(Part::Unknown), abi::NP_RULE_READS_PROTOCOL),
    ] {
        flags |= if is_set { flag } else { 0 };
    }
    // Actions, flags and kinds of answers are small numbers of the ABI.
    abi::np_rule {
        action: action as u8,
        flags: flags as u8,
        reject_with: reject_with as u8,
        audit: numbered.audit.unwrap_or(abi::NP_NOT_AUDIT as u8),
        policy: numbered.rank,
        condition,
    }
}
