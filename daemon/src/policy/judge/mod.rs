//! The slow, plain judge of one packet: the oracle of every other test.
//!
//! Implements "How a packet is judged" of ARCHITECTURE.md over the policy model, stage by stage, without any compiled table.
//! Readable first. Knows no map and no kernel; time is passed in.

mod conntrack;
mod interface;
mod packet;
mod parse;
mod selftest;

pub use conntrack::Conntrack;
pub use interface::{DeviceKind, Interface};
pub use packet::*;
pub use parse::{Frame, parse};
pub use selftest::{TestFailure, run_tests};

use super::model::{Direction, Origin, PolicySet};
use super::reason::Reason;

/// What happens to a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Verdict {
    Allow,
    Deny,
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
pub fn judge(set: &PolicySet, interface: &Interface, conntrack: &mut Conntrack, packet: &Packet, now: u64) -> Judgement {
    let _ = (set, interface, conntrack, packet, now);
    Judgement { verdict: Verdict::Deny, reason: Some(Reason::Internal), rule: None, default: None, steps: Vec::new() }
}
