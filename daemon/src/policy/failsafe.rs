//! The ruleset of last resort: failsafe entries and nothing else.

use std::sync::Arc;

use super::model::{Chain, Daemon, DefaultAction, EndpointKind, Failsafe, InterfaceSelector, Mode, Origin, Policy, PolicySet};

/// Denies both directions on every interface but the loopback device, except the entries, neighbour discovery and the DHCP client.
pub fn failsafe_only((inbound, outbound): (Vec<Failsafe>, Vec<Failsafe>)) -> PolicySet {
    let origin = Origin { file: Arc::from("(built in)"), line: 1, column: 1 };
    let chain = || Some(Chain { default_action: DefaultAction::Deny, default_origin: origin.clone(), rules: Vec::new() });
    let everything = glob::Pattern::new("*").into_iter().collect();
    PolicySet {
        daemon: Daemon { failsafe_inbound: inbound, failsafe_outbound: outbound, ..Daemon::default() },
        sets: Vec::new(),
        policies: vec![Policy {
            name: "failsafe-only".into(),
            origin: origin.clone(),
            description: Some("enforced because the policy directory cannot be".into()),
            mode: Mode::Enforce,
            order: 0,
            interfaces: InterfaceSelector { include: everything, exclude: Vec::new() },
            owner: None,
            endpoint: EndpointKind::Host,
            ingress: chain(),
            egress: chain(),
            dhcp_client: true,
            icmpv6_essential: true,
            log_default_deny: true,
            ethertypes: None,
            anti_spoof: None,
            xdp: None,
        }],
        tests: Vec::new(),
    }
}

/// Takes an interface out of every policy and denies both directions on it.
pub fn close(set: &mut PolicySet, interface: &str) {
    let Ok(pattern) = glob::Pattern::new(&glob::Pattern::escape(interface)) else { return };
    for policy in &mut set.policies {
        policy.interfaces.exclude.push(pattern.clone());
    }
    let mut closing = failsafe_only((Vec::new(), Vec::new())).policies;
    for policy in &mut closing {
        policy.name = format!("closed-{interface}");
        policy.description = Some("policies claim this interface in contradicting ways".into());
        policy.interfaces = InterfaceSelector { include: vec![pattern.clone()], exclude: Vec::new() };
    }
    set.policies.splice(0..0, closing);
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::policy::salvage_failsafe;
    use crate::source::Snapshot;

    #[test]
    fn entries_are_saved_from_refused_files_and_broken_entries_are_not() {
        let text = "version = 1\nnonsense = true\n[daemon]\nfailsafe.inbound = [{ protocol = \"tcp\", port = 22, nets = [\"192.0.2.0/24\"] }, \
                    { protocol = \"tcp\", port = 80, nets = 7 }]\n";
        let broken = "version = 1\n[[policy\n";
        let snapshot = Snapshot::of(Path::new("d"), &[("a.toml".into(), text.into()), ("b.toml".into(), broken.into())]);
        let (inbound, outbound) = salvage_failsafe(&snapshot);
        assert_eq!(inbound.iter().map(|entry| (entry.protocol, entry.port, entry.nets.len())).collect::<Vec<_>>(), [(6, 22, 1)]);
        assert!(outbound.is_empty());
    }
}
