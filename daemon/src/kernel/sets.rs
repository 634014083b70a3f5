//! Contents of dynamic sets: one map a content, in the `sets` of every generation that uses it.
//!
//! Each is pinned in the directories of its generations under the set's name (`set-NAME`; a bpffs refuses dots, which stand as
//! `%`, and no name holds one). A content that is exchanged is pinned as `next-NAME` first, so that after a crash the one that
//! stands in `sets` is found under one of the two. Knows no journal: what to hold is told.

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use netpol_probes::{SET_CONTENT, abi};

use super::error::{Error, Result};
use super::maps::Map;
use super::pins::{self, Pins};
use super::shared::facts_of;
use super::{Kernel, bpf, generation};
use crate::compile::ruleset::SetSlot;
use crate::sets::Clock;
use crate::sets::content::Contents;

/// Ends that differ by no more than this, in ns, are the same: the clocks are read one after the other.
pub const MOMENT: u64 = 1_000_000_000;

/// Entries that are written without a word about it.
const CHUNK: usize = 16_384;

/// A content that stands in generations that count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// The running one first, where it is among them.
    pub generations: Vec<u32>,
    /// Prefixes that the map can hold.
    pub max_entries: u32,
}

/// A content that is ready to be put in place of others.
pub struct Prepared(Map);

/// Puts every content of a generation that is built into its `sets`. What the running generation has and still is right is shared.
pub fn build(pins: &Pins, running: u32, number: u32, outer: &Map, slots: &[SetSlot], contents: &Contents<'_>) -> Result<()> {
    for (index, slot) in (0u32..).zip(slots) {
        let map = match slot {
            SetSlot::Literal(nets) => make(nets.len() as u32, &nets.iter().map(|net| (*net, 0)).collect::<Vec<_>>(), &mut |_| ())?,
            SetSlot::Dynamic { name, max_entries } => {
                let map = content(pins, running, name, *max_entries, contents)?;
                map.pin(&pin(pins, number, "set", name))?;
                map
            }
        };
        put(outer, index, &map)?;
    }
    Ok(())
}

fn content(pins: &Pins, running: u32, name: &str, max_entries: u32, contents: &Contents<'_>) -> Result<Map> {
    let wanted = contents.sets.get(name).ok_or_else(|| Error::Inconsistent(format!("nobody says what the set `{name}` holds")))?;
    let there = if wanted.runs && running != 0 { locate(pins, running, name)? } else { None };
    match there {
        Some(located) if located.map.facts().max_entries == max_entries.max(1) => Ok(located.map),
        _ => make(max_entries, &wanted.timed(&contents.clock), &mut |_| ()),
    }
}

/// A new map with these entries. `tell` hears how many are in.
fn make(max_entries: u32, entries: &[(IpNet, u64)], tell: &mut dyn FnMut(usize)) -> Result<Map> {
    let map = Map::create(SET_CONTENT.name, facts_of(&SET_CONTENT, max_entries))?;
    for (number, chunk) in entries.chunks(CHUNK).enumerate() {
        tell(number * CHUNK);
        map.fill(&chunk.iter().map(|(net, expires)| (key(net), abi::np_element { expires: *expires })).collect::<Vec<_>>())?;
    }
    Ok(map)
}

/// One write: the next packet sees the whole other content.
fn put(outer: &Map, index: u32, map: &Map) -> Result<()> {
    let descriptor = u32::try_from(map.as_raw_fd()).map_err(|cause| Error::Inconsistent(format!("a descriptor is negative: {cause}")))?;
    outer.set(&index, &descriptor)
}

fn pin(pins: &Pins, generation: u32, kind: &str, set: &str) -> PathBuf {
    pins.generation(generation).join(format!("{kind}-{}", set.replace('.', "%")))
}

/// Where a set's content stands.
struct Located {
    map: Map,
    outer: Map,
    index: u32,
}

/// Which content stands in which place, by map id. They stand without gaps from 0 on, and the free places are not asked: before Linux 6.8
/// each look at a map of maps waits for a grace period (`bpf_map_copy_value` in kernel/bpf/syscall.c), tens of milliseconds a place.
fn places(outer: &Map) -> Result<Vec<(u32, u32)>> {
    let mut places = Vec::new();
    for index in 0..outer.facts().max_entries {
        let Some(id) = outer.get::<u32, u32>(&index)? else { break };
        places.push((index, id));
    }
    Ok(places)
}

/// Finds a set's content in a generation; `None` = it does not use the set.
fn locate(pins: &Pins, generation: u32, set: &str) -> Result<Option<Located>> {
    let paths = [pin(pins, generation, "set", set), pin(pins, generation, "next", set)];
    if paths.iter().all(|path| !path.exists()) {
        return Ok(None);
    }
    let outer = Map::open("sets", &pins.generation(generation).join("sets"))?;
    let places = places(&outer)?;
    for path in paths.iter().filter(|path| path.exists()) {
        let map = Map::open(SET_CONTENT.name, path)?;
        let id = bpf::map_id(&map, SET_CONTENT.name)?;
        if let Some((index, _)) = places.iter().find(|(_, there)| *there == id) {
            return Ok(Some(Located { map, outer, index: *index }));
        }
    }
    Err(Error::Inconsistent(format!("generation {generation} has lost the content of the set `{set}`")))
}

/// The prefix as the map knows it.
fn key(net: &IpNet) -> abi::np_element_key {
    let mut address = [0u32; 4];
    let family: u32 = match net {
        IpNet::V4(net) => {
            address[0] = u32::from(net.network()).to_be();
            4
        }
        IpNet::V6(net) => {
            let bits = u128::from(net.network());
            for (place, shift) in address.iter_mut().zip([96, 64, 32, 0]) {
                *place = ((bits >> shift) as u32).to_be();
            }
            6
        }
    };
    abi::np_element_key { prefixlen: 32 + u32::from(net.prefix_len()), family: family.to_be(), address }
}

/// The inverse of [`key`]; `None` = not written by us.
fn net_of(key: &abi::np_element_key) -> Option<IpNet> {
    let length = u8::try_from(key.prefixlen.checked_sub(32)?).ok()?;
    match u32::from_be(key.family) {
        4 => Ipv4Net::new(Ipv4Addr::from(u32::from_be(key.address[0])), length).ok().map(IpNet::V4),
        6 => {
            let bits = key.address.iter().fold(0u128, |bits, word| bits << 32 | u128::from(u32::from_be(*word)));
            Ipv6Net::new(Ipv6Addr::from(bits), length).ok().map(IpNet::V6)
        }
        _ => None,
    }
}

/// Ends the exchanges that somebody began who died before the new content had the old one's pin.
pub fn finish_exchanges(pins: &Pins, generation: u32) -> Result<()> {
    let directory = pins.generation(generation);
    let begun = pins::names(&directory)?;
    let begun: Vec<&String> = begun.iter().filter(|name| name.starts_with("next-")).collect();
    if begun.is_empty() {
        return Ok(());
    }
    let places = places(&Map::open("sets", &directory.join("sets"))?)?;
    for name in begun {
        let next = directory.join(name);
        let id = bpf::map_id(&Map::open(SET_CONTENT.name, &next)?, SET_CONTENT.name)?;
        if places.iter().any(|(_, there)| *there == id) {
            take_place(&next, &directory.join(name.replacen("next-", "set-", 1)))?;
        } else {
            pins::unpin(&next)?;
        }
    }
    Ok(())
}

/// The new content has the set's name from now on.
fn take_place(next: &Path, stays: &Path) -> Result<()> {
    fs::rename(next, stays).map_err(|source| Error::System { what: format!("rename pin {}", next.display()), source })
}

impl Kernel {
    /// The generations that count: running, then former.
    pub(super) fn present(&self) -> Vec<u32> {
        let word = self.word();
        [word.running, word.former].into_iter().filter(|number| *number != 0).collect()
    }

    /// Every content of a set that stands in a generation that counts; the running one's first.
    pub fn set_standings(&self, set: &str) -> Result<Vec<Standing>> {
        let mut by_map: Vec<(u32, Standing)> = Vec::new();
        for number in self.present() {
            let Some(located) = locate(&self.pins, number, set)? else { continue };
            let id = bpf::map_id(&located.map, SET_CONTENT.name)?;
            match by_map.iter_mut().find(|(there, _)| *there == id) {
                Some((_, standing)) => standing.generations.push(number),
                None => {
                    by_map.push((id, Standing { generations: vec![number], max_entries: located.map.facts().max_entries }));
                }
            }
        }
        Ok(by_map.into_iter().map(|(_, standing)| standing).collect())
    }

    /// What a set's map holds in a generation: ends in boot time, ns; 0 = never. `None`: the generation does not use the set.
    pub fn set_entries(&self, generation: u32, set: &str) -> Result<Option<BTreeMap<IpNet, u64>>> {
        let Some(located) = locate(&self.pins, generation, set)? else { return Ok(None) };
        let entries: Vec<(abi::np_element_key, abi::np_element)> = located.map.all()?;
        let nets = entries.into_iter().map(|(key, element)| net_of(&key).map(|net| (net, element.expires)));
        let whole: Option<BTreeMap<IpNet, u64>> = nets.collect();
        whole.map(Some).ok_or_else(|| Error::Inconsistent(format!("the map of the set `{set}` holds a strange key")))
    }

    /// Changes single entries of a standing content; `None` takes one out.
    pub fn change_set(&mut self, standing: &Standing, set: &str, changes: &[(IpNet, Option<u64>)]) -> Result<()> {
        let Some(located) = standing.generations.first().map(|number| locate(&self.pins, *number, set)).transpose()?.flatten() else {
            return Ok(());
        };
        // What goes makes room for what comes; wherever both happen at once, what comes covers nothing of what goes.
        let gone: Vec<abi::np_element_key> = changes.iter().filter(|(_, entry)| entry.is_none()).map(|(net, _)| key(net)).collect();
        located.map.delete_all(&gone)?;
        let put = changes.iter().filter_map(|(net, entry)| Some((key(net), abi::np_element { expires: (*entry)? })));
        located.map.fill(&put.collect::<Vec<_>>())
    }

    /// Makes a content that nothing reads yet. `tell` hears how many entries are in.
    pub fn prepare_set(&self, max_entries: u32, entries: &[(IpNet, u64)], tell: &mut dyn FnMut(usize)) -> Result<Prepared> {
        make(max_entries, entries, tell).map(Prepared)
    }

    /// Puts a content in place of a standing one, in each of its generations by one write.
    pub fn exchange_set(&mut self, standing: &Standing, set: &str, content: &Prepared) -> Result<()> {
        for number in &standing.generations {
            finish_exchanges(&self.pins, *number)?;
            let Some(located) = locate(&self.pins, *number, set)? else { continue };
            let (stays, next) = (pin(&self.pins, *number, "set", set), pin(&self.pins, *number, "next", set));
            content.0.pin(&next)?;
            put(&located.outer, located.index, &content.0)?;
            take_place(&next, &stays)?;
        }
        Ok(())
    }

    /// From the next packet on every flow is judged again: a dynamic set has changed.
    pub fn judge_flows_again(&self) {
        self.cell.raise_epoch();
    }

    /// Rules that expire do so by the wall clock: brings all generations that count in line with it. `true`: something had to be
    /// changed.
    pub fn follow_clock(&mut self, clock: &Clock) -> Result<bool> {
        let mut changed = false;
        for number in self.present() {
            changed |= generation::follow_clock(&self.pins, number, clock)?;
        }
        Ok(changed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_back() {
        for text in ["10.1.2.0/24", "0.0.0.0/0", "192.0.2.1/32", "::/0", "2001:db8::/32", "fd00::1/128"] {
            let net: IpNet = text.parse().unwrap();
            assert_eq!(net_of(&key(&net)), Some(net));
        }
        let v4 = key(&"10.1.2.0/24".parse().unwrap());
        assert_eq!((v4.prefixlen, v4.family.to_ne_bytes(), v4.address[0].to_ne_bytes()), (56, [0, 0, 0, 4], [10, 1, 2, 0]));
        let v6 = key(&"2001:db8::/32".parse().unwrap());
        assert_eq!((v6.prefixlen, v6.address[0].to_ne_bytes()), (64, [0x20, 1, 0x0d, 0xb8]));
    }
}
