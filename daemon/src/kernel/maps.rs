//! Maps: create, fill, read. Every answer of the kernel is checked, and a map that cannot hold what it must says so by name.
//!
//! Knows keys and values only as plain bytes of a known size.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::Path;

use netpol_probes::abi;

use super::bpf::{self, MapFacts};
use super::error::{Error, Result};

/// Elements of one batch call: few enough for a short stay in the kernel, many enough to make the call cheap.
const BATCH: usize = 4096;

/// Plain data without holes, whose every bit pattern is valid.
///
/// # Safety
/// The type must be `Copy`, `repr(C)`, and hold no padding, references or enums.
pub unsafe trait Pod: Copy {}

macro_rules! pod {
    ($($type:ty),* $(,)?) => {
        $(
            // SAFETY: an integer, or a type of abi.h, which asserts that it has no holes and holds only integers.
            unsafe impl Pod for $type {}
        )*
    };
}

pod!(u8, u32, u64);
pod!(abi::np_lpm4, abi::np_lpm6, abi::np_class, abi::np_chain, abi::np_layer, abi::np_row_key, abi::np_list, abi::np_decision_key);
pod!(abi::np_protocol, abi::np_port_table, abi::np_vlan_key, abi::np_l4_dims, abi::np_rule, abi::np_failsafe_key);
pod!(
    abi::np_ethertype_key,
    abi::np_slot,
    abi::np_word,
    abi::np_source_check,
    abi::np_mac_key,
    abi::np_cookie_key,
    abi::np_limit,
    abi::np_condition,
    abi::np_element_key,
    abi::np_element,
    abi::np_route_key,
    abi::np_bucket_key,
    abi::np_link_key,
    abi::np_guard,
    abi::np_guard_key,
    abi::np_link,
    abi::np_flow_key,
    abi::np_flow,
    abi::np_counter,
    abi::np_meta
);

/// Takes a batch of elements.
type Each<'a, K, V> = dyn FnMut(&[K], &[V]) -> Result<()> + 'a;
/// The same, told how many values belong to one key.
type EachWide<'a, K, V> = dyn FnMut(&[K], &[V], usize) -> Result<()> + 'a;

/// A map, open.
#[derive(Debug)]
pub struct Map {
    name: String,
    facts: MapFacts,
    fd: OwnedFd,
}

impl AsRawFd for Map {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

impl AsFd for Map {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl From<Map> for OwnedFd {
    fn from(map: Map) -> OwnedFd {
        map.fd
    }
}

fn result(value: i32) -> io::Result<()> {
    if value < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Room for `count` values that a call will fill.
fn room<T: Pod>(count: usize) -> Vec<T> {
    // SAFETY: every bit pattern of a `Pod` is valid, zero included.
    vec![unsafe { std::mem::zeroed() }; count]
}

impl Map {
    /// Creates one.
    pub fn create(name: &str, facts: MapFacts) -> Result<Map> {
        match bpf::map_create(name, facts) {
            Ok(fd) => Ok(Map { name: name.into(), facts, fd }),
            Err(source) => Err(size_error(name, facts, u64::from(facts.max_entries), source)),
        }
    }

    /// Creates an array of maps whose elements will be like `inner`.
    pub fn create_outer(name: &str, facts: MapFacts, inner: &Map) -> Result<Map> {
        match bpf::map_of_maps_create(name, facts, inner) {
            Ok(fd) => Ok(Map { name: name.into(), facts, fd }),
            Err(source) => Err(size_error(name, facts, u64::from(facts.max_entries), source)),
        }
    }

    /// Opens a pinned one.
    pub fn open(name: &str, path: &Path) -> Result<Map> {
        let fd = bpf::get(path)?;
        let facts = bpf::map_facts(&fd, name)?;
        Ok(Map { name: name.into(), facts, fd })
    }

    /// Takes over one that is open.
    pub fn adopt(name: &str, fd: OwnedFd) -> Result<Map> {
        let facts = bpf::map_facts(&fd, name)?;
        Ok(Map { name: name.into(), facts, fd })
    }

    /// Pins it.
    pub fn pin(&self, path: &Path) -> Result<()> {
        bpf::pin(&self.fd, path)
    }

    /// Its name in abi.h.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it is like.
    pub fn facts(&self) -> MapFacts {
        self.facts
    }

    fn expect<K, V>(&self) -> Result<()> {
        let told = (self.facts.key_size as usize, self.facts.value_size as usize);
        if told == (size_of::<K>(), size_of::<V>()) {
            return Ok(());
        }
        Err(Error::Inconsistent(format!(
            "map `{}` has keys and values of {told:?} bytes, not {:?}",
            self.name,
            (size_of::<K>(), size_of::<V>())
        )))
    }

    fn failed(&self, what: &str, source: io::Error) -> Error {
        Error::System { what: format!("{what} map `{}`", self.name), source }
    }

    /// Writes one element.
    pub fn set<K: Pod, V: Pod>(&self, key: &K, value: &V) -> Result<()> {
        self.expect::<K, V>()?;
        // SAFETY: key and value have the map's sizes.
        let answer =
            unsafe { bpf_sys::bpf_map_update_elem(self.as_raw_fd(), std::ptr::from_ref(key).cast(), std::ptr::from_ref(value).cast(), 0) };
        result(answer).map_err(|source| size_error(&self.name, self.facts, u64::from(self.facts.max_entries) + 1, source))
    }

    /// Writes one element where there is none of that key. `Some(false)`: there is one; `None`: there is no room.
    pub fn insert_new<K: Pod, V: Pod>(&self, key: &K, value: &V) -> Result<Option<bool>> {
        const NOEXIST: u64 = 1; // BPF_NOEXIST
        self.expect::<K, V>()?;
        // SAFETY: key and value have the map's sizes.
        let answer = unsafe {
            bpf_sys::bpf_map_update_elem(self.as_raw_fd(), std::ptr::from_ref(key).cast(), std::ptr::from_ref(value).cast(), NOEXIST)
        };
        match result(answer) {
            Ok(()) => Ok(Some(true)),
            Err(error) if error.raw_os_error() == Some(libc::EEXIST) => Ok(Some(false)),
            Err(error) if matches!(error.raw_os_error(), Some(libc::E2BIG | libc::ENOMEM)) => Ok(None),
            Err(error) => Err(self.failed("write", error)),
        }
    }

    /// Reads one element.
    pub fn get<K: Pod, V: Pod>(&self, key: &K) -> Result<Option<V>> {
        self.expect::<K, V>()?;
        let mut value = room::<V>(1);
        // SAFETY: key and value have the map's sizes.
        let answer = unsafe { bpf_sys::bpf_map_lookup_elem(self.as_raw_fd(), std::ptr::from_ref(key).cast(), value.as_mut_ptr().cast()) };
        match result(answer) {
            Ok(()) => Ok(value.pop()),
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
            Err(error) => Err(self.failed("read", error)),
        }
    }

    /// Deletes one element; `false`: there was none.
    pub fn delete<K: Pod>(&self, key: &K) -> Result<bool> {
        if size_of::<K>() != self.facts.key_size as usize {
            return Err(Error::Inconsistent(format!("map `{}` has other keys", self.name)));
        }
        // SAFETY: the key has the map's size.
        let answer = unsafe { bpf_sys::bpf_map_delete_elem(self.as_raw_fd(), std::ptr::from_ref(key).cast()) };
        match result(answer) {
            Ok(()) => Ok(true),
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(false),
            Err(error) => Err(self.failed("delete from", error)),
        }
    }

    /// Writes many elements.
    pub fn fill<K: Pod, V: Pod>(&self, elements: &[(K, V)]) -> Result<()> {
        for chunk in elements.chunks(BATCH) {
            let keys: Vec<K> = chunk.iter().map(|(key, _)| *key).collect();
            let values: Vec<V> = chunk.iter().map(|(_, value)| *value).collect();
            self.write_batch(&keys, &values, elements.len())?;
        }
        Ok(())
    }

    /// Writes elements 0.. of an array.
    pub fn fill_array<V: Pod>(&self, values: &[V]) -> Result<()> {
        let mut first = 0u32;
        for chunk in values.chunks((BATCH * 64 / size_of::<V>().max(1)).max(1)) {
            let keys: Vec<u32> = (first..).take(chunk.len()).collect();
            self.write_batch(&keys, chunk, values.len())?;
            first += chunk.len() as u32;
        }
        Ok(())
    }

    fn write_batch<K: Pod, V: Pod>(&self, keys: &[K], values: &[V], total: usize) -> Result<()> {
        self.expect::<K, V>()?;
        let mut count = keys.len() as u32;
        // SAFETY: keys and values hold `count` elements of the map's sizes.
        let answer = unsafe {
            bpf_sys::bpf_map_update_batch(self.as_raw_fd(), bpf::pointer(keys), bpf::pointer(values), &mut count, std::ptr::null())
        };
        result(answer).map_err(|source| size_error(&self.name, self.facts, total as u64, source))?;
        if count as usize != keys.len() {
            return Err(Error::Inconsistent(format!("map `{}` took {count} of {} elements", self.name, keys.len())));
        }
        Ok(())
    }

    /// Deletes many keys of a hash; returns how many were there. Somebody else may have deleted some of them meanwhile.
    pub fn delete_all<K: Pod>(&self, keys: &[K]) -> Result<usize> {
        let mut deleted = 0;
        let mut rest = keys;
        while !rest.is_empty() {
            let mut count = rest.len() as u32;
            // SAFETY: `rest` holds `count` keys of the map's size.
            let answer = unsafe { bpf_sys::bpf_map_delete_batch(self.as_raw_fd(), bpf::pointer(rest), &mut count, std::ptr::null()) };
            deleted += count as usize;
            match result(answer) {
                Ok(()) => break,
                // The batch stops at a key that is gone.
                Err(error) if error.raw_os_error() == Some(libc::ENOENT) => rest = rest.get(count as usize + 1..).unwrap_or(&[]),
                Err(error) => return Err(self.failed("delete from", error)),
            }
        }
        Ok(deleted)
    }

    /// Hands every element to `each`, a batch at a time. Elements that come or go meanwhile may or may not be told; all others are,
    /// once.
    pub fn each_batch<K: Pod, V: Pod>(&self, each: &mut Each<'_, K, V>) -> Result<()> {
        self.expect::<K, V>()?;
        self.walk(&mut |keys: &[K], values: &[V], _| each(keys, values), 1)
    }

    /// All elements.
    pub fn all<K: Pod, V: Pod>(&self) -> Result<Vec<(K, V)>> {
        let mut found = Vec::new();
        self.each_batch(&mut |keys: &[K], values: &[V]| {
            found.extend(keys.iter().copied().zip(values.iter().copied()));
            Ok(())
        })?;
        Ok(found)
    }

    /// All elements of a per-CPU array, by index, then CPU.
    pub fn all_per_cpu<V: Pod>(&self) -> Result<Vec<Vec<V>>> {
        if size_of::<V>() % 8 != 0 {
            return Err(Error::Inconsistent(format!("values of per-CPU map `{}` are not a multiple of 8 bytes", self.name)));
        }
        self.expect::<u32, V>()?;
        let cpus = possible_cpus()?;
        let mut found = vec![Vec::new(); self.facts.max_entries as usize];
        self.walk(
            &mut |keys: &[u32], values: &[V], cpus| {
                for (key, values) in keys.iter().zip(values.chunks(cpus)) {
                    if let Some(place) = found.get_mut(*key as usize) {
                        *place = values.to_vec();
                    }
                }
                Ok(())
            },
            cpus,
        )?;
        Ok(found)
    }

    /// `BPF_MAP_LOOKUP_BATCH` until the end, with `width` values an element.
    fn walk<K: Pod, V: Pod>(&self, each: &mut EachWide<'_, K, V>, width: usize) -> Result<()> {
        let mut size = BATCH.min((self.facts.max_entries as usize).max(16));
        let (mut cursor, mut next) = ([0u8; 64], [0u8; 64]); // an element's key or a bucket's number
        let mut started = false;
        loop {
            let (keys, values) = (room::<K>(size), room::<V>(size * width));
            let mut count = size as u32;
            let from = if started { cursor.as_mut_ptr().cast() } else { std::ptr::null_mut() };
            // SAFETY: keys and values have room for `count` elements of the map's sizes; the cursors are larger than any key of
            // ours and any bucket number.
            let answer = unsafe {
                bpf_sys::bpf_map_lookup_batch(
                    self.as_raw_fd(),
                    from,
                    next.as_mut_ptr().cast(),
                    bpf::pointer(&keys),
                    bpf::pointer(&values),
                    &mut count,
                    std::ptr::null(),
                )
            };
            let error = result(answer).err();
            match error.as_ref().and_then(io::Error::raw_os_error) {
                // A bucket holds more than there is room for.
                Some(libc::ENOSPC) => {
                    size *= 2;
                    continue;
                }
                None | Some(libc::ENOENT) => {
                    let count = count as usize;
                    each(keys.get(..count).unwrap_or(&[]), values.get(..count * width).unwrap_or(&[]), width)?;
                }
                Some(_) => {}
            }
            match error {
                None => (cursor, started) = (next, true),
                Some(error) if error.raw_os_error() == Some(libc::ENOENT) => return Ok(()),
                Some(error) => return Err(self.failed("read", error)),
            }
        }
    }
}

/// CPUs that a per-CPU value has a place for.
pub fn possible_cpus() -> Result<usize> {
    // SAFETY: no pointers.
    let count = unsafe { bpf_sys::libbpf_num_possible_cpus() };
    usize::try_from(count).map_err(|source| Error::System { what: "number of possible CPUs".into(), source: io::Error::other(source) })
}

/// An error of a call that asked for room: named with what was asked, where room was the reason.
fn size_error(name: &str, facts: MapFacts, entries: u64, source: io::Error) -> Error {
    match source.raw_os_error() {
        Some(libc::E2BIG | libc::ENOSPC | libc::ENOMEM) => {
            Error::MapSize { map: name.into(), entries, entry_bytes: u64::from(facts.key_size) + u64::from(facts.value_size), source }
        }
        _ => Error::System { what: format!("write map `{name}`"), source },
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::needs_root;
    use super::*;

    const HASH: u32 = 1;
    const ARRAY: u32 = 2;
    const PERCPU_ARRAY: u32 = 6;

    fn facts(kind: u32, key_size: u32, value_size: u32, max_entries: u32) -> MapFacts {
        MapFacts { kind, key_size, value_size, max_entries, flags: 0 }
    }

    #[test]
    fn hash_is_filled_read_and_emptied_in_batches() {
        needs_root!();
        let map = Map::create("t", facts(HASH, 4, 8, 10_000)).unwrap();
        let wanted: Vec<(u32, u64)> = (0..10_000).map(|n| (n, u64::from(n) * 3)).collect();
        map.fill(&wanted).unwrap();
        let mut there: Vec<(u32, u64)> = map.all().unwrap();
        there.sort_unstable();
        assert_eq!(there, wanted);
        assert!(map.delete(&7u32).unwrap());
        assert!(!map.delete(&7u32).unwrap());
        let keys: Vec<u32> = (0..10_000).collect();
        assert_eq!(map.delete_all(&keys).unwrap(), 9_999);
        assert_eq!(map.all::<u32, u64>().unwrap(), []);
    }

    #[test]
    fn overfull_map_is_named_with_its_need() {
        needs_root!();
        let map = Map::create("small", facts(HASH, 4, 8, 2)).unwrap();
        let elements: Vec<(u32, u64)> = (0..5).map(|n| (n, 0)).collect();
        let error = map.fill(&elements).unwrap_err().to_string();
        assert!(error.contains("`small` needs 5 entries"), "{error}");
    }

    #[test]
    fn array_is_filled_from_the_start() {
        needs_root!();
        let map = Map::create("a", facts(ARRAY, 4, 4, 9_000)).unwrap();
        let wanted: Vec<u32> = (0..9_000).collect();
        map.fill_array(&wanted).unwrap();
        assert_eq!(map.get::<u32, u32>(&8_999).unwrap(), Some(8_999));
        assert_eq!(map.all::<u32, u32>().unwrap().len(), 9_000);
    }

    #[test]
    fn per_cpu_values_are_read_for_every_cpu() {
        needs_root!();
        let map = Map::create("p", facts(PERCPU_ARRAY, 4, 8, 3)).unwrap();
        let values = map.all_per_cpu::<u64>().unwrap();
        assert_eq!(values, vec![vec![0; possible_cpus().unwrap()]; 3]);
    }

    #[test]
    fn wrong_type_is_refused_before_the_call() {
        needs_root!();
        let map = Map::create("t", facts(HASH, 4, 8, 4)).unwrap();
        assert!(map.set(&1u64, &2u64).is_err());
        assert!(map.get::<u32, u32>(&1).is_err());
    }
}
