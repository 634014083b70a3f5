//! Plans on a kernel in memory: each law of a reload as one test.

mod adoption;
mod fake;
mod laws;
mod undo;

use std::collections::BTreeMap;

use netpol_probes::abi;

use super::observed::{LinkObserved, Observed};
use super::{Action, Options, plan_with};
use crate::compile::ruleset::{Core, DeviceKind, LinkPlan, Ruleset};
use crate::policy::model::XdpMode;

/// A ruleset of given "contents" for given interfaces.
pub fn ruleset(contents: u32, links: &[u32]) -> Ruleset {
    let core = Core { connections: 1024, half_open: 1024, views: vec![contents], ..Core::default() };
    Ruleset { core, links: links.iter().map(|ifindex| (*ifindex, link_plan(*ifindex))).collect() }
}

pub fn link_plan(ifindex: u32) -> LinkPlan {
    LinkPlan {
        ifindex,
        name: format!("eth{ifindex}"),
        device: DeviceKind::Ethernet,
        record: abi::np_link { chain: [0, abi::NP_NONE], ..Default::default() },
        xdp: None,
        policies: Vec::new(),
    }
}

pub fn with_xdp(mut ruleset: Ruleset, ifindex: u32, mode: XdpMode) -> Ruleset {
    ruleset.links.get_mut(&ifindex).unwrap().xdp = Some(mode);
    ruleset
}

/// A kernel with interfaces and nothing of ours.
pub fn fresh(links: &[u32]) -> Observed {
    let present = |ifindex: &u32| (*ifindex, LinkObserved { name: format!("eth{ifindex}"), present: true, ..Default::default() });
    Observed { links: links.iter().map(present).collect::<BTreeMap<_, _>>(), ..Default::default() }
}

/// Plans and carries out; what was done is returned.
pub fn reach(observed: &mut Observed, wanted: &Ruleset, options: Options) -> Vec<Action> {
    let actions = plan_with(wanted, observed, options);
    actions.iter().for_each(|action| fake::apply(observed, wanted, action));
    actions
}

pub fn position(actions: &[Action], what: impl Fn(&Action) -> bool) -> usize {
    actions.iter().position(what).unwrap_or_else(|| panic!("not in {actions:#?}"))
}

pub fn is_commit(action: &Action) -> bool {
    matches!(action, Action::Commit { .. })
}
