//! Policies that say a little less than others: the steps by which a mismatch is shrunk, boldest first.
//!
//! Knows the model. Knows neither frames nor what is tried with its proposals.

use netpol_ebpf::policy::model::*;

use crate::bench::ROOM;

/// Everything that can be left out of a ruleset, one thing at a time. What cannot be written down is no proposal.
pub fn proposals(set: &PolicySet) -> Vec<PolicySet> {
    let mut all = Vec::new();
    for policies in fewer(&set.policies) {
        all.push(PolicySet { policies, ..set.clone() });
    }
    let everything: Vec<SetId> = (0..set.sets.len() as u32).map(SetId).collect();
    all.extend(fewer(&everything).iter().filter_map(|kept| with_sets(set, kept)));
    for (index, policy) in set.policies.iter().enumerate() {
        for smaller in policies(policy) {
            let mut candidate = set.clone();
            candidate.policies[index] = smaller;
            all.push(candidate);
        }
    }
    all.extend(daemons(&set.daemon).into_iter().map(|daemon| PolicySet { daemon, ..set.clone() }));
    for (index, one) in set.sets.iter().enumerate() {
        for nets in fewer(&one.nets) {
            let mut candidate = set.clone();
            candidate.sets[index].nets = nets;
            all.push(candidate);
        }
        let mut candidate = set.clone();
        candidate.sets[index].dynamic = None;
        all.push(candidate);
    }
    all.retain(|candidate| candidate != set);
    all
}

/// The list with nothing in it, with each half of it, and without each single element.
fn fewer<T: Clone>(list: &[T]) -> Vec<Vec<T>> {
    let mut all = Vec::new();
    if list.is_empty() {
        return all;
    }
    all.push(Vec::new());
    if list.len() > 3 {
        all.push(list[list.len() / 2..].to_vec());
        all.push(list[..list.len() / 2].to_vec());
    }
    if list.len() > 1 {
        all.extend((0..list.len()).map(|left_out| [&list[..left_out], &list[left_out + 1..]].concat()));
    }
    all
}

/// With these sets only, under new numbers; `None` where another one is named.
fn with_sets(set: &PolicySet, kept: &[SetId]) -> Option<PolicySet> {
    let mut set = set.clone();
    let mut lost = false;
    lists(&mut set, &mut |ids| {
        lost |= ids.iter().any(|id| !kept.contains(id));
        ids.iter_mut().for_each(|id| id.0 = kept.iter().position(|known| known == id).unwrap_or_default() as u32);
    });
    set.sets = kept.iter().map(|id| set.sets[id.0 as usize].clone()).collect();
    (!lost).then_some(set)
}

/// Every list of sets.
fn lists(set: &mut PolicySet, visit: &mut dyn FnMut(&mut Vec<SetId>)) {
    for policy in &mut set.policies {
        policy.xdp.iter_mut().for_each(|xdp| visit(&mut xdp.deny_sets));
        policy.anti_spoof.iter_mut().filter_map(|checks| checks.allowed_sources.as_mut()).for_each(|list| visit(&mut list.sets));
        let rules = policy.ingress.iter_mut().chain(&mut policy.egress).flat_map(|chain| &mut chain.rules);
        for peer in rules.flat_map(|rule| [&mut rule.source, &mut rule.destination]) {
            visit(&mut peer.sets);
            visit(&mut peer.not_sets);
        }
    }
}

fn daemons(daemon: &Daemon) -> Vec<Daemon> {
    let unstated = Daemon::default();
    let mut all = Vec::new();
    all.extend(entries(&daemon.failsafe_inbound).into_iter().map(|failsafe_inbound| Daemon { failsafe_inbound, ..daemon.clone() }));
    all.extend(entries(&daemon.failsafe_outbound).into_iter().map(|failsafe_outbound| Daemon { failsafe_outbound, ..daemon.clone() }));
    all.push(Daemon { log: unstated.log, ..daemon.clone() });
    let (conntrack, usual) = (&daemon.conntrack, Conntrack::default());
    // Tables that are meant to be full stay as they are: they are the kernel's, too.
    let room = if conntrack.max_entries == ROOM {
        (usual.max_entries, usual.max_half_open)
    } else {
        (conntrack.max_entries, conntrack.max_half_open)
    };
    for conntrack in [
        Conntrack { max_entries: room.0, max_half_open: room.1, ..conntrack.clone() },
        Conntrack {
            tcp_syn: usual.tcp_syn,
            tcp_established: usual.tcp_established,
            tcp_fin: usual.tcp_fin,
            udp: usual.udp,
            udp_stream: usual.udp_stream,
            icmp: usual.icmp,
            generic: usual.generic,
            ..conntrack.clone()
        },
        Conntrack { keep_established: false, ..conntrack.clone() },
        Conntrack { loose: false, ..conntrack.clone() },
        Conntrack { adopt_existing: Adopt::None, ..conntrack.clone() },
    ] {
        all.push(Daemon { conntrack, ..daemon.clone() });
    }
    all
}

fn entries(list: &[Failsafe]) -> Vec<Vec<Failsafe>> {
    let mut all = fewer(list);
    for (index, entry) in list.iter().enumerate() {
        for nets in fewer(&entry.nets) {
            let mut candidate = list.to_vec();
            candidate[index].nets = nets;
            all.push(candidate);
        }
    }
    all
}

fn policies(policy: &Policy) -> Vec<Policy> {
    let mut all = vec![
        Policy { ingress: None, ..policy.clone() },
        Policy { egress: None, ..policy.clone() },
        Policy { xdp: None, ..policy.clone() },
        Policy { anti_spoof: None, ..policy.clone() },
        Policy { ethertypes: None, ..policy.clone() },
        Policy { mode: Mode::Enforce, ..policy.clone() },
        Policy { dhcp_client: false, ..policy.clone() },
        Policy { icmpv6_essential: true, ..policy.clone() },
        Policy { log_default_deny: false, ..policy.clone() },
        Policy { order: 100, ..policy.clone() },
    ];
    for include in fewer(&policy.interfaces.include) {
        all.push(Policy { interfaces: InterfaceSelector { include, ..policy.interfaces.clone() }, ..policy.clone() });
    }
    all.push(Policy { interfaces: InterfaceSelector { exclude: Vec::new(), ..policy.interfaces.clone() }, ..policy.clone() });
    for chain in policy.ingress.iter().flat_map(chains) {
        all.push(Policy { ingress: Some(chain), ..policy.clone() });
    }
    for chain in policy.egress.iter().flat_map(chains) {
        all.push(Policy { egress: Some(chain), ..policy.clone() });
    }
    all.extend(policy.xdp.iter().flat_map(xdps).map(|xdp| Policy { xdp: Some(xdp), ..policy.clone() }));
    all.extend(policy.anti_spoof.iter().flat_map(anti_spoofs).map(|checks| Policy { anti_spoof: Some(checks), ..policy.clone() }));
    all
}

fn chains(chain: &Chain) -> Vec<Chain> {
    let mut all: Vec<Chain> = fewer(&chain.rules).into_iter().map(|rules| Chain { rules, ..chain.clone() }).collect();
    for (index, rule) in chain.rules.iter().enumerate() {
        for smaller in rules(rule) {
            let mut candidate = chain.clone();
            candidate.rules[index] = smaller;
            all.push(candidate);
        }
    }
    all.push(Chain { default_action: DefaultAction::Deny, ..chain.clone() });
    all
}

fn xdps(xdp: &Xdp) -> Vec<Xdp> {
    let mut all: Vec<Xdp> = fewer(&xdp.deny_sets).into_iter().map(|deny_sets| Xdp { deny_sets, ..xdp.clone() }).collect();
    all.extend([
        Xdp { mode: XdpMode::Auto, ..xdp.clone() },
        Xdp { drop_malformed: false, ..xdp.clone() },
        Xdp { drop_fragments: false, ..xdp.clone() },
        Xdp { rate_limit: RateLimit { packets: None, ..xdp.rate_limit }, ..xdp.clone() },
        Xdp { rate_limit: RateLimit { syns: None, ..xdp.rate_limit }, ..xdp.clone() },
        Xdp { syn_cookies: Vec::new(), ..xdp.clone() },
    ]);
    all
}

fn anti_spoofs(checks: &AntiSpoof) -> Vec<AntiSpoof> {
    let mut all = vec![
        AntiSpoof { check_reverse_path: ReversePath::Off, ..checks.clone() },
        AntiSpoof { allowed_sources: None, ..checks.clone() },
        AntiSpoof { arp: false, ..checks.clone() },
        AntiSpoof { bogons: false, ..checks.clone() },
    ];
    all.extend(fewer(&checks.allowed_macs).into_iter().map(|allowed_macs| AntiSpoof { allowed_macs, ..checks.clone() }));
    if let Some(SourceList { nets, sets }) = &checks.allowed_sources {
        let list = |nets, sets| AntiSpoof { allowed_sources: Some(SourceList { nets, sets }), ..checks.clone() };
        all.extend(fewer(nets).into_iter().map(|nets| list(nets, sets.clone())));
        all.extend(fewer(sets).into_iter().map(|sets| list(nets.clone(), sets)));
    }
    // An empty list cannot be written.
    all.retain(|checks| checks.allowed_sources.as_ref().is_none_or(|list| !(list.nets.is_empty() && list.sets.is_empty())));
    all
}

fn rules(rule: &Rule) -> Vec<Rule> {
    let mut all = vec![
        Rule { protocol: None, ..rule.clone() },
        Rule { family: None, ..rule.clone() },
        Rule { source: Peer::default(), ..rule.clone() },
        Rule { destination: Peer::default(), ..rule.clone() },
        Rule { icmp: None, ..rule.clone() },
        Rule { tcp_flags: None, ..rule.clone() },
        Rule { vlan: None, ..rule.clone() },
        Rule { limit: None, ..rule.clone() },
        Rule { expires: None, ..rule.clone() },
        Rule { reject_with: None, ..rule.clone() },
        Rule { log: false, ..rule.clone() },
    ];
    if let Some(icmp) = rule.icmp {
        all.push(Rule { icmp: Some(IcmpMatch { code: None, ..icmp }), ..rule.clone() });
    }
    if let Some(flags) = rule.tcp_flags {
        let bits = (0..8).flat_map(|bit| {
            let without = |from: u8| from & !(1 << bit);
            [TcpFlagsMatch { set: without(flags.set), ..flags }, TcpFlagsMatch { clear: without(flags.clear), ..flags }]
        });
        all.extend(bits.filter(|flags| flags.set | flags.clear != 0).map(|flags| Rule { tcp_flags: Some(flags), ..rule.clone() }));
    }
    if rule.action == Action::Reject {
        all.push(Rule { action: Action::Deny, reject_with: None, ..rule.clone() });
    }
    all.extend(peers(&rule.source).into_iter().map(|source| Rule { source, ..rule.clone() }));
    all.extend(peers(&rule.destination).into_iter().map(|destination| Rule { destination, ..rule.clone() }));
    all
}

fn peers(peer: &Peer) -> Vec<Peer> {
    let mut all = Vec::new();
    all.extend(fewer(&peer.nets).into_iter().map(|nets| Peer { nets, ..peer.clone() }));
    all.extend(fewer(&peer.not_nets).into_iter().map(|not_nets| Peer { not_nets, ..peer.clone() }));
    all.extend(fewer(&peer.sets).into_iter().map(|sets| Peer { sets, ..peer.clone() }));
    all.extend(fewer(&peer.not_sets).into_iter().map(|not_sets| Peer { not_sets, ..peer.clone() }));
    all.extend(fewer(&peer.ports).into_iter().map(|ports| Peer { ports, ..peer.clone() }));
    all.extend(fewer(&peer.not_ports).into_iter().map(|not_ports| Peer { not_ports, ..peer.clone() }));
    all
}
