//! The ELF objects: their bytes, their programs and the maps that each of them is bound to.
//!
//! Knows file names of `build.rs` and nothing of loading. Names of programs are at most 15 characters, as the kernel keeps them.

/// ELF parsers read the headers in place, so the bytes begin at an address that a `u64` could have.
#[repr(C, align(8))]
struct Aligned<Bytes: ?Sized>(Bytes);

macro_rules! object {
    ($file:expr) => {{
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

/// The objects that judge packets, in one of their two forms.
#[derive(Debug, Clone, Copy)]
pub struct Objects {
    /// First program at a tc hook; one copy for all generations.
    pub tc_main: Object,
    /// Stages 2 to 7 at tc; one instance a generation, at `tc_programs[generation % NP_SLOTS]`.
    pub tc_policy: Object,
    /// Flow and fragment memory, counters, events; one copy for all generations, at `tc_programs[NP_TC_EPILOGUE]`.
    pub tc_epilogue: Object,
    /// The XDP program of an interface; one copy for all generations.
    pub xdp_main: Object,
    /// Deny sets and rates of sources at XDP; one instance a generation, at `xdp_programs[generation % NP_SLOTS]`.
    pub xdp_policy: Object,
}

impl Objects {
    /// All of them.
    pub const fn all(&self) -> [Object; 5] {
        [self.tc_main, self.tc_policy, self.tc_epilogue, self.xdp_main, self.xdp_policy]
    }
}

/// Both forms of the objects. `$end`: how the files of a form are named; `$tc`, `$answer`, `$xdp`: its maps of per-packet state.
macro_rules! objects {
    ($end:literal, tc: $tc:literal, answer: [$($answer:literal)?], xdp: $xdp:literal) => {
        Objects {
            tc_main: Object {
                name: concat!("tc_main", $end),
                bytes: object!(concat!("tc_main", $end, ".o")),
                loader: Loader::Libbpf,
                programs: &["np_tc_ingress", "np_tc_egress", "np_raw_ingress", "np_raw_egress"],
                maps: &["generation", "slots", "links", "connections", "half_open", "fragments", "answers", "reasons", "tc_programs", $tc],
            },
            tc_policy: Object {
                name: concat!("tc_policy", $end),
                bytes: object!(concat!("tc_policy", $end, ".o")),
                loader: Loader::Libbpf,
                programs: &["np_tc_policy"],
                maps: &["addresses4", "addresses6", "classes", "sets", "set_lists", "source_checks", "macs", "routes4", "routes6", "route_links", "limits", "buckets", "conditions", "failsafe", "chains", "layers", "views", "rows", "row_defaults", "decisions", "candidates", "l4_protocols", "l4_tables", "l4_flags", "l4_vlans", "l4_dims", "l4_combine", "rules", "slots", "rule_counters", "ethertypes", "cookie_ports", "reasons", "tc_programs", $tc],
            },
            tc_epilogue: Object {
                name: concat!("tc_epilogue", $end),
                bytes: object!(concat!("tc_epilogue", $end, ".o")),
                loader: Loader::Libbpf,
                programs: &["np_tc_epilogue"],
                maps: &["slots", "connections", "half_open", "connection_ring", "half_open_ring", "ring_heads", "fragments", "answers", "events", "reasons", $tc, $($answer)?],
            },
            xdp_main: Object {
                name: concat!("xdp_main", $end),
                bytes: object!(concat!("xdp_main", $end, ".o")),
                loader: Loader::Redbpf,
                programs: &["np_xdp_main"],
                maps: &["generation", "slots", "links", "reasons", "xdp_programs", $xdp],
            },
            xdp_policy: Object {
                name: concat!("xdp_policy", $end),
                bytes: object!(concat!("xdp_policy", $end, ".o")),
                loader: Loader::Redbpf,
                programs: &["np_xdp_policy"],
                maps: &["addresses4", "addresses6", "classes", "sets", "set_lists", "limits", "buckets", "failsafe", "cookie_ports", "routes4", "routes6", "reasons", $xdp],
            },
        }
    };
}

/// For kernels that judge the packets of a CPU one after the other.
pub const SERIAL: Objects = objects!("", tc: "tc_scratch", answer: ["answer_scratch"], xdp: "xdp_scratch");

/// For PREEMPT_RT kernels (`bpf/scratch.h`).
pub const REALTIME: Objects = objects!("_rt", tc: "tc_scratch_rt", answer: [], xdp: "xdp_scratch_rt");

/// What netfilter runs for every IP packet of the host, of interfaces that our other programs do not judge yet; one copy for all
/// generations. Kernels before 6.4 have no such programs and are never given it.
pub const GUARD: Object = Object {
    name: "guard",
    bytes: object!("guard.o"),
    loader: Loader::Libbpf,
    programs: &["np_guard_in", "np_guard_out"],
    maps: &["generation", "slots", "links", "guards", "guard_names", "reasons"],
};

/// All of them, of both forms.
pub fn every_object() -> impl Iterator<Item = Object> {
    SERIAL.all().into_iter().chain(REALTIME.all()).chain([GUARD])
}
