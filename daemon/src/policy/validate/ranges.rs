//! Sets of addresses as sorted runs: union, containment, and the fewest prefixes that say the same.
//!
//! Everything is sort-and-sweep, so a million elements take about a second.

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::address::Run;
use crate::policy::model::{Family, PortRange};

/// A set of addresses of both families; after [`Ranges::normal`] sorted, disjoint and not adjacent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Ranges {
    v4: Vec<(u32, u32)>,
    v6: Vec<(u128, u128)>,
}

impl Ranges {
    pub(super) fn push(&mut self, run: Run) {
        match run {
            Run::V4(first, last) => self.v4.push((first, last)),
            Run::V6(first, last) => self.v6.push((first, last)),
        }
    }

    /// Merges what overlaps or touches.
    pub(super) fn normal(mut self) -> Ranges {
        merge(&mut self.v4, |last| last.checked_add(1));
        merge(&mut self.v6, |last| last.checked_add(1));
        self
    }

    /// The fewest prefixes that hold exactly these addresses, IPv4 first, rising. Wants normal ranges.
    pub(super) fn nets(&self) -> Vec<IpNet> {
        let mut nets = Vec::with_capacity(self.v4.len() + self.v6.len());
        for &(first, last) in &self.v4 {
            split(u128::from(first), u128::from(last), 32, &mut |base, length| {
                let base = u32::try_from(base).ok().map(Into::into);
                nets.extend(base.and_then(|base| Ipv4Net::new(base, length).ok()).map(IpNet::V4));
            });
        }
        for &(first, last) in &self.v6 {
            split(first, last, 128, &mut |base, length| nets.extend(Ipv6Net::new(base.into(), length).ok().map(IpNet::V6)));
        }
        nets
    }

    /// The IPv4 half as ports, where runs of ports were pushed.
    pub(super) fn ports(&self) -> Vec<PortRange> {
        let port = |number: u32| u16::try_from(number).unwrap_or(u16::MAX);
        self.v4.iter().map(|&(first, last)| PortRange { first: port(first), last: port(last) }).collect()
    }

    /// Whether every address of `other` is here. Both must be normal.
    pub(super) fn holds(&self, other: &Ranges) -> bool {
        holds(&self.v4, &other.v4) && holds(&self.v6, &other.v6)
    }

    /// What is here and not in `other`. Both must be normal.
    pub(super) fn without(&self, other: &Ranges) -> Ranges {
        Ranges { v4: without(&self.v4, &other.v4, |n| n - 1, |n| n + 1), v6: without(&self.v6, &other.v6, |n| n - 1, |n| n + 1) }
    }

    /// Every address of both families.
    pub(super) fn all() -> Ranges {
        Ranges { v4: vec![(0, u32::MAX)], v6: vec![(0, u128::MAX)] }
    }

    /// Whether there is no address at all.
    pub(super) fn is_empty(&self) -> bool {
        self.v4.is_empty() && self.v6.is_empty()
    }

    /// Whether there is an address of that family.
    pub(super) fn has(&self, family: Family) -> bool {
        match family {
            Family::V4 => !self.v4.is_empty(),
            Family::V6 => !self.v6.is_empty(),
        }
    }
}

fn merge<T: Copy + Ord>(runs: &mut Vec<(T, T)>, next: impl Fn(T) -> Option<T>) {
    runs.sort_unstable();
    let mut kept = 0;
    for index in 0..runs.len() {
        let (first, last) = runs[index];
        if index > 0 && next(runs[kept].1).is_none_or(|next| first <= next) {
            runs[kept].1 = runs[kept].1.max(last);
        } else {
            kept = if index == 0 { 0 } else { kept + 1 };
            runs[kept] = (first, last);
        }
    }
    runs.truncate(if runs.is_empty() { 0 } else { kept + 1 });
}

fn holds<T: Copy + Ord>(outer: &[(T, T)], inner: &[(T, T)]) -> bool {
    inner.iter().all(|&(first, last)| {
        let at = outer.partition_point(|run| run.1 < first);
        outer.get(at).is_some_and(|run| run.0 <= first && last <= run.1)
    })
}

fn without<T: Copy + Ord>(runs: &[(T, T)], holes: &[(T, T)], before: impl Fn(T) -> T, after: impl Fn(T) -> T) -> Vec<(T, T)> {
    let mut left = Vec::new();
    for &(first, last) in runs {
        let mut rest = Some(first);
        for &(hole_first, hole_last) in &holes[holes.partition_point(|hole| hole.1 < first)..] {
            let Some(start) = rest.filter(|_| hole_first <= last) else { break };
            if hole_first > start {
                left.push((start, before(hole_first)));
            }
            rest = if hole_last < last { Some(after(hole_last)) } else { None };
        }
        left.extend(rest.map(|start| (start, last)));
    }
    left
}

/// Cuts an inclusive run into the fewest aligned blocks of a power of two.
fn split(mut first: u128, last: u128, bits: u32, out: &mut impl FnMut(u128, u8)) {
    loop {
        let aligned = if first == 0 { bits } else { first.trailing_zeros().min(bits) };
        let room = (last - first).checked_add(1).map_or(128, u128::ilog2);
        let size = aligned.min(room);
        out(first, (bits - size) as u8);
        let end = first + if size == 128 { u128::MAX } else { (1 << size) - 1 };
        if end >= last {
            return;
        }
        first = end + 1;
    }
}

#[cfg(test)]
mod tests {
    use super::super::address::element;
    use super::*;

    fn ranges(elements: &[&str]) -> Ranges {
        let mut ranges = Ranges::default();
        elements.iter().for_each(|text| ranges.push(element(text).unwrap()));
        ranges.normal()
    }

    fn nets(elements: &[&str]) -> Vec<String> {
        ranges(elements).nets().iter().map(IpNet::to_string).collect()
    }

    #[test]
    fn nets_ranges_become_the_fewest_prefixes() {
        assert_eq!(nets(&["10.0.0.1-10.0.0.6"]), ["10.0.0.1/32", "10.0.0.2/31", "10.0.0.4/31", "10.0.0.6/32"]);
        assert_eq!(nets(&["0.0.0.0-255.255.255.255"]), ["0.0.0.0/0"]);
        assert_eq!(nets(&["::/0"]), ["::/0"]);
        assert_eq!(nets(&["::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe"]).len(), 128);
        assert_eq!(nets(&["255.255.255.255", "255.255.255.254"]), ["255.255.255.254/31"]);
    }

    #[test]
    fn nets_covered_and_double_elements_vanish() {
        assert_eq!(nets(&["10.1.0.0/16", "2001:db8::/32", "10.0.0.0/8", "10.1.0.0/16", "2001:db8::1"]), ["10.0.0.0/8", "2001:db8::/32"]);
        assert_eq!(nets(&["192.0.2.0/25", "192.0.2.128/25"]), ["192.0.2.0/24"]);
        assert_eq!(nets(&[]), Vec::<String>::new());
    }

    #[test]
    fn without_holes_are_cut_out() {
        let left = ranges(&["10.0.0.0/8"]).without(&ranges(&["10.0.0.0/16", "10.255.0.0/16", "10.7.0.0/16", "1.0.0.0/8"]));
        assert_eq!(left, ranges(&["10.1.0.0-10.6.255.255", "10.8.0.0-10.254.255.255"]));
        assert_eq!(ranges(&["10.0.0.0/8"]).without(&Ranges::all()), Ranges::default());
        assert!(Ranges::all().holds(&left) && !left.holds(&Ranges::all()));
        assert!(ranges(&["0.0.0.0/0", "::/0"]) == Ranges::all());
    }

    #[test]
    fn nets_of_random_runs_hold_the_same_addresses() {
        let mut state = 7_u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state >> 20
        };
        for _ in 0..200 {
            let mut input = Ranges::default();
            (0..20).map(|_| (next(), next() % 64)).for_each(|(first, more)| input.push(Run::V4(first, first + more)));
            let expected: std::collections::BTreeSet<u32> = input.v4.iter().flat_map(|&(first, last)| first..=last).collect();
            let nets = input.normal().nets();
            let mut found = Vec::new();
            for net in &nets {
                let Run::V4(first, last) = Run::of(net) else { panic!("{net}") };
                found.extend(first..=last);
            }
            assert!(found.windows(2).all(|pair| pair[0] < pair[1]), "sorted and disjoint");
            assert!(found.into_iter().eq(expected));
        }
    }
}
