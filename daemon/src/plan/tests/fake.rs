//! A kernel in memory: what each action does to [`Observed`].
//!
//! It knows only what it is told here. That the real kernel does the same is shown by the tests of `kernel`, which carry out
//! the same plans and compare what they observe.

use crate::compile::ruleset::Ruleset;
use crate::plan::Action;
use crate::plan::link::with_flag;
use crate::plan::observed::{GenerationFacts, GuardObserved, Observed, TcAttachment, TcObserved, XdpObserved};
use crate::policy::model::{Hook, XdpMode};

/// Program ids of this binary: tc by hook, XDP, epilogue.
pub const INGRESS: u32 = 101;
pub const EGRESS: u32 = 102;
pub const XDP: u32 = 103;
pub const EPILOGUE: u32 = 104;

fn tc_of(observed: &mut Observed, ifindex: u32, hook: Hook) -> &mut Option<TcObserved> {
    let link = observed.links.get_mut(&ifindex).unwrap();
    match hook {
        Hook::Ingress => &mut link.ingress,
        Hook::Egress => &mut link.egress,
    }
}

fn xdp_of(mode: XdpMode, program: u32) -> XdpObserved {
    let current = program == XDP;
    if mode == XdpMode::Generic { XdpObserved::Generic { program, current } } else { XdpObserved::Native { program, current } }
}

fn exchange_xdp(observed: &mut Observed, ifindex: u32, to: u32) {
    let xdp = &mut observed.links.get_mut(&ifindex).unwrap().xdp;
    *xdp = match *xdp {
        XdpObserved::Native { .. } => XdpObserved::Native { program: to, current: to == XDP },
        XdpObserved::Generic { .. } => XdpObserved::Generic { program: to, current: to == XDP },
        other => panic!("exchange of {other:?}"),
    };
}

/// Carries out one action.
pub fn apply(observed: &mut Observed, wanted: &Ruleset, action: &Action) {
    match action.clone() {
        Action::InstallShared { .. } => (observed.shared, observed.shared_current) = (Some(EPILOGUE), true),
        Action::RestoreShared { program } => (observed.shared, observed.shared_current) = (Some(program), program == EPILOGUE),
        Action::AttachGuard => observed.guard = GuardObserved::Attached,
        Action::DetachGuard => observed.guard = GuardObserved::Missing,
        Action::BuildGeneration { generation, deadline } => {
            let digest = Some(wanted.core.digest());
            let facts = GenerationFacts { digest, created: 0, deadline, programs_current: true };
            assert!(observed.generations.insert(generation, facts).is_none(), "generation {generation} was there");
        }
        Action::RemoveGeneration { generation } => {
            assert!(!observed.word.holds(generation), "generation {generation} judges packets");
            observed.generations.remove(&generation);
            observed.records.retain(|(holder, _), _| *holder != generation);
        }
        Action::WriteRecord { generation, link, record, xdp, before } => {
            let there = observed.records.get(&(generation, link.ifindex)).copied();
            assert_eq!(there.map(|r| with_flag(r, false)), before.map(|r| with_flag(r, false)), "{action}");
            let ours = observed.links[&link.ifindex].xdp.is_ours();
            observed.records.insert((generation, link.ifindex), with_flag(record, xdp && ours));
        }
        Action::RestoreRecord { generation, link, record } => {
            observed.records.insert((generation, link.ifindex), record);
        }
        Action::DropRecord { generation, link, .. } => {
            observed.records.remove(&(generation, link.ifindex));
        }
        Action::Attach { link, hook, variant } => {
            let program = if hook == Hook::Ingress { INGRESS } else { EGRESS };
            let tc = TcObserved { attachment: TcAttachment::Tcx, variant: Some(variant), program, ahead: 0, contested: false };
            assert_eq!(tc_of(observed, link.ifindex, hook).replace(tc), None, "{action}");
        }
        Action::Detach { link, hook, .. } => assert!(tc_of(observed, link.ifindex, hook).take().is_some(), "{action}"),
        Action::Switch { link, hook, variant, from } => {
            let tc = tc_of(observed, link.ifindex, hook).as_mut().unwrap();
            assert_eq!(tc.program, from);
            (tc.program, tc.variant) = (if hook == Hook::Ingress { INGRESS } else { EGRESS }, Some(variant));
        }
        Action::SwitchBack { link, hook, to } => {
            let tc = tc_of(observed, link.ifindex, hook).as_mut().unwrap();
            (tc.program, tc.variant) = (to, None);
        }
        Action::TakeHead { link, hook, .. } => tc_of(observed, link.ifindex, hook).as_mut().unwrap().ahead = 0,
        Action::AttachXdp { link, mode } => observed.links.get_mut(&link.ifindex).unwrap().xdp = xdp_of(mode, XDP),
        Action::DetachXdp { link, .. } => {
            for ((_, ifindex), record) in &mut observed.records {
                if *ifindex == link.ifindex {
                    *record = with_flag(*record, false);
                }
            }
            observed.links.get_mut(&link.ifindex).unwrap().xdp = XdpObserved::None;
        }
        Action::SwitchXdp { link, .. } => exchange_xdp(observed, link.ifindex, XDP),
        Action::SwitchXdpBack { link, to } => exchange_xdp(observed, link.ifindex, to),
        Action::CarryCounters { .. } | Action::Adopt { .. } | Action::Disown { .. } => {}
        Action::Commit { word, before } => {
            assert_eq!(observed.word, before);
            observed.word = word;
        }
        Action::SetDeadline { generation, deadline, before } => {
            let facts = observed.generations.get_mut(&generation).unwrap();
            assert_eq!(facts.deadline, before);
            facts.deadline = deadline;
        }
        Action::ForgetLink { ifindex } => {
            observed.records.retain(|(_, other), _| *other != ifindex);
            match observed.links.get_mut(&ifindex) {
                Some(link) if link.present => link.dead_pins = false,
                _ => {
                    observed.links.remove(&ifindex);
                }
            }
        }
        Action::Sweep { directory } => observed.leftovers.retain(|name| *name != directory),
    }
}
