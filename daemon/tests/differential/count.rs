//! How many packets were judged, and where.
//!
//! Knows hooks and families. Knows neither players nor policies.

use std::collections::BTreeMap;
use std::fmt;

use netpol_ebpf::policy::judge::{ETHERTYPE_IPV4, ETHERTYPE_IPV6, Judgement, Packet};
use netpol_ebpf::policy::model::Hook;
use netpol_ebpf::policy::reason::Reason;

/// Where a packet is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Where {
    Ingress,
    Egress,
    Xdp,
}

const WHERE: [(Where, &str); 3] = [(Where::Ingress, "tc ingress"), (Where::Egress, "tc egress"), (Where::Xdp, "XDP")];
const FAMILIES: [&str; 3] = ["IPv4", "IPv6", "other"];

/// Packets by place, family and verdict.
#[derive(Debug, Clone, Default)]
pub struct Count {
    /// Pairs of a policy and a packet: a packet that two programs judge is one.
    pub pairs: u64,
    runs: [[u64; 3]; 3],
    families: [u64; 3],
    said: BTreeMap<&'static str, u64>,
    /// Pairs in which a rule decided, whatever it said.
    by_rule: u64,
}

impl Where {
    /// The tc hook.
    pub fn of(hook: Hook) -> Where {
        if hook == Hook::Ingress { Where::Ingress } else { Where::Egress }
    }
}

impl Count {
    /// A program judges the packet.
    pub fn ran(&mut self, place: Where, packet: &Packet) {
        self.runs[place as usize][family(packet)] += 1;
    }

    /// Both say this of it.
    pub fn said(&mut self, packet: &Packet, judged: &Judgement) {
        self.pairs += 1;
        self.by_rule += u64::from(judged.rule.is_some());
        self.families[family(packet)] += 1;
        *self.said.entry(judged.reason.map_or("accepted", Reason::name)).or_default() += 1;
    }

    /// Packets that were judged there.
    pub fn at(&self, place: Where) -> u64 {
        self.runs[place as usize].iter().sum()
    }

    /// Pairs with an IPv4 and with an IPv6 packet.
    pub fn by_family(&self) -> [u64; 2] {
        [self.families[0], self.families[1]]
    }

    /// The sum of two counts.
    pub fn add(&mut self, other: &Count) {
        self.pairs += other.pairs;
        self.by_rule += other.by_rule;
        self.families.iter_mut().zip(other.families).for_each(|(mine, other)| *mine += other);
        self.runs.as_flattened_mut().iter_mut().zip(other.runs.as_flattened()).for_each(|(mine, other)| *mine += other);
        other.said.iter().for_each(|(reason, times)| *self.said.entry(reason).or_default() += times);
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} pairs of policy and packet judged alike, {} by a rule", self.pairs, self.by_rule)?;
        for (place, name) in WHERE.iter().filter(|(place, _)| self.at(*place) > 0) {
            let of = self.runs[*place as usize];
            let families: Vec<String> = FAMILIES.iter().zip(of).map(|(family, packets)| format!("{family} {packets}")).collect();
            write!(f, "\n  {name}: {} ({})", self.at(*place), families.join(", "))?;
        }
        write!(f, "\n  {:?}", self.said)
    }
}

/// 0 = IPv4, 1 = IPv6, 2 = neither.
fn family(packet: &Packet) -> usize {
    match packet.ethertype {
        _ if packet.ip.as_ref().is_some_and(|ip| ip.source.is_ipv4()) => 0,
        ETHERTYPE_IPV4 => 0,
        _ if packet.ip.is_some() => 1,
        ETHERTYPE_IPV6 => 1,
        _ => 2,
    }
}
