//! Takes from a user what inotify grants him, so that a program that runs as that user finds nothing left.
//!
//! Knows users and files, nothing of the program. Both limits (fs.inotify.max_user_instances, max_user_watches) count by user.
#![allow(unsafe_code)]

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// Takes every inotify instance that a user may have, until the answer is dropped.
///
/// # Errors
/// What setresuid(2) answers, or inotify_init(2) where it is not that there are no more.
pub fn all_instances(user: u32) -> io::Result<Vec<OwnedFd>> {
    as_user(user, instances)
}

/// Takes every watch that a user may have, until the answer is dropped; `left` of his instances stay free. Each instance watches
/// all of these files, so there must be enough of them.
///
/// # Errors
/// What setresuid(2), inotify_init(2) or inotify_add_watch(2) answers; [`io::ErrorKind::NotFound`] where watches are left over.
pub fn all_watches(user: u32, files: &[PathBuf], left: usize) -> io::Result<Vec<OwnedFd>> {
    as_user(user, || {
        let mut taken = instances()?;
        taken.truncate(taken.len().saturating_sub(left));
        for inotify in &taken {
            for file in files {
                match watch(inotify, file) {
                    Err(e) if e.raw_os_error() == Some(libc::ENOSPC) => return Ok(taken),
                    answer => answer?,
                }
            }
        }
        Err(io::Error::new(io::ErrorKind::NotFound, format!("{} files are too few to use up all watches", files.len())))
    })
}

/// Runs `take` in a thread of its own that has become this user.
fn as_user<T: Send>(user: u32, take: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    let taker = || {
        // SAFETY: the raw call takes plain numbers and changes the calling thread alone, which ends here.
        if unsafe { libc::syscall(libc::SYS_setresuid, user, user, user) } < 0 {
            return Err(io::Error::last_os_error());
        }
        take()
    };
    std::thread::scope(|scope| scope.spawn(taker).join()).unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

fn instances() -> io::Result<Vec<OwnedFd>> {
    let mut taken = Vec::new();
    loop {
        // SAFETY: inotify_init1 takes a plain number.
        let fd = unsafe { libc::inotify_init1(libc::IN_CLOEXEC) };
        if fd >= 0 {
            // SAFETY: `fd` was just opened and has no other owner.
            taken.push(unsafe { OwnedFd::from_raw_fd(fd) });
            continue;
        }
        let error = io::Error::last_os_error();
        return if error.raw_os_error() == Some(libc::EMFILE) { Ok(taken) } else { Err(error) };
    }
}

fn watch(inotify: &OwnedFd, file: &std::path::Path) -> io::Result<()> {
    let path = CString::new(file.as_os_str().as_bytes())?;
    // SAFETY: the path ends with a zero byte and outlives the call.
    let answer = unsafe { libc::inotify_add_watch(inotify.as_raw_fd(), path.as_ptr(), libc::IN_DELETE_SELF) };
    if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
