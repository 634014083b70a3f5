//! Whatever is done before the commit can be taken back, one by one and all together.

use super::super::action::Target;
use super::super::observed::{GenerationWord, XdpObserved};
use super::super::{Observed, Options, plan_with};
use super::*;
use crate::policy::model::Hook;

/// A kernel that enforces generation 1 on eth1 and eth2, with XDP on eth2 where told.
pub fn running(xdp: bool) -> (Observed, Ruleset) {
    let mut wanted = ruleset(1, &[1, 2]);
    if xdp {
        wanted = with_xdp(wanted, 2, XdpMode::Generic);
    }
    let mut observed = fresh(&[1, 2, 3]);
    reach(&mut observed, &wanted, Options::default());
    (observed, wanted)
}

fn target() -> Target {
    Target { ifindex: 2, name: "eth2".into() }
}

#[test]
fn every_action_names_what_takes_it_back() {
    let (start, wanted) = running(true);
    let record = abi::np_link { flags: 4, ..Default::default() };
    let before = start.records[&(1, 2)];
    let variant = DeviceKind::Ethernet;
    let actions = [
        Action::InstallShared { before: start.shared },
        Action::BuildGeneration { generation: 2, deadline: 0 },
        Action::WriteRecord { generation: 1, link: target(), record, xdp: true, before: Some(before) },
        Action::WriteRecord { generation: 1, link: Target { ifindex: 3, name: "eth3".into() }, record, xdp: false, before: None },
        Action::DropRecord { generation: 1, link: target(), before: Some(before) },
        Action::Adopt { generation: 1, link: Target { ifindex: 3, name: "eth3".into() } },
        Action::Attach { link: Target { ifindex: 3, name: "eth3".into() }, hook: Hook::Egress, variant },
        Action::Detach { link: target(), hook: Hook::Ingress, variant },
        Action::AttachXdp { link: Target { ifindex: 3, name: "eth3".into() }, mode: XdpMode::Generic },
        Action::Commit { word: GenerationWord { running: 7, former: 1 }, before: start.word },
        Action::SetDeadline { generation: 1, deadline: 9, before: 0 },
    ];
    for action in actions {
        let mut there = start.clone();
        fake::apply(&mut there, &wanted, &action);
        let undo = action.undo().unwrap_or_else(|| panic!("{action} has no undo"));
        fake::apply(&mut there, &wanted, &undo);
        assert_eq!(there, start, "{action}, then {undo}");
    }
}

#[test]
fn exchanged_programs_can_be_exchanged_back() {
    let (mut start, wanted) = running(true);
    let link = start.links.get_mut(&2).unwrap();
    let tc = link.ingress.as_mut().unwrap();
    (tc.program, tc.variant) = (7, None);
    link.xdp = XdpObserved::Generic { program: 8, current: false };
    let actions = [
        Action::Switch { link: target(), hook: Hook::Ingress, variant: DeviceKind::Ethernet, from: 7 },
        Action::SwitchXdp { link: target(), from: 8 },
    ];
    for action in actions {
        let mut there = start.clone();
        fake::apply(&mut there, &wanted, &action);
        assert_ne!(there, start);
        fake::apply(&mut there, &wanted, &action.undo().unwrap());
        assert_eq!(there, start, "{action}");
    }
}

#[test]
fn deletions_and_counters_have_nothing_to_take_back() {
    let actions = [
        Action::RemoveGeneration { generation: 1 },
        Action::ForgetLink { ifindex: 1 },
        Action::Sweep { directory: "abi0".into() },
        Action::CarryCounters { from: 1, to: 2 },
    ];
    assert!(actions.iter().all(|action| action.undo().is_none()));
}

#[test]
fn a_plan_that_stops_anywhere_before_its_commit_is_taken_back_whole() {
    let (mut start, _) = running(true);
    // Old programs everywhere, a new interface, another policy, another XDP wish: the longest plan there is.
    start.links.get_mut(&1).unwrap().ingress.as_mut().unwrap().variant = None;
    start.links.get_mut(&1).unwrap().ingress.as_mut().unwrap().program = 9;
    (start.shared, start.shared_current) = (Some(5), false);
    let wanted = with_xdp(ruleset(2, &[1, 3]), 3, XdpMode::Auto);
    let actions = plan_with(&wanted, &start, Options::default());
    let commit = position(&actions, is_commit);
    for stop in 0..commit {
        let mut there = start.clone();
        actions[..stop].iter().for_each(|action| fake::apply(&mut there, &wanted, action));
        let undo = actions[..stop].iter().rev().filter_map(Action::undo);
        undo.for_each(|action| fake::apply(&mut there, &wanted, &action));
        assert_eq!(there, start, "stopped before {}", actions[stop]);
    }
}

#[test]
fn every_action_is_printed_for_people() {
    let (mut start, _) = running(true);
    start.leftovers.push("abi0".into());
    let wanted = with_xdp(ruleset(2, &[1, 3]), 3, XdpMode::Auto);
    for action in plan_with(&wanted, &start, Options::default()) {
        let line = action.to_string();
        assert!(!line.is_empty() && !line.contains('{') && !line.contains("Some("), "{line}");
    }
}
