//! The L4 part of a rule: everything but addresses.
//!
//! Knows which packets a rule could match by family and protocol alone. Knows no class and no table.

use crate::policy::model::{Family, PortRange, Rule, Vlan, has_ports};

/// First and last value, both included.
pub(super) type Span = (u16, u16);

const TCP: u16 = 6;

/// How much of a packet is there to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in super::super) enum Part {
    /// All of it.
    Whole,
    /// A later fragment: no ports, no ICMP type, no TCP flags.
    Later,
    /// A later fragment whose protocol is not known either.
    Unknown,
}

/// What a rule asks of a packet besides its addresses.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(in super::super) struct Predicate {
    pub(super) family: Option<Family>,
    pub(super) protocol: Option<u8>,
    /// Destination ports, or ICMP type << 8 | code: sorted, disjoint. `None` = not read.
    pub(super) destination: Option<Vec<Span>>,
    /// Source ports.
    pub(super) source: Option<Vec<Span>>,
    /// The destination spans are ICMP types and codes.
    icmp: bool,
    /// TCP flags that must be set, and clear.
    pub(super) flags: Option<(u8, u8)>,
    pub(super) vlan: Option<Vlan>,
}

impl Predicate {
    /// The L4 part of a rule.
    pub(in super::super) fn of(rule: &Rule) -> Predicate {
        let icmp = rule.icmp.map(|wanted| {
            let icmp_type = u16::from(wanted.icmp_type) << 8;
            wanted.code.map_or((icmp_type, icmp_type | 0xFF), |code| (icmp_type | u16::from(code), icmp_type | u16::from(code)))
        });
        let ports = |reads: bool, any: &[PortRange], none: &[PortRange]| reads.then(|| spans(any, none));
        let destination = ports(rule.destination.reads_port(), &rule.destination.ports, &rule.destination.not_ports);
        Predicate {
            family: rule.family,
            protocol: rule.protocol,
            destination: icmp.map(|span| vec![span]).or(destination),
            source: ports(rule.source.reads_port(), &rule.source.ports, &rule.source.not_ports),
            icmp: icmp.is_some(),
            flags: rule.tcp_flags.map(|wanted| (wanted.set, wanted.clear)),
            vlan: rule.vlan,
        }
    }

    /// Whether packets of a family and protocol have the fields that are read, and are meant at all.
    pub(super) fn concerns(&self, family: Family, protocol: u16) -> bool {
        let family_fits = self.family.is_none_or(|wanted| wanted == family);
        let protocol_fits = self.protocol.is_none_or(|wanted| u16::from(wanted) == protocol);
        let reads_ports = self.source.is_some() || (self.destination.is_some() && !self.icmp);
        let ports_fit = !reads_ports || u8::try_from(protocol).is_ok_and(has_ports);
        let icmp_fits = !self.icmp || matches!((family, protocol), (Family::V4, 1) | (Family::V6, 58));
        family_fits && protocol_fits && ports_fit && icmp_fits && (self.flags.is_none() || protocol == TCP)
    }

    /// Whether it reads something that such a part does not carry: there, it can only be said that it could match.
    pub(in super::super) fn is_hidden_from(&self, part: Part) -> bool {
        let reads_l4 = self.destination.is_some() || self.source.is_some() || self.flags.is_some();
        match part {
            Part::Whole => false,
            Part::Later => reads_l4,
            Part::Unknown => reads_l4 || self.protocol.is_some(),
        }
    }

    /// Whether it could match a later fragment of unknown protocol.
    pub(super) fn could_concern(&self, family: Family) -> bool {
        self.family.is_none_or(|wanted| wanted == family)
    }
}

/// Ports in any of `any` (all where it is empty) and none of `none`, as sorted, disjoint spans.
fn spans(any: &[PortRange], none: &[PortRange]) -> Vec<Span> {
    let all = [PortRange { first: 0, last: u16::MAX }];
    let included = joined(if any.is_empty() { &all } else { any });
    let excluded = joined(none);
    let mut spans = Vec::new();
    for (first, last) in included {
        let mut from = u32::from(first);
        for (not_first, not_last) in excluded.iter().filter(|(not_first, not_last)| *not_last >= first && *not_first <= last) {
            if u32::from(*not_first) > from {
                spans.push((from as u16, not_first - 1));
            }
            from = from.max(u32::from(*not_last) + 1);
        }
        if from <= u32::from(last) {
            spans.push((from as u16, last));
        }
    }
    spans
}

fn joined(ranges: &[PortRange]) -> Vec<Span> {
    let mut sorted: Vec<Span> = ranges.iter().map(|range| (range.first, range.last)).collect();
    sorted.sort_unstable();
    let mut spans: Vec<Span> = Vec::with_capacity(sorted.len());
    for (first, last) in sorted {
        match spans.last_mut() {
            Some(before) if u32::from(first) <= u32::from(before.1) + 1 => before.1 = before.1.max(last),
            _ => spans.push((first, last)),
        }
    }
    spans
}
