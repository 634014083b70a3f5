//! Small policies, written in few words, for tests.

use std::sync::Arc;

use crate::policy::model::*;

pub fn origin() -> Origin {
    Origin { file: Arc::from("test.toml"), line: 1, column: 1 }
}

/// A rule that matches everything untagged.
pub fn rule(id: &str, action: Action) -> Rule {
    Rule {
        id: id.to_owned(),
        origin: origin(),
        action,
        family: None,
        protocol: None,
        source: Peer::default(),
        destination: Peer::default(),
        icmp: None,
        tcp_flags: None,
        vlan: None,
        log: false,
        limit: None,
        reject_with: None,
        expires: None,
        comment: None,
    }
}

pub fn vlan(outer: u16) -> Vlan {
    Vlan { outer, inner: 0 }
}

/// Nets and ports, separated by spaces.
pub fn peer(nets: &str, ports: &str) -> Peer {
    let range = |text: &str| {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        PortRange { first: first.parse().unwrap(), last: last.parse().unwrap() }
    };
    Peer {
        nets: nets.split_whitespace().map(|net| net.parse().unwrap()).collect(),
        ports: ports.split_whitespace().map(range).collect(),
        ..Peer::default()
    }
}

pub fn chain(default_action: DefaultAction, rules: Vec<Rule>) -> Chain {
    Chain { default_action, default_origin: origin(), rules }
}

pub fn policy(name: &str, order: i64) -> Policy {
    Policy {
        name: name.to_owned(),
        origin: origin(),
        description: None,
        mode: Mode::Enforce,
        order,
        interfaces: InterfaceSelector { include: vec![glob::Pattern::new("eth*").unwrap()], exclude: Vec::new() },
        owner: None,
        endpoint: EndpointKind::Host,
        ingress: None,
        egress: None,
        dhcp_client: false,
        icmpv6_essential: true,
        log_default_deny: false,
        ethertypes: None,
        anti_spoof: None,
        xdp: None,
    }
}

pub fn set_of(policies: Vec<Policy>) -> PolicySet {
    PolicySet { daemon: Daemon::default(), sets: Vec::new(), policies, tests: Vec::new() }
}

/// A host endpoint on eth*, ingress isolated with default deny, egress not isolated.
pub fn host(rules: Vec<Rule>) -> PolicySet {
    set_of(vec![Policy { ingress: Some(chain(DefaultAction::Deny, rules)), ..policy("host", 100) }])
}

pub fn named_set(name: &str, nets: &str) -> Set {
    let mut nets: Vec<ipnet::IpNet> = nets.split_whitespace().map(|net| net.parse().unwrap()).collect();
    nets.sort_unstable();
    Set { name: name.to_owned(), origin: origin(), element_count: nets.len(), nets, dynamic: None, added: Vec::new() }
}
