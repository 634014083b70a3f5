//! What a scenario looks like without a fault: all that may be seen of it with one.

use super::scenarios::{Next, Scenario};
use super::world::World;
use super::{Fault, attempt};
use crate::kernel::faults::Counted;
use crate::kernel::fingerprints::Judging;

/// What judges.
#[derive(Debug)]
pub(super) struct State {
    /// Which frames pass.
    pub(super) seen: Vec<bool>,
    judging: Option<Judging>,
}

impl State {
    /// As it is now.
    pub(super) fn of(world: &World) -> State {
        State { seen: world.seen(), judging: world.judging() }
    }

    /// Frames are judged like that, by the same generation, untouched, if any.
    fn is_still(&self, seen: &[bool], judging: &Option<Judging>) -> bool {
        self.seen == seen && both(&self.judging, judging, Judging::is_still)
    }

    /// By a generation of the same ruleset, whole, if any.
    fn is_like(&self, other: &State) -> bool {
        self.seen == other.seen && both(&self.judging, &other.judging, Judging::is_like)
    }
}

fn both(one: &Option<Judging>, other: &Option<Judging>, compare: fn(&Judging, &Judging) -> bool) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => compare(one, other),
        (one, other) => one.is_none() && other.is_none(),
    }
}

/// Without a fault.
#[derive(Debug)]
pub(super) struct Expected {
    pub(super) before: Vec<bool>,
    pub(super) after: State,
    /// What else may judge.
    meanwhile: Option<State>,
    next: Next,
    pub(super) counted: Counted,
}

impl Expected {
    /// Of that turn.
    pub(super) fn of(world: &World, scenario: &Scenario, turn: usize) -> Expected {
        let meanwhile = scenario.meanwhile.map(|settle| {
            (scenario.prepare)(world, turn);
            settle(world, turn);
            State::of(world)
        });
        (scenario.prepare)(world, turn);
        let (result, counted) = attempt(world, scenario, turn, Fault::None);
        assert_eq!(result, Ok(()), "{}", scenario.name);
        let ((before, _), after) = (world.before(), State::of(world));
        scenario.assert_difference(&before, &after.seen);
        assert!(meanwhile.iter().all(|state| state.seen != before && state.seen != after.seen), "{}", scenario.name);
        world.is_put_right();
        Expected { before, after, meanwhile, next: scenario.next, counted }
    }

    /// Judged as before, by the tables that judged `before` byte by byte, or as afterwards (or by what may judge meanwhile), by whole ones.
    pub(super) fn allows(&self, now: &State, before: &Option<Judging>) -> bool {
        let others = self.meanwhile.iter().chain([&self.after]);
        now.is_still(&self.before, before) || others.into_iter().any(|other| now.is_like(other))
    }

    /// What the next start may lead to.
    pub(super) fn next(&self) -> Vec<&[bool]> {
        match self.next {
            Next::Before => vec![&self.before],
            Next::After => vec![&self.after.seen],
            Next::Either => vec![&self.before, &self.after.seen],
        }
    }
}
