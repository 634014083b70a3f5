//! What `status` must show although no action can change it. Pure.

use netpol_probes::abi;

use super::observed::{LinkObserved, Observed, XdpObserved};
use crate::compile::ruleset::{LinkPlan, Ruleset};
use crate::policy::model::{Hook, XdpMode};

/// One sentence for each thing that is not as an administrator may think.
pub fn warnings(wanted: &Ruleset, observed: &Observed) -> Vec<String> {
    let mut found = Vec::new();
    for plan in wanted.links.values() {
        let Some(link) = observed.links.get(&plan.ifindex).filter(|link| link.present) else { continue };
        for (hook, name) in [(Hook::Ingress, "ingress"), (Hook::Egress, "egress")] {
            found.extend(of_hook(plan, link, hook, name));
        }
        found.extend(of_xdp(plan, link));
        found.extend(of_cookies(plan, link, observed));
        found.extend(of_ports(plan, link, wanted, observed));
    }
    found
}

fn of_hook(plan: &LinkPlan, link: &LinkObserved, hook: Hook, name: &str) -> Option<String> {
    match link.tc(hook) {
        None => Some(format!("{}: no program is attached to {name}", plan.name)),
        Some(tc) if tc.ahead > 0 => {
            let left = if tc.contested { "; the head was taken back several times, and is left to them for some minutes" } else { "" };
            Some(format!("{}: {} foreign program(s) run before ours at {name} and can let packets pass it{left}", plan.name, tc.ahead))
        }
        Some(_) => None,
    }
}

/// Ports of a bridge that no policy is on.
pub fn uncovered_ports<'a>(ifindex: u32, wanted: &Ruleset, observed: &'a Observed) -> Vec<&'a str> {
    let bridge = observed.links.get(&ifindex).is_some_and(|link| link.kind == "bridge");
    let members = observed.links.iter().filter(|(_, link)| bridge && link.present && link.master == Some(ifindex));
    members.filter(|(port, _)| !wanted.links.contains_key(port)).map(|(_, link)| link.name.as_str()).collect()
}

/// What a bridge carries from port to port does not pass the bridge's own hooks.
fn of_ports(plan: &LinkPlan, link: &LinkObserved, wanted: &Ruleset, observed: &Observed) -> Option<String> {
    let ports = uncovered_ports(plan.ifindex, wanted, observed);
    let (name, list) = (&link.name, ports.join(", "));
    (!ports.is_empty())
        .then(|| format!("{name}: what goes from port to port of this bridge is not judged; no policy is on its ports {list}"))
}

/// Cookies are given by XDP, and made by the kernel.
fn of_cookies(plan: &LinkPlan, link: &LinkObserved, observed: &Observed) -> Option<String> {
    if plan.record.flags & abi::NP_LINK_SYN_COOKIES == 0 {
        return None;
    }
    if observed.takes_tags(plan.ifindex) {
        return Some(format!("{}: syn_cookies has no effect: a VLAN device stands on it, and XDP does not see every tag", plan.name));
    }
    if observed.no_syn_cookies {
        return Some(format!("{}: syn_cookies has no effect: net.ipv4.tcp_syncookies is 0", plan.name));
    }
    (!link.xdp.is_ours()).then(|| format!("{}: syn_cookies has no effect without our XDP program", plan.name))
}

fn of_xdp(plan: &LinkPlan, link: &LinkObserved) -> Option<String> {
    let mode = plan.xdp?;
    match (mode, link.xdp) {
        (_, XdpObserved::Foreign { program }) => {
            Some(format!("{}: XDP program {program} of somebody else is attached; tc makes the checks of policy.xdp", plan.name))
        }
        (XdpMode::Native, XdpObserved::None) => {
            Some(format!("{}: the driver takes no XDP program in native mode; tc makes the checks of policy.xdp", plan.name))
        }
        (_, XdpObserved::None) => Some(format!("{}: no XDP program is attached; tc makes the checks of policy.xdp", plan.name)),
        _ => None,
    }
}
