//! Policies that an earlier policy of the same interfaces leaves nothing for: accepted, and said aloud.
//!
//! Answers yes only where it is sure of the interfaces: same lists, names that both select, or an earlier policy for all of them.

use super::interfaces::is_literal;
use super::policies::Proven;
use super::shadow::is_unconditional;
use crate::policy::model::{Action, Direction, InterfaceSelector, Mode, Policy, Rule};
use crate::schema::place::Report;

/// Policies that are compared with each other.
const MAX_POLICIES: usize = 500;

/// Warns once for each policy and direction whose rules are never asked.
pub(super) fn warn(proven: &[Proven<'_>], report: &mut Report) {
    let mut ordered: Vec<&Proven<'_>> = proven.iter().take(MAX_POLICIES).collect();
    ordered.sort_by(|a, b| (a.policy.order, &a.policy.name).cmp(&(b.policy.order, &b.policy.name)));
    for (number, later) in ordered.iter().enumerate() {
        for (direction, word) in [(Direction::Ingress, "ingress"), (Direction::Egress, "egress")] {
            let earlier = ordered[..number].iter().find_map(|earlier| Some((earlier, last_word(earlier, later, direction)?)));
            let (Some((earlier, at)), Some(first)) = (earlier, rules(&later.policy, direction).first()) else { continue };
            let block = |proven: &Proven<'_>, at: usize| match direction {
                Direction::Ingress => proven.block.ingress[at].span,
                Direction::Egress => proven.block.egress[at].span,
            };
            let (decides, first_id) = (&rules(&earlier.policy, direction)[at], &first.id);
            let place = report.place(block(earlier, at));
            let message = format!(
                "no {word} rule of the policy `{}`, from `{first_id}` on, is ever asked: `{}/{}` decides every untagged packet before",
                later.policy.name, earlier.policy.name, decides.id
            );
            let help =
                format!("give `{}` a lower `order` than {}, or make `{}` narrower", later.policy.name, earlier.policy.order, decides.id);
            report.warning(block(later, 0), message).also(place, "the earlier rule").help(help);
        }
    }
}

/// The rule with which one policy decides whatever another one, later in order, could judge.
fn last_word(earlier: &Proven<'_>, later: &Proven<'_>, direction: Direction) -> Option<usize> {
    let (a, b) = (&earlier.policy, &later.policy);
    let untagged = rules(b, direction).iter().all(|rule| rule.vlan.is_none());
    let meets = a.mode == Mode::Enforce && a.endpoint == b.endpoint && a.owner.is_none() && b.owner.is_none();
    if !meets || !untagged || !covers(&a.interfaces, &b.interfaces) {
        return None;
    }
    let reached = rules(a, direction).iter().take_while(|rule| rule.action != Action::Pass);
    reached.enumerate().find(|(_, rule)| is_unconditional(rule)).map(|(at, _)| at)
}

fn rules(policy: &Policy, direction: Direction) -> &[Rule] {
    policy.chain(direction).map_or(&[], |chain| &chain.rules)
}

/// Whether every interface that `narrow` can select is surely selected by `wide`.
fn covers(wide: &InterfaceSelector, narrow: &InterfaceSelector) -> bool {
    let excludes_no_more = wide.exclude.iter().all(|pattern| narrow.exclude.contains(pattern));
    narrow.include.iter().all(|pattern| {
        let name = pattern.as_str();
        if is_literal(name) {
            return !narrow.selects(name) || wide.selects(name);
        }
        excludes_no_more && (wide.include.contains(pattern) || wide.include.iter().any(|wide| wide.as_str() == "*"))
    })
}
