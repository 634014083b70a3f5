//! What is pinned, as the hashes of what it holds, read byte by byte from the kernel: for tests that must not trust the daemon.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hasher};
use std::os::fd::AsRawFd;
use std::path::Path;

use netpol_probes::abi;

use super::maps::Map;
use super::{generation, pins};
use crate::plan::observed::GenerationWord;

/// Kinds of maps (`enum bpf_map_type`).
const ARRAY: u32 = 2;
const PROGRAM_ARRAY: u32 = 3;
const PER_CPU: u32 = 6;
const ARRAY_OF_MAPS: u32 = 12;
const RING: u32 = 27;
/// So many look at a map of maps at once.
const READERS: u32 = 64;
/// What the generation that judges has in maps that all share, by slot: arrays first, then tables whose keys begin with it. Its records
/// in `links` are not among them: they are written one interface at a time while it judges, which is for frames to tell.
const BY_SLOT: [&str; 4] = ["slots", "guards", "tc_programs", "xdp_programs"];
const KEYED_BY_SLOT: &str = "guard_names";
/// What differs in two generations of the same ruleset: moments, numbers, ids of maps and programs.
const OWN: [&str; 6] = ["meta", "conditions", "sets", "slots", "tc_programs", "xdp_programs"];
/// The same of pins by the beginnings of their names: `meta` once more, contents of sets.
const OWN_KINDS: [&str; 3] = ["objects-", "set-", "next-"];
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

/// A generation that judges: what its directory and its slot hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Judging {
    number: u32,
    held: BTreeMap<String, u64>,
}

impl Judging {
    /// By the first of these trees of pins that has one.
    pub(crate) fn of(trees: &[&Path]) -> Option<Judging> {
        trees.iter().find_map(|tree| Judging::of_tree(tree))
    }

    fn of_tree(tree: &Path) -> Option<Judging> {
        let open = |name: &str| Map::open(name, &tree.join("maps").join(name)).unwrap();
        if !tree.join("maps/generation").exists() {
            return None;
        }
        let word: abi::np_word = open("generation").get(&0u32).unwrap()?;
        let number = Some(GenerationWord::from_bits(word.generations).running).filter(|running| *running != 0)?;
        let mut held = BTreeMap::new();
        walk(&tree.join(format!("generation-{number}")), "abi", &mut held);
        let slot = generation::slot_of(number);
        held.extend(BY_SLOT.map(|name| (name.into(), hash(&[&value_at(&open(name), slot)]))));
        held.insert(KEYED_BY_SLOT.into(), table(&open(KEYED_BY_SLOT), |key| key.starts_with(&slot.to_ne_bytes()), 4));
        Some(Judging { number, held })
    }

    /// Nothing of it has changed since. (A content that is to be put in the place of a set's may stand beside.)
    pub(crate) fn is_still(&self, before: &Judging) -> bool {
        let there = self.held.iter().filter(|(name, _)| !name.contains("/next-") || before.held.contains_key(*name));
        self.number == before.number && there.eq(&before.held)
    }

    /// Whole, and built from the same ruleset.
    pub(crate) fn is_like(&self, other: &Judging) -> bool {
        self.common().eq(other.common())
    }

    fn common(&self) -> impl Iterator<Item = (&String, &u64)> {
        let own = |name: &str| OWN.contains(&name) || OWN_KINDS.iter().any(|kind| name.starts_with(kind));
        self.held.iter().filter(move |(name, _)| !own(name.rsplit('/').next().unwrap()))
    }
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
        // Always in the same order.
        ARRAY => hash(&[&elements(map).1]),
        _ => table(map, |_| true, 0),
    }
}

fn hash(parts: &[&[u8]]) -> u64 {
    let mut hasher = DefaultHasher::new();
    parts.iter().for_each(|part| hasher.write(part));
    hasher.finish()
}

/// The sum of the hashes of an array's places, each of which holds an id.
fn places(map: &Map, which: impl Iterator<Item = u32>) -> u64 {
    which.map(|index| hash(&[&index.to_ne_bytes(), &value_at(map, index)])).fold(0, u64::wrapping_add)
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

/// An element of an array, of no kind that has a value a CPU.
fn value_at(map: &Map, index: u32) -> Vec<u8> {
    let mut value = vec![0u8; map.facts().value_size as usize];
    // SAFETY: key and value have the map's sizes; a failed look-up (an empty place) writes nothing.
    unsafe { bpf_sys::bpf_map_lookup_elem(map.as_raw_fd(), (&raw const index).cast(), value.as_mut_ptr().cast()) };
    value
}

/// The sum of the hashes of chosen elements, whose order says nothing, without the beginnings of their keys.
fn table(map: &Map, chosen: impl Fn(&[u8]) -> bool, beginning: usize) -> u64 {
    let (key_size, value_size) = (map.facts().key_size as usize, map.facts().value_size as usize);
    let (keys, values) = elements(map);
    let elements = keys.chunks(key_size).zip(values.chunks(value_size)).filter(|(key, _)| chosen(key));
    elements.map(|(key, value)| hash(&[&key[beginning..], value])).fold(0, u64::wrapping_add)
}

/// All keys and all values, one after the other.
fn elements(map: &Map) -> (Vec<u8>, Vec<u8>) {
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
    keys.truncate(key_size * count as usize);
    values.truncate(value_size * count as usize);
    (keys, values)
}
