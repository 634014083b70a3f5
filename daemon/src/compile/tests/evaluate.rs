//! The compiled tables, interpreted as the programs do it: tuple -> classes -> candidates -> action.

use std::collections::HashMap;
use std::net::IpAddr;

use netpol_probes::abi;

use crate::compile::prefixes::words6;
use crate::compile::ruleset::Core;
use crate::policy::judge::{L4, Packet};
use crate::policy::model::Family;
use crate::policy::reason::Reason;

/// What the tables say: a reason to drop, and the rule that decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Said {
    pub reason: Option<Reason>,
    pub rule: Option<u32>,
}

/// A generation's contents with the look-ups that the kernel would do.
pub struct Tables<'a> {
    core: &'a Core,
    addresses4: HashMap<(u32, u32), u32>,
    addresses6: HashMap<(u32, u128), u32>,
    rows: HashMap<abi::np_row_key, u32>,
    decisions: HashMap<abi::np_decision_key, abi::np_list>,
    vlans: HashMap<abi::np_vlan_key, u32>,
}

impl<'a> Tables<'a> {
    pub fn of(core: &'a Core) -> Tables<'a> {
        let v6 = |words: [u32; 4]| words.iter().fold(0, |all, word| all << 32 | u128::from(u32::from_be_bytes(word.to_ne_bytes())));
        Tables {
            core,
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
                (0..=32).rev().find_map(|length| self.addresses4.get(&(length, network(length)))).copied().unwrap_or(0)
            }
            IpAddr::V6(address) => {
                let bits = u128::from(address);
                assert_eq!(words6(bits)[0], u32::from_ne_bytes(address.octets()[..4].try_into().unwrap()));
                let network = |length: u32| if length == 0 { 0 } else { bits >> (128 - length) << (128 - length) };
                (0..=128).rev().find_map(|length| self.addresses6.get(&(length, network(length)))).copied().unwrap_or(0)
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

    /// Stage 7 in a chain.
    pub fn evaluate(&self, chain: u32, packet: &Packet) -> Said {
        let record = self.core.chains[chain as usize];
        let ip = packet.ip.as_ref().unwrap();
        let l4_class = self.l4_class(packet);
        let layers = record.first_layer..record.first_layer + record.layers;
        let mut candidates: Vec<u32> = layers.flat_map(|layer| self.list(layer, packet, l4_class)).copied().collect();
        assert!(candidates.len() <= abi::NP_MAX_CANDIDATES as usize);
        candidates.sort_unstable();
        let mut from_policy = 0;
        for number in candidates {
            let rule = self.core.rules[number as usize];
            if rule.policy < from_policy {
                continue;
            }
            let unknown = u32::from(ip.protocol) == abi::NP_PROTOCOL_UNKNOWN;
            let hides = if unknown { abi::NP_RULE_READS_L4 | abi::NP_RULE_READS_PROTOCOL } else { abi::NP_RULE_READS_L4 };
            if ip.is_later_fragment() && u32::from(rule.flags) & hides != 0 {
                return Said { reason: Some(Reason::Fragment), rule: Some(number) };
            }
            match u32::from(rule.action) {
                abi::NP_PASS => from_policy = rule.policy + 1,
                abi::NP_ALLOW => return Said { reason: None, rule: Some(number) },
                _ => return Said { reason: Some(Reason::Rule), rule: Some(number) },
            }
        }
        let denies = u32::from(record.default_action) == abi::NP_DENY;
        Said { reason: denies.then_some(Reason::Default), rule: None }
    }
}
