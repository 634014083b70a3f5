//! Connections that exist when an interface comes under policy: taken over once, and for a minute where the policy says so.

use super::super::link::ADOPTION;
use super::*;
use crate::policy::model::Adopt;

fn adopting(contents: u32, links: &[u32], adopt: Adopt) -> Ruleset {
    let mut wanted = ruleset(contents, links);
    wanted.core.adopt = adopt;
    wanted
}

fn adopted(actions: &[Action]) -> Vec<u32> {
    let of = |action: &Action| match action {
        Action::Adopt { link, .. } => Some(link.ifindex),
        _ => None,
    };
    actions.iter().filter_map(of).collect()
}

fn started(adopt: Adopt) -> Observed {
    let mut observed = fresh(&[1, 2, 3]);
    observed.now = 1000;
    reach(&mut observed, &adopting(1, &[1, 2], adopt), Options::default());
    observed
}

#[test]
fn first_start_takes_over_what_runs_over_every_interface_before_the_commit() {
    for (adopt, links, until) in [(Adopt::All, vec![1, 2], 1000 + ADOPTION), (Adopt::Sockets, vec![1, 2], 0), (Adopt::None, Vec::new(), 0)]
    {
        let mut observed = fresh(&[1, 2]);
        observed.now = 1000;
        let actions = reach(&mut observed, &adopting(1, &[1, 2], adopt), Options::default());
        assert_eq!(adopted(&actions), links);
        let commit = position(&actions, is_commit);
        assert!(actions.iter().rposition(|action| matches!(action, Action::Adopt { .. })).is_none_or(|last| last < commit));
        assert_eq!(observed.records[&(1, 1)].adopt_until, until, "{adopt:?}");
        assert_eq!(plan_with(&adopting(1, &[1, 2], adopt), &observed, Options::default()), []);
    }
}

#[test]
fn reload_goes_on_with_the_time_that_is_left_and_takes_nothing_over_again() {
    let mut observed = started(Adopt::All);
    observed.now = 5000;
    let actions = reach(&mut observed, &adopting(2, &[1, 2], Adopt::All), Options::default());
    assert!(adopted(&actions).is_empty());
    assert_eq!(observed.records[&(2, 1)].adopt_until, 1000 + ADOPTION);
}

#[test]
fn interface_that_comes_later_has_a_time_of_its_own() {
    let mut observed = started(Adopt::All);
    observed.now = 5000;
    let actions = reach(&mut observed, &adopting(1, &[1, 2, 3], Adopt::All), Options::default());
    assert_eq!(adopted(&actions), [3]);
    let record = position(&actions, |action| matches!(action, Action::WriteRecord { .. }));
    assert!(position(&actions, |action| matches!(action, Action::Adopt { .. })) < record, "{actions:#?}");
    assert_eq!(observed.records[&(1, 3)].adopt_until, 5000 + ADOPTION);
    assert_eq!(observed.records[&(1, 1)].adopt_until, 1000 + ADOPTION);
    assert_eq!(plan_with(&adopting(1, &[1, 2, 3], Adopt::All), &observed, Options::default()), []);
}

#[test]
fn restarted_daemon_takes_nothing_over() {
    let mut observed = started(Adopt::All);
    observed.now = 2 * ADOPTION;
    assert_eq!(plan_with(&adopting(1, &[1, 2], Adopt::All), &observed, Options::default()), []);
}

#[test]
fn time_ends_at_once_where_the_policy_no_longer_wants_it() {
    let mut observed = started(Adopt::All);
    let actions = reach(&mut observed, &adopting(1, &[1, 2], Adopt::None), Options::default());
    assert!(matches!(actions.as_slice(), [Action::WriteRecord { .. }, Action::WriteRecord { .. }]), "{actions:#?}");
    assert_eq!(observed.records[&(1, 1)].adopt_until, 0);
}
