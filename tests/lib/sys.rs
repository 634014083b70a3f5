//! The few system calls that the standard library does not offer. With [`crate::sys_bpf`], [`crate::sys_inotify`] and
//! [`crate::sys_packet`] the only module of the bench with `unsafe`.
#![allow(unsafe_code)]

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::mem;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

/// Effective user id of this process.
pub fn effective_user() -> u32 {
    // SAFETY: geteuid has no arguments and cannot fail.
    unsafe { libc::geteuid() }
}

/// Moves the calling thread into a network namespace.
///
/// # Errors
/// What setns(2) answers.
pub fn enter_network(namespace: &File) -> io::Result<()> {
    // SAFETY: the descriptor is open for the length of the call; setns touches no memory of ours.
    check(unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) })
}

/// Index of an interface in the calling thread's namespace.
///
/// # Errors
/// `NotFound` and the like where there is no such interface.
pub fn interface_index(name: &str) -> io::Result<u32> {
    let name = CString::new(name)?;
    // SAFETY: `name` is a NUL-terminated string that outlives the call.
    let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
    if index == 0 { Err(io::Error::last_os_error()) } else { Ok(index) }
}

/// A raw packet socket on one interface. `protocol` is what it receives, in host order; 0 = nothing, for sending only.
///
/// # Errors
/// What socket(2) or bind(2) answers.
pub fn packet_socket(interface: u32, protocol: u16) -> io::Result<OwnedFd> {
    // SAFETY: socket takes plain numbers.
    let fd = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) };
    check(fd)?;
    // SAFETY: `fd` was just opened and has no other owner.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    // SAFETY: sockaddr_ll is a plain C structure for which all zeroes is a valid value.
    let mut address: libc::sockaddr_ll = unsafe { mem::zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_protocol = protocol.to_be();
    address.sll_ifindex = interface as i32;
    let length = mem::size_of::<libc::sockaddr_ll>() as libc::socklen_t;
    // SAFETY: `address` is a complete sockaddr_ll and `length` is its size.
    check(unsafe { libc::bind(fd.as_raw_fd(), (&raw const address).cast(), length) })?;
    Ok(fd)
}

/// Sends one frame out of an interface by a packet socket that is bound to none.
///
/// # Errors
/// What sendto(2) answers.
pub fn send_out(socket: &impl AsRawFd, interface: u32, frame: &[u8]) -> io::Result<()> {
    // SAFETY: sockaddr_ll is a plain C structure for which all zeroes is a valid value.
    let mut address: libc::sockaddr_ll = unsafe { mem::zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_ifindex = interface as i32;
    let length = mem::size_of::<libc::sockaddr_ll>() as libc::socklen_t;
    // SAFETY: the frame is valid for reads of its length, `address` is a complete sockaddr_ll and `length` is its size.
    let sent = unsafe { libc::sendto(socket.as_raw_fd(), frame.as_ptr().cast(), frame.len(), 0, (&raw const address).cast(), length) };
    if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// A raw IP socket of one protocol, which receives what the stack delivers to this host.
///
/// # Errors
/// What socket(2) answers.
pub fn raw_ip_socket(ipv6: bool, protocol: u8) -> io::Result<OwnedFd> {
    let family = if ipv6 { libc::AF_INET6 } else { libc::AF_INET };
    // SAFETY: socket takes plain numbers.
    let fd = unsafe { libc::socket(family, libc::SOCK_RAW | libc::SOCK_CLOEXEC, i32::from(protocol)) };
    check(fd)?;
    // SAFETY: `fd` was just opened and has no other owner.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Sends a signal to a process that the bench started.
///
/// # Errors
/// What kill(2) answers.
pub fn signal(process: u32, signal: i32) -> io::Result<()> {
    // SAFETY: kill takes plain numbers.
    check(unsafe { libc::kill(process as i32, signal) })
}

/// Holds one thread of a process that the bench started, until dropped; its other threads run on.
#[derive(Debug)]
pub struct Held {
    thread: i32,
}

impl Held {
    /// Holds the thread with that number. Only the thread that called this may drop it.
    ///
    /// # Errors
    /// What ptrace(2) or waitpid(2) answers.
    pub fn hold(thread: u32) -> io::Result<Held> {
        let thread = thread as i32;
        let none = std::ptr::null_mut::<libc::c_void>();
        // SAFETY: PTRACE_SEIZE and PTRACE_INTERRUPT take no memory of ours.
        let answers =
            unsafe { [libc::ptrace(libc::PTRACE_SEIZE, thread, none, none), libc::ptrace(libc::PTRACE_INTERRUPT, thread, none, none)] };
        if answers.iter().any(|answer| *answer < 0) {
            return Err(io::Error::last_os_error());
        }
        let mut status = 0;
        // SAFETY: `status` is valid for writes.
        check(unsafe { libc::waitpid(thread, &raw mut status, libc::__WALL) })?;
        Ok(Held { thread })
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let none = std::ptr::null_mut::<libc::c_void>();
        // SAFETY: PTRACE_DETACH takes no memory of ours. A thread that is gone needs no letting go.
        unsafe { libc::ptrace(libc::PTRACE_DETACH, self.thread, none, none) };
    }
}

/// The pages of a file, mapped; its descriptor is closed, and the file open all the same. No event tells of what is written here.
#[derive(Debug)]
pub struct Mapped {
    pages: *mut libc::c_void,
    length: usize,
}

impl Mapped {
    /// Maps all of a file.
    ///
    /// # Errors
    /// What open(2) or mmap(2) answers.
    pub fn open(path: &Path) -> io::Result<Mapped> {
        let file = File::options().read(true).write(true).open(path)?;
        let length = usize::try_from(file.metadata()?.len()).map_err(io::Error::other)?;
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a fresh mapping of a file that is as long.
        let pages = unsafe { libc::mmap(std::ptr::null_mut(), length, protection, libc::MAP_SHARED, file.as_raw_fd(), 0) };
        if pages == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(Mapped { pages, length }) }
    }

    /// Writes over the whole file.
    pub fn write(&mut self, text: &str) {
        assert_eq!(text.len(), self.length, "a mapping does not make a file longer");
        // SAFETY: the mapping is as long as the text, and nobody else has it.
        unsafe { std::ptr::copy_nonoverlapping(text.as_ptr(), self.pages.cast(), self.length) };
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        // SAFETY: the mapping that `open` made, in its size; nothing refers to it any more.
        unsafe { libc::munmap(self.pages, self.length) };
    }
}

/// Gives two paths of one file system each other's content, as one step.
///
/// # Errors
/// What renameat2(2) answers.
pub fn exchange(one: &std::path::Path, other: &std::path::Path) -> io::Result<()> {
    let path = |path: &std::path::Path| CString::new(path.as_os_str().as_encoded_bytes());
    let (one, other) = (path(one)?, path(other)?);
    // SAFETY: both strings end with NUL and outlive the call.
    check(unsafe { libc::renameat2(libc::AT_FDCWD, one.as_ptr(), libc::AT_FDCWD, other.as_ptr(), libc::RENAME_EXCHANGE) })
}

/// Keeps the calling thread on one CPU, so that its frames stay in order.
///
/// # Errors
/// What sched_setaffinity(2) answers.
pub fn stay_on_cpu(cpu: usize) -> io::Result<()> {
    // SAFETY: cpu_set_t is a plain bit set for which all zeroes is the empty set.
    let mut set: libc::cpu_set_t = unsafe { mem::zeroed() };
    // SAFETY: CPU_SET writes one bit inside `set` for cpu < CPU_SETSIZE.
    unsafe { libc::CPU_SET(cpu % libc::CPU_SETSIZE as usize, &mut set) };
    // SAFETY: `set` is a complete cpu_set_t and its size is given.
    check(unsafe { libc::sched_setaffinity(0, mem::size_of::<libc::cpu_set_t>(), &set) })
}

/// Lets a UDP socket send many datagrams of that size as one (UDP_SEGMENT): a device, or the kernel before it, cuts them.
///
/// # Errors
/// What setsockopt(2) answers.
pub fn cut_datagrams(socket: &impl AsRawFd, bytes: i32) -> io::Result<()> {
    let length = mem::size_of::<i32>() as libc::socklen_t;
    // SAFETY: the option's value is an i32 and its size is given.
    let answer = unsafe { libc::setsockopt(socket.as_raw_fd(), libc::SOL_UDP, libc::UDP_SEGMENT, (&raw const bytes).cast(), length) };
    check(answer)
}

/// Lets a UDP socket of IPv4 send to multicast groups out of the interface of that index.
///
/// # Errors
/// Where there is no such interface.
pub fn send_multicast_from(socket: &impl AsRawFd, index: u32) -> io::Result<()> {
    let any = libc::in_addr { s_addr: 0 };
    let wanted = libc::ip_mreqn { imr_multiaddr: any, imr_address: any, imr_ifindex: index as i32 };
    let length = mem::size_of::<libc::ip_mreqn>() as libc::socklen_t;
    // SAFETY: the option's value is a complete ip_mreqn and its size is given.
    let answer =
        unsafe { libc::setsockopt(socket.as_raw_fd(), libc::IPPROTO_IP, libc::IP_MULTICAST_IF, (&raw const wanted).cast(), length) };
    check(answer)
}

/// Enlarges a socket's receive buffer beyond the system's limit.
///
/// # Errors
/// What setsockopt(2) answers.
pub fn receive_buffer(socket: &impl AsRawFd, bytes: i32) -> io::Result<()> {
    let length = mem::size_of::<i32>() as libc::socklen_t;
    // SAFETY: the option's value is an i32 and its size is given.
    let answer = unsafe { libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, (&raw const bytes).cast(), length) };
    check(answer)
}

/// Gives a packet socket's frames to the driver past the queueing discipline, and so past tc egress (PACKET_QDISC_BYPASS).
///
/// # Errors
/// What setsockopt(2) answers.
pub fn bypass_tc(socket: &impl AsRawFd) -> io::Result<()> {
    let on = 1i32;
    let length = mem::size_of::<i32>() as libc::socklen_t;
    // SAFETY: the option's value is an i32 and its size is given.
    let answer =
        unsafe { libc::setsockopt(socket.as_raw_fd(), libc::SOL_PACKET, libc::PACKET_QDISC_BYPASS, (&raw const on).cast(), length) };
    check(answer)
}

/// Makes a tun (bare IP) or tap (Ethernet) device in the calling thread's namespace: what is written to the file arrives on the
/// device, what leaves by the device is read from the file.
///
/// # Errors
/// What open(2) or the ioctl answers.
pub fn tun(name: &str, tap: bool) -> io::Result<File> {
    const TUNSETIFF: libc::c_ulong = 0x4004_54ca;
    let file = File::options().read(true).write(true).custom_flags(libc::O_NONBLOCK).open("/dev/net/tun")?;
    let mut request = [0u8; 40]; // struct ifreq: name, then flags
    request[..name.len().min(15)].copy_from_slice(&name.as_bytes()[..name.len().min(15)]);
    let flags = libc::IFF_NO_PI | if tap { libc::IFF_TAP } else { libc::IFF_TUN };
    request[16..18].copy_from_slice(&(flags as u16).to_ne_bytes());
    // SAFETY: `request` is as long as the kernel's struct ifreq and valid for reads and writes.
    check(unsafe { libc::ioctl(file.as_raw_fd(), TUNSETIFF as _, request.as_mut_ptr()) })?;
    Ok(file)
}

/// Set by [`note_interrupt`].
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

extern "C" fn note(_signal: libc::c_int) {
    INTERRUPTED.store(true, Ordering::Relaxed);
}

/// From now on Ctrl-C ends nothing by itself: [`interrupted`] tells of it.
///
/// # Errors
/// What signal(2) answers.
pub fn note_interrupt() -> io::Result<()> {
    let handler = note as extern "C" fn(libc::c_int);
    // SAFETY: the handler only writes an atomic, which is safe in a signal handler.
    let former = unsafe { libc::signal(libc::SIGINT, handler as libc::sighandler_t) };
    if former == libc::SIG_ERR { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Whether there was a Ctrl-C.
pub fn interrupted() -> bool {
    INTERRUPTED.load(Ordering::Relaxed)
}

fn check(answer: i32) -> io::Result<()> {
    if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
