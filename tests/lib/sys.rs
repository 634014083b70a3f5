//! The few system calls that the standard library does not offer. With [`crate::sys_bpf`] the only module of the bench
//! with `unsafe`.
#![allow(unsafe_code)]

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::mem;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
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
