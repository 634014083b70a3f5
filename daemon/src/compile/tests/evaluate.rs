//! The compiled tables, interpreted as the programs do it: tuple -> classes -> candidates -> conditions -> action.
//!
//! Knows the maps of one generation, and no kernel. The test that holds the judge against the loaded programs reads this file too.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;

use ipnet::IpNet;
use netpol_probes::abi;

use crate::compile::ruleset::{Core, SetSlot};
use crate::policy::judge::{IpPacket, L4, Packet};
use crate::policy::model::{Family, PolicySet};
use crate::policy::reason::Reason;

/// What the tables say: a reason to drop, the rule that decided, and what audit policies would have said against it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    pub reason: Option<Reason>,
    pub rule: Option<u32>,
    pub would_deny: Vec<Would>,
}

/// An audit policy's objection: the number of a rule, or of a policy whose default denies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Would {
    Rule(u32),
    Default(u8),
}

/// What conditions ask for.
#[derive(Debug, Clone, Default)]
pub struct World {
    /// Unix time, s.
    pub now: i64,
    /// Whether packets are within every limit, or above every one.
    pub within_limits: bool,
    /// Content of dynamic sets.
    pub sets: HashMap<String, Vec<IpNet>>,
}

impl World {
    /// At Unix time 0.
    pub fn of(set: &PolicySet, within_limits: bool) -> World {
        let dynamic = set.sets.iter().filter(|set| set.dynamic.is_some());
        let sets = dynamic.map(|set| {
            let live = set.added.iter().filter(|element| element.expires.is_none_or(|end| end > 0));
            (set.name.clone(), set.nets.iter().copied().chain(live.map(|element| element.net)).collect())
        });
        World { now: 0, within_limits, sets: sets.collect() }
    }
}

/// A generation's contents with the look-ups that the kernel would do.
pub struct Tables<'a> {
    core: &'a Core,
    addresses4: HashMap<(u32, u32), u32>,
    addresses6: HashMap<(u32, u128), u32>,
    /// Lengths of the prefixes of either family, longest first.
    lengths: [Vec<u32>; 2],
    rows: HashMap<abi::np_row_key, u32>,
    decisions: HashMap<abi::np_decision_key, abi::np_list>,
    vlans: HashMap<abi::np_vlan_key, u32>,
}

impl<'a> Tables<'a> {
    pub fn of(core: &'a Core) -> Tables<'a> {
        let v6 = |words: [u32; 4]| words.iter().fold(0, |all, word| all << 32 | u128::from(u32::from_be_bytes(word.to_ne_bytes())));
        let lengths = [
            core.addresses4.iter().map(|(key, _)| key.prefixlen).collect::<BTreeSet<u32>>(),
            core.addresses6.iter().map(|(key, _)| key.prefixlen).collect(),
        ];
        Tables {
            core,
            lengths: lengths.map(|lengths| lengths.into_iter().rev().collect()),
            addresses4: core
                .addresses4
                .iter()
                .map(|(key, class)| ((key.prefixlen, u32::from_be_bytes(key.address.to_ne_bytes())), *class))
                .collect(),
            addresses6: core.addresses6.iter().map(|(key, class)| ((key.prefixlen, v6(key.address)), *class)).collect(),
            rows: core.rows.iter().copied().collect(),
            decisions: core.decisions.iter().copied().collect(),
            vlans: core.l4_vlans.iter().copied().collect(),
        }
    }

    /// Class of an address: longest prefix, 0 without any.
    pub fn class(&self, address: IpAddr) -> u32 {
        match address {
            IpAddr::V4(address) => {
                let bits = u64::from(u32::from(address));
                let network = |length: u32| (bits >> (32 - length) << (32 - length)) as u32;
                self.lengths[0].iter().find_map(|length| self.addresses4.get(&(*length, network(*length)))).copied().unwrap_or(0)
            }
            IpAddr::V6(address) => {
                let bits = u128::from(address);
                let network = |length: u32| if length == 0 { 0 } else { bits >> (128 - length) << (128 - length) };
                self.lengths[1].iter().find_map(|length| self.addresses6.get(&(*length, network(*length)))).copied().unwrap_or(0)
            }
        }
    }

    /// L4 class of a packet.
    pub fn l4_class(&self, packet: &Packet) -> u32 {
        let ip = packet.ip.as_ref().unwrap();
        let later = ip.is_later_fragment();
        let family = if ip.family() == Family::V6 { abi::NP_PROTOCOLS } else { 0 };
        let protocol = &self.core.l4_protocols[family as usize + usize::from(ip.protocol)];
        let (source_port, mut key) = ip.ports().unwrap_or_default();
        if let L4::Icmp(message) = &ip.l4 {
            key = u16::from(message.icmp_type) << 8 | u16::from(message.code);
        }
        let table = |index: u32, port: u16, otherwise: u32| {
            if index == abi::NP_NONE { otherwise } else { u32::from(self.core.l4_tables[index as usize].class_[usize::from(port)]) }
        };
        let (mut d, mut s, mut f) = (protocol.fragment_class, 0, 0);
        if !later {
            d = table(protocol.destination_table, key, protocol.class_);
            s = table(protocol.source_table, source_port, 0);
        }
        if let L4::Tcp(tcp) = &ip.l4 {
            f = self.core.l4_flags[usize::from(tcp.flags)];
        }
        let vlan = abi::np_vlan_key { outer: packet.tags[0], inner: packet.tags[1] };
        let v = if packet.tags[0] == 0 { 0 } else { self.vlans.get(&vlan).copied().unwrap_or(1) };
        let dims = self.core.l4_dims;
        self.core.l4_combine[(((d * dims.s + s) * dims.f + f) * dims.v + v) as usize]
    }

    fn list(&self, layer: u32, packet: &Packet, l4_class: u32) -> &[u32] {
        let ip = packet.ip.as_ref().unwrap();
        let record = self.core.layers[layer as usize];
        let number = |view: u32, address: IpAddr| {
            if view == abi::NP_NONE { 0 } else { self.core.views[(view + self.class(address)) as usize] }
        };
        let source = number(record.source_view, ip.source);
        let destination = number(record.destination_view, ip.destination);
        let Some(row) = self.rows.get(&abi::np_row_key { layer, source, destination }) else { return &[] };
        let key = abi::np_decision_key { row: *row, l4_class };
        let list = self.decisions.get(&key).unwrap_or(&self.core.row_defaults[*row as usize]);
        assert!(list.count <= abi::NP_MAX_CANDIDATES);
        &self.core.candidates[list.first as usize..(list.first + list.count) as usize]
    }

    /// Whether an address is in one of the sets of a list.
    pub fn in_list(&self, list: abi::np_list, address: IpAddr, world: &World) -> bool {
        assert!(list.count <= abi::NP_MAX_SET_LIST);
        self.core.set_lists[list.first as usize..(list.first + list.count) as usize].iter().any(|slot| {
            let content = match &self.core.sets[*slot as usize] {
                SetSlot::Dynamic { name, .. } => &world.sets[name],
                SetSlot::Literal(nets) => nets,
            };
            content.iter().any(|net| net.contains(&address))
        })
    }

    /// A rule's condition, but for its limit.
    fn holds(&self, condition: &abi::np_condition, expires: Option<i64>, ip: &IpPacket, world: &World) -> bool {
        assert_eq!(condition.expires, 0);
        let any = |list: abi::np_list, address| list.count == 0 || self.in_list(list, address, world);
        expires.is_none_or(|end| world.now < end)
            && any(condition.source_any, ip.source)
            && any(condition.destination_any, ip.destination)
            && !self.in_list(condition.source_none, ip.source, world)
            && !self.in_list(condition.destination_none, ip.destination, world)
    }

    /// Stage 7 in a chain.
    pub fn evaluate(&self, chain: u32, packet: &Packet, world: &World) -> Said {
        self.evaluate_with(chain, packet, world, &mut |_, _| world.within_limits)
    }

    /// Stage 7 in a chain; `take` counts a packet that meets all else of a rule with that limit, and says whether it is within.
    pub fn evaluate_with(&self, chain: u32, packet: &Packet, world: &World, take: &mut dyn FnMut(u32, &IpPacket) -> bool) -> Said {
        let record = self.core.chains[chain as usize];
        let ip = packet.ip.as_ref().unwrap();
        let mut said = Said { reason: None, rule: None, would_deny: Vec::new() };
        let (mut from_policy, mut answered) = (0, 0u64);
        for number in self.candidates(chain, packet) {
            let rule = self.core.rules[number as usize];
            if rule.policy < from_policy {
                continue;
            }
            let condition = self.core.conditions.get(rule.condition as usize);
            let expires = self.core.condition_expiry.get(rule.condition as usize).copied().flatten();
            if condition.is_some_and(|condition| !self.holds(condition, expires, ip, world)) {
                continue;
            }
            let unknown = u32::from(ip.protocol) == abi::NP_PROTOCOL_UNKNOWN;
            let hides = if unknown { abi::NP_RULE_READS_L4 | abi::NP_RULE_READS_PROTOCOL } else { abi::NP_RULE_READS_L4 };
            let hidden = ip.is_later_fragment() && u32::from(rule.flags) & hides != 0;
            let limit = condition.map(|condition| condition.limit).filter(|limit| *limit != abi::NP_NONE && !hidden);
            if limit.is_some_and(|limit| !take(limit, ip)) {
                continue;
            }
            let reason = match u32::from(rule.action) {
                _ if hidden => Some(Reason::Fragment),
                abi::NP_PASS | abi::NP_ALLOW => None,
                abi::NP_REJECT => Some(Reason::Reject),
                _ => Some(Reason::Rule),
            };
            let is_audit = u32::from(rule.audit) != abi::NP_NOT_AUDIT;
            if is_audit {
                answered |= 1 << rule.audit;
                said.would_deny.extend(reason.filter(|_| !hidden).map(|_| Would::Rule(number)));
            } else if hidden || u32::from(rule.action) != abi::NP_PASS {
                return Said { reason, rule: Some(number), ..said };
            }
            from_policy = rule.policy + 1;
        }
        let silent = record.audit_denies & !answered;
        said.would_deny.extend((0..64).filter(|audit| silent >> audit & 1 == 1).map(Would::Default));
        let denies = u32::from(record.default_action) == abi::NP_DENY;
        Said { reason: denies.then_some(Reason::Default), ..said }
    }

    /// The rules that a packet is compared with, in order.
    fn candidates(&self, chain: u32, packet: &Packet) -> Vec<u32> {
        let record = self.core.chains[chain as usize];
        let l4_class = self.l4_class(packet);
        let layers = record.first_layer..record.first_layer + record.layers;
        let mut candidates: Vec<u32> = layers.flat_map(|layer| self.list(layer, packet, l4_class)).copied().collect();
        candidates.sort_unstable();
        assert!(candidates.len() <= abi::NP_MAX_CANDIDATES as usize);
        let conditional = |number: &&u32| self.core.rules[**number as usize].condition != abi::NP_NONE;
        assert!(candidates.iter().filter(conditional).count() <= abi::NP_MAX_CONDITIONAL as usize);
        candidates
    }
}
