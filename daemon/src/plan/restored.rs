//! Which actions of a plan put back what others took from us. Pure.
//!
//! The running generation has a record of an interface only after its programs were attached: where the record is there and a
//! program is not, somebody took it off.

use netpol_probes::abi;

use super::action::{Action, Target};
use super::observed::{Observed, TcAttachment};
use crate::policy::model::Hook;

/// Where something was put back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// The program of a tc hook.
    Tc(Hook),
    /// The head of a tc hook.
    Head(Hook),
    /// XDP.
    Xdp,
}

/// One thing that is put back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored<'a> {
    /// By which action.
    pub action: &'a Action,
    /// On which interface.
    pub link: &'a Target,
    /// Where there.
    pub place: Place,
}

/// What of a plan for this state puts something back.
pub fn restored<'a>(there: &Observed, actions: &'a [Action]) -> Vec<Restored<'a>> {
    actions.iter().filter_map(|action| Some(Restored { action, link: action.link()?, place: place(there, action)? })).collect()
}

fn place(there: &Observed, action: &Action) -> Option<Place> {
    let ifindex = action.link()?.ifindex;
    let link = there.links.get(&ifindex).filter(|link| link.present && !link.dead_pins)?;
    let record = there.records.get(&(there.word.running, ifindex))?;
    match action {
        Action::Attach { hook, .. } => Some(Place::Tc(*hook)),
        // Nobody else than us exchanges the program of a link; the place of a filter is anybody's.
        Action::Switch { hook, .. } => {
            let current = there.generations.get(&there.word.running).is_some_and(|generation| generation.programs_current);
            let filter = link.tc(*hook).is_some_and(|tc| tc.attachment == TcAttachment::Clsact && tc.variant.is_none());
            (current && filter).then_some(Place::Tc(*hook))
        }
        Action::TakeHead { hook, .. } => Some(Place::Head(*hook)),
        Action::AttachXdp { .. } => (record.flags & abi::NP_LINK_XDP != 0 && !link.xdp.is_ours()).then_some(Place::Xdp),
        _ => None,
    }
}
