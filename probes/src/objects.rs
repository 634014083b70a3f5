//! The ELF objects: their bytes, their programs and the maps that each of them is bound to.
//!
//! Knows file names of `build.rs` and nothing of loading. Names of programs are at most 15 characters, as the kernel keeps them.

/// ELF parsers read the headers in place, so the bytes begin at an address that a `u64` could have.
#[repr(C, align(8))]
struct Aligned<Bytes: ?Sized>(Bytes);

macro_rules! object {
    ($file:literal) => {{
        static BYTES: &Aligned<[u8]> = &Aligned(*include_bytes!(concat!(env!("OUT_DIR"), "/", $file)));
        &BYTES.0
    }};
}

/// Which library reads an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loader {
    /// tc: all maps in one section.
    Libbpf,
    /// XDP: a section for each map.
    Redbpf,
}

/// One ELF object.
#[derive(Debug, Clone, Copy)]
pub struct Object {
    /// File name without extension.
    pub name: &'static str,
    /// The ELF file.
    pub bytes: &'static [u8],
    /// Which library reads it.
    pub loader: Loader,
    /// Its programs.
    pub programs: &'static [&'static str],
    /// Its maps; all of them are put in place by the daemon before it is loaded.
    pub maps: &'static [&'static str],
}

/// First program at a tc hook; one copy for all generations.
pub const TC_MAIN: Object = Object {
    name: "tc_main",
    bytes: object!("tc_main.o"),
    loader: Loader::Libbpf,
    programs: &["np_tc_ingress", "np_tc_egress", "np_raw_ingress", "np_raw_egress"],
    maps: &["generation", "slots", "links", "connections", "half_open", "fragments", "answers", "reasons", "tc_scratch", "tc_programs"],
};

/// Stages 2 to 7 at tc; one instance a generation, at `tc_programs[generation % NP_SLOTS]`.
pub const TC_POLICY: Object = Object {
    name: "tc_policy",
    bytes: object!("tc_policy.o"),
    loader: Loader::Libbpf,
    programs: &["np_tc_policy"],
    maps: &[
        "addresses4",
        "addresses6",
        "classes",
        "sets",
        "set_lists",
        "source_checks",
        "macs",
        "routes4",
        "routes6",
        "route_links",
        "limits",
        "buckets",
        "conditions",
        "failsafe",
        "chains",
        "layers",
        "views",
        "rows",
        "row_defaults",
        "decisions",
        "candidates",
        "l4_protocols",
        "l4_tables",
        "l4_flags",
        "l4_vlans",
        "l4_dims",
        "l4_combine",
        "rules",
        "slots",
        "rule_counters",
        "ethertypes",
        "cookie_ports",
        "reasons",
        "tc_scratch",
        "tc_programs",
    ],
};

/// Flow and fragment memory, counters, events; one copy for all generations, at `tc_programs[NP_TC_EPILOGUE]`.
pub const TC_EPILOGUE: Object = Object {
    name: "tc_epilogue",
    bytes: object!("tc_epilogue.o"),
    loader: Loader::Libbpf,
    programs: &["np_tc_epilogue"],
    maps: &[
        "slots",
        "connections",
        "half_open",
        "connection_ring",
        "half_open_ring",
        "ring_heads",
        "fragments",
        "answers",
        "answer_scratch",
        "events",
        "reasons",
        "tc_scratch",
    ],
};

/// The XDP program of an interface; one copy for all generations.
pub const XDP_MAIN: Object = Object {
    name: "xdp_main",
    bytes: object!("xdp_main.o"),
    loader: Loader::Redbpf,
    programs: &["np_xdp_main"],
    maps: &["generation", "slots", "links", "reasons", "xdp_scratch", "xdp_programs"],
};

/// Deny sets and rates of sources at XDP; one instance a generation, at `xdp_programs[generation % NP_SLOTS]`.
pub const XDP_POLICY: Object = Object {
    name: "xdp_policy",
    bytes: object!("xdp_policy.o"),
    loader: Loader::Redbpf,
    programs: &["np_xdp_policy"],
    maps: &[
        "addresses4",
        "addresses6",
        "classes",
        "sets",
        "set_lists",
        "limits",
        "buckets",
        "failsafe",
        "cookie_ports",
        "routes4",
        "routes6",
        "reasons",
        "xdp_scratch",
    ],
};

/// What netfilter runs for every IP packet of the host, of interfaces that our other programs do not judge yet; one copy for all
/// generations. Kernels before 6.4 have no such programs and are never given it.
pub const GUARD: Object = Object {
    name: "guard",
    bytes: object!("guard.o"),
    loader: Loader::Libbpf,
    programs: &["np_guard_in", "np_guard_out"],
    maps: &["generation", "slots", "links", "guards", "guard_names", "reasons"],
};

/// All of them.
pub const OBJECTS: [Object; 6] = [TC_MAIN, TC_POLICY, TC_EPILOGUE, XDP_MAIN, XDP_POLICY, GUARD];
