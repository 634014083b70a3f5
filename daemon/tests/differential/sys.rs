//! The few kernel calls of this test: a namespace for the thread, and the pinned maps of the programs under test.
#![allow(unsafe_code)]

use std::ffi::{CString, c_int};
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Whether this process may do any of it.
pub fn is_root() -> bool {
    // SAFETY: no arguments.
    unsafe { libc::geteuid() == 0 }
}

/// A network namespace for this thread and the processes it starts; the thread goes back at the end.
pub struct Namespace {
    home: File,
}

impl Namespace {
    pub fn enter() -> io::Result<Namespace> {
        let home = File::open("/proc/thread-self/ns/net")?;
        // SAFETY: no pointers.
        if unsafe { libc::unshare(libc::CLONE_NEWNET) } != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(Namespace { home })
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // SAFETY: an open descriptor of a network namespace.
        let result = unsafe { libc::setns(self.home.as_raw_fd(), libc::CLONE_NEWNET) };
        assert!(result == 0 || std::thread::panicking());
    }
}

fn c_path(path: &Path) -> CString {
    CString::new(path.as_os_str().as_bytes()).unwrap()
}

/// Takes a mount away, even where descriptors on it are still open.
pub fn unmount(path: &Path) {
    let path = c_path(path);
    // SAFETY: the path ends with NUL.
    unsafe { libc::umount2(path.as_ptr(), libc::MNT_DETACH) };
}

/// A pinned map.
pub struct Map {
    fd: OwnedFd,
}

/// Bytes of the values of all CPUs, for more CPUs than any machine of a test has.
const ALL_CPUS: usize = 4096;

impl Map {
    pub fn open(path: &Path) -> io::Result<Map> {
        let name = c_path(path);
        // SAFETY: the path ends with NUL.
        let fd = unsafe { bpf_sys::bpf_obj_get(name.as_ptr()) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: a fresh descriptor that nothing else owns.
        Ok(Map { fd: unsafe { OwnedFd::from_raw_fd(fd) } })
    }

    fn raw(&self) -> c_int {
        self.fd.as_raw_fd()
    }

    /// Element of a per-CPU array of `u64`, over all CPUs.
    pub fn total(&self, index: u32) -> u64 {
        let mut values = [0u64; ALL_CPUS / 8];
        let key = (&raw const index).cast();
        // SAFETY: the key has 4 bytes, and the values of all CPUs fit into the buffer.
        let result = unsafe { bpf_sys::bpf_map_lookup_elem(self.raw(), key, values.as_mut_ptr().cast()) };
        assert_eq!(result, 0, "{}", io::Error::last_os_error());
        values.iter().sum()
    }

    /// Deletes every element of a hash whose keys have `KEY` bytes.
    pub fn clear<const KEY: usize>(&self) {
        let mut key = [0u8; KEY];
        // SAFETY: a null key asks for the first one; both have the size of the map's keys.
        while unsafe { bpf_sys::bpf_map_get_next_key(self.raw(), std::ptr::null(), key.as_mut_ptr().cast()) } == 0 {
            // SAFETY: as above.
            unsafe { bpf_sys::bpf_map_delete_elem(self.raw(), key.as_ptr().cast()) };
        }
    }
}
