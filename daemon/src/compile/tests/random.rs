//! Random policies and packets out of a small world, so that they meet at each other's borders.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use crate::policy::judge::{Fragment, Icmp, IpPacket, L4, PROTOCOL_UNKNOWN, Packet, Sender, Tcp};
use crate::policy::model::*;

const NETS: [&str; 11] = [
    "0.0.0.0/0",
    "10.0.0.0/8",
    "10.1.0.0/16",
    "10.1.2.0/24",
    "10.1.2.3/32",
    "192.168.0.0/16",
    "::/0",
    "2001:db8::/32",
    "2001:db8:1::/48",
    "2001:db8:1::1/128",
    "fe80::/10",
];
const ADDRESSES4: [&str; 7] = ["10.1.2.3", "10.1.2.4", "10.1.3.0", "10.2.0.0", "9.255.255.255", "192.168.255.255", "203.0.113.9"];
const ADDRESSES6: [&str; 6] = ["2001:db8:1::1", "2001:db8:1::2", "2001:db8:2::1", "2001:db9::", "fe80::1", "::5"];
const PORTS: [u16; 7] = [0, 22, 79, 80, 81, 443, 65535];
const PROTOCOLS: [u8; 8] = [6, 6, 17, 132, 33, 136, 47, 58];
const VLANS: [Vlan; 3] = [Vlan { outer: 7, inner: 0 }, Vlan { outer: 7, inner: 8 }, Vlan { outer: 9, inner: 0 }];

pub fn origin(line: u32) -> Origin {
    Origin { file: Arc::from("random.toml"), line, column: 1 }
}

fn nets(most: usize) -> impl Strategy<Value = Vec<IpNet>> {
    subsequence(NETS.to_vec(), 0..=most).prop_map(|nets| nets.into_iter().map(|net| net.parse().unwrap()).collect())
}

fn ports() -> impl Strategy<Value = Vec<PortRange>> {
    let range = (select(PORTS.to_vec()), select(PORTS.to_vec())).prop_map(|(a, b)| PortRange { first: a.min(b), last: a.max(b) });
    prop_oneof![3 => Just(Vec::new()), 2 => prop::collection::vec(range, 1..3)]
}

fn peer(with_ports: bool) -> impl Strategy<Value = Peer> {
    let sets = || prop_oneof![3 => Just(Vec::new()), 1 => subsequence(vec![SetId(0), SetId(1), SetId(2), SetId(3)], 1..=2)];
    let few_ports = if with_ports { ports().boxed() } else { Just(Vec::new()).boxed() };
    let few_not_ports = if with_ports { ports().boxed() } else { Just(Vec::new()).boxed() };
    let some = |strategy: BoxedStrategy<Vec<IpNet>>| prop_oneof![2 => Just(Vec::new()), 1 => strategy];
    (some(nets(3).boxed()), some(nets(2).boxed()), sets(), sets(), few_ports, few_not_ports)
        .prop_map(|(nets, not_nets, sets, not_sets, ports, not_ports)| Peer { nets, not_nets, sets, not_sets, ports, not_ports })
}

fn rule() -> impl Strategy<Value = Rule> {
    let action = select(vec![Action::Allow, Action::Allow, Action::Deny, Action::Reject, Action::Pass]);
    let family = prop_oneof![3 => Just(None), 1 => select(vec![Some(Family::V4), Some(Family::V6)])];
    let protocol = prop_oneof![1 => Just(None), 3 => select(PROTOCOLS.to_vec()).prop_map(Some), 1 => Just(Some(1))];
    let icmp = prop::option::weighted(0.5, (select(vec![0u8, 8, 128, 3]), prop::option::of(0..2u8)));
    let flags = prop::option::weighted(0.3, (select(vec![0u8, 2, 16, 18]), select(vec![0u8, 1, 4, 16])));
    let vlan = prop::option::weighted(0.2, select(VLANS.to_vec()));
    (action, family, protocol, icmp, flags, vlan, any::<bool>(), changing()).prop_flat_map(
        |(action, family, protocol, icmp, flags, vlan, reads_ports, (limit, expires))| {
            let with_ports = reads_ports && protocol.is_none_or(has_ports);
            let icmp = icmp.filter(|_| matches!(protocol, Some(1 | 58)));
            let flags = flags.filter(|_| matches!(protocol, Some(6) | None));
            let family = match protocol {
                Some(1) => Some(Family::V4),
                Some(58) => Some(Family::V6),
                _ => family,
            };
            (peer(with_ports), peer(with_ports)).prop_map(move |(source, destination)| Rule {
                id: String::new(),
                origin: origin(0),
                action,
                limit,
                reject_with: None,
                expires,
                family,
                protocol,
                source,
                destination,
                icmp: icmp.map(|(icmp_type, code)| IcmpMatch { icmp_type, code }),
                tcp_flags: flags.map(|(set, clear)| TcpFlagsMatch { set, clear }),
                vlan,
                log: false,
                comment: None,
            })
        },
    )
}

/// A limit, and an expiry before, at and after Unix time 0.
fn changing() -> impl Strategy<Value = (Option<Limit>, Option<i64>)> {
    let per = select(vec![LimitPer::Rule, LimitPer::Source, LimitPer::Destination]);
    let limit = (per, 1..3u32).prop_map(|(per, events)| Limit { rate: Rate::per_second(events), per });
    (prop::option::weighted(0.15, limit), prop::option::weighted(0.15, select(vec![-1, 0, 1])))
}

fn chain(most: usize) -> impl Strategy<Value = Chain> {
    let default = select(vec![DefaultAction::Allow, DefaultAction::Deny]);
    (default, prop::collection::vec(rule(), 0..=most)).prop_map(|(default_action, rules)| Chain {
        default_action,
        default_origin: origin(0),
        rules,
    })
}

pub fn policy(name: &str, order: i64, ingress: Option<Chain>, egress: Option<Chain>) -> Policy {
    Policy {
        name: name.to_owned(),
        origin: origin(0),
        description: None,
        mode: Mode::Enforce,
        order,
        interfaces: InterfaceSelector { include: vec![glob::Pattern::new("eth*").unwrap()], exclude: Vec::new() },
        owner: None,
        endpoint: EndpointKind::Host,
        ingress,
        egress,
        dhcp_client: false,
        icmpv6_essential: true,
        log_default_deny: false,
        ethertypes: None,
        anti_spoof: None,
        xdp: None,
    }
}

pub fn daemon() -> Daemon {
    Daemon::default()
}

pub fn set_of(name: &str, nets: &[IpNet]) -> Set {
    let mut nets = IpNet::aggregate(&nets.to_vec());
    nets.sort_unstable();
    Set { name: name.to_owned(), origin: origin(0), element_count: nets.len(), nets, dynamic: None, added: Vec::new() }
}

/// A set with elements that were added at run time, one of which is over at Unix time 0.
fn dynamic(name: &str, written: &[IpNet], added: &[IpNet]) -> Set {
    let ends = [None, Some(1), Some(0)].into_iter().cycle();
    let added = added.iter().zip(ends).map(|(net, expires)| Element { net: *net, expires }).collect();
    Set { dynamic: Some(Dynamic { timeout: None, max_entries: 1000 }), added, ..set_of(name, written) }
}

/// Policies of one interface, two sets and two dynamic ones, all rules with ids and places of their own.
pub fn policy_set() -> impl Strategy<Value = PolicySet> {
    let mode = prop_oneof![3 => Just(Mode::Enforce), 1 => Just(Mode::Audit)];
    let policies = (prop::option::weighted(0.9, chain(6)), prop::option::weighted(0.4, chain(2)), mode);
    let sets = (nets(3), nets(3), nets(2), nets(3), nets(1));
    (prop::collection::vec(policies, 1..=4), sets).prop_map(|(policies, (a, b, c, added, d))| {
        let named = policies.into_iter().zip(0..);
        let mut policies: Vec<Policy> =
            named.map(|((ingress, egress, mode), order)| Policy { mode, ..policy(&format!("p{order}"), order, ingress, egress) }).collect();
        let mut line = 0;
        for policy in &mut policies {
            let rules = policy.ingress.iter_mut().chain(&mut policy.egress).flat_map(|chain| &mut chain.rules);
            for rule in rules {
                line += 1;
                rule.id = format!("r{line}");
                rule.origin = origin(line);
            }
        }
        let sets = vec![set_of("a", &a), set_of("b", &b), dynamic("c", &c, &added), dynamic("d", &[], &d)];
        PolicySet { daemon: daemon(), sets, policies, tests: Vec::new() }
    })
}

/// A packet, as far as stage 7 reads it.
pub fn packet() -> impl Strategy<Value = Packet> {
    let flags = select(vec![0u8, 2, 16, 18, 19, 6]);
    let fragment = prop_oneof![3 => Just(0u16), 1 => Just(64)];
    let tags = prop_oneof![3 => Just([0, 0]), 1 => select(vec![[7, 0], [7, 8], [9, 0], [8, 0], [7, 9]])];
    let protocol =
        prop_oneof![4 => select(PROTOCOLS.to_vec()).prop_map(u16::from), 1 => Just(1), 1 => Just(PROTOCOL_UNKNOWN), 1 => Just(99)];
    let icmp = (select(vec![0u8, 8, 128, 3, 9]), 0..3u8);
    (
        any::<bool>(),
        any::<bool>(),
        (0..7usize, 0..7usize),
        protocol,
        select(PORTS.to_vec()),
        select(PORTS.to_vec()),
        flags,
        icmp,
        fragment,
        tags,
    )
        .prop_map(|(v6, egress, addresses, protocol, source_port, destination_port, flags, icmp, offset, tags)| {
            let address =
                |index: usize| -> IpAddr { if v6 { ADDRESSES6[index % 6].parse().unwrap() } else { ADDRESSES4[index].parse().unwrap() } };
            let later = offset > 0 || protocol == PROTOCOL_UNKNOWN;
            let l4 = match protocol {
                _ if later => L4::None,
                6 => L4::Tcp(Tcp { source_port, destination_port, flags, ..Tcp::default() }),
                17 | 33 | 136 => L4::Ports { source: source_port, destination: destination_port },
                132 => L4::Sctp { source: source_port, destination: destination_port, first_chunk: Some(1) },
                1 if !v6 => L4::Icmp(Icmp { icmp_type: icmp.0, code: icmp.1, identifier: 0, quoted: None }),
                58 if v6 => L4::Icmp(Icmp { icmp_type: icmp.0, code: icmp.1, identifier: 0, quoted: None }),
                _ => L4::None,
            };
            let fragment = later.then_some(Fragment { id: 1, protocol: 0, offset: 64, more: false, l4: [0; 20], l4_length: 0 });
            let ip = IpPacket { source: address(addresses.0), destination: address(addresses.1), protocol, hop_limit: 64, fragment, l4 };
            let hook = if egress { Hook::Egress } else { Hook::Ingress };
            Packet {
                hook,
                tags,
                ethertype: if v6 { 0x86DD } else { 0x0800 },
                length: 100,
                sender: Sender::default(),
                refusal: None,
                ip: Some(ip),
            }
        })
}
