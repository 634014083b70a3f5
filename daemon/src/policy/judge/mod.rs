//! The slow, plain judge of one packet: the oracle of every other test.
//!
//! Implements "How a packet is judged" of ARCHITECTURE.md over the policy model, stage by stage, without any compiled table.
//! Readable first. Knows no map and no kernel; time is passed in.

mod clock;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, missing_docs)] // tests may fail loudly
pub(crate) mod fixture;
mod interface;
mod link;
mod matching;
mod packet;
mod parse;
mod rates;
mod routes;
mod rules;
mod selftest;
mod spoof;
mod stages;
mod state;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, missing_docs)] // tests may fail loudly
mod tests;
mod trial;

pub use interface::{DeviceKind, Interface};
pub use link::HOST_ETHERTYPES;
pub use packet::*;
pub use parse::{Frame, address_refusal, parse};
pub use routes::{Route, Routes};
pub use selftest::{TestFailure, judge_test, judge_test_at, run_tests};
pub use state::{Conntrack, Flow, FlowKey, FlowState};

use std::fmt;

use super::model::{Direction, Origin, PolicySet};
use super::reason::Reason;

/// What happens to a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Verdict {
    Allow,
    Deny,
    /// Dropped, and the sender is told.
    Reject,
}

/// A rule, by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleName {
    /// Policy's name.
    pub policy: String,
    /// Seen from the protected thing.
    pub direction: Direction,
    /// Unique in the policy.
    pub id: String,
    /// Where it is written.
    pub origin: Origin,
}

/// The policy whose default decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DefaultName {
    /// Policy's name.
    pub policy: String,
    /// Where the default is written.
    pub origin: Origin,
}

/// What a policy in audit mode would have said against a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Objection {
    /// A rule that denies or rejects.
    Rule(RuleName),
    /// Its default, no rule of it having matched.
    Default(DefaultName),
}

impl fmt::Display for Objection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Objection::Rule(rule) => write!(f, "{}/{}", rule.policy, rule.id),
            Objection::Default(default) => write!(f, "the default of {}", default.policy),
        }
    }
}

/// A verdict and who gave it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Decision {
    verdict: Verdict,
    reason: Option<Reason>,
    rule: Option<RuleName>,
    default: Option<DefaultName>,
}

impl Decision {
    fn allow() -> Decision {
        Decision { verdict: Verdict::Allow, reason: None, rule: None, default: None }
    }

    fn drop(reason: Reason) -> Decision {
        Decision { verdict: Verdict::Deny, reason: Some(reason), rule: None, default: None }
    }

    fn by(self, rule: RuleName) -> Decision {
        Decision { rule: Some(rule), ..self }
    }
}

/// A verdict and how it came about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    /// What happens to it.
    pub verdict: Verdict,
    /// Why it was dropped; `None` = let through.
    pub reason: Option<Reason>,
    /// The rule that decided, now or (for a flow that was judged again) on the opening packet.
    pub rule: Option<RuleName>,
    /// The default that decided, where no rule did.
    pub default: Option<DefaultName>,
    /// What policies in audit mode would have said against it, had they a say.
    pub would_deny: Vec<Objection>,
    /// What each stage said, in order, for people.
    pub steps: Vec<String>,
}

/// Judges one packet at an interface and lets it make or change state. `now` is in nanoseconds and never goes back.
///
/// The generation is that of `conntrack`: raise its number when the policies change, and its `set_epoch` when a dynamic set does.
/// SYN cookies are the one thing that is not modelled: whether a segment acknowledges one, only the host that sent it can tell.
pub fn judge(set: &PolicySet, interface: &Interface, conntrack: &mut Conntrack, packet: &Packet, now: u64) -> Judgement {
    let Some(link) = link::Link::of(set, interface) else {
        let steps = vec![format!("no policy selects {}", interface.name)];
        return Judgement { verdict: Verdict::Allow, reason: None, rule: None, default: None, would_deny: Vec::new(), steps };
    };
    trial::Trial { link: &link, conntrack, packet, now, would_deny: Vec::new(), steps: Vec::new() }.run()
}

/// Stage 7 alone, as if the packet opened a flow: what the compiled tables are compared with.
#[cfg(test)]
pub(crate) fn judge_by_rules(set: &PolicySet, interface: &Interface, packet: &Packet) -> Option<Judgement> {
    let link = link::Link::of(set, interface)?;
    let (mut rates, at) = (rates::Rates::default(), clock::Moment { now: 0, wall_offset: 0 });
    let ruling = rules::evaluate(&link, packet, at, rules::Asking::Packet(&mut rates));
    let Decision { verdict, reason, rule, default } = ruling.decision;
    Some(Judgement { verdict, reason, rule, default, would_deny: ruling.would_deny, steps: vec![ruling.step] })
}
