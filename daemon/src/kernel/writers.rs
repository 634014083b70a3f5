//! Whether somebody has a file open for writing.
//!
//! The kernel leases a file for reading only while nobody has it open for writing. So a lease is taken and given back at once;
//! whoever opens the file for writing in between waits these microseconds, and no more. Knows no path and no content.

use std::os::fd::{AsFd, AsRawFd};

/// `F_SETSIG` and `F_SETLEASE` of linux/fcntl.h.
const SET_SIGNAL: i32 = 10;
const SET_LEASE: i32 = 1024;

/// Somebody has this file, which is open for reading, open for writing; `None` = the file system, or who owns the file, does not
/// let us know.
pub fn is_written(file: impl AsFd) -> Option<bool> {
    let descriptor = file.as_fd().as_raw_fd();
    let set = |what: i32, value: i32| {
        // SAFETY: fcntl takes plain numbers, and the descriptor is open as long as it is borrowed.
        if unsafe { libc::fcntl(descriptor, what, value) } == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
    };
    // A writer that comes in between is told to us by a signal: one that nobody minds, where the usual one would end the process.
    set(SET_SIGNAL, libc::SIGURG).ok()?;
    match set(SET_LEASE, libc::F_RDLCK) {
        // The lease goes with the descriptor at the latest.
        Ok(()) => set(SET_LEASE, libc::F_UNLCK).ok().map(|()| false),
        Err(error) if error.raw_os_error() == Some(libc::EAGAIN) => Some(true),
        Err(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::thread;

    use super::*;

    #[test]
    fn open_writer_is_seen_until_it_closes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        fs::write(&path, "x").unwrap();
        let file = File::open(&path).unwrap();
        assert_eq!(is_written(&file), Some(false));
        let writer = File::options().append(true).open(&path).unwrap();
        assert_eq!(is_written(&file), Some(true));
        drop(writer);
        let reader = File::open(&path).unwrap();
        assert_eq!(is_written(&file), Some(false), "readers do not matter");
        drop(reader);
    }

    #[test]
    fn writers_that_come_during_the_question_are_neither_refused_nor_fatal_to_us() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        fs::write(&path, "x").unwrap();
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    drop(File::options().append(true).open(&path).unwrap());
                }
            });
            let file = File::open(&path).unwrap();
            for _ in 0..20_000 {
                assert!(is_written(&file).is_some());
            }
            stop.store(true, Ordering::Relaxed);
        });
    }
}
