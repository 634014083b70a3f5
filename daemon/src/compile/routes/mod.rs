//! Routing tables -> the reverse path of every address: out of which interfaces an answer to it may leave. Pure.
//!
//! Knows prefixes, tables and interface indexes; no netlink and no map. ARCHITECTURE.md, stage 2c, point 3 is the definition:
//! all tables are asked without their rules' selectors, so every prefix of one table inherits what the prefixes around it say in
//! the others, and a packet needs one look-up. `update` says in which order the maps are brought there.

mod update;

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, missing_docs)] // tests may fail loudly
mod tests;

pub use update::{Held, TooManyRoutes, Update, update};

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

/// `RT_TABLE_LOCAL` of linux/rtnetlink.h: what this host answers to.
pub const LOCAL_TABLE: u32 = 255;

/// One route as the kernel tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Number of its table.
    pub table: u32,
    /// Destinations, host bits clear.
    pub net: IpNet,
    /// Where it leads.
    pub goal: Goal,
}

/// Where a route leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Goal {
    /// To this host, or to everybody on a link: types local, anycast and broadcast.
    Own,
    /// Out of one of these interfaces (several: multipath).
    Out(Vec<u32>),
    /// Nowhere: types blackhole, unreachable, prohibit, throw, multicast, NAT.
    Nowhere,
}

/// Where an answer to an address may go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Way {
    /// The address cannot be a sender: it is our own, a broadcast address, or no table leads anywhere.
    Refused,
    /// Out of one of these interfaces; rising, never empty.
    Out(Arc<[u32]>),
}

impl Way {
    /// Out of one of these; none = refused.
    pub fn out(links: impl IntoIterator<Item = u32>) -> Way {
        let links: BTreeSet<u32> = links.into_iter().collect();
        if links.is_empty() { Way::Refused } else { Way::Out(links.into_iter().collect()) }
    }
}

/// The reverse path of every address: its longest prefix says it; an address without one is refused.
/// No prefix says what the next one around it says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ReversePaths {
    /// In order of prefixes, each once.
    ways: Vec<(IpNet, Way)>,
}

impl ReversePaths {
    /// The tables as one.
    pub fn of(routes: &[Route]) -> ReversePaths {
        let mut sorted: Vec<&Route> = routes.iter().collect();
        sorted.sort_unstable_by_key(|route| (route.net, route.table));
        let mut walk = Walk::default();
        let mut ways = Vec::new();
        for same in sorted.chunk_by(|a, b| a.net == b.net) {
            let Some(first) = same.first() else { continue };
            walk.leave_until(&first.net);
            let around = walk.around();
            let way = walk.enter(first.net, same);
            if way != around {
                ways.push((first.net, way));
            }
        }
        ReversePaths { ways }
    }

    /// What an address' longest prefix says.
    pub fn lookup(&self, address: IpAddr) -> Way {
        let whole = IpNet::from(address);
        let around = (0..=whole.prefix_len()).rev().filter_map(|length| IpNet::new(address, length).ok());
        let said = |net: IpNet| self.ways.binary_search_by_key(&net.trunc(), |(net, _)| *net).ok().and_then(|at| self.ways.get(at));
        around.filter_map(said).next().map_or(Way::Refused, |(_, way)| way.clone())
    }

    /// Every prefix and what it says, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&IpNet, &Way)> {
        self.ways.iter().map(|(net, way)| (net, way))
    }

    /// Prefixes of both families.
    pub fn len(&self) -> usize {
        self.ways.len()
    }

    /// No address has a reverse path.
    pub fn is_empty(&self) -> bool {
        self.ways.is_empty()
    }

    /// Whether any address is reached through that interface.
    pub fn leads_out_of(&self, ifindex: u32) -> bool {
        self.ways.iter().any(|(_, way)| matches!(way, Way::Out(links) if links.contains(&ifindex)))
    }
}

/// A table that is flat already.
impl FromIterator<(IpNet, Way)> for ReversePaths {
    fn from_iter<T: IntoIterator<Item = (IpNet, Way)>>(prefixes: T) -> Self {
        let ways: BTreeMap<IpNet, Way> = prefixes.into_iter().map(|(net, way)| (net.trunc(), way)).collect();
        ReversePaths { ways: ways.into_iter().collect() }
    }
}

/// What one table says of one prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Said {
    own: bool,
    links: Arc<[u32]>,
}

/// A prefix that the walk is in.
struct Frame {
    net: IpNet,
    way: Way,
    /// What the tables that have this prefix said before.
    before: Vec<(u32, Option<Said>)>,
}

/// Prefixes in order, each with what all tables say there.
#[derive(Default)]
struct Walk {
    frames: Vec<Frame>,
    /// By table: what its longest prefix around the current one says.
    tables: HashMap<u32, Said>,
    /// By interface: how many tables lead out of it here.
    links: BTreeMap<u32, usize>,
    /// Equal lists are one.
    lists: HashMap<Vec<u32>, Arc<[u32]>>,
}

impl Walk {
    /// What is said where the walk is.
    fn around(&self) -> Way {
        self.frames.last().map_or(Way::Refused, |frame| frame.way.clone())
    }

    fn leave_until(&mut self, net: &IpNet) {
        while self.frames.last().is_some_and(|frame| !frame.net.contains(net)) {
            let Some(frame) = self.frames.pop() else { return };
            for (table, before) in frame.before.into_iter().rev() {
                self.say(table, before);
            }
        }
    }

    /// `routes` all have this prefix and are sorted by table.
    fn enter(&mut self, net: IpNet, routes: &[&Route]) -> Way {
        let mut before = Vec::new();
        for same in routes.chunk_by(|a, b| a.table == b.table) {
            let Some(table) = same.first().map(|route| route.table) else { continue };
            let said = self.said(table, same);
            before.push((table, self.say(table, Some(said))));
        }
        let way = self.way();
        self.frames.push(Frame { net, way: way.clone(), before });
        way
    }

    /// Routes of one prefix in one table, whatever their metrics.
    fn said(&mut self, table: u32, routes: &[&Route]) -> Said {
        let own = table == LOCAL_TABLE && routes.iter().any(|route| route.goal == Goal::Own);
        let leads = |route: &&Route| match &route.goal {
            Goal::Out(links) if table != LOCAL_TABLE => links.clone(),
            _ => Vec::new(),
        };
        let mut links: Vec<u32> = routes.iter().flat_map(leads).collect();
        links.sort_unstable();
        links.dedup();
        Said { own, links: self.list(links) }
    }

    /// From here on the table says this; returns what it said.
    fn say(&mut self, table: u32, said: Option<Said>) -> Option<Said> {
        for link in said.iter().flat_map(|said| said.links.iter()) {
            *self.links.entry(*link).or_default() += 1;
        }
        let before = match said {
            Some(said) => self.tables.insert(table, said),
            None => self.tables.remove(&table),
        };
        for link in before.iter().flat_map(|said| said.links.iter()) {
            if let Some(count) = self.links.get_mut(link) {
                *count -= 1;
                if *count == 0 {
                    self.links.remove(link);
                }
            }
        }
        before
    }

    fn way(&mut self) -> Way {
        if self.tables.get(&LOCAL_TABLE).is_some_and(|said| said.own) || self.links.is_empty() {
            return Way::Refused;
        }
        Way::Out(self.list(self.links.keys().copied().collect()))
    }

    fn list(&mut self, links: Vec<u32>) -> Arc<[u32]> {
        Arc::clone(self.lists.entry(links).or_insert_with_key(|links| links.as_slice().into()))
    }
}
