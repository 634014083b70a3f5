//! Stage 7: the rules of the policies and their defaults.
//!
//! Knows in which order rules are asked, what an answer means, and what a policy in audit mode may say. How one rule is compared
//! with one packet is in `matching`. Knows no flow.

use super::clock::{Moment, earlier};
use super::link::Link;
use super::matching::{Match, matches};
use super::packet::Packet;
use super::rates::{Bucket, Rates, counted};
use super::{Decision, DefaultName, Objection, RuleName, Verdict};
use crate::policy::model::{Action, Chain, DefaultAction, Direction, LimitPer, Mode, Policy, Rule};
use crate::policy::reason::Reason;

/// What the rules and defaults of a hook say about a packet.
pub(super) struct Ruling {
    pub(super) decision: Decision,
    /// What policies in audit mode would have said against it.
    pub(super) would_deny: Vec<Objection>,
    /// Until when (ns, on the judge's clock) everything holds that an allowing verdict rests on; `None` = for ever.
    pub(super) until: Option<u64>,
    /// How it came about.
    pub(super) step: String,
}

/// How the rules are asked.
pub(super) enum Asking<'a> {
    /// For a packet itself: limits are used up.
    Packet(&'a mut Rates),
    /// For a flow that was let in before: its limits hold.
    Again,
}

/// Asks the rules of the packet's hook, in order, and then the defaults.
pub(super) fn evaluate(link: &Link<'_>, packet: &Packet, at: Moment, asking: Asking<'_>) -> Ruling {
    let direction = link.kind.direction(packet.hook);
    let mut walk = Walk { link, packet, at, asking, direction, asked: 0, would_deny: Vec::new(), until: None };
    let mut silent: Vec<DefaultName> = Vec::new();
    for (policy, chain) in link.chain(packet.hook) {
        match (policy.mode, walk.first_match(policy, chain)) {
            (Mode::Audit, Some((rule, answer))) => walk.object(policy, rule, answer),
            (Mode::Audit, None) if chain.default_action == DefaultAction::Deny => silent.push(default_name(policy, chain)),
            (Mode::Enforce, Some((rule, Match::Yes))) if rule.action == Action::Pass => {}
            (Mode::Enforce, Some((rule, answer))) => return walk.decided(policy, rule, answer),
            (_, None) => {}
        }
    }
    walk.would_deny.extend(silent.into_iter().map(Objection::Default));
    walk.default()
}

/// One packet on its way through the rules.
struct Walk<'a, 'p> {
    link: &'a Link<'p>,
    packet: &'a Packet,
    at: Moment,
    asking: Asking<'a>,
    direction: Direction,
    asked: usize,
    would_deny: Vec<Objection>,
    until: Option<u64>,
}

impl Walk<'_, '_> {
    /// The first rule of a policy that matches or could match.
    fn first_match<'r>(&mut self, policy: &Policy, chain: &'r Chain) -> Option<(&'r Rule, Match)> {
        for rule in &chain.rules {
            self.asked += 1;
            let answer = matches(self.link.set, rule, self.packet, self.at);
            if policy.mode == Mode::Enforce {
                self.until = earlier(self.until, answer.until);
            }
            match answer.is {
                Match::No => {}
                Match::Perhaps => return Some((rule, Match::Perhaps)),
                Match::Yes if self.is_within_limit(policy, rule) => return Some((rule, Match::Yes)),
                Match::Yes => {}
            }
        }
        None
    }

    /// Counts a packet that matches in all else.
    fn is_within_limit(&mut self, policy: &Policy, rule: &Rule) -> bool {
        let (Some(limit), Asking::Packet(rates), Some(ip)) = (&rule.limit, &mut self.asking, &self.packet.ip) else { return true };
        let address = match limit.per {
            LimitPer::Rule => None,
            LimitPer::Source => Some(counted(ip.source)),
            LimitPer::Destination => Some(counted(ip.destination)),
        };
        let bucket = Bucket::Rule(policy.name.clone(), self.direction, rule.id.clone(), address);
        rates.take(bucket, limit.rate, self.at.now)
    }

    /// A rule of a policy in audit mode matches: only what it would have said against the packet is noted. Of a packet that does not
    /// show what the rule reads, it says nothing.
    fn object(&mut self, policy: &Policy, rule: &Rule, answer: Match) {
        if answer == Match::Yes && matches!(rule.action, Action::Deny | Action::Reject) {
            self.would_deny.push(Objection::Rule(name(policy, self.direction, rule)));
        }
    }

    fn decided(self, policy: &Policy, rule: &Rule, answer: Match) -> Ruling {
        let asked = self.asked;
        let mut step = format!("rules: {}/{} ({}) decides after {asked} rules", policy.name, rule.id, rule.origin);
        let decision = match (answer, rule.action) {
            (Match::Perhaps, _) => {
                step = format!("rules: {}/{} could match and reads what a later fragment does not carry", policy.name, rule.id);
                Decision::drop(Reason::Fragment)
            }
            (_, Action::Allow) => Decision::allow(),
            (_, Action::Reject) => Decision { verdict: Verdict::Reject, ..Decision::drop(Reason::Reject) },
            _ => Decision::drop(Reason::Rule),
        };
        let decision = decision.by(name(policy, self.direction, rule));
        self.ruling(decision, step)
    }

    /// After the last policy: deny wins over allow.
    fn default(self) -> Ruling {
        let mut decision = Decision::allow();
        for (policy, chain) in self.link.chain(self.packet.hook).filter(|(policy, _)| policy.mode == Mode::Enforce) {
            let default = default_name(policy, chain);
            if chain.default_action == DefaultAction::Deny {
                decision = Decision { default: Some(default), ..Decision::drop(Reason::Default) };
                break;
            }
            decision.default.get_or_insert(default);
        }
        let word = if decision.verdict == Verdict::Deny { "deny" } else { "allow" };
        let asked = self.asked;
        let step = match &decision.default {
            Some(default) => format!("rules: none of {asked} decides, default of {}: {word}", default.policy),
            None => format!("rules: {asked} asked, all of policies in audit mode"),
        };
        self.ruling(decision, step)
    }

    fn ruling(self, decision: Decision, step: String) -> Ruling {
        let until = self.until.filter(|_| decision.verdict == Verdict::Allow);
        Ruling { decision, would_deny: self.would_deny, until, step }
    }
}

fn name(policy: &Policy, direction: Direction, rule: &Rule) -> RuleName {
    RuleName { policy: policy.name.clone(), direction, id: rule.id.clone(), origin: rule.origin.clone() }
}

fn default_name(policy: &Policy, chain: &Chain) -> DefaultName {
    DefaultName { policy: policy.name.clone(), origin: chain.default_origin.clone() }
}
