//! What a daemon holds: memory, descriptors, threads, pins, maps and programs in the kernel.
//!
//! Others may run beside it: of the kernel's objects only those are counted that are pinned in its directory, and the programs
//! that use a map of these, with all of their maps.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::residue::files_below;
use crate::sys_bpf::{self, Object};

/// Everything that may grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Held {
    /// Resident memory, KiB.
    pub memory: u64,
    /// Open descriptors.
    pub descriptors: u64,
    /// Threads.
    pub threads: u64,
    /// Files in its directory of pins.
    pub pins: u64,
    /// Maps in the kernel.
    pub maps: u64,
    /// Programs in the kernel.
    pub programs: u64,
}

impl Held {
    /// What a process, with a directory of pins, holds now.
    pub fn by(process: u32, bpffs: &Path) -> Held {
        let below = |what: &str| fs::read_dir(format!("/proc/{process}/{what}")).map_or(0, |entries| entries.count() as u64);
        let pins = files_below(bpffs);
        let (maps, programs) = in_kernel(&pins);
        Held {
            memory: memory_kib(process),
            descriptors: below("fd"),
            threads: below("task"),
            pins: pins.len() as u64,
            maps: maps as u64,
            programs: programs as u64,
        }
    }
}

/// Resident memory of a process, KiB; 0 where it is gone.
pub fn memory_kib(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
}

/// Maps and programs that belong to these pins. What goes while it is looked at is not counted.
fn in_kernel(pins: &[std::path::PathBuf]) -> (usize, usize) {
    let (mut maps, mut programs) = (BTreeSet::new(), BTreeSet::new());
    let mut seen = |object: Object, all: bool| match object {
        Object::Map(id) => drop(maps.insert(id)),
        Object::Program(id, used) if all || used.iter().any(|map| maps.contains(map)) => {
            programs.insert(id);
            maps.extend(used);
        }
        Object::Program(..) | Object::Other => {}
    };
    for pin in pins {
        if let Ok(object) = sys_bpf::pinned(pin).and_then(|fd| sys_bpf::object(&fd)) {
            seen(object, true);
        }
    }
    let mut last = 0;
    while let Ok(Some(id)) = sys_bpf::next_program(last) {
        last = id;
        if let Ok(object) = sys_bpf::program(id).and_then(|fd| sys_bpf::object(&fd)) {
            seen(object, false);
        }
    }
    (maps.len(), programs.len())
}
