//! The interface at which a packet is seen.
//!
//! Knows what the judge must be told about a link. Knows no policy and asks no kernel.

use std::sync::Arc;

use super::Routes;
use crate::policy::model::Owner;

/// What the frames of a device begin with, which decides the program variant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DeviceKind {
    /// An Ethernet header.
    Ethernet,
    /// The IP header (tun, WireGuard, IP tunnels): no tags, no EtherTypes, no XDP.
    Raw,
    /// `lo`: an Ethernet header, and loopback addresses are at home.
    Loopback,
}

/// An interface, as far as a verdict depends on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// Kernel's index: part of the flow key.
    pub ifindex: u32,
    /// Name, by which policies select it.
    pub name: String,
    /// What its frames begin with.
    pub device: DeviceKind,
    /// The kernel's `accept_ra` is not 0 here.
    pub accepts_router_advertisements: bool,
    /// Containers and machines that it leads to.
    pub owners: Vec<Owner>,
    /// Until then (ns, on the judge's clock) a mid-stream TCP packet may open a flow; 0 = never. See `adopt_existing`.
    pub adopt_until: u64,
    /// The host's routes; `None` = not known: then the reverse path is not asked.
    pub routes: Option<Arc<Routes>>,
}

impl Interface {
    /// An interface that is only spoken about: Ethernet (the loopback device for `lo`), router advertisements accepted,
    /// routes not known.
    pub fn named(name: &str) -> Interface {
        let device = if name == "lo" { DeviceKind::Loopback } else { DeviceKind::Ethernet };
        Interface {
            ifindex: 1,
            name: name.to_owned(),
            device,
            accepts_router_advertisements: true,
            owners: Vec::new(),
            adopt_until: 0,
            routes: None,
        }
    }
}
