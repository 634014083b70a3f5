//! What the kernel itself has and would do, for tests that must not trust the daemon: whatever hangs on an interface judges a frame,
//! whoever put it there; every pin is listed and every map is read byte by byte.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hasher};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::time::{Duration, Instant};

use super::bpf::MapFacts;
use super::maps::Map;
use super::test_run::{self, Entry, Shot};
use super::{Kernel, attach_clsact, bpf, generation, links, pins};
use crate::compile::ruleset::DeviceKind;
use crate::policy::model::Hook;

/// `XDP_PASS`, `TC_ACT_UNSPEC`, `TC_ACT_OK`.
const XDP_PASS: u32 = 2;
const UNSPEC: u32 = u32::MAX;
const OK: u32 = 0;
/// Kinds of maps (`enum bpf_map_type`).
const ARRAY: u32 = 2;
const PROGRAM_ARRAY: u32 = 3;
const PER_CPU: u32 = 6;
const ARRAY_OF_MAPS: u32 = 12;
const RING: u32 = 27;
/// So many look at a map of maps at once.
const READERS: u32 = 64;
/// What packets change, and the daemon's word with its count of set changes.
const LIVING: [&str; 10] = [
    "connections",
    "half_open",
    "connection_ring",
    "half_open_ring",
    "ring_heads",
    "fragments",
    "buckets",
    "answers",
    "rule_base",
    "condition_expiry",
];

/// Waits until nobody holds the lock: a process that another test of this binary is just starting has our descriptors for a moment.
pub(crate) fn wait_until_unlocked(bpffs: &Path) {
    let end = Instant::now() + Duration::from_secs(30);
    while let Some(holder) = pins::holder(bpffs) {
        assert!(Instant::now() < end, "{holder} holds {}", bpffs.display());
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Index of an interface of this namespace.
pub(crate) fn index(name: &str) -> Option<u32> {
    links::list().unwrap().values().find(|link| link.name == name).map(|link| link.ifindex)
}

/// Whether an arriving frame gets past everything that hangs on the ingress side of an interface: XDP, then tc, in their order.
pub(crate) fn arrives(ifindex: u32, frame: &[u8]) -> bool {
    let shot = |entry| Shot { entry, ifindex, bytes: frame, gso_size: 0 };
    if let Some((program, _)) = links::list().unwrap()[&ifindex].xdp {
        let program = bpf::program_by_id(program).unwrap();
        if test_run::run_program(&program, shot(Entry::Xdp)).unwrap().verdict != XDP_PASS {
            return false;
        }
    }
    for program in ingress_programs(ifindex) {
        let program = bpf::program_by_id(program).unwrap();
        match test_run::run_program(&program, shot(Entry::Tc(DeviceKind::Ethernet, Hook::Ingress))).unwrap().verdict {
            UNSPEC => {}
            OK => return true,
            _ => return false,
        }
    }
    true
}

/// Ids of the programs that a packet meets at tc ingress: those of TCX, where the kernel has it, then the filters of clsact.
fn ingress_programs(ifindex: u32) -> Vec<u32> {
    let by_tcx = match bpf::tcx_programs(ifindex, bpf::TCX_INGRESS) {
        // An attach type that kernels before 6.6 do not know.
        Err(e) if e.raw_os_error() == Some(libc::EINVAL) => Vec::new(),
        programs => programs.unwrap(),
    };
    let by_clsact = attach_clsact::Filters::open().unwrap().programs(ifindex, Hook::Ingress).unwrap();
    by_tcx.into_iter().chain(by_clsact).collect()
}

/// The trial that runs is over, as if its time had passed.
pub(crate) fn end_trial(kernel: &Kernel) {
    generation::set_deadline(&kernel.maps, kernel.word().running, 1).unwrap();
}

/// Puts an empty map of another layout in the place of a pinned one.
pub(crate) fn exchange_for_foreign(pin: &Path) {
    pins::unpin(pin).unwrap();
    let facts = MapFacts { kind: ARRAY, key_size: 4, value_size: 24, max_entries: 3, flags: 0 };
    Map::create("foreign", facts).unwrap().pin(pin).unwrap();
}

/// Every pin below a directory with a hash of what it holds: of all elements of a map that no packet changes; 0 for the rest.
pub(crate) fn pinned(bpffs: &Path) -> BTreeMap<String, u64> {
    let mut found = BTreeMap::new();
    walk(bpffs, "", &mut found);
    found
}

fn walk(directory: &Path, under: &str, found: &mut BTreeMap<String, u64>) {
    for name in pins::names(directory).unwrap() {
        let (path, shown) = (directory.join(&name), format!("{under}/{name}"));
        if path.is_dir() {
            walk(&path, &shown, found);
        } else if under.contains("links") || under.contains("programs-") || !under.contains("abi") || LIVING.contains(&name.as_str()) {
            found.insert(shown, 0);
        } else {
            found.insert(shown, content(&Map::open(&name, &path).unwrap()));
        }
    }
}

fn content(map: &Map) -> u64 {
    let facts = map.facts();
    match facts.kind {
        RING | PER_CPU => 0,
        PROGRAM_ARRAY => places(map, 0..facts.max_entries),
        ARRAY_OF_MAPS => places_of_maps(map),
        _ => elements(map),
    }
}

fn hash(parts: &[&[u8]]) -> u64 {
    let mut hasher = DefaultHasher::new();
    parts.iter().for_each(|part| hasher.write(part));
    hasher.finish()
}

/// The sum of the hashes of an array's places, each of which holds an id.
fn places(map: &Map, which: impl Iterator<Item = u32>) -> u64 {
    which.map(|index| hash(&[&index.to_ne_bytes(), &id_at(map, index)])).fold(0, u64::wrapping_add)
}

/// Before Linux 6.8 each look at a map of maps waits for a grace period, also at an empty place; those who wait together wait once.
fn places_of_maps(map: &Map) -> u64 {
    let most = map.facts().max_entries;
    std::thread::scope(|scope| {
        let readers = (0..READERS.min(most)).map(|first| scope.spawn(move || places(map, (first..most).step_by(READERS as usize))));
        // All of them are started before the first is waited for.
        let readers: Vec<_> = readers.collect();
        readers.into_iter().map(|reader| reader.join().unwrap()).fold(0, u64::wrapping_add)
    })
}

fn id_at(map: &Map, index: u32) -> [u8; 4] {
    let mut value = [0u8; 4];
    // SAFETY: key and value have the map's sizes; a failed look-up (an empty place) writes nothing.
    unsafe { bpf_sys::bpf_map_lookup_elem(map.as_raw_fd(), (&raw const index).cast(), value.as_mut_ptr().cast()) };
    value
}

/// The sum of the elements' hashes: their order says nothing. An array's is always the same, so it is hashed as one.
fn elements(map: &Map) -> u64 {
    let facts = map.facts();
    let (key_size, value_size, most) = (facts.key_size as usize, facts.value_size as usize, facts.max_entries as usize);
    let (mut keys, mut values) = (vec![0u8; key_size * most], vec![0u8; value_size.next_multiple_of(8) * most]);
    let (mut cursor, mut count) = ([0u8; 64], most as u32);
    // SAFETY: keys and values have room for `count` elements; the cursor is larger than any key and any bucket number.
    let answer = unsafe {
        bpf_sys::bpf_map_lookup_batch(
            map.as_raw_fd(),
            std::ptr::null_mut(),
            cursor.as_mut_ptr().cast(),
            keys.as_mut_ptr().cast(),
            values.as_mut_ptr().cast(),
            &mut count,
            std::ptr::null(),
        )
    };
    let error = std::io::Error::last_os_error();
    assert!(answer == 0 || error.raw_os_error() == Some(libc::ENOENT), "{}: {error}", map.name());
    let count = count as usize;
    if facts.kind == ARRAY {
        return hash(&[&values[..value_size * count]]);
    }
    let pairs = keys.chunks(key_size).zip(values.chunks(value_size));
    pairs.take(count).map(|(key, value)| hash(&[key, value])).fold(0, u64::wrapping_add)
}
