//! What stands in a set's map: for each prefix that is an element, how long the longest-lived element that covers it stays.
//!
//! The programs find only the longest prefix that holds an address. So its value must speak for all shorter ones too: a host
//! that was added for a minute inside a net that stays for an hour stays for an hour. Pure; written elements never end.

use std::collections::BTreeMap;

use ipnet::IpNet;

use super::added::Added;
use super::clock::{Clock, Expiry};

/// What every dynamic set of a ruleset is to hold.
#[derive(Debug, Clone, Default)]
pub struct Contents<'a> {
    /// How the programs' clock stands.
    pub clock: Clock,
    /// By name.
    pub sets: BTreeMap<&'a str, Content<'a>>,
}

/// What one dynamic set is to hold.
#[derive(Debug, Clone, Copy)]
pub struct Content<'a> {
    /// Sorted and disjoint.
    pub written: &'a [IpNet],
    /// At run time.
    pub added: &'a Added,
    /// The running generation's map of this set holds exactly that.
    pub runs: bool,
}

impl Content<'_> {
    /// What the map is to hold, as the programs take it: ends in boot time, ns; 0 = never.
    pub fn timed(&self, clock: &Clock) -> Vec<(IpNet, u64)> {
        entries(self.written, self.added).into_iter().map(|(net, expiry)| (net, clock.boot(expiry))).collect()
    }
}

/// All entries in order, one a prefix. `written`: sorted and disjoint, as `policy` gives them.
pub fn entries(written: &[IpNet], added: &Added) -> Vec<(IpNet, Expiry)> {
    let mut entries: Vec<(IpNet, Expiry)> = Vec::with_capacity(written.len() + added.len());
    // Prefixes that hold the one that comes next, widest first, each with the longest life up to it.
    let mut around: Vec<(IpNet, Expiry)> = Vec::new();
    for (net, own) in merged(written, added) {
        while around.last().is_some_and(|(outer, _)| !outer.contains(&net)) {
            around.pop();
        }
        let life = around.last().map_or(own, |(_, outer)| own.max(*outer));
        around.push((net, life));
        match entries.last_mut() {
            Some(last) if last.0 == net => last.1 = life,
            _ => entries.push((net, life)),
        }
    }
    entries
}

/// Both lists in one order.
fn merged<'a>(written: &'a [IpNet], added: &'a Added) -> impl Iterator<Item = (IpNet, Expiry)> + 'a {
    let mut written = written.iter().map(|net| (*net, Expiry::NEVER)).peekable();
    let mut added = added.iter().peekable();
    std::iter::from_fn(move || match (written.peek(), added.peek()) {
        (Some(w), Some(a)) if w.0 <= a.0 => written.next(),
        (_, Some(_)) => added.next(),
        (_, None) => written.next(),
    })
}

/// The written element that holds a prefix.
pub fn written_around(written: &[IpNet], net: &IpNet) -> Option<IpNet> {
    let at = written.partition_point(|w| w <= net);
    // Disjoint and sorted: only the last one that begins before it can hold it.
    at.checked_sub(1).and_then(|at| written.get(at)).filter(|w| w.contains(net)).copied()
}

/// The entry that a prefix has; `None` = it is no element. Cheap, for single elements.
pub fn entry(written: &[IpNet], added: &Added, net: &IpNet) -> Option<Expiry> {
    let holder = written_around(written, net);
    if holder != Some(*net) && added.get(net).is_none() {
        return None;
    }
    if holder.is_some() {
        return Some(Expiry::NEVER);
    }
    added.covering(net).map(|(_, expiry)| expiry).max()
}

/// The entries that a change of these elements can have changed, in order, as they are now; `None` = the entry has to go.
pub fn touched(written: &[IpNet], added: &Added, changed: &[IpNet]) -> Vec<(IpNet, Option<Expiry>)> {
    let mut nets: Vec<IpNet> = changed.to_vec();
    nets.extend(changed.iter().flat_map(|net| added.inside(net)));
    nets.sort_unstable();
    nets.dedup();
    nets.into_iter().map(|net| (net, entry(written, added, &net))).collect()
}

/// How many prefixes the map holds.
pub fn count(written: &[IpNet], added: &Added) -> usize {
    let both = if written.len() < added.len() {
        written.iter().filter(|net| added.get(net).is_some()).count()
    } else {
        added.iter().filter(|(net, _)| written.binary_search(net).is_ok()).count()
    };
    written.len() + added.len() - both
}
