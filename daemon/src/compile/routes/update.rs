//! What the maps hold -> what they must hold, in an order in which no address ever has a third answer.
//!
//! First the new sets of interfaces, then new prefixes, the longest first; then changed ones; then the prefixes that are no longer
//! wanted, the shortest first; then the sets that nothing names. So each address changes from its old answer to its new one at one
//! moment: a new prefix is never uncovered by the shorter one that it lies in, and one that goes never uncovers another that goes too.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use ipnet::IpNet;
use netpol_probes::abi;

use super::{ReversePaths, Way};

/// Set number of what is refused.
const REFUSED: u32 = 0;

/// What `routes4`, `routes6` and `route_links` hold.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Held {
    /// By set number: its interfaces.
    pub sets: BTreeMap<u32, BTreeSet<u32>>,
    /// Set number of each prefix.
    pub prefixes: BTreeMap<IpNet, u32>,
}

/// One change of the maps, part by part in the order in which they are carried out.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Update {
    /// Elements to add to `route_links`.
    pub new_links: Vec<abi::np_route_key>,
    /// Prefixes to add, then prefixes to change.
    pub write: Vec<(IpNet, u32)>,
    /// Prefixes to delete.
    pub delete: Vec<IpNet>,
    /// Elements to delete from `route_links`.
    pub old_links: Vec<abi::np_route_key>,
}

impl Update {
    /// Nothing to do.
    pub fn is_empty(&self) -> bool {
        *self == Update::default()
    }
}

/// The routing tables do not fit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} make {found} entries, and no more than {limit} are possible")]
#[allow(missing_docs)]
pub struct TooManyRoutes {
    pub what: &'static str,
    pub found: usize,
    pub limit: usize,
}

/// The change, and what is held afterwards.
///
/// # Errors
/// When the maps are too small for what is wanted.
pub fn update(held: &Held, wanted: &ReversePaths) -> Result<(Update, Held), TooManyRoutes> {
    let goal = numbered(held, wanted);
    check(&goal)?;
    let (mut write, mut changed, mut delete) = (Vec::new(), Vec::new(), Vec::new());
    for (net, there, wanted) in side_by_side(&held.prefixes, &goal.prefixes) {
        match (there, wanted) {
            (None, Some(number)) => write.push((net, number)),
            (Some(before), Some(number)) if before != number => changed.push((net, number)),
            (Some(_), None) => delete.push(net),
            _ => {}
        }
    }
    write.sort_by_key(|(net, _)| std::cmp::Reverse(net.prefix_len()));
    write.extend(changed);
    delete.sort_by_key(IpNet::prefix_len);
    let (new_links, old_links) = (missing(&goal, held), missing(held, &goal));
    Ok((Update { new_links, write, delete, old_links }, goal))
}

/// Every prefix of either, in order: its numbers in both.
fn side_by_side<'a>(
    there: &'a BTreeMap<IpNet, u32>,
    wanted: &'a BTreeMap<IpNet, u32>,
) -> impl Iterator<Item = (IpNet, Option<u32>, Option<u32>)> + 'a {
    let (mut there, mut wanted) = (there.iter().peekable(), wanted.iter().peekable());
    std::iter::from_fn(move || {
        let net = match (there.peek(), wanted.peek()) {
            (Some((one, _)), Some((other, _))) => **one.min(other),
            (Some((net, _)), None) | (None, Some((net, _))) => **net,
            (None, None) => return None,
        };
        let before = there.next_if(|(one, _)| **one == net).map(|(_, number)| *number);
        let after = wanted.next_if(|(one, _)| **one == net).map(|(_, number)| *number);
        Some((net, before, after))
    })
}

/// The wanted prefixes with numbers: a set that is held keeps its number, a new one gets a number that nothing names.
fn numbered(held: &Held, wanted: &ReversePaths) -> Held {
    let known: HashMap<Vec<u32>, u32> = held.sets.iter().map(|(number, links)| (links.iter().copied().collect(), *number)).collect();
    let taken: BTreeSet<u32> = held.sets.keys().chain(held.prefixes.values()).copied().collect();
    let mut free = (REFUSED + 1..).filter(|number| !taken.contains(number));
    let mut numbers: HashMap<Arc<[u32]>, u32> = HashMap::new();
    let mut number = |way: &Way| match way {
        Way::Refused => REFUSED,
        Way::Out(links) => *numbers.entry(Arc::clone(links)).or_insert_with(|| {
            // The range is longer than any table: there is always a free number.
            known.get(links.as_ref()).copied().or_else(|| free.next()).unwrap_or(REFUSED)
        }),
    };
    // Made of a list that is in order: built at once.
    let prefixes = wanted.iter().map(|(net, way)| (*net, number(way))).collect();
    let sets = numbers.into_iter().map(|(links, number)| (number, links.iter().copied().collect())).collect();
    Held { sets, prefixes }
}

fn check(goal: &Held) -> Result<(), TooManyRoutes> {
    let v4 = goal.prefixes.keys().filter(|net| matches!(net, IpNet::V4(_))).count();
    let of_sets = goal.sets.values().map(BTreeSet::len).sum();
    for (what, found, limit) in [
        ("the IPv4 routes of this host", v4, abi::NP_MAX_ROUTES),
        ("the IPv6 routes of this host", goal.prefixes.len() - v4, abi::NP_MAX_ROUTES),
        ("the combinations of interfaces that its routes lead out of", of_sets, abi::NP_MAX_ROUTE_LINKS),
    ] {
        if found > limit as usize {
            return Err(TooManyRoutes { what, found, limit: limit as usize });
        }
    }
    Ok(())
}

/// Elements of the one's sets that the other does not have.
fn missing(of: &Held, other: &Held) -> Vec<abi::np_route_key> {
    let lacks = |set: u32, link: &u32| !other.sets.get(&set).is_some_and(|links| links.contains(link));
    let elements = of.sets.iter().flat_map(|(&set, links)| links.iter().filter(move |link| lacks(set, link)).map(move |&link| (set, link)));
    elements.map(|(set, ifindex)| abi::np_route_key { set, ifindex }).collect()
}
