//! Raw calls that are not bpf(2): clock, locks, mounts, memory maps. errno is never lost.
//!
//! Knows no map and no program.

use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use netpol_probes::abi;

use super::error::{Error, Result};

/// `f_type` of a bpffs (`BPF_FS_MAGIC` of linux/magic.h).
const BPF_FS_MAGIC: u32 = 0xcafe_4a11;

/// The error of the call that failed last on this thread.
pub fn last_error(what: impl Into<String>) -> Error {
    Error::System { what: what.into(), source: io::Error::last_os_error() }
}

/// A path for the kernel.
pub fn c_path(path: &Path) -> Result<CString> {
    CString::new(path.as_os_str().as_bytes())
        .map_err(|source| Error::System { what: format!("path {}", path.display()), source: source.into() })
}

/// Takes over a file descriptor that a call has just returned.
pub fn owned(fd: RawFd) -> OwnedFd {
    // SAFETY: every caller hands the fresh result of a successful call, which nothing else owns.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// Boot time (`CLOCK_BOOTTIME`: runs on during suspend, is never set), ns. It is that of the kernel, which the programs read: a
/// time namespace shows its processes another one.
pub fn boot_time() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` is valid for writes; the clock exists since 2.6.39, so the call cannot fail.
    unsafe { libc::clock_gettime(libc::CLOCK_BOOTTIME, &mut now) };
    let shown = now.tv_sec.unsigned_abs() * 1_000_000_000 + now.tv_nsec.unsigned_abs();
    shown.saturating_add_signed(boot_time_offset().saturating_neg())
}

/// By how many ns this process's time namespace shows boot time ahead of the kernel's. It cannot change as long as we live.
pub fn boot_time_offset() -> i64 {
    static OFFSET: OnceLock<i64> = OnceLock::new();
    *OFFSET.get_or_init(|| {
        let namespace = |name: &str| std::fs::read_link(format!("/proc/self/ns/{name}")).ok();
        // The file tells of the namespace that children will have. A kernel without time namespaces has none of these.
        let ours = namespace("time") == namespace("time_for_children");
        let text = std::fs::read_to_string("/proc/self/timens_offsets").ok().filter(|_| ours);
        text.map_or(0, |text| offset_in(&text))
    })
}

/// `boottime SECONDS NANOSECONDS` among the lines of time_namespaces(7).
fn offset_in(text: &str) -> i64 {
    let lines = text.lines().map(|line| line.split_whitespace().collect::<Vec<&str>>());
    let numbers = lines.filter_map(|words| match words.as_slice() {
        ["boottime", seconds, nanoseconds] => Some((seconds.parse::<i64>().ok()?, nanoseconds.parse::<i64>().ok()?)),
        _ => None,
    });
    numbers.map(|(seconds, nanoseconds)| seconds.saturating_mul(1_000_000_000).saturating_add(nanoseconds)).next().unwrap_or(0)
}

/// Leaves these signals to threads that run already: the calling thread, and those that it starts from now on, are not interrupted
/// by them. The kernel gives up the loading of a program when a signal comes.
pub fn leave_signals_to_others(signals: &[i32]) -> Result<()> {
    // SAFETY: all-zero is a valid `sigset_t`.
    let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: `set` is valid for writes, and for reads during the last call, which is given no place for the former mask.
    let answer = unsafe {
        libc::sigemptyset(&mut set);
        signals.iter().for_each(|signal| {
            libc::sigaddset(&mut set, *signal);
        });
        libc::pthread_sigmask(libc::SIG_BLOCK, &set, std::ptr::null_mut())
    };
    if answer == 0 {
        return Ok(());
    }
    Err(Error::System { what: "block signals".into(), source: io::Error::from_raw_os_error(answer) })
}

/// Whether a path lies on a bpffs.
pub fn is_bpffs(path: &Path) -> Result<bool> {
    let name = c_path(path)?;
    // SAFETY: all-zero is a valid `statfs`.
    let mut facts: libc::statfs = unsafe { std::mem::zeroed() };
    // SAFETY: `name` ends with NUL and `facts` is valid for writes.
    if unsafe { libc::statfs(name.as_ptr(), &mut facts) } != 0 {
        return Err(last_error(format!("statfs {}", path.display())));
    }
    Ok(facts.f_type as u32 == BPF_FS_MAGIC)
}

/// Mounts a bpffs.
pub fn mount_bpffs(at: &Path) -> Result<()> {
    let name = c_path(at)?;
    let bpf: &CStr = c"bpf";
    let flags = libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC | libc::MS_RELATIME;
    // SAFETY: all strings end with NUL and outlive the call.
    if unsafe { libc::mount(bpf.as_ptr(), name.as_ptr(), bpf.as_ptr(), flags, c"mode=700".as_ptr().cast()) } != 0 {
        return Err(last_error(format!("mount a bpffs on {}", at.display())));
    }
    Ok(())
}

/// Takes an exclusive lock on a directory without waiting; `None` = somebody has it. Released with the descriptor.
pub fn lock(directory: &Path) -> Result<Option<OwnedFd>> {
    let file = File::open(directory).map_err(|source| Error::System { what: format!("open {}", directory.display()), source })?;
    // SAFETY: the descriptor is open.
    if unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) } == 0 {
        return Ok(Some(file.into()));
    }
    let error = io::Error::last_os_error();
    match error.raw_os_error() {
        Some(libc::EWOULDBLOCK) => Ok(None),
        _ => Err(Error::System { what: format!("lock {}", directory.display()), source: error }),
    }
}

/// A number that names the network namespace of this process as long as the machine runs (`SO_NETNS_COOKIE`, 5.14).
pub fn netns_cookie() -> Result<u64> {
    const SO_NETNS_COOKIE: libc::c_int = 71;
    // SAFETY: no pointers.
    let socket = unsafe { libc::socket(libc::AF_UNIX, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) };
    if socket < 0 {
        return Err(last_error("socket"));
    }
    let socket = owned(socket);
    let mut cookie: u64 = 0;
    let mut length = size_of::<u64>() as libc::socklen_t;
    // SAFETY: `cookie` and `length` are valid for writes of the size that is told.
    let result = unsafe { libc::getsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, SO_NETNS_COOKIE, (&raw mut cookie).cast(), &mut length) };
    if result != 0 {
        return Err(last_error("cookie of the network namespace"));
    }
    Ok(cookie)
}

/// Bytes, with what the kernel adds to them, that were sent through a Unix socket and that nobody has read yet.
///
/// # Errors
/// It is no socket.
pub fn unread(socket: BorrowedFd<'_>) -> io::Result<usize> {
    // SIOCOUTQ, by its other name.
    let mut bytes: libc::c_int = 0;
    // SAFETY: `bytes` is valid for writes of an int, which is what this request writes.
    if unsafe { libc::ioctl(socket.as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(usize::try_from(bytes).unwrap_or(0))
}

/// Lifts the memory limit that kernels before 5.11 hold maps to. Not fatal where it is refused: newer ones do not ask.
pub fn lift_memlock() {
    let limit = libc::rlimit { rlim_cur: libc::RLIM_INFINITY, rlim_max: libc::RLIM_INFINITY };
    // SAFETY: `limit` is valid for reads.
    if unsafe { libc::setrlimit(libc::RLIMIT_MEMLOCK, &limit) } != 0 {
        log::debug!("RLIMIT_MEMLOCK stays: {}", io::Error::last_os_error());
    }
}

/// What the kernel says of its build: `#1 SMP PREEMPT_DYNAMIC …`.
pub fn kernel_build() -> String {
    rustix::system::uname().version().to_string_lossy().into_owned()
}

/// Kernel's release, as (major, minor).
pub fn kernel_release() -> Result<(u32, u32)> {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let mut parts = release.split(|c: char| !c.is_ascii_digit()).map(str::parse::<u32>);
    match (parts.next(), parts.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => Ok((major, minor)),
        _ => Err(Error::Unsupported(format!("its release `{release}` is not of the form major.minor"))),
    }
}

/// The only element of map `generation` (`np_word`), mapped: each of its two parts is read and written as a whole.
pub struct Word {
    page: *mut libc::c_void,
}

/// Bytes that are mapped: one page holds the only element.
const WORD_MAPPING: usize = 4096;

// SAFETY: the mapping belongs to the process, and the word is only touched through atomics.
unsafe impl Send for Word {}
// SAFETY: as above.
unsafe impl Sync for Word {}

impl Word {
    /// Maps element 0 of `map`, which must have been made with `BPF_F_MMAPABLE`.
    pub fn map(map: &impl AsRawFd) -> Result<Word> {
        // SAFETY: the kernel chooses the address; the result is checked.
        let page = unsafe {
            libc::mmap(std::ptr::null_mut(), WORD_MAPPING, libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED, map.as_raw_fd(), 0)
        };
        if page == libc::MAP_FAILED {
            return Err(last_error("mmap of map `generation`"));
        }
        Ok(Word { page })
    }

    fn cell(&self) -> &AtomicU64 {
        // SAFETY: the mapping is page-aligned, at least 8 bytes long and lives as long as `self`.
        unsafe { &*self.page.cast::<AtomicU64>() }
    }

    /// Counts the changes of dynamic sets: every flow that was judged before this is judged again. All that was written before
    /// is visible to whoever reads the new count.
    pub fn raise_epoch(&self) {
        // SAFETY: the mapping is page-aligned and longer than `np_word`, whose second part is a u32, and lives as long as `self`.
        let epoch = unsafe { &*self.page.byte_add(std::mem::offset_of!(abi::np_word, set_epoch)).cast::<AtomicU32>() };
        epoch.fetch_add(1, Ordering::SeqCst);
    }

    /// The word.
    pub fn load(&self) -> u64 {
        self.cell().load(Ordering::Acquire)
    }

    /// Changes the word; all that was written before is visible to whoever reads the new one.
    pub fn store(&self, word: u64) {
        self.cell().store(word, Ordering::SeqCst);
    }
}

impl Drop for Word {
    fn drop(&mut self) {
        // SAFETY: this very mapping was made by `map`.
        unsafe { libc::munmap(self.page, WORD_MAPPING) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boot_time_rises() {
        let first = boot_time();
        assert!(first > 0 && boot_time() >= first);
    }

    #[test]
    fn offset_of_a_time_namespace_is_read() {
        assert_eq!(offset_in("monotonic           7         0\nboottime       86400         5\n"), 86_400_000_000_005);
        assert_eq!(offset_in("monotonic           0         0\nboottime          -2 500000000\n"), -1_500_000_000);
        assert_eq!(offset_in(""), 0);
    }

    #[test]
    fn kernel_release_is_read() {
        assert!(kernel_release().is_ok_and(|(major, _)| major >= 4));
    }
}
