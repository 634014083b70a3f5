//! What each map is: the one table from which the daemon makes them, and against which the objects' definitions are tested.
//!
//! Knows sizes and kinds, not contents (`bpf/abi.h` says what they mean).

use std::mem::size_of;

use crate::abi;

/// Kind of a map; the value is the kernel's `enum bpf_map_type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)]
#[repr(u32)]
pub enum MapKind {
    Hash = 1,
    Array = 2,
    ProgramArray = 3,
    PerCpuArray = 6,
    LruHash = 9,
    LpmTrie = 11,
    ArrayOfMaps = 12,
    RingBuffer = 27,
}

/// Number of entries of a map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MaxEntries {
    /// The same on every machine.
    Fixed(u32),
    /// Made to measure by the daemon, at least 1.
    Measured,
}

/// How long a map lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Made once and pinned; all generations use the same.
    Shared,
    /// The same, of the objects in their ordinary form alone.
    Serial,
    /// The same, of the objects in their form for PREEMPT_RT kernels alone.
    Realtime,
    /// Made with each generation and gone with it.
    Generation,
}

/// Definition of one map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MapSpec {
    /// Name in the objects; at most 15 characters.
    pub name: &'static str,
    /// Kind.
    pub kind: MapKind,
    /// Bytes of a key.
    pub key_size: u32,
    /// Bytes of a value.
    pub value_size: u32,
    /// Entries.
    pub max_entries: MaxEntries,
    /// `BPF_F_*` of `BPF_MAP_CREATE`.
    pub flags: u32,
    /// Who shares it.
    pub scope: Scope,
}

/// `BPF_F_NO_PREALLOC`: demanded by LPM tries.
const NO_PREALLOC: u32 = 1;
/// `BPF_F_MMAPABLE`: the generation word is written by a plain store.
const MMAPABLE: u32 = 1 << 10;

use MapKind as Kind;
use MaxEntries::{Fixed, Measured};
use Scope::{Generation, Realtime, Serial, Shared};

const fn spec(scope: Scope, name: &'static str, kind: MapKind, key: usize, value: usize, max_entries: MaxEntries, flags: u32) -> MapSpec {
    MapSpec { name, kind, key_size: key as u32, value_size: value as u32, max_entries, flags, scope }
}

/// Packets of one CPU that may be judged at the same time on a PREEMPT_RT kernel: `NP_SCRATCHES`.
const SCRATCHES: u32 = 16;

/// Content of one dynamic set: what the elements of `sets` are like. Entries by the set's own bound.
pub const SET_CONTENT: MapSpec =
    spec(Generation, "set", Kind::LpmTrie, size_of::<abi::np_element_key>(), size_of::<abi::np_element>(), Measured, NO_PREALLOC);

/// Every map, those that all generations share first. `rule_base` and `meta` are the daemon's own: no program reads them.
#[rustfmt::skip]
pub const MAPS: [MapSpec; 54] = [
    spec(Shared, "generation", Kind::Array, 4, size_of::<abi::np_word>(), Fixed(1), MMAPABLE),
    spec(Shared, "slots", Kind::Array, 4, size_of::<abi::np_slot>(), Fixed(abi::NP_SLOTS), 0),
    spec(Shared, "links", Kind::Hash, size_of::<abi::np_link_key>(), size_of::<abi::np_link>(), Fixed(abi::NP_MAX_LINKS), 0),
    spec(Shared, "connections", Kind::Hash, size_of::<abi::np_flow_key>(), size_of::<abi::np_flow>(), Measured, 0),
    spec(Shared, "half_open", Kind::Hash, size_of::<abi::np_flow_key>(), size_of::<abi::np_flow>(), Measured, 0),
    spec(Shared, "connection_ring", Kind::Array, 4, size_of::<abi::np_flow_key>(), Fixed(abi::NP_CONNECTION_RING), 0),
    spec(Shared, "half_open_ring", Kind::Array, 4, size_of::<abi::np_flow_key>(), Fixed(abi::NP_HALF_OPEN_RING), 0),
    spec(Shared, "ring_heads", Kind::Array, 4, 8, Fixed(2 * abi::NP_RINGS), 0),
    spec(Shared, "fragments", Kind::LruHash, size_of::<abi::np_fragment_key>(), size_of::<abi::np_fragment>(), Fixed(abi::NP_MAX_FRAGMENTS), 0),
    spec(Shared, "buckets", Kind::LruHash, size_of::<abi::np_bucket_key>(), 8, Fixed(abi::NP_MAX_BUCKETS), 0),
    spec(Shared, "routes4", Kind::LpmTrie, size_of::<abi::np_lpm4>(), 4, Fixed(abi::NP_MAX_ROUTES), NO_PREALLOC),
    spec(Shared, "routes6", Kind::LpmTrie, size_of::<abi::np_lpm6>(), 4, Fixed(abi::NP_MAX_ROUTES), NO_PREALLOC),
    spec(Shared, "route_links", Kind::Hash, size_of::<abi::np_route_key>(), 1, Fixed(abi::NP_MAX_ROUTE_LINKS), NO_PREALLOC),
    spec(Shared, "answers", Kind::LruHash, 4, size_of::<abi::np_answer>(), Fixed(abi::NP_MAX_ANSWERS), 0),
    spec(Serial, "answer_scratch", Kind::PerCpuArray, 4, abi::NP_ANSWER_SCRATCH_SIZE as usize, Fixed(1), 0),
    spec(Shared, "reasons", Kind::PerCpuArray, 4, 8, Fixed(abi::NP_HOOKS * abi::NP_MAX_REASONS), 0),
    spec(Shared, "guards", Kind::Array, 4, size_of::<abi::np_guard>(), Fixed(abi::NP_SLOTS), 0),
    spec(Shared, "guard_names", Kind::Hash, size_of::<abi::np_guard_key>(), 4, Fixed(abi::NP_MAX_GUARD_NAMES), NO_PREALLOC),
    spec(Shared, "events", Kind::RingBuffer, 0, 0, Fixed(abi::NP_EVENT_RING), 0),
    spec(Serial, "tc_scratch", Kind::PerCpuArray, 4, abi::NP_SCRATCH_SIZE as usize, Fixed(1), 0),
    spec(Serial, "xdp_scratch", Kind::PerCpuArray, 4, abi::NP_SCRATCH_SIZE as usize, Fixed(1), 0),
    spec(Realtime, "tc_scratch_rt", Kind::PerCpuArray, 4, (8 + abi::NP_SCRATCH_SIZE + abi::NP_ANSWER_SCRATCH_SIZE) as usize, Fixed(SCRATCHES), 0),
    spec(Realtime, "xdp_scratch_rt", Kind::PerCpuArray, 4, (8 + abi::NP_SCRATCH_SIZE) as usize, Fixed(SCRATCHES), 0),
    spec(Shared, "tc_programs", Kind::ProgramArray, 4, 4, Fixed(abi::NP_TC_PROGRAMS), 0),
    spec(Shared, "xdp_programs", Kind::ProgramArray, 4, 4, Fixed(abi::NP_XDP_PROGRAMS), 0),
    spec(Generation, "addresses4", Kind::LpmTrie, size_of::<abi::np_lpm4>(), 4, Fixed(abi::NP_MAX_PREFIXES), NO_PREALLOC),
    spec(Generation, "addresses6", Kind::LpmTrie, size_of::<abi::np_lpm6>(), 4, Fixed(abi::NP_MAX_PREFIXES), NO_PREALLOC),
    spec(Generation, "classes", Kind::Array, 4, size_of::<abi::np_class>(), Fixed(abi::NP_MAX_CLASSES), 0),
    spec(Generation, "sets", Kind::ArrayOfMaps, 4, 4, Fixed(abi::NP_MAX_SETS), 0),
    spec(Generation, "set_lists", Kind::Array, 4, 4, Fixed(abi::NP_MAX_SET_LISTS), 0),
    spec(Generation, "source_checks", Kind::Array, 4, size_of::<abi::np_source_check>(), Measured, 0),
    spec(Generation, "macs", Kind::Hash, size_of::<abi::np_mac_key>(), 1, Measured, 0),
    spec(Generation, "cookie_ports", Kind::Hash, size_of::<abi::np_cookie_key>(), 1, Fixed(abi::NP_MAX_COOKIE_PORTS), 0),
    spec(Generation, "limits", Kind::Array, 4, size_of::<abi::np_limit>(), Fixed(abi::NP_MAX_LIMITS), 0),
    spec(Generation, "conditions", Kind::Array, 4, size_of::<abi::np_condition>(), Measured, 0),
    spec(Generation, "failsafe", Kind::Hash, size_of::<abi::np_failsafe_key>(), 8, Fixed(abi::NP_MAX_FAILSAFE), 0),
    spec(Generation, "chains", Kind::Array, 4, size_of::<abi::np_chain>(), Measured, 0),
    spec(Generation, "layers", Kind::Array, 4, size_of::<abi::np_layer>(), Measured, 0),
    spec(Generation, "views", Kind::Array, 4, 4, Measured, 0),
    spec(Generation, "rows", Kind::Hash, size_of::<abi::np_row_key>(), 4, Measured, 0),
    spec(Generation, "row_defaults", Kind::Array, 4, size_of::<abi::np_list>(), Measured, 0),
    spec(Generation, "decisions", Kind::Hash, size_of::<abi::np_decision_key>(), size_of::<abi::np_list>(), Measured, 0),
    spec(Generation, "candidates", Kind::Array, 4, 4, Measured, 0),
    spec(Generation, "l4_protocols", Kind::Array, 4, size_of::<abi::np_protocol>(), Fixed(2 * abi::NP_PROTOCOLS), 0),
    spec(Generation, "l4_tables", Kind::Array, 4, size_of::<abi::np_port_table>(), Measured, 0),
    spec(Generation, "l4_flags", Kind::Array, 4, 4, Fixed(256), 0),
    spec(Generation, "l4_vlans", Kind::Hash, size_of::<abi::np_vlan_key>(), 4, Measured, 0),
    spec(Generation, "l4_dims", Kind::Array, 4, size_of::<abi::np_l4_dims>(), Fixed(1), 0),
    spec(Generation, "l4_combine", Kind::Array, 4, 4, Measured, 0),
    spec(Generation, "rules", Kind::Array, 4, size_of::<abi::np_rule>(), Measured, 0),
    spec(Generation, "rule_counters", Kind::PerCpuArray, 4, size_of::<abi::np_counter>(), Measured, 0),
    spec(Generation, "rule_base", Kind::Array, 4, size_of::<abi::np_counter>(), Measured, 0),
    spec(Generation, "ethertypes", Kind::Hash, size_of::<abi::np_ethertype_key>(), 1, Measured, 0),
    spec(Generation, "meta", Kind::Array, 4, size_of::<abi::np_meta>(), Fixed(1), 0),
];

/// The map of that name.
pub fn map(name: &str) -> Option<&'static MapSpec> {
    MAPS.iter().find(|spec| spec.name == name)
}
