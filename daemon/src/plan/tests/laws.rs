//! The laws of a reload.

use super::super::observed::{GenerationFacts, GenerationWord, GuardObserved, TcAttachment, TcObserved, XdpObserved};
use super::super::{Options, Place, plan, plan_with, restored, rollback, warnings};
use super::undo::running;
use super::*;
use crate::compile::ruleset::LinkFacts;
use crate::policy::model::Hook;

fn settled(observed: &Observed, wanted: &Ruleset) {
    assert_eq!(plan(wanted, observed), []);
}

fn half_built() -> GenerationFacts {
    GenerationFacts { digest: None, created: 0, deadline: 0, programs_current: true }
}

#[test]
fn first_start_builds_attaches_and_commits_generation_1() {
    let (mut observed, wanted) = (fresh(&[1, 2]), ruleset(1, &[1, 2]));
    let actions = reach(&mut observed, &wanted, Options::default());
    assert_eq!(observed.word, GenerationWord { running: 1, former: 0 });
    assert!(is_commit(actions.last().unwrap()));
    settled(&observed, &wanted);
}

#[test]
fn same_contents_make_no_generation() {
    let (observed, wanted) = running(true);
    settled(&observed, &wanted);
}

#[test]
fn new_contents_are_whole_before_the_commit_and_nothing_is_deleted_before_it() {
    let (mut observed, _) = running(false);
    observed.generations.insert(0x100, half_built());
    observed.leftovers.push("abi0".into());
    let wanted = ruleset(2, &[1, 3]);
    let actions = reach(&mut observed, &wanted, Options::default());
    let commit = position(&actions, is_commit);
    for (index, action) in actions.iter().enumerate() {
        let prepares = matches!(action, Action::BuildGeneration { .. } | Action::WriteRecord { .. } | Action::Attach { .. });
        let deletes = action.is_clean_up() || matches!(action, Action::Detach { .. } | Action::DetachXdp { .. });
        assert!(!prepares || index < commit, "{action}");
        assert!(!deletes || index > commit, "{action}");
    }
    assert!(!observed.links[&2].attached());
    settled(&observed, &wanted);
}

#[test]
fn former_generation_stays_whole_and_the_one_before_goes() {
    let (mut observed, _) = running(false);
    reach(&mut observed, &ruleset(2, &[1, 2]), Options::default());
    let actions = reach(&mut observed, &ruleset(3, &[1, 2]), Options::default());
    assert_eq!(observed.word, GenerationWord { running: 3, former: 2 });
    assert!(matches!(actions.last(), Some(Action::RemoveGeneration { generation: 1 })));
    assert!(observed.records.contains_key(&(2, 1)) && observed.records.contains_key(&(3, 1)));
}

#[test]
fn new_interface_gets_both_programs_before_its_record() {
    let (mut observed, _) = running(false);
    let wanted = with_xdp(ruleset(1, &[1, 2, 3]), 3, XdpMode::Auto);
    let actions = reach(&mut observed, &wanted, Options::default());
    let hook = |wanted: Hook| move |action: &Action| matches!(action, Action::Attach { hook, .. } if *hook == wanted);
    let (egress, ingress) = (position(&actions, hook(Hook::Egress)), position(&actions, hook(Hook::Ingress)));
    let xdp = position(&actions, |action| matches!(action, Action::AttachXdp { .. }));
    let record = position(&actions, |action| matches!(action, Action::WriteRecord { .. }));
    assert!(egress < ingress && ingress < xdp && xdp < record && record == actions.len() - 1, "{actions:#?}");
    assert_ne!(observed.records[&(1, 3)].flags & abi::NP_LINK_XDP, 0);
    settled(&observed, &wanted);
}

#[test]
fn unselected_interface_loses_its_record_before_its_programs() {
    let (mut observed, _) = running(true);
    let wanted = ruleset(1, &[1]);
    let actions = reach(&mut observed, &wanted, Options::default());
    assert!(matches!(actions.first(), Some(Action::DropRecord { .. })), "{actions:#?}");
    assert!(!observed.links[&2].attached());
    settled(&observed, &wanted);
}

#[test]
fn changed_record_is_one_write() {
    let (mut observed, mut wanted) = running(false);
    wanted.links.get_mut(&1).unwrap().record.deny_groups = 5;
    let actions = reach(&mut observed, &wanted, Options::default());
    assert!(matches!(actions.as_slice(), [Action::WriteRecord { .. }]), "{actions:#?}");
    settled(&observed, &wanted);
}

#[test]
fn rename_changes_nothing_where_the_policy_is_the_same() {
    let (mut observed, mut wanted) = running(false);
    wanted.links.get_mut(&1).unwrap().name = "lan0".into();
    observed.links.get_mut(&1).unwrap().name = "lan0".into();
    settled(&observed, &wanted);
}

#[test]
fn vanished_interface_is_forgotten() {
    let (mut observed, _) = running(true);
    let link = observed.links.get_mut(&2).unwrap();
    *link = LinkObserved { dead_pins: true, ..Default::default() };
    let wanted = ruleset(1, &[1]);
    let actions = reach(&mut observed, &wanted, Options::default());
    assert_eq!(actions, [Action::ForgetLink { ifindex: 2 }]);
    assert!(!observed.records.contains_key(&(1, 2)));
    settled(&observed, &wanted);
}

#[test]
fn another_device_of_the_same_index_is_a_new_interface() {
    let (mut observed, wanted) = running(false);
    let link = observed.links.get_mut(&2).unwrap();
    (link.ingress, link.egress, link.dead_pins) = (None, None, true);
    let actions = reach(&mut observed, &wanted, Options::default());
    assert_eq!(actions.first(), Some(&Action::ForgetLink { ifindex: 2 }));
    assert!(matches!(actions.last(), Some(Action::WriteRecord { before: None, .. })));
    settled(&observed, &wanted);
}

#[test]
fn displaced_program_is_attached_again() {
    let (mut observed, wanted) = running(false);
    observed.links.get_mut(&1).unwrap().ingress = None;
    assert!(warnings(&wanted, &observed).iter().any(|line| line.contains("no program is attached to ingress")));
    let actions = reach(&mut observed, &wanted, Options::default());
    assert!(matches!(actions.as_slice(), [Action::Attach { hook: Hook::Ingress, .. }]), "{actions:#?}");
    assert!(warnings(&wanted, &observed).is_empty());
}

#[test]
fn head_is_taken_back_from_others_unless_it_is_contested() {
    let (mut observed, wanted) = running(false);
    for contents in [1, 2] {
        let wanted = ruleset(contents, &[1, 2]);
        let ingress = |observed: &mut Observed, contested| {
            let tc = observed.links.get_mut(&1).unwrap().ingress.as_mut().unwrap();
            (tc.ahead, tc.contested) = (2, contested);
        };
        ingress(&mut observed, false);
        let before = observed.clone();
        let actions = reach(&mut observed, &wanted, Options::default());
        let heads = actions.iter().filter(|action| matches!(action, Action::TakeHead { hook: Hook::Ingress, .. })).count();
        assert_eq!(heads, 1, "{actions:#?}");
        assert_eq!(restored(&before, &actions).len(), 1);
        settled(&observed, &wanted);
        ingress(&mut observed, true);
        settled(&observed, &wanted);
        assert!(warnings(&wanted, &observed).iter().any(|line| line.contains("2 foreign program(s) run before ours at ingress")));
        ingress(&mut observed, false);
    }
    assert_ne!(plan(&wanted, &observed), []);
}

#[test]
fn only_what_others_took_counts_as_restored() {
    let (mut observed, _) = running(true);
    let first = fresh(&[1, 2]);
    assert_eq!(restored(&first, &plan(&ruleset(1, &[1, 2]), &first)), [], "a first start");
    let wanted = with_xdp(ruleset(1, &[1, 2, 3]), 2, XdpMode::Generic);
    (observed.links.get_mut(&1).unwrap().egress, observed.links.get_mut(&2).unwrap().xdp) = (None, XdpObserved::None);
    let actions = plan(&wanted, &observed);
    let places: Vec<_> = restored(&observed, &actions).iter().map(|restored| (restored.link.ifindex, restored.place)).collect();
    assert_eq!(places, [(1, Place::Tc(Hook::Egress)), (2, Place::Xdp)], "and not the new interface");
}

#[test]
fn bridge_whose_ports_no_policy_is_on_is_told() {
    let (mut observed, _) = running(false);
    observed.links.get_mut(&1).unwrap().kind = "bridge".into();
    observed.links.get_mut(&3).unwrap().master = Some(1);
    assert!(warnings(&ruleset(1, &[1, 2]), &observed).iter().any(|line| line.contains("ports eth3")));
    assert_eq!(warnings(&ruleset(1, &[1]), &observed).len(), 1);
    observed.links.get_mut(&1).unwrap().kind = "bond".into();
    assert!(warnings(&ruleset(1, &[1, 2]), &observed).is_empty(), "a bond sees what its members carry");
}

#[test]
fn interface_that_vanished_since_compilation_is_left_out() {
    let (mut observed, _) = running(false);
    let wanted = ruleset(2, &[1, 2, 99]);
    let actions = reach(&mut observed, &wanted, Options::default());
    assert!(actions.iter().all(|action| action.link().is_none_or(|link| link.ifindex != 99)));
}

#[test]
fn programs_of_other_bytes_are_exchanged_never_detached() {
    let (mut observed, wanted) = running(true);
    observed.generations.get_mut(&1).unwrap().programs_current = false;
    (observed.shared, observed.shared_current) = (Some(5), false);
    for link in observed.links.values_mut() {
        for tc in [&mut link.ingress, &mut link.egress].into_iter().flatten() {
            (tc.variant, tc.program) = (None, tc.program + 50);
        }
        if link.xdp.is_ours() {
            link.xdp = XdpObserved::Generic { program: 77, current: false };
        }
    }
    let actions = reach(&mut observed, &wanted, Options::default());
    assert_eq!(observed.word, GenerationWord { running: 2, former: 1 });
    assert_eq!(actions.iter().filter(|action| matches!(action, Action::Switch { .. })).count(), 4);
    assert_eq!(actions.iter().filter(|action| matches!(action, Action::SwitchXdp { .. })).count(), 1);
    assert!(!actions.iter().any(|action| matches!(action, Action::Detach { .. } | Action::DetachXdp { .. })));
    settled(&observed, &wanted);
}

#[test]
fn where_nothing_of_ours_runs_yet_programs_of_another_layout_judge_until_the_commit() {
    let (mut observed, wanted) = (fresh(&[1, 2]), ruleset(1, &[1, 2]));
    let link = observed.links.get_mut(&1).unwrap();
    let theirs = |program| Some(TcObserved { attachment: TcAttachment::Clsact, variant: None, program, ahead: 0, contested: false });
    (link.ingress, link.egress) = (theirs(51), theirs(52));
    let actions = reach(&mut observed, &wanted, Options::default());
    let commit = position(&actions, is_commit);
    let exchanges: Vec<usize> = (0..actions.len()).filter(|&n| matches!(actions[n], Action::Switch { .. })).collect();
    assert!(exchanges.len() == 2 && exchanges.iter().all(|n| *n > commit), "{actions:#?}");
    settled(&observed, &wanted);
}

#[test]
fn half_built_generation_of_a_killed_daemon_is_swept_and_its_number_not_used_again() {
    let (mut observed, wanted) = running(false);
    observed.generations.insert(2, half_built());
    let mut other = observed.clone();
    assert_eq!(reach(&mut observed, &wanted, Options::default()), [Action::RemoveGeneration { generation: 2 }]);
    reach(&mut other, &ruleset(2, &[1, 2]), Options::default());
    assert_eq!(other.word, GenerationWord { running: 3, former: 1 });
    assert_eq!(other.generations.keys().copied().collect::<Vec<_>>(), [1, 3]);
}

#[test]
fn new_number_never_shares_a_slot_with_a_generation_that_counts() {
    let (mut observed, _) = running(false);
    for contents in 2..20 {
        reach(&mut observed, &ruleset(contents, &[1, 2]), Options::default());
        if contents % 2 == 0 {
            let back = rollback(&observed, &[]);
            back.iter().for_each(|action| fake::apply(&mut observed, &ruleset(0, &[]), action));
        }
        let GenerationWord { running, former } = observed.word;
        assert_ne!(running % abi::NP_SLOTS, former % abi::NP_SLOTS);
    }
}

#[test]
fn xdp_flag_is_set_after_attaching_and_cleared_before_detaching() {
    let (mut observed, _) = running(true);
    let actions = reach(&mut observed, &ruleset(1, &[1, 2]), Options::default());
    let detach = position(&actions, |action| matches!(action, Action::DetachXdp { .. }));
    assert!(matches!(actions[detach - 1], Action::WriteRecord { xdp: false, .. }), "{actions:#?}");
    assert_eq!(observed.records[&(1, 2)].flags & abi::NP_LINK_XDP, 0);
    settled(&observed, &ruleset(1, &[1, 2]));
}

#[test]
fn former_generation_does_not_rely_on_an_xdp_program_that_is_gone() {
    let (mut observed, _) = running(true);
    let wanted = ruleset(2, &[1, 2]);
    reach(&mut observed, &wanted, Options::default());
    assert_eq!(observed.links[&2].xdp, XdpObserved::None);
    assert_eq!(observed.records[&(1, 2)].flags & abi::NP_LINK_XDP, 0);
    settled(&observed, &wanted);
}

#[test]
fn xdp_of_another_mode_is_exchanged() {
    let (observed, _) = running(true);
    for contents in [1, 2] {
        let mut there = observed.clone();
        let wanted = with_xdp(ruleset(contents, &[1, 2]), 2, XdpMode::Native);
        reach(&mut there, &wanted, Options::default());
        assert!(matches!(there.links[&2].xdp, XdpObserved::Native { .. }));
        assert_ne!(there.records[&(there.word.running, 2)].flags & abi::NP_LINK_XDP, 0);
        settled(&there, &wanted);
    }
}

#[test]
fn foreign_xdp_is_left_alone_and_told() {
    let (mut observed, _) = running(false);
    observed.links.get_mut(&1).unwrap().xdp = XdpObserved::Foreign { program: 4 };
    let wanted = with_xdp(ruleset(2, &[1, 2]), 1, XdpMode::Auto);
    let actions = reach(&mut observed, &wanted, Options::default());
    assert!(!actions.iter().any(|action| matches!(action, Action::AttachXdp { .. } | Action::DetachXdp { .. })));
    assert_eq!(observed.records[&(2, 1)].flags & abi::NP_LINK_XDP, 0);
    assert!(warnings(&wanted, &observed).iter().any(|line| line.contains("somebody else")));
}

#[test]
fn unconfirmed_generation_keeps_the_way_back_open() {
    let (mut observed, _) = running(false);
    observed.now = 100;
    reach(&mut observed, &ruleset(2, &[1]), Options { deadline: Some(200), ..Default::default() });
    assert_eq!((observed.deadline(), observed.pending()), (200, true));
    assert!(observed.links[&2].attached(), "the former generation needs its programs");

    // What replaces it waits for the same confirmation, and returns to the same generation.
    reach(&mut observed, &ruleset(3, &[1]), Options::default());
    assert_eq!((observed.word, observed.deadline()), (GenerationWord { running: 3, former: 1 }, 200));

    // Confirmed: now what nobody wants goes.
    observed.generations.get_mut(&3).unwrap().deadline = 0;
    reach(&mut observed, &ruleset(3, &[1]), Options::default());
    assert!(!observed.links[&2].attached());
}

#[test]
fn deadline_that_is_over_returns_to_the_former_generation() {
    let (mut observed, first) = running(false);
    observed.now = 100;
    reach(&mut observed, &ruleset(2, &[1]), Options { deadline: Some(200), ..Default::default() });
    observed.now = 200;
    assert!(observed.expired());
    reach(&mut observed, &first, Options::default());
    assert_eq!(observed.word, GenerationWord { running: 1, former: 2 });
    settled(&observed, &first);
}

#[test]
fn same_contents_can_be_given_a_deadline() {
    let (mut observed, wanted) = running(false);
    let options = Options { deadline: Some(200), ..Default::default() };
    assert_eq!(plan_with(&wanted, &observed, options), [], "there is nothing to return to");
    reach(&mut observed, &ruleset(2, &[1, 2]), Options::default());
    let actions = reach(&mut observed, &ruleset(2, &[1, 2]), options);
    assert_eq!(actions, [Action::SetDeadline { generation: 2, deadline: 200, before: 0 }]);
}

#[test]
fn first_generation_has_no_deadline_because_nothing_is_behind_it() {
    let mut observed = fresh(&[1]);
    reach(&mut observed, &ruleset(1, &[1]), Options { deadline: Some(200), ..Default::default() });
    assert_eq!(observed.deadline(), 0);
}

#[test]
fn rollback_attaches_what_the_former_generation_needs_before_its_commit() {
    let (mut observed, first) = running(true);
    reach(&mut observed, &ruleset(2, &[1]), Options::default());
    assert!(!observed.links[&2].attached());
    let facts =
        LinkFacts { ifindex: 2, name: "eth2".into(), device: DeviceKind::Ethernet, accepts_router_advertisements: false, owners: vec![] };
    let actions = rollback(&observed, &[facts]);
    assert!(is_commit(actions.last().unwrap()));
    actions.iter().for_each(|action| fake::apply(&mut observed, &first, action));
    assert_eq!(observed.word, GenerationWord { running: 1, former: 2 });
    assert!(observed.links[&2].ingress.is_some() && observed.links[&2].egress.is_some());
}

#[test]
fn rollback_without_a_former_generation_is_no_plan() {
    let (observed, _) = running(false);
    assert_eq!(rollback(&observed, &[]), []);
}

#[test]
fn every_plan_reaches_its_goal_from_every_other() {
    let goals = [
        ruleset(1, &[1, 2]),
        ruleset(1, &[2, 3]),
        ruleset(2, &[1]),
        with_xdp(ruleset(1, &[1, 2]), 2, XdpMode::Generic),
        with_xdp(ruleset(2, &[1, 2, 3]), 2, XdpMode::Native),
        ruleset(3, &[]),
    ];
    for first in &goals {
        for second in &goals {
            let mut observed = fresh(&[1, 2, 3]);
            reach(&mut observed, first, Options::default());
            reach(&mut observed, second, Options::default());
            settled(&observed, second);
            for (ifindex, link) in &observed.links {
                assert_eq!(link.attached(), second.links.contains_key(ifindex));
            }
        }
    }
}

#[test]
fn guard_is_attached_before_the_first_commit_and_once() {
    let mut there = Observed { guard: GuardObserved::Missing, ..fresh(&[1]) };
    let actions = reach(&mut there, &ruleset(1, &[1]), Options::default());
    assert!(position(&actions, |action| *action == Action::AttachGuard) < position(&actions, is_commit));
    assert!(!reach(&mut there, &ruleset(2, &[1]), Options::default()).contains(&Action::AttachGuard));
    there.guard = GuardObserved::Missing;
    assert_eq!(reach(&mut there, &ruleset(2, &[1]), Options::default()), [Action::AttachGuard]);
}

#[test]
fn programs_of_all_new_interfaces_come_before_the_first_record() {
    let mut there = fresh(&[1]);
    reach(&mut there, &ruleset(1, &[1]), Options::default());
    there.links.extend(fresh(&[2, 3]).links);
    let actions = reach(&mut there, &ruleset(1, &[1, 2, 3]), Options::default());
    let last = actions.iter().rposition(|action| matches!(action, Action::Attach { .. })).unwrap();
    assert!(last < position(&actions, |action| matches!(action, Action::WriteRecord { .. })), "{actions:#?}");
}
