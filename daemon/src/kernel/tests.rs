//! What tests of kernel facilities share: a scratch bpffs, a scratch network namespace, programs of two instructions.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use super::bpf;
use super::pins::{self, Pins};
use super::sys;

/// Ends a test that needs root, loudly.
macro_rules! needs_root {
    () => {
        if !crate::kernel::tests::is_root() {
            eprintln!("SKIPPED: needs root");
            return;
        }
    };
}
pub(crate) use needs_root;

/// Ends a test of TCX, loudly, on a kernel that is too old for it.
macro_rules! needs_tcx {
    () => {
        let tcx = crate::kernel::features::Features::probe().unwrap().tcx;
        if let crate::kernel::features::Feature::No { .. } = tcx {
            eprintln!("SKIPPED: TCX: {tcx}");
            return;
        }
    };
}
pub(crate) use needs_tcx;

pub(crate) fn is_root() -> bool {
    // SAFETY: no arguments.
    unsafe { libc::geteuid() == 0 }
}

/// Cuts a file as truncate(2) does, without opening it.
pub(crate) fn truncate(path: &Path, length: i64) -> io::Result<()> {
    let path = sys::c_path(path).map_err(io::Error::other)?;
    // SAFETY: the path ends with NUL.
    if unsafe { libc::truncate(path.as_ptr(), length) } == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// A directory on a bpffs of its own, gone at the end.
pub(crate) struct Scratch {
    pub(crate) path: PathBuf,
    pub(crate) pins: Pins,
}

impl Scratch {
    pub(crate) fn new(name: &str) -> Scratch {
        let path = std::env::temp_dir().join(format!("netpol-ebpf-test-{}-{name}", std::process::id()));
        pins::ensure_bpffs(&path).unwrap();
        Scratch { pins: Pins::new(&path), path }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let path = sys::c_path(&self.path).unwrap();
        // SAFETY: the path ends with NUL. Lazily: a failed test may still hold descriptors.
        unsafe { libc::umount2(path.as_ptr(), libc::MNT_DETACH) };
        fs::remove_dir(&self.path).unwrap();
    }
}

/// A network namespace for this thread; the thread goes back at the end.
pub(crate) struct Namespace {
    home: fs::File,
}

impl Namespace {
    pub(crate) fn enter() -> Namespace {
        let home = fs::File::open("/proc/thread-self/ns/net").unwrap();
        // SAFETY: no pointers.
        assert_eq!(unsafe { libc::unshare(libc::CLONE_NEWNET) }, 0);
        Namespace { home }
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        use std::os::fd::AsRawFd;
        // SAFETY: an open descriptor of a network namespace.
        unsafe { libc::setns(self.home.as_raw_fd(), libc::CLONE_NEWNET) };
    }
}

/// A tc program that leaves every packet to the next one.
pub(crate) fn tc_program() -> OwnedFd {
    bpf::program_load(3, &[(0xb7, 0, 0, -1), (0x95, 0, 0, 0)]).unwrap()
}

/// An XDP program that passes every packet (`XDP_PASS`).
pub(crate) fn xdp_program() -> OwnedFd {
    bpf::program_load(6, &[(0xb7, 0, 0, 2), (0x95, 0, 0, 0)]).unwrap()
}
