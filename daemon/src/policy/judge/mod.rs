//! The slow, plain judge of one packet: the oracle of every other test.
//!
//! Implements "How a packet is judged" of ARCHITECTURE.md over the policy model, stage by stage, without any compiled table.
//! Readable first. Knows no map and no kernel; time is passed in.

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, missing_docs)] // tests may fail loudly
pub(crate) mod fixture;
mod interface;
mod link;
mod packet;
mod parse;
mod rules;
mod selftest;
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
pub use selftest::{TestFailure, judge_test, run_tests};
pub use state::{Conntrack, Flow, FlowKey, FlowState};

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
    /// Allow or deny.
    pub verdict: Verdict,
    /// Why it was dropped; `None` = let through.
    pub reason: Option<Reason>,
    /// The rule that decided, now or (for a flow that was judged again) on the opening packet.
    pub rule: Option<RuleName>,
    /// The default that decided, where no rule did.
    pub default: Option<DefaultName>,
    /// What each stage said, in order, for people.
    pub steps: Vec<String>,
}

/// Judges one packet at an interface and lets it make or change state. `now` is in nanoseconds and never goes back.
///
/// The generation is that of `conntrack`: raise its number when the policies change.
pub fn judge(set: &PolicySet, interface: &Interface, conntrack: &mut Conntrack, packet: &Packet, now: u64) -> Judgement {
    let Some(link) = link::Link::of(set, interface) else {
        let steps = vec![format!("no policy selects {}", interface.name)];
        return Judgement { verdict: Verdict::Allow, reason: None, rule: None, default: None, steps };
    };
    trial::Trial { link: &link, conntrack, packet, now, steps: Vec::new() }.run()
}

/// Stage 7 alone, as if the packet opened a flow: what the compiled tables are compared with.
#[cfg(test)]
pub(crate) fn judge_by_rules(set: &PolicySet, interface: &Interface, packet: &Packet) -> Option<Judgement> {
    let link = link::Link::of(set, interface)?;
    let (Decision { verdict, reason, rule, default }, step) = rules::evaluate(&link, packet);
    Some(Judgement { verdict, reason, rule, default, steps: vec![step] })
}
