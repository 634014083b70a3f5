//! Waiting until every packet that may have passed a hook before a program was there has left the kernel's hands.
//!
//! The write of an element of a map of maps returns only when no program runs any more that could have seen the old one; the kernel
//! waits for that by an RCU grace period, which no packet on its way from the device to netfilter survives.

use std::os::fd::AsRawFd;

use super::bpf::MapFacts;
use super::error::{Error, Result};
use super::maps::Map;

/// `BPF_MAP_TYPE_ARRAY`.
const ARRAY: u32 = 2;
/// `BPF_MAP_TYPE_ARRAY_OF_MAPS`.
const ARRAY_OF_MAPS: u32 = 12;

/// Waits; some milliseconds.
pub fn wait() -> Result<()> {
    let facts = MapFacts { kind: ARRAY, key_size: 4, value_size: 4, max_entries: 1, flags: 0 };
    let inner = Map::create("grace", facts)?;
    let outer = Map::create_outer("grace", MapFacts { kind: ARRAY_OF_MAPS, ..facts }, &inner)?;
    let descriptor = u32::try_from(inner.as_raw_fd()).map_err(|cause| Error::Inconsistent(format!("a descriptor is negative: {cause}")))?;
    outer.set(&0u32, &descriptor)
}
