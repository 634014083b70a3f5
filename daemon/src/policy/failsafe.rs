//! The ruleset of last resort: failsafe entries and nothing else.

use std::sync::Arc;

use super::model::{
    Chain, Conntrack, Daemon, DefaultAction, EndpointKind, Failsafe, InterfaceSelector, OnStop, Origin, Policy, PolicySet, ReloadMode,
};
use crate::source::Snapshot;

/// The failsafe entries (inbound, outbound) of those files that can be understood by themselves.
pub fn salvage_failsafe(snapshot: &Snapshot) -> (Vec<Failsafe>, Vec<Failsafe>) {
    let alone = snapshot.each_alone().filter_map(|mut file| super::load(&mut file).policies.ok());
    alone.map(|set| (set.daemon.failsafe_inbound, set.daemon.failsafe_outbound)).fold((Vec::new(), Vec::new()), |mut all, entries| {
        all.0.extend(entries.0);
        all.1.extend(entries.1);
        all
    })
}

/// Denies both directions on every interface but the loopback device, except the entries, neighbour discovery and the DHCP client.
pub fn failsafe_only((inbound, outbound): (Vec<Failsafe>, Vec<Failsafe>)) -> PolicySet {
    let origin = Origin { file: Arc::from("(built in)"), line: 1, column: 1 };
    let chain = || Some(Chain { default_action: DefaultAction::Deny, default_origin: origin.clone(), rules: Vec::new() });
    let everything = glob::Pattern::new("*").into_iter().collect();
    PolicySet {
        daemon: Daemon {
            failsafe_inbound: inbound,
            failsafe_outbound: outbound,
            on_stop: OnStop::Keep,
            reload: ReloadMode::Auto,
            conntrack: Conntrack::default(),
        },
        sets: Vec::new(),
        policies: vec![Policy {
            name: "failsafe-only".into(),
            origin: origin.clone(),
            description: Some("enforced because the policy directory cannot be".into()),
            order: 0,
            interfaces: InterfaceSelector { include: everything, exclude: Vec::new() },
            endpoint: EndpointKind::Host,
            ingress: chain(),
            egress: chain(),
            dhcp_client: true,
            icmpv6_essential: true,
            log_default_deny: true,
            ethertypes: None,
            xdp: None,
        }],
        tests: Vec::new(),
    }
}
