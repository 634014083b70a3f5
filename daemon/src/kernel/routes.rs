//! The copy of the routing tables that the programs ask for the reverse path: `routes4`, `routes6`, `route_links`.
//!
//! Reads what the maps hold and brings them to what is wanted, in the order of [`Update`]. Knows no netlink and no policy.

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use netpol_probes::abi;

use super::error::{Error, Result};
use super::maps::Map;
use super::shared::{Maps, need};
use crate::compile::routes::{Held, ReversePaths, Update, update};

/// Prefixes of one deletion.
const CHUNK: usize = 4096;

/// What the maps hold.
pub fn read(maps: &Maps) -> Result<Held> {
    let mut held = Held::default();
    for (key, _) in need(maps, "route_links")?.all::<abi::np_route_key, u8>()? {
        held.sets.entry(key.set).or_default().insert(key.ifindex);
    }
    need(maps, "routes4")?.each_batch(&mut |keys: &[abi::np_lpm4], numbers: &[u32]| {
        held.prefixes.extend(keys.iter().filter_map(net4).zip(numbers.iter().copied()));
        Ok(())
    })?;
    need(maps, "routes6")?.each_batch(&mut |keys: &[abi::np_lpm6], numbers: &[u32]| {
        held.prefixes.extend(keys.iter().filter_map(net6).zip(numbers.iter().copied()));
        Ok(())
    })?;
    Ok(held)
}

/// Brings the maps from what they hold to what is wanted; returns what they hold then, and how many elements were changed.
pub fn write(maps: &Maps, held: &Held, wanted: &ReversePaths) -> Result<(Held, usize)> {
    let (change, after) = update(held, wanted).map_err(|error| Error::Inconsistent(error.to_string()))?;
    let Update { new_links, write, delete, old_links } = change;
    let (routes4, routes6, links) = (need(maps, "routes4")?, need(maps, "routes6")?, need(maps, "route_links")?);
    links.fill(&new_links.iter().map(|key| (*key, 1u8)).collect::<Vec<_>>())?;
    routes4.fill(&write.iter().filter_map(|(net, number)| Some((key4(net)?, *number))).collect::<Vec<_>>())?;
    routes6.fill(&write.iter().filter_map(|(net, number)| Some((key6(net)?, *number))).collect::<Vec<_>>())?;
    remove(routes4, &delete.iter().filter_map(key4).collect::<Vec<_>>())?;
    remove(routes6, &delete.iter().filter_map(key6).collect::<Vec<_>>())?;
    links.delete_all(&old_links)?;
    Ok((after, new_links.len() + write.len() + delete.len() + old_links.len()))
}

fn remove<K: super::maps::Pod>(map: &Map, keys: &[K]) -> Result<()> {
    keys.chunks(CHUNK).try_for_each(|chunk| map.delete_all(chunk).map(|_count| ()))
}

fn key4(net: &IpNet) -> Option<abi::np_lpm4> {
    match net {
        IpNet::V4(net) => {
            Some(abi::np_lpm4 { prefixlen: u32::from(net.prefix_len()), address: u32::from_ne_bytes(net.network().octets()) })
        }
        IpNet::V6(_) => None,
    }
}

fn key6(net: &IpNet) -> Option<abi::np_lpm6> {
    match net {
        IpNet::V4(_) => None,
        IpNet::V6(net) => Some(abi::np_lpm6 { prefixlen: u32::from(net.prefix_len()), address: words(net.network()) }),
    }
}

/// An address as the programs read it: the bytes of the wire in four words.
pub fn words(address: Ipv6Addr) -> [u32; 4] {
    let octets = address.octets();
    [0, 4, 8, 12].map(|at| u32::from_ne_bytes([octets[at], octets[at + 1], octets[at + 2], octets[at + 3]]))
}

fn net4(key: &abi::np_lpm4) -> Option<IpNet> {
    IpNet::new(Ipv4Addr::from(key.address.to_ne_bytes()).into(), u8::try_from(key.prefixlen).ok()?).ok()
}

fn net6(key: &abi::np_lpm6) -> Option<IpNet> {
    let mut octets = [0; 16];
    octets.chunks_exact_mut(4).zip(key.address).for_each(|(place, word)| place.copy_from_slice(&word.to_ne_bytes()));
    IpNet::new(Ipv6Addr::from(octets).into(), u8::try_from(key.prefixlen).ok()?).ok()
}
