//! The addresses and ports of a peer as exact ranges.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::policy::model::{Family, Peer, PolicySet, PortRange, SetId};

/// Prefixes of one peer that are looked at; a peer with more is not judged.
const MAX_PREFIXES: usize = 4096;

/// Sorted, disjoint, inclusive.
type Ranges = Vec<(u128, u128)>;

/// The addresses of a peer, by family.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Addresses {
    v4: Ranges,
    v6: Ranges,
}

impl Addresses {
    /// `None` if there are too many prefixes to look at.
    pub(super) fn of(set: &PolicySet, peer: &Peer) -> Option<Addresses> {
        let resolve = |nets: &[IpNet], sets: &[SetId]| {
            let sets = sets.iter().filter_map(|id| set.sets.get(id.0 as usize)).flat_map(|set| &set.nets);
            let all: Vec<IpNet> = nets.iter().chain(sets).take(MAX_PREFIXES + 1).copied().collect();
            (all.len() <= MAX_PREFIXES).then_some(all)
        };
        let (any, none) = (resolve(&peer.nets, &peer.sets)?, resolve(&peer.not_nets, &peer.not_sets)?);
        let everywhere = peer.nets.is_empty() && peer.sets.is_empty();
        let family = |family: Family| {
            let whole = vec![(0, if family == Family::V4 { u128::from(u32::MAX) } else { u128::MAX })];
            let included = if everywhere { whole } else { joined(&any, family) };
            without(included, &joined(&none, family))
        };
        Some(Addresses { v4: family(Family::V4), v6: family(Family::V6) })
    }

    fn family(&self, family: Family) -> &Ranges {
        match family {
            Family::V4 => &self.v4,
            Family::V6 => &self.v6,
        }
    }

    /// No address of that family is meant.
    pub(super) fn is_empty(&self, family: Family) -> bool {
        self.family(family).is_empty()
    }

    /// All addresses of that family that `other` means are meant here too.
    pub(super) fn hold(&self, other: &Addresses, family: Family) -> bool {
        hold(self.family(family), other.family(family))
    }
}

/// The ports that a peer means.
pub(super) fn ports(peer: &Peer) -> Vec<(u128, u128)> {
    let ranges = |ports: &[PortRange]| join(ports.iter().map(|range| (u128::from(range.first), u128::from(range.last))).collect());
    let any = if peer.ports.is_empty() { vec![(0, u128::from(u16::MAX))] } else { ranges(&peer.ports) };
    without(any, &ranges(&peer.not_ports))
}

fn joined(nets: &[IpNet], family: Family) -> Ranges {
    let bits = |address: IpAddr| match address {
        IpAddr::V4(address) => u128::from(u32::from(address)),
        IpAddr::V6(address) => u128::from(address),
    };
    let wanted = nets.iter().filter(|net| matches!((net, family), (IpNet::V4(_), Family::V4) | (IpNet::V6(_), Family::V6)));
    join(wanted.map(|net| (bits(net.network()), bits(net.broadcast()))).collect())
}

fn join(mut ranges: Ranges) -> Ranges {
    ranges.sort_unstable();
    let mut joined: Ranges = Vec::with_capacity(ranges.len());
    for (first, last) in ranges {
        match joined.last_mut() {
            Some(before) if first <= before.1.saturating_add(1) => before.1 = before.1.max(last),
            _ => joined.push((first, last)),
        }
    }
    joined
}

fn without(ranges: Ranges, excluded: &Ranges) -> Ranges {
    let mut left = Vec::new();
    for (first, last) in ranges {
        let mut from = Some(first);
        for (not_first, not_last) in excluded.iter().filter(|(not_first, not_last)| *not_last >= first && *not_first <= last) {
            let Some(start) = from else { break };
            if *not_first > start {
                left.push((start, not_first - 1));
            }
            from = not_last.checked_add(1).map(|next| next.max(start)).filter(|next| *next <= last);
        }
        left.extend(from.map(|start| (start, last)));
    }
    left
}

/// Every range of `inner` lies in one range of `outer`.
pub(super) fn hold(outer: &[(u128, u128)], inner: &[(u128, u128)]) -> bool {
    inner.iter().all(|(first, last)| {
        let next = outer.partition_point(|range| range.0 <= *first);
        next > 0 && outer[next - 1].1 >= *last
    })
}
