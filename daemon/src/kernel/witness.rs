//! What the kernel itself has and would do, for tests that must not trust the daemon: whatever hangs on an interface judges a frame that
//! arrives or leaves, whoever put it there. (What is pinned: [`super::fingerprints`].)

use std::os::fd::OwnedFd;
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
/// `BPF_MAP_TYPE_ARRAY`.
const ARRAY: u32 = 2;

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

/// What hangs on an interface, whoever put it there, open and in the order in which a packet meets it.
pub(crate) struct Hung {
    ifindex: u32,
    xdp: Option<OwnedFd>,
    ingress: Vec<OwnedFd>,
    egress: Vec<OwnedFd>,
}

impl Hung {
    /// `None` = there is no such interface.
    pub(crate) fn on(name: &str) -> Option<Hung> {
        let links = links::list().unwrap();
        let (ifindex, link) = links.iter().find(|(_, link)| link.name == name)?;
        let xdp = link.xdp.map(|(program, _)| bpf::program_by_id(program).unwrap());
        Some(Hung { ifindex: *ifindex, xdp, ingress: tc_programs(*ifindex, Hook::Ingress), egress: tc_programs(*ifindex, Hook::Egress) })
    }

    /// Whether a frame gets past everything of that side: one that arrives past XDP, then tc; one that leaves past tc.
    pub(crate) fn lets_pass(&self, hook: Hook, frame: &[u8]) -> bool {
        let shot = |entry| Shot { entry, ifindex: self.ifindex, bytes: frame, gso_size: 0 };
        let verdict = |program: &OwnedFd, entry| test_run::run_program(program, shot(entry)).unwrap().verdict;
        let (xdp, tc) = match hook {
            Hook::Ingress => (self.xdp.as_ref(), &self.ingress),
            Hook::Egress => (None, &self.egress),
        };
        if xdp.is_some_and(|program| verdict(program, Entry::Xdp) != XDP_PASS) {
            return false;
        }
        for program in tc {
            match verdict(program, Entry::Tc(DeviceKind::Ethernet, hook)) {
                UNSPEC => {}
                OK => return true,
                _ => return false,
            }
        }
        true
    }
}

/// The programs that a packet meets at a tc hook: those of TCX, where the kernel has it, then the filters of clsact.
fn tc_programs(ifindex: u32, hook: Hook) -> Vec<OwnedFd> {
    let attach_type = if hook == Hook::Ingress { bpf::TCX_INGRESS } else { bpf::TCX_EGRESS };
    let by_tcx = match bpf::tcx_programs(ifindex, attach_type) {
        // An attach type that kernels before 6.6 do not know.
        Err(e) if e.raw_os_error() == Some(libc::EINVAL) => Vec::new(),
        programs => programs.unwrap(),
    };
    let by_clsact = attach_clsact::Filters::open().unwrap().programs(ifindex, hook).unwrap();
    by_tcx.into_iter().chain(by_clsact).map(|program| bpf::program_by_id(program).unwrap()).collect()
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
