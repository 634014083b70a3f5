//! Tells that containers or machines may have come, gone or changed: something was written where their managers keep what runs.
//!
//! Knows inotify and directories, not what the files say. Asks the kernel for finished writes and new names alone, so a container that
//! writes a log is no event. What is missed here is seen by the look that comes every second anyway.

use std::collections::BTreeSet;
use std::io;
use std::mem::MaybeUninit;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use log::{error, warn};
use rustix::fd::OwnedFd;
use rustix::fs::inotify::{self, CreateFlags, Reader, WatchFlags};

use crate::owners::{self, Roots};

/// Managers write several files at once: after the first event so long until anybody looks.
const SETTLE: Duration = Duration::from_millis(1);

/// Starts a thread that calls `notify` once, and after every change in a directory of containers or machines, also of such as are made
/// later.
///
/// # Errors
/// Where the kernel gives no inotify, or no thread.
pub fn watch(notify: impl Fn() + Send + 'static) -> io::Result<()> {
    let inotify = inotify::init(CreateFlags::CLOEXEC)?;
    let mut told = BTreeSet::new();
    renew(&inotify, &mut told);
    thread::Builder::new().name("owners".into()).spawn(move || listen(&inotify, told, &notify))?;
    Ok(())
}

fn listen(inotify: &OwnedFd, mut told: BTreeSet<PathBuf>, notify: &dyn Fn()) {
    // What came before the watches.
    notify();
    let mut buffer = [MaybeUninit::uninit(); 1 << 14];
    let mut reader = Reader::new(inotify, &mut buffer);
    loop {
        match reader.next().map(drop) {
            Ok(()) if !reader.is_buffer_empty() => continue,
            Ok(()) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => {
                error!("containers and machines are not watched any more, only looked at: {error}");
                return;
            }
        }
        thread::sleep(SETTLE);
        // First the watches, then the look: what comes into a new directory is seen by one or the other.
        renew(inotify, &mut told);
        notify();
    }
}

/// Watches what is there now; a directory that is watched already stays so. Of one that cannot be watched it is `told` once.
fn renew(inotify: &OwnedFd, told: &mut BTreeSet<PathBuf>) {
    let events = WatchFlags::CREATE | WatchFlags::MOVED_TO | WatchFlags::CLOSE_WRITE | WatchFlags::DELETE | WatchFlags::ONLYDIR;
    for directory in owners::directories(&Roots::default()) {
        match inotify::add_watch(inotify, &directory, events) {
            Ok(_) | Err(rustix::io::Errno::NOENT) => {}
            Err(error) if told.insert(directory.clone()) => warn!("{} is not watched, only looked at: {error}", directory.display()),
            Err(_) => {}
        }
    }
}
