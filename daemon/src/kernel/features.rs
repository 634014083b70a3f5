//! What the running kernel can do. A probe has three outcomes: yes, no (with the first version that can), could not tell.
//!
//! "Could not tell" is never taken as yes.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd};

use super::attach_guard;
use super::bpf::{self, Instruction, MapFacts};
use super::error::{Error, Result};
use super::sys;

/// The oldest kernel: ring buffers, batched LPM tries, `bpf_xdp_load_bytes`, and long-term support upstream.
pub const OLDEST: (u32, u32) = (6, 1);

/// Answer of a probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Feature {
    /// It was tried and works.
    Yes,
    /// It was tried and is missing.
    No {
        /// First kernel that has it.
        since: (u32, u32),
    },
    /// It could not be tried.
    Unknown {
        /// Why not.
        reason: String,
    },
}

impl Feature {
    /// Whether it may be relied on.
    pub fn is_yes(&self) -> bool {
        *self == Feature::Yes
    }
}

impl fmt::Display for Feature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Feature::Yes => write!(f, "yes"),
            Feature::No { since: (major, minor) } => write!(f, "no (since Linux {major}.{minor})"),
            Feature::Unknown { reason } => write!(f, "could not tell: {reason}"),
        }
    }
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Features {
    /// Kernel's release.
    pub release: (u32, u32),
    /// TCX links.
    pub tcx: Feature,
    /// XDP by BPF link.
    pub xdp_link: Feature,
    /// Batched map calls.
    pub batch: Feature,
    /// Ring buffers.
    pub ring_buffer: Feature,
    /// Netfilter programs by BPF link.
    pub netfilter: Feature,
    /// Whether the kernel is PREEMPT_RT: there a program that serves a packet can be interrupted by one that serves another.
    pub realtime: bool,
}

impl Features {
    /// Tries everything; loads programs, but attaches none.
    pub fn probe() -> Result<Features> {
        super::libbpf::listen_to_libbpf();
        let release = sys::kernel_release()?;
        Ok(Features {
            release,
            tcx: probe_tcx(),
            xdp_link: probe_xdp_link(),
            batch: probe_batch(),
            ring_buffer: probe_ring_buffer(),
            netfilter: probe_netfilter(),
            realtime: is_realtime(&sys::kernel_build()) || std::fs::read("/sys/kernel/realtime").is_ok_and(|says| says.starts_with(b"1")),
        })
    }

    /// Refuses a kernel that lacks what nothing replaces.
    pub fn require(&self) -> Result<()> {
        let (major, minor) = self.release;
        if self.release < OLDEST {
            let (first, second) = OLDEST;
            return Err(Error::Unsupported(format!("it is {major}.{minor}, and {first}.{second} is the oldest that is supported")));
        }
        for (name, feature) in [("batched map calls", &self.batch), ("ring buffers", &self.ring_buffer), ("TCX links", &self.tcx)] {
            match feature {
                Feature::Yes => {}
                // Filters take their place. Not where it could not be told: the links that are there would stay beside them.
                Feature::No { .. } if std::ptr::eq(feature, &self.tcx) => {}
                Feature::No { .. } => return Err(Error::Unsupported(format!("{name}: {feature}"))),
                Feature::Unknown { .. } => return Err(Error::Untested(format!("{name}: {feature}"))),
            }
        }
        Ok(())
    }
}

/// What a kernel's build says of itself (init/Makefile: `#1 SMP PREEMPT_RT …`).
fn is_realtime(build: &str) -> bool {
    build.split_whitespace().any(|word| word == "PREEMPT_RT")
}

/// `r0 = 0; exit`.
const RETURN_0: [Instruction; 2] = [(0xb7, 0, 0, 0), (0x95, 0, 0, 0)];
const PROG_TYPE_SCHED_CLS: u32 = 3;
const PROG_TYPE_XDP: u32 = 6;
const MAP_TYPE_ARRAY: u32 = 2;
const MAP_TYPE_RINGBUF: u32 = 27;

/// An interface index that no kernel gives out: a kernel that knows the attach type looks for the device and finds none.
const NO_DEVICE: u32 = 0x7fff_ffff;

fn probe_link(program_type: u32, attach_type: u32, since: (u32, u32)) -> Feature {
    let program = match bpf::program_load(program_type, &RETURN_0) {
        Ok(program) => program,
        Err(error) => return Feature::Unknown { reason: format!("load of a test program: {error}") },
    };
    match bpf::link_create(program.as_fd(), NO_DEVICE, attach_type, 0) {
        Ok(_) => Feature::Unknown { reason: "a link to a device that does not exist was made".into() },
        Err(error) => match error.raw_os_error() {
            Some(libc::ENODEV) => Feature::Yes,
            Some(libc::EINVAL | libc::EOPNOTSUPP) => Feature::No { since },
            _ => Feature::Unknown { reason: error.to_string() },
        },
    }
}

fn probe_tcx() -> Feature {
    probe_link(PROG_TYPE_SCHED_CLS, bpf::TCX_INGRESS, (6, 6))
}

fn probe_xdp_link() -> Feature {
    // An XDP link's device is looked for before the flags are read: EINVAL stands for a missing device here as well, so the
    // answer for kernels that know the attach type comes from their version.
    match probe_link(PROG_TYPE_XDP, bpf::XDP, (5, 9)) {
        Feature::No { since } => match sys::kernel_release() {
            Ok(release) if release >= since => Feature::Yes,
            _ => Feature::No { since },
        },
        other => other,
    }
}

fn probe_netfilter() -> Feature {
    /// A hook that no family has: a kernel that knows these links looks for it.
    const NO_HOOK: u32 = 1000;
    let since = (6, 4);
    // `r0 = NF_ACCEPT; exit`.
    let program = match bpf::program_load_for(attach_guard::PROG_TYPE, bpf::NETFILTER, &[(0xb7, 0, 0, 1), (0x95, 0, 0, 0)]) {
        Ok(program) => program,
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => return Feature::No { since },
        Err(error) => return Feature::Unknown { reason: format!("load of a test program: {error}") },
    };
    match bpf::netfilter_link_create(program.as_fd(), libc::NFPROTO_IPV4 as u32, NO_HOOK, 0) {
        Ok(_) => Feature::Unknown { reason: "a link to a hook that does not exist was made".into() },
        Err(error) => match error.raw_os_error() {
            Some(libc::EPROTO) => Feature::Yes,
            Some(libc::EINVAL | libc::EOPNOTSUPP) => Feature::No { since },
            _ => Feature::Unknown { reason: error.to_string() },
        },
    }
}

fn probe_ring_buffer() -> Feature {
    let facts = MapFacts { kind: MAP_TYPE_RINGBUF, key_size: 0, value_size: 0, max_entries: 4096, flags: 0 };
    from_creation(bpf::map_create("probe", facts).map(drop), (5, 8))
}

fn from_creation(result: io::Result<()>, since: (u32, u32)) -> Feature {
    match result {
        Ok(()) => Feature::Yes,
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => Feature::No { since },
        Err(error) => Feature::Unknown { reason: error.to_string() },
    }
}

fn probe_batch() -> Feature {
    let facts = MapFacts { kind: MAP_TYPE_ARRAY, key_size: 4, value_size: 4, max_entries: 2, flags: 0 };
    let map = match bpf::map_create("probe", facts) {
        Ok(map) => map,
        Err(error) => return Feature::Unknown { reason: format!("creation of a test map: {error}") },
    };
    let (keys, values) = ([0u32, 1], [5u32, 6]);
    let mut count = 2u32;
    // SAFETY: keys and values hold `count` elements of the map's sizes.
    let result =
        unsafe { bpf_sys::bpf_map_update_batch(map.as_raw_fd(), bpf::pointer(&keys), bpf::pointer(&values), &mut count, std::ptr::null()) };
    from_creation(if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }, (5, 6))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn features(release: (u32, u32)) -> Features {
        let (tcx, xdp_link, batch, ring_buffer, netfilter) = (Feature::Yes, Feature::Yes, Feature::Yes, Feature::Yes, Feature::Yes);
        Features { release, tcx, xdp_link, batch, ring_buffer, netfilter, realtime: false }
    }

    #[test]
    fn realtime_is_what_the_build_says() {
        assert!(is_realtime("#1 SMP PREEMPT_RT Debian 6.12.57-1 (2025-11-05)"));
        assert!(!is_realtime("#1 SMP PREEMPT_DYNAMIC Debian 6.12.57-1 (2025-11-05)"));
    }

    #[test]
    fn old_kernel_is_refused_with_both_versions() {
        let error = features((5, 15)).require().unwrap_err().to_string();
        assert!(error.contains("5.15") && error.contains("6.1"), "{error}");
    }

    #[test]
    fn unknown_is_not_yes() {
        let mut found = features((6, 6));
        found.batch = Feature::Unknown { reason: "not permitted".into() };
        assert!(found.require().unwrap_err().to_string().contains("could not tell"));
    }

    #[test]
    fn where_tcx_cannot_be_tried_nothing_is_attached_another_way() {
        let mut found = features((6, 6));
        found.tcx = Feature::Unknown { reason: "out of memory".into() };
        assert!(found.require().unwrap_err().to_string().contains("TCX links: could not tell"));
    }

    #[test]
    fn missing_tcx_or_netfilter_is_no_reason_to_refuse() {
        let mut found = features((6, 1));
        found.netfilter = Feature::No { since: (6, 4) };
        found.tcx = Feature::No { since: (6, 6) };
        assert!(found.require().is_ok());
    }
}
