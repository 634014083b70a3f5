//! Faults for tests: one call into the kernel, or one action of a plan, fails with an errno of choice, or the process dies there.
//!
//! The work runs on a thread of its own under a seccomp filter that reports its calls (bpf(2), and what changes files and pins) to
//! this thread, which lets each of them happen, refuses it, or kills the process before it. Knows no work; seccomp_unotify(2).

use std::cell::RefCell;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;

use super::calls::{self, Kind, Name};
use super::error::{Error, Result};
use super::sys;
use crate::plan::Action;

/// `SECCOMP_IOCTL_NOTIF_RECV` and `_SEND` of linux/seccomp.h.
const RECEIVE: u64 = 0xc050_2100;
const SEND: u64 = 0xc018_2101;

/// What happens at the chosen place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Harm {
    /// It fails.
    Errno(i32),
    /// The process dies before it.
    Kill,
}

/// The chosen place, counted from [`arm`] on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nowhere: only counts.
    None,
    /// At a call.
    Call(usize, Harm),
    /// Before an action of a plan.
    Action(usize, Harm),
    /// A program is refused with this errno, at this load and whenever it is tried again: as by a verifier that does not like it.
    /// (libbpf loads what was refused once more, to hear why.)
    Load(usize, i32),
}

/// What was counted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Counted {
    /// Calls that were reported.
    pub(crate) calls: usize,
    /// Of them, those that change something: what [`Harm::Kill`] counts.
    pub(crate) changes: usize,
    /// Which of the changes are asked for by netlink: filters and their qdisc.
    pub(crate) by_netlink: Vec<usize>,
    /// Loads of programs.
    pub(crate) loads: usize,
    /// Actions.
    pub(crate) actions: usize,
    /// Where the fault happened.
    pub(crate) at: Option<String>,
}

struct Trap {
    fault: Fault,
    armed: AtomicBool,
    counted: Mutex<Counted>,
    /// Name of the program that is refused.
    refused: Mutex<Option<Name>>,
}

thread_local! {
    static HERE: RefCell<Option<Arc<Trap>>> = const { RefCell::new(None) };
}

thread_local! {
    /// A map that this thread makes too small, and whether it did.
    static SHRUNK: RefCell<(String, bool)> = const { RefCell::new((String::new(), false)) };
}

/// From here on that map of every generation that this thread builds has room for one entry less than it needs; "" = none.
pub(crate) fn shrink(map: &str) {
    SHRUNK.set((map.into(), false));
}

/// Whether there was such a map, with more than one entry.
pub(crate) fn has_shrunk() -> bool {
    SHRUNK.with_borrow(|(_, done)| *done)
}

/// Entries of a map that needs `count`.
pub(super) fn room(map: &str, count: usize) -> usize {
    SHRUNK.with_borrow_mut(|(name, done)| {
        let less = name == map && count > 1;
        *done |= less;
        count - usize::from(less)
    })
}

fn here() -> Option<Arc<Trap>> {
    HERE.with_borrow(Clone::clone)
}

/// From here on calls and actions of this thread count.
pub(crate) fn arm() {
    here().unwrap().armed.store(true, Ordering::SeqCst);
}

/// Until here.
pub(crate) fn disarm() {
    here().unwrap().armed.store(false, Ordering::SeqCst);
}

/// What the executor asks before each action.
pub(super) fn before(action: &Action) -> Result<()> {
    let Some(trap) = here().filter(|trap| trap.armed.load(Ordering::SeqCst)) else { return Ok(()) };
    let mut counted = trap.counted.lock().unwrap();
    let number = take(&mut counted.actions);
    match trap.fault {
        Fault::Action(at, harm) if at == number => {
            counted.at = Some(action.to_string());
            match harm {
                Harm::Kill => die(),
                Harm::Errno(errno) => Err(Error::System { what: "fault of a test".into(), source: io::Error::from_raw_os_error(errno) }),
            }
        }
        _ => Ok(()),
    }
}

fn die() -> ! {
    // SAFETY: no pointers. SIGKILL ends every thread of this process before the call returns.
    unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
    unreachable!("SIGKILL")
}

/// Runs work under a fault.
pub(crate) fn run<T: Send>(fault: Fault, work: impl FnOnce() -> T + Send) -> (T, Counted) {
    let trap = Trap { fault, armed: AtomicBool::new(false), counted: Mutex::default(), refused: Mutex::default() };
    let trap = Arc::new(trap);
    let value = thread::scope(|scope| {
        let (give, take) = mpsc::channel();
        let inside = Arc::clone(&trap);
        let worker = thread::Builder::new().name("fault".into());
        let worker = worker.spawn_scoped(scope, move || {
            HERE.set(Some(inside));
            give.send(report_calls().unwrap()).unwrap();
            work()
        });
        let worker = worker.unwrap();
        supervise(&take.recv().unwrap(), &trap);
        worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    });
    let counted = trap.counted.lock().unwrap().clone();
    (value, counted)
}

/// The reported calls.
fn reported() -> Vec<libc::c_long> {
    let mut calls = vec![libc::SYS_bpf, libc::SYS_mkdirat, libc::SYS_unlinkat, libc::SYS_renameat, libc::SYS_renameat2, libc::SYS_sendto];
    calls.extend([libc::SYS_fsync, libc::SYS_fdatasync, libc::SYS_ftruncate]);
    #[cfg(target_arch = "x86_64")]
    calls.extend([libc::SYS_mkdir, libc::SYS_unlink, libc::SYS_rmdir, libc::SYS_rename]);
    calls
}

/// Puts the filter on this thread, and on whatever it starts. Gone with the thread.
fn report_calls() -> io::Result<OwnedFd> {
    let calls = reported();
    let load_number = libc::sock_filter { code: 0x20, jt: 0, jf: 0, k: 0 }; // A = nr
    let mut code = vec![load_number];
    for (index, call) in calls.iter().enumerate() {
        let to_report = (calls.len() - index) as u8; // over the other comparisons and "allow"
        code.push(libc::sock_filter { code: 0x15, jt: to_report, jf: 0, k: *call as u32 });
    }
    code.push(libc::sock_filter { code: 0x06, jt: 0, jf: 0, k: libc::SECCOMP_RET_ALLOW });
    code.push(libc::sock_filter { code: 0x06, jt: 0, jf: 0, k: libc::SECCOMP_RET_USER_NOTIF });
    let program = libc::sock_fprog { len: code.len() as u16, filter: code.as_mut_ptr() };
    // SAFETY: no pointers.
    unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
    // SAFETY: `program` says how long its code is, and both outlive the call.
    let fd = unsafe {
        libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, libc::SECCOMP_FILTER_FLAG_NEW_LISTENER, &raw const program)
    };
    if fd < 0 { Err(io::Error::last_os_error()) } else { Ok(sys::owned(fd as i32)) }
}

/// Answers until the thread under the filter has ended.
fn supervise(listener: &OwnedFd, trap: &Trap) {
    loop {
        let mut wait = libc::pollfd { fd: listener.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one structure, valid for reads and writes.
        unsafe { libc::poll(&mut wait, 1, -1) };
        if wait.revents & libc::POLLIN == 0 {
            return;
        }
        // SAFETY: all-zero is what the kernel asks for.
        let mut asked: libc::seccomp_notif = unsafe { std::mem::zeroed() };
        // SAFETY: `asked` is valid for writes and of the size that the command says.
        if unsafe { libc::ioctl(listener.as_raw_fd(), RECEIVE as _, &raw mut asked) } != 0 {
            continue; // whoever asked was interrupted
        }
        let errno = judge(trap, &asked.data);
        let flags = if errno == 0 { libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32 } else { 0 };
        let mut answer = libc::seccomp_notif_resp { id: asked.id, val: 0, error: -errno, flags };
        // SAFETY: `answer` is valid for reads and of the size that the command says.
        unsafe { libc::ioctl(listener.as_raw_fd(), SEND as _, &raw mut answer) };
    }
}

/// errno of a call; 0 = it happens.
fn judge(trap: &Trap, call: &libc::seccomp_data) -> i32 {
    if !trap.armed.load(Ordering::SeqCst) {
        return 0;
    }
    let kind = calls::kind(call);
    let mut counted = trap.counted.lock().unwrap();
    let number = take(&mut counted.calls);
    let change = (kind != Kind::Reads).then(|| take(&mut counted.changes));
    if kind == Kind::Netlink {
        counted.by_netlink.extend(change);
    }
    let load = matches!(kind, Kind::Load(_)).then(|| take(&mut counted.loads));
    let refused = match (trap.fault, &kind) {
        (Fault::Call(at, Harm::Kill), _) if Some(at) == change => die(),
        (Fault::Call(at, Harm::Errno(errno)), _) if at == number => Some(errno),
        (Fault::Load(at, errno), Kind::Load(name)) => {
            let mut known = trap.refused.lock().unwrap();
            if Some(at) == load {
                *known = Some(*name);
            }
            // A probe has no name, and is not tried again.
            (Some(at) == load || (*known == Some(*name) && *name != Name::default())).then_some(errno)
        }
        _ => None,
    };
    if refused.is_some() {
        counted.at = Some(calls::text(call, &kind));
    }
    refused.unwrap_or(0)
}

/// The number that is next.
fn take(count: &mut usize) -> usize {
    *count += 1;
    *count - 1
}
