//! `anti_spoof`: the checks of all policies of an interface joined, and the lists of sources that several interfaces share.
//!
//! All checks must hold; so lists of MAC addresses are intersected, lists of sources stand beside each other, and of two answers to
//! one question the stricter counts. Knows no other stage.

use std::collections::BTreeSet;

use ipnet::IpNet;
use netpol_probes::abi;

use super::ruleset::DeviceKind;
use crate::policy::model::{AntiSpoof, Policy, ReversePath, SetId, SourceList};

/// What is asked of the sources beyond one interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Checks {
    /// The source must be in each of them; sorted, none twice.
    pub(super) sources: Vec<SourceList>,
    /// Sorted; `None` = every MAC address, empty = none.
    pub(super) macs: Option<Vec<[u8; 6]>>,
    reverse_path: ReversePath,
    arp: bool,
    pub(super) bogons: bool,
}

impl Checks {
    /// Nothing is asked.
    pub(super) fn none() -> Checks {
        Checks { sources: Vec::new(), macs: None, reverse_path: ReversePath::Off, arp: false, bogons: false }
    }

    /// What these policies ask together. Frames without Ethernet header have no MAC address, and the loopback device has no route.
    pub(super) fn of<'a>(policies: impl Iterator<Item = &'a Policy>, device: DeviceKind) -> Checks {
        let asked: Vec<&AntiSpoof> = policies.filter_map(|policy| policy.anti_spoof.as_ref()).collect();
        let sources: BTreeSet<SourceList> = asked.iter().filter_map(|one| one.allowed_sources.as_ref()).map(plain).collect();
        let reverse_path = asked.iter().map(|one| one.check_reverse_path).max().unwrap_or(ReversePath::Off);
        let lists = asked.iter().map(|one| &one.allowed_macs).filter(|macs| !macs.is_empty());
        let lists = lists.map(|macs| macs.iter().copied().collect::<BTreeSet<[u8; 6]>>());
        let macs = lists.reduce(|one, other| &one & &other).filter(|_| device != DeviceKind::Raw);
        Checks {
            sources: sources.into_iter().collect(),
            macs: macs.map(|macs| macs.into_iter().collect()),
            reverse_path: if device == DeviceKind::Loopback { ReversePath::Off } else { reverse_path },
            arp: asked.iter().any(|one| one.arp),
            bogons: asked.iter().any(|one| one.bogons),
        }
    }

    /// `NP_LINK_*`.
    pub(super) fn flags(&self) -> u32 {
        let flags = match self.reverse_path {
            ReversePath::Off => 0,
            ReversePath::Loose => abi::NP_LINK_REVERSE_LOOSE,
            ReversePath::Strict => abi::NP_LINK_REVERSE_STRICT,
        };
        let flags = flags | if self.arp { abi::NP_LINK_ARP } else { 0 } | if self.bogons { abi::NP_LINK_BOGONS } else { 0 };
        let any = flags != 0 || !self.sources.is_empty() || self.macs.is_some();
        flags | if any { abi::NP_LINK_ANTI_SPOOF } else { 0 }
    }
}

/// The same list, however it is written.
fn plain(list: &SourceList) -> SourceList {
    let nets: BTreeSet<IpNet> = list.nets.iter().map(IpNet::trunc).collect();
    let sets: BTreeSet<SetId> = list.sets.iter().copied().collect();
    SourceList { nets: nets.into_iter().collect(), sets: sets.into_iter().collect() }
}
