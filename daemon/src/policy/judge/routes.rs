//! Where a route back to an address leads.
//!
//! Knows prefixes and interfaces: all routing tables of the host laid over each other. Knows no kernel and no policy.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;

/// What stands at a prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// Never a sender on the wire: an address of this host, a broadcast address, or a prefix that no table leads anywhere.
    Refused,
    /// The ifindexes that one of the tables leads to.
    Via(BTreeSet<u32>),
}

/// For every prefix of any table, what the tables say of the addresses in it that no longer prefix holds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Routes {
    /// By prefix.
    pub prefixes: BTreeMap<IpNet, Route>,
}

impl Routes {
    /// What the longest prefix of an address says; `None` = no prefix holds it.
    pub fn longest(&self, address: IpAddr) -> Option<&Route> {
        let holds = |(net, _): &(&IpNet, &Route)| net.contains(&address);
        self.prefixes.iter().filter(holds).max_by_key(|(net, _)| net.prefix_len()).map(|(_, route)| route)
    }

    /// Whether packets to the address leave through the interface, by one of the tables.
    pub fn leads_through(&self, address: IpAddr, ifindex: u32) -> bool {
        matches!(self.longest(address), Some(Route::Via(links)) if links.contains(&ifindex))
    }

    /// Whether packets to the address leave at all.
    pub fn leads_anywhere(&self, address: IpAddr) -> bool {
        matches!(self.longest(address), Some(Route::Via(links)) if !links.is_empty())
    }
}
