//! Shared maps whose pins were removed while no daemon ran, found again through the programs that use them.
//!
//! A program keeps its maps. Were a map made anew instead, the daemon would write into one that no program reads, and every
//! change of policy would be without effect.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::OwnedFd;

use netpol_probes::abi;

use super::error::Result;
use super::maps::Map;
use super::pins::{self, Pins};
use super::{attach_guard, bpf};

/// `BPF_MAP_TYPE_PROG_ARRAY`.
const PROGRAM_ARRAY: u32 = 3;

/// By name: every map that a pinned program of ours, an attached one, or one that they call uses.
pub fn maps_in_use(pins: &Pins) -> Result<BTreeMap<String, OwnedFd>> {
    let mut programs = roots(pins)?;
    let (mut known, mut maps) = (BTreeSet::new(), BTreeMap::new());
    while let Some(program) = programs.pop() {
        for id in bpf::program_maps(&program, "pinned")? {
            if !known.insert(id) {
                continue;
            }
            let (name, fd) = match bpf::map_by_id(id) {
                // Takes CAP_SYS_ADMIN, which the service does not have: its tree is built anew.
                Err(error) if bpf::errno(&error) == libc::EPERM => continue,
                found => found?,
            };
            let map = Map::adopt(&name, fd)?;
            if map.facts().kind == PROGRAM_ARRAY {
                programs.extend(called(&map)?);
            }
            maps.insert(name, map.into());
        }
    }
    Ok(maps)
}

/// Programs that are pinned, or that a pinned link holds.
fn roots(pins: &Pins) -> Result<Vec<OwnedFd>> {
    let mut programs = Vec::new();
    for directory in pins::names(&pins.abi())?.iter().filter(|name| name.starts_with("programs-")) {
        let directory = pins.abi().join(directory);
        for name in pins::names(&directory)? {
            let pinned = bpf::get(&directory.join(&name))?;
            if attach_guard::is_pin(&name) {
                programs.extend(bpf::program_by_id(bpf::link_info(&pinned, &name)?.program).ok());
            } else {
                programs.push(pinned);
            }
        }
    }
    for (ifindex, which) in pins.link_pins()? {
        let link = bpf::link_info(&bpf::get(&pins.link(ifindex, which))?, "pin")?;
        programs.extend(bpf::program_by_id(link.program).ok());
    }
    Ok(programs)
}

/// Programs of an array; a place may be emptied meanwhile.
fn called(array: &Map) -> Result<Vec<OwnedFd>> {
    let mut programs = Vec::new();
    for index in 0..array.facts().max_entries.min(abi::NP_SLOTS + 8) {
        if let Some(id) = array.get::<u32, u32>(&index)? {
            programs.extend(bpf::program_by_id(id).ok());
        }
    }
    Ok(programs)
}
