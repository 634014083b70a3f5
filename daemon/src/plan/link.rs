//! One interface of a plan.
//!
//! A new interface gets its programs first and its record last. A program without a record touches nothing, so nothing is judged
//! until the record is there, and then both directions (and XDP's share) are judged from the same packet on: one element of a hash
//! is written at once. The other way round, egress would be judged while ingress is not yet, or the answers to connections
//! that left unseen would be dropped. A daemon that dies in between leaves the interface as open as it was before, either way.

use netpol_probes::abi;

use super::action::{Action, Target};
use super::observed::{LinkObserved, Observed, XdpObserved};
use crate::compile::ruleset::{DeviceKind, LinkPlan, Ruleset};
use crate::policy::model::{Adopt, Hook, XdpMode};

/// For so long after an interface first comes under policy a mid-stream TCP packet may open a flow on it (`adopt_existing = true`), ns.
pub const ADOPTION: u64 = 60 * 1_000_000_000;

/// Egress first: should only one of the two be there for a moment, what leaves makes its state before answers are asked for it.
const HOOKS: [Hook; 2] = [Hook::Egress, Hook::Ingress];

/// Interfaces that something of ours hangs on or that the running generation has a record of, but that no policy selects.
pub fn not_wanted(wanted: &Ruleset, there: &Observed) -> Vec<u32> {
    let known = there.links.iter().filter(|(_, link)| link.present).map(|(ifindex, _)| *ifindex);
    let ours = |ifindex: &u32| {
        let attached = there.links.get(ifindex).is_some_and(LinkObserved::attached);
        attached || there.records.contains_key(&(there.word.running, *ifindex))
    };
    known.filter(|ifindex| !wanted.links.contains_key(ifindex)).filter(ours).collect()
}

/// The record of an interface that the running generation covers.
fn covered(there: &Observed, link: &LinkObserved, ifindex: u32) -> Option<abi::np_link> {
    // Another device has the index of one that is gone: it was never covered.
    there.records.get(&(there.word.running, ifindex)).copied().filter(|_| !link.dead_pins)
}

/// The plan with what only the host knows. The end of the time in which connections may be taken over: a new interface's time begins now,
/// what a covered one has goes on. It never makes a difference between records by itself, but ends at once where the policy no longer
/// wants it. And no cookies where tagged clients connect: XDP does not see a tag that the device has taken off.
fn with_facts(plan: &LinkPlan, adopt: Adopt, there: &Observed, link: &LinkObserved) -> LinkPlan {
    let mut plan = plan.clone();
    if there.takes_tags(plan.ifindex) {
        plan.record.flags &= !abi::NP_LINK_SYN_COOKIES;
    }
    plan.record.adopt_until = match covered(there, link, plan.ifindex) {
        _ if adopt != Adopt::All => 0,
        Some(record) => record.adopt_until,
        None => there.now + ADOPTION,
    };
    plan
}

/// Whether connections over the interface are taken over: it comes under policy now.
pub fn comes_under_policy(plan: &LinkPlan, there: &Observed) -> bool {
    present(plan, there).is_some_and(|link| covered(there, link, plan.ifindex).is_none())
}

/// Takes over what runs over the interface.
pub fn adopt(plan: &LinkPlan, generation: u32, actions: &mut Vec<Action>) {
    actions.push(Action::Adopt { generation, link: target(plan.ifindex, &plan.name) });
}

/// The programs of an interface that the running generation should know. Of all interfaces before the first record of one: what is on
/// its way when they are attached is waited for once.
pub fn bring_programs(plan: &LinkPlan, there: &Observed, actions: &mut Vec<Action>) {
    let Some(link) = present(plan, there) else { return };
    if link.dead_pins {
        // Another device has this index now: what is left belongs to one that is gone, its record included.
        actions.push(Action::ForgetLink { ifindex: plan.ifindex });
    }
    attach_tc(plan, link, &target(plan.ifindex, &plan.name), actions);
}

/// The interface as the running generation should know it, when it has its programs.
pub fn bring_into_running(plan: &LinkPlan, adopt_existing: Adopt, there: &Observed, generation: u32, actions: &mut Vec<Action>) {
    let Some(link) = present(plan, there) else { return };
    let plan = &with_facts(plan, adopt_existing, there, link);
    let target = target(plan.ifindex, &plan.name);
    let before = there.records.get(&(generation, plan.ifindex)).copied().filter(|_| !link.dead_pins);
    let changes_xdp = change_xdp(plan, link, &target, generation, before, actions);
    let wanted = with_flag(plan.record, plan.xdp.is_some() && link.xdp.is_ours());
    if before.is_none() && adopt_existing != Adopt::None {
        adopt(plan, generation, actions);
    }
    if changes_xdp || before != Some(wanted) {
        actions.push(write_record(plan, generation, target, before));
    }
}

/// The interface as a generation that nothing reads yet should know it.
pub fn bring_into_new(plan: &LinkPlan, adopt_existing: Adopt, there: &Observed, generation: u32, actions: &mut Vec<Action>) {
    let Some(link) = present(plan, there) else { return };
    let plan = &with_facts(plan, adopt_existing, there, link);
    let target = target(plan.ifindex, &plan.name);
    if link.dead_pins {
        actions.push(Action::ForgetLink { ifindex: plan.ifindex });
    }
    if exchanges_late(there) {
        attach_missing(plan, link, &target, actions);
    } else {
        attach_tc(plan, link, &target, actions);
    }
    match (plan.xdp, link.xdp) {
        (Some(mode), XdpObserved::None) => actions.push(Action::AttachXdp { link: target.clone(), mode }),
        (Some(_), XdpObserved::Native { program, current: false } | XdpObserved::Generic { program, current: false }) => {
            actions.push(Action::SwitchXdp { link: target.clone(), from: program });
        }
        _ => {}
    }
    actions.push(write_record(plan, generation, target, None));
}

/// Where no generation runs yet, a program that hangs on a hook judges by another layout's tables: ours has nothing to judge by until
/// the commit, so it takes that one's place after it. (Links of another layout are others than ours; clsact has one place for all.)
fn exchanges_late(there: &Observed) -> bool {
    there.word.running == 0
}

/// After a commit: programs that [`bring_into_new`] left where they were.
pub fn exchange_tc(plan: &LinkPlan, there: &Observed, actions: &mut Vec<Action>) {
    if let Some(link) = present(plan, there).filter(|_| exchanges_late(there)) {
        let mut all = Vec::new();
        attach_tc(plan, link, &target(plan.ifindex, &plan.name), &mut all);
        actions.extend(all.into_iter().filter(|action| matches!(action, Action::Switch { .. })));
    }
}

/// After a commit: XDP in a mode that is no longer wanted, or not wanted at all.
pub fn settle_xdp(plan: &LinkPlan, adopt_existing: Adopt, there: &Observed, generation: u32, actions: &mut Vec<Action>) {
    let Some(link) = present(plan, there) else { return };
    let plan = &with_facts(plan, adopt_existing, there, link);
    let target = target(plan.ifindex, &plan.name);
    match (plan.xdp, attached_mode(link.xdp)) {
        (None, Some(mode)) => actions.push(Action::DetachXdp { link: target, mode }),
        (Some(wanted), Some(mode)) if contradicts(wanted, mode) => {
            actions.push(Action::DetachXdp { link: target.clone(), mode });
            actions.push(Action::AttachXdp { link: target.clone(), mode: wanted });
            actions.push(write_record(plan, generation, target, Some(with_flag(plan.record, true))));
        }
        _ => {}
    }
}

/// The running generation no longer touches the interface.
pub fn drop_from_running(ifindex: u32, there: &Observed, generation: u32, actions: &mut Vec<Action>) {
    if let Some(&before) = there.records.get(&(generation, ifindex)) {
        let name = there.links.get(&ifindex).map_or("", |link| link.name.as_str());
        actions.push(Action::DropRecord { generation, link: target(ifindex, name), before: Some(before) });
    }
}

/// Takes everything of ours off an interface that the running generation has no record of.
pub fn detach(ifindex: u32, there: &Observed, actions: &mut Vec<Action>) {
    let Some(link) = there.links.get(&ifindex) else { return };
    let target = target(ifindex, &link.name);
    if let Some(mode) = attached_mode(link.xdp) {
        actions.push(Action::DetachXdp { link: target.clone(), mode });
    }
    for hook in HOOKS {
        if let Some(tc) = link.tc(hook) {
            let variant = tc.variant.unwrap_or(DeviceKind::Ethernet);
            actions.push(Action::Detach { link: target.clone(), hook, variant });
        }
    }
}

/// Programs on both hooks, exchanging what is there of ours.
pub fn attach_tc(plan: &LinkPlan, link: &LinkObserved, target: &Target, actions: &mut Vec<Action>) {
    let variant = plan.device;
    for hook in HOOKS {
        match link.tc(hook) {
            None => actions.push(Action::Attach { link: target.clone(), hook, variant }),
            Some(tc) if !tc.variant.is_some_and(|there| same_program(there, variant)) => {
                actions.push(Action::Switch { link: target.clone(), hook, variant, from: tc.program });
            }
            Some(_) => {}
        }
    }
}

/// Programs on hooks that have none of ours.
fn attach_missing(plan: &LinkPlan, link: &LinkObserved, target: &Target, actions: &mut Vec<Action>) {
    for hook in HOOKS.into_iter().filter(|hook| link.tc(*hook).is_none()) {
        actions.push(Action::Attach { link: target.clone(), hook, variant: plan.device });
    }
}

/// Our programs before those of others, on an interface whose programs are attached.
pub fn take_heads(plan: &LinkPlan, there: &Observed, actions: &mut Vec<Action>) {
    let Some(link) = present(plan, there).filter(|link| !link.dead_pins) else { return };
    let displaced = |hook: &Hook| link.tc(*hook).is_some_and(|tc| tc.ahead > 0 && !tc.contested);
    let target = target(plan.ifindex, &plan.name);
    actions.extend(HOOKS.into_iter().filter(displaced).map(|hook| Action::TakeHead { link: target.clone(), hook, variant: plan.device }));
}

/// XDP of an interface of the running generation. `true`: its record must be written again afterwards.
fn change_xdp(
    plan: &LinkPlan,
    link: &LinkObserved,
    target: &Target,
    generation: u32,
    before: Option<abi::np_link>,
    actions: &mut Vec<Action>,
) -> bool {
    let attach = |mode| Action::AttachXdp { link: target.clone(), mode };
    match (plan.xdp, link.xdp, attached_mode(link.xdp)) {
        (Some(mode), XdpObserved::None, _) => actions.push(attach(mode)),
        (wanted, _, Some(there)) if wanted.is_none_or(|mode| contradicts(mode, there)) => {
            // tc takes over the checks before XDP stops making them.
            if before.is_some() {
                let record = with_flag(plan.record, false);
                actions.push(Action::WriteRecord { generation, link: target.clone(), record, xdp: false, before });
            }
            actions.push(Action::DetachXdp { link: target.clone(), mode: there });
            actions.extend(wanted.map(attach));
        }
        (Some(_), XdpObserved::Native { program, current: false } | XdpObserved::Generic { program, current: false }, _) => {
            actions.push(Action::SwitchXdp { link: target.clone(), from: program });
            return false;
        }
        _ => return false,
    }
    true
}

fn write_record(plan: &LinkPlan, generation: u32, link: Target, before: Option<abi::np_link>) -> Action {
    Action::WriteRecord { generation, link, record: with_flag(plan.record, false), xdp: plan.xdp.is_some(), before }
}

/// What is there of a wanted interface; `None` = it vanished since the ruleset was compiled, the next look will know.
fn present<'a>(plan: &LinkPlan, there: &'a Observed) -> Option<&'a LinkObserved> {
    there.links.get(&plan.ifindex).filter(|link| link.present)
}

fn target(ifindex: u32, name: &str) -> Target {
    Target { ifindex, name: name.to_string() }
}

/// The record with `NP_LINK_XDP` as told.
pub fn with_flag(mut record: abi::np_link, xdp: bool) -> abi::np_link {
    record.flags &= !abi::NP_LINK_XDP;
    if xdp {
        record.flags |= abi::NP_LINK_XDP;
    }
    record
}

fn attached_mode(xdp: XdpObserved) -> Option<XdpMode> {
    match xdp {
        XdpObserved::Native { .. } => Some(XdpMode::Native),
        XdpObserved::Generic { .. } => Some(XdpMode::Generic),
        XdpObserved::None | XdpObserved::Foreign { .. } => None,
    }
}

/// `auto` is content with either; a fixed mode only with itself.
fn contradicts(wanted: XdpMode, there: XdpMode) -> bool {
    wanted != XdpMode::Auto && wanted != there
}

/// `lo` has the Ethernet program: its difference is in the record.
pub fn same_program(one: DeviceKind, other: DeviceKind) -> bool {
    (one == DeviceKind::Raw) == (other == DeviceKind::Raw)
}
