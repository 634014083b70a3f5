//! Back to the former generation: it is still whole, so this is one store, after its interfaces have their programs again.

use super::action::{Action, Target};
use super::link::with_flag;
use super::observed::{GenerationWord, Observed};
use crate::compile::ruleset::{DeviceKind, LinkFacts};
use crate::policy::model::Hook;

/// A roll-back, and what is there when it is done.
pub struct Steps {
    /// What to do.
    pub actions: Vec<Action>,
    /// The word, deadlines and records afterwards.
    pub afterwards: Observed,
}

/// The actions that make the former generation the running one; empty where there is none. `facts` name the program variant of
/// interfaces whose programs were taken off since.
pub fn rollback(observed: &Observed, facts: &[LinkFacts]) -> Vec<Action> {
    let Some(Steps { actions: commit, .. }) = steps(observed) else { return Vec::new() };
    let former = observed.word.former;
    let mut actions = Vec::new();
    for fact in facts {
        let Some(&record) = observed.records.get(&(former, fact.ifindex)) else { continue };
        let Some(link) = observed.links.get(&fact.ifindex) else { continue };
        let target = Target { ifindex: fact.ifindex, name: fact.name.clone() };
        for hook in [Hook::Egress, Hook::Ingress] {
            if link.tc(hook).is_none() {
                let variant: DeviceKind = fact.device;
                actions.push(Action::Attach { link: target.clone(), hook, variant });
            }
        }
        let flagged = with_flag(record, link.xdp.is_ours());
        if flagged.flags & record.flags != record.flags {
            let record = with_flag(record, false);
            actions.push(Action::WriteRecord {
                generation: former,
                link: target,
                record,
                xdp: false,
                before: observed.records.get(&(former, fact.ifindex)).copied(),
            });
        }
    }
    actions.extend(commit);
    actions
}

/// The store itself. The generation that is left becomes the former one; whatever deadline the other had is over.
pub fn steps(observed: &Observed) -> Option<Steps> {
    let before = observed.word;
    let former = observed.generations.get(&before.former)?;
    former.digest?;
    let word = GenerationWord { running: before.former, former: before.running };
    let mut actions = Vec::new();
    let mut afterwards = observed.clone();
    if former.deadline != 0 {
        actions.push(Action::SetDeadline { generation: before.former, deadline: 0, before: former.deadline });
        if let Some(facts) = afterwards.generations.get_mut(&before.former) {
            facts.deadline = 0;
        }
    }
    actions.push(Action::Commit { word, before });
    afterwards.word = word;
    Some(Steps { actions, afterwards })
}
