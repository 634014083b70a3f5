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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::net::IpAddr;
    use std::time::Instant;

    use netpol_probes::MAPS;

    use super::super::shared::facts_of;
    use super::super::tests::needs_root;
    use super::*;
    use crate::compile::routes::{Goal, Route};

    fn maps() -> Maps {
        let ours = MAPS.iter().filter(|spec| ["routes4", "routes6", "route_links"].contains(&spec.name));
        ours.map(|spec| (spec.name, Map::create(spec.name, facts_of(spec, 1)).unwrap())).collect()
    }

    fn route(net: &str, links: &[u32]) -> Route {
        Route { table: 254, net: net.parse().unwrap(), goal: Goal::Out(links.to_vec()) }
    }

    /// As the programs ask.
    fn found(maps: &Maps, address: &str) -> Option<BTreeSet<u32>> {
        let number: Option<u32> = match address.parse().unwrap() {
            IpAddr::V4(address) => {
                maps["routes4"].get(&abi::np_lpm4 { prefixlen: 32, address: u32::from_ne_bytes(address.octets()) }).unwrap()
            }
            IpAddr::V6(address) => maps["routes6"].get(&abi::np_lpm6 { prefixlen: 128, address: words(address) }).unwrap(),
        };
        let all: Vec<(abi::np_route_key, u8)> = maps["route_links"].all().unwrap();
        number.map(|number| all.iter().filter(|(key, _)| key.set == number).map(|(key, _)| key.ifindex).collect())
    }

    #[test]
    fn maps_follow_and_are_read_again() {
        needs_root!();
        let maps = maps();
        let first = ReversePaths::of(&[route("0.0.0.0/0", &[2]), route("10.0.0.0/8", &[3, 2]), route("2001:db8::/32", &[4])]);
        let (held, changed) = write(&maps, &read(&maps).unwrap(), &first).unwrap();
        assert_eq!((read(&maps).unwrap(), changed), (held.clone(), 7));
        assert_eq!(found(&maps, "10.1.1.1"), Some([2, 3].into()));
        assert_eq!(found(&maps, "2001:db8::7"), Some([4].into()));
        assert_eq!(found(&maps, "2001:db9::7"), None);
        let second = ReversePaths::of(&[route("0.0.0.0/0", &[3]), route("2001:db8::/32", &[4])]);
        let (held, _) = write(&maps, &held, &second).unwrap();
        assert_eq!(read(&maps).unwrap(), held);
        assert_eq!((found(&maps, "10.1.1.1"), found(&maps, "2001:db8::7")), (Some([3].into()), Some([4].into())));
        let (held, _) = write(&maps, &held, &ReversePaths::default()).unwrap();
        assert_eq!((held, found(&maps, "10.1.1.1")), (read(&maps).unwrap(), None));
        assert_eq!(read(&maps).unwrap(), Held::default());
    }

    /// Prints what a hundred thousand prefixes that all say something else than their neighbours cost.
    #[test]
    fn many_prefixes_are_written_within_seconds() {
        needs_root!();
        let maps = maps();
        let net = |n: u32| IpNet::new((n << 9).to_be_bytes().into(), 24).unwrap();
        let routes: Vec<Route> = (0..100_000u32).map(|n| Route { table: 254, net: net(n), goal: Goal::Out(vec![n % 7 + 1]) }).collect();
        let started = Instant::now();
        let paths = ReversePaths::of(&routes);
        let flattened = started.elapsed();
        let (held, _) = write(&maps, &Held::default(), &paths).unwrap();
        let written = started.elapsed();
        let (_, changed) = write(&maps, &held, &paths).unwrap();
        println!("flatten {flattened:?}, write {:?}, compare {:?}", written - flattened, started.elapsed() - written);
        assert_eq!((paths.len(), changed), (100_000, 0));
    }
}
