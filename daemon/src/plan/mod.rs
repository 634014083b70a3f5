//! What is wanted against what is there -> actions. Pure.
//!
//! Knows the laws of a reload: a generation is built whole beside the running one, goes live by one store, and deletion comes
//! last. Knows no kernel: it reads [`Observed`] and writes [`Action`]s, which `kernel` carries out.

pub mod action;
mod link;
pub mod observed;
mod restored;
mod rollback;
#[cfg(test)]
mod tests;
mod warnings;

pub use action::Action;
pub use observed::{GenerationWord, GuardObserved, Observed};
pub use restored::{Place, Restored, restored};
pub use rollback::rollback;
pub use warnings::{uncovered_ports, warnings};

use netpol_probes::abi;

use crate::compile::ruleset::Ruleset;
use crate::policy::model::Adopt;

/// What a caller may ask for beside the ruleset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Options {
    /// Boot time in ns after which the former generation counts again unless it is confirmed; `None` = as it is: for good, or
    /// until the deadline that the running generation has.
    pub deadline: Option<u64>,
    /// Build a new generation even where the running one has the same contents.
    pub rebuild: bool,
}

/// The actions that make the kernel enforce `wanted`; empty where it does.
pub fn plan(wanted: &Ruleset, observed: &Observed) -> Vec<Action> {
    plan_with(wanted, observed, Options::default())
}

/// [`plan`] with options.
pub fn plan_with(wanted: &Ruleset, observed: &Observed, options: Options) -> Vec<Action> {
    let mut actions = Vec::new();
    let settled = settle(observed, &mut actions);
    let there = settled.as_ref().unwrap_or(observed);
    let current = there.generations.get(&there.word.running).is_some_and(|g| g.programs_current) && there.shared_current;
    let same = current && !options.rebuild && there.running_digest() == Some(wanted.core.digest());
    if same {
        extend_running(wanted, there, options, &mut actions);
    } else {
        build_new(wanted, there, options, &mut actions);
    }
    actions
}

/// A deadline that is over has already changed the verdicts; here the word learns of it. Returns what is there afterwards.
fn settle(observed: &Observed, actions: &mut Vec<Action>) -> Option<Observed> {
    if !observed.expired() {
        return None;
    }
    let back = rollback::steps(observed)?;
    actions.extend(back.actions);
    Some(back.afterwards)
}

/// The rules are those that run: only interfaces differ, if anything.
fn extend_running(wanted: &Ruleset, there: &Observed, options: Options, actions: &mut Vec<Action>) {
    let generation = there.word.running;
    let before = there.deadline();
    if let Some(deadline) = options.deadline.filter(|d| *d != before && there.word.former != 0) {
        actions.push(Action::SetDeadline { generation, deadline, before });
    }
    attach_guard(there, actions);
    let awaits_confirmation = there.pending() || options.deadline.is_some();
    wanted.links.values().for_each(|plan| link::bring_programs(plan, there, actions));
    for plan in wanted.links.values() {
        link::bring_into_running(plan, wanted.core.adopt, there, generation, actions);
    }
    wanted.links.values().for_each(|plan| link::take_heads(plan, there, actions));
    for ifindex in link::not_wanted(wanted, there) {
        link::drop_from_running(ifindex, there, generation, actions);
        if !awaits_confirmation {
            link::detach(ifindex, there, actions);
        }
    }
    clean_up(there, there.word, actions);
}

/// Builds the next generation beside the running one, commits it, and cleans up.
fn build_new(wanted: &Ruleset, there: &Observed, options: Options, actions: &mut Vec<Action>) {
    let generation = next_number(there);
    // A generation that still waits for confirmation never becomes "former": that stays the last one that was confirmed, and
    // what replaces the unconfirmed one inherits its deadline.
    let former = if there.pending() { there.word.former } else { there.word.running };
    let inherited = if there.pending() { there.deadline() } else { 0 };
    let deadline = if former == 0 { 0 } else { options.deadline.unwrap_or(inherited) };
    let word = GenerationWord { running: generation, former };

    if !there.shared_current {
        actions.push(Action::InstallShared { before: there.shared });
    }
    attach_guard(there, actions);
    actions.push(Action::BuildGeneration { generation, deadline });
    for plan in wanted.links.values() {
        link::bring_into_new(plan, wanted.core.adopt, there, generation, actions);
    }
    if wanted.core.adopt != Adopt::None {
        // As late as can be: what is opened after this and before the commit is not taken over.
        wanted.links.values().filter(|plan| link::comes_under_policy(plan, there)).for_each(|plan| link::adopt(plan, generation, actions));
    }
    let running = there.word.running;
    let carry = there.running_digest().map(|_| Action::CarryCounters { from: running, to: generation });
    actions.extend(carry.clone());
    actions.push(Action::Commit { word, before: there.word });
    // Again: what was counted between the first time and the commit.
    actions.extend(carry);
    for plan in wanted.links.values() {
        link::exchange_tc(plan, there, actions);
    }
    for plan in wanted.links.values() {
        link::settle_xdp(plan, wanted.core.adopt, there, generation, actions);
    }
    wanted.links.values().for_each(|plan| link::take_heads(plan, there, actions));
    if deadline == 0 {
        for ifindex in link::not_wanted(wanted, there) {
            link::detach(ifindex, there, actions);
        }
    }
    clean_up(there, word, actions);
}

/// The guard reads the generation word like everything else. Until the first commit it refuses nothing, and with that store the records
/// of all interfaces that are there count together with it: it never cuts what runs over them.
fn attach_guard(there: &Observed, actions: &mut Vec<Action>) {
    if there.guard == GuardObserved::Missing {
        actions.push(Action::AttachGuard);
    }
}

/// Deletions: nothing reads any of it.
fn clean_up(there: &Observed, word: GenerationWord, actions: &mut Vec<Action>) {
    let retired = there.generations.keys().filter(|number| !word.holds(**number));
    actions.extend(retired.map(|&generation| Action::RemoveGeneration { generation }));
    let vanished = there.links.iter().filter(|(_, link)| !link.present);
    actions.extend(vanished.map(|(&ifindex, _)| Action::ForgetLink { ifindex }));
    actions.extend(there.leftovers.iter().map(|directory| Action::Sweep { directory: directory.clone() }));
}

/// A number that was never used, whose slot neither of the two that count occupies.
fn next_number(there: &Observed) -> u32 {
    let highest = there.generations.keys().copied().chain([there.word.running, there.word.former]).max().unwrap_or(0);
    let slot = |number: u32| number % abi::NP_SLOTS;
    let taken = |number: u32| [there.word.running, there.word.former].iter().any(|&n| n != 0 && slot(n) == slot(number));
    let mut number = highest + 1;
    while taken(number) {
        number += 1;
    }
    number
}
