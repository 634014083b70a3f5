//! Other tools at our hooks: what they took and we put back is counted and logged; what stands beside or before us is told once.
//!
//! Notices nothing by itself: the kernel side says that something moved, the plan says what to do about it.

use std::collections::{BTreeMap, BTreeSet};

use log::{info, warn};

use super::Reconciler;
use crate::compile::ruleset::Ruleset;
use crate::kernel::Outcome;
use crate::plan::action::hook_name;
use crate::plan::{self, Action, Observed, Place};

/// What is remembered of them.
#[derive(Debug, Default)]
pub(super) struct Neighbours {
    /// How often something was put back, by what it was.
    restored: BTreeMap<&'static str, u64>,
    /// Warnings that are in the log already.
    told: BTreeSet<String>,
    /// Something was done since it was looked what there is to tell.
    unsaid: bool,
}

impl Neighbours {
    /// How often something was put back: `ingress`, `egress`, `xdp`, `ingress_head`, `egress_head`, `pins`.
    pub(super) fn restored(&self) -> BTreeMap<String, u64> {
        self.restored.iter().map(|(what, times)| ((*what).to_string(), *times)).collect()
    }

    fn count(&mut self, what: &'static str) {
        *self.restored.entry(what).or_default() += 1;
    }

    /// Pins were put back.
    pub(super) fn pinned_again(&mut self, pins: &[String]) {
        for pin in pins {
            warn!("somebody removed a pin or an attachment of ours; put back: {pin}");
            self.count("pins");
        }
    }

    /// A plan was carried out for what was there before.
    pub(super) fn executed(&mut self, before: &Observed, actions: &[Action], outcome: &Outcome) {
        self.unsaid |= !actions.is_empty();
        for restored in plan::restored(before, actions) {
            let sentence = format!("{}: ", restored.action);
            if outcome.warnings.iter().any(|warning| warning.starts_with(&sentence)) {
                continue;
            }
            let (name, ahead) = (&restored.link.name, |hook| ahead(before, restored.link.ifindex, hook));
            match restored.place {
                Place::Tc(hook) => {
                    warn!("{name}: somebody took our program off {}; it is attached again", hook_name(hook));
                    self.count(hook_name(hook));
                }
                Place::Head(hook) => {
                    let (programs, hook) = (ahead(hook), hook_name(hook));
                    warn!(
                        "{name}: {programs} foreign program(s) ran before ours at {hook} and could let packets pass it; ours is first again"
                    );
                    self.count(if hook == "ingress" { "ingress_head" } else { "egress_head" });
                }
                Place::Xdp => {
                    warn!("{name}: somebody took our XDP program off; it is attached again");
                    self.count("xdp");
                }
            }
        }
    }

    /// Interfaces that came under policy or left it between two rulesets that are live.
    pub(super) fn moved(before: &Ruleset, after: &Ruleset, there: &Observed) {
        for (ifindex, link) in before.links.iter().filter(|(ifindex, _)| !after.links.contains_key(ifindex)) {
            match there.links.get(ifindex).filter(|now| now.present) {
                None => info!("{}: gone (deleted, or moved to another network namespace); its policy went with it", link.name),
                Some(now) if now.name != link.name => {
                    info!("{}: now called {}, which no policy selects: not under policy", link.name, now.name)
                }
                Some(_) => info!("{}: no longer under policy", link.name),
            }
        }
        for (ifindex, link) in &after.links {
            match before.links.get(ifindex) {
                None => info!("{}: under policy ({})", link.name, link.policies.join(", ")),
                Some(former) if former.name != link.name => {
                    info!("{}: now called {}; under policy ({})", former.name, link.name, link.policies.join(", "));
                }
                Some(_) => {}
            }
        }
    }
}

fn ahead(before: &Observed, ifindex: u32, hook: crate::policy::model::Hook) -> usize {
    before.links.get(&ifindex).and_then(|link| link.tc(hook)).map_or(0, |tc| tc.ahead)
}

impl Reconciler {
    /// Whether somebody else moved what is ours since the last execution. Cheap; call it often.
    pub fn moved(&mut self) -> bool {
        let moved = match (&self.live, &mut self.kernel) {
            (Some(_), Some(kernel)) => kernel.moved(),
            _ => return false,
        };
        // What cannot be asked is looked at in full, which says what is wrong.
        let moved = moved.unwrap_or(true);
        self.neighbours.unsaid |= moved;
        moved
    }

    /// Logs what `status` newly warns of: what stands beside or before our programs.
    pub fn tell_neighbours(&mut self) {
        if !std::mem::take(&mut self.neighbours.unsaid) {
            return;
        }
        let (Some(live), Some(kernel)) = (&self.live, &self.kernel) else { return };
        let Ok(observed) = kernel.observe() else {
            self.neighbours.unsaid = true;
            return;
        };
        let warnings: BTreeSet<String> = plan::warnings(&live.ruleset, &observed).into_iter().collect();
        warnings.difference(&self.neighbours.told).for_each(|warning| warn!("{warning}"));
        self.neighbours.told.difference(&warnings).for_each(|warning| info!("no longer: {warning}"));
        self.neighbours.told = warnings;
    }
}
