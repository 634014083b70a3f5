//! Warnings about policies that are correct and yet surely not meant: rules that can never decide anything.
//!
//! Says nothing rather than something wrong: where a comparison would be too much work, it is left out.

mod ranges;
mod shadow;

use super::model::{Direction, Family, Origin, PolicySet, Rule};
use ranges::Addresses;

/// A warning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lint {
    /// The part that is spoken about.
    pub origin: Origin,
    /// What is odd about it.
    pub message: String,
    /// The other part, for example the rule that comes first.
    pub related: Option<Origin>,
}

/// All warnings about a ruleset, in the order of its rules.
pub fn lint(set: &PolicySet) -> Vec<Lint> {
    let mut lints = Vec::new();
    for policy in &set.policies {
        for direction in [Direction::Ingress, Direction::Egress] {
            let rules = policy.chain(direction).map_or(&[][..], |chain| &chain.rules);
            let mut shadows = shadow::Shadows::new(set, rules);
            for (position, rule) in rules.iter().enumerate() {
                if let Some(why) = never_matches(set, rule) {
                    let message = format!("rule \"{}\" can never match: {why}", rule.id);
                    lints.push(Lint { origin: rule.origin.clone(), message, related: None });
                } else if let Some(earlier) = shadows.look(position) {
                    let message = format!(
                        "rule \"{}\" never decides: rule \"{}\" comes first and matches every packet that it could match",
                        rule.id, earlier.id
                    );
                    lints.push(Lint { origin: rule.origin.clone(), message, related: Some(earlier.origin.clone()) });
                }
            }
        }
    }
    lints
}

/// Why no packet can match a rule, if none can.
fn never_matches(set: &PolicySet, rule: &Rule) -> Option<&'static str> {
    if ranges::ports(&rule.source).is_empty() || ranges::ports(&rule.destination).is_empty() {
        return Some("every port is excluded");
    }
    if rule.tcp_flags.is_some_and(|flags| flags.set & flags.clear != 0) {
        return Some("a TCP flag would have to be set and clear at once");
    }
    let (source, destination) = (Addresses::of(set, &rule.source)?, Addresses::of(set, &rule.destination)?);
    let possible =
        |family: Family| rule.family.is_none_or(|wanted| wanted == family) && !source.is_empty(family) && !destination.is_empty(family);
    (!possible(Family::V4) && !possible(Family::V6)).then_some("no pair of addresses fits both its source and its destination")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, missing_docs)] // tests may fail loudly
mod tests;
