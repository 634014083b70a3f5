//! The few system calls that the standard library does not offer. The only module of the bench with `unsafe`.
#![allow(unsafe_code)]

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::mem;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;

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

/// bpf(2) with its attributes as words of 64 bits.
fn bpf(command: i32, attributes: &mut [u64; 18]) -> io::Result<i32> {
    // SAFETY: the attributes are zero beyond what each caller sets, and the pointers among them outlive the call.
    let answer = unsafe { libc::syscall(libc::SYS_bpf, command, attributes.as_mut_ptr(), mem::size_of_val(attributes)) };
    if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(answer as i32) }
}

fn words(low: u32, high: u32) -> u64 {
    u64::from_ne_bytes([low.to_ne_bytes(), high.to_ne_bytes()].concat().try_into().expect("8 bytes"))
}

/// Loads a program of a kind (3 = tc, 6 = XDP) that answers every packet with that number.
///
/// # Errors
/// What bpf(2) answers.
pub fn load_program(kind: u32, answer: i32) -> io::Result<OwnedFd> {
    // r0 = answer; exit
    let mut code = [0u8; 16];
    code[0] = 0xb7;
    code[4..8].copy_from_slice(&answer.to_ne_bytes());
    code[8] = 0x95;
    let mut attributes = [0; 18];
    attributes[..4].copy_from_slice(&[words(kind, 2), code.as_ptr() as u64, c"GPL".as_ptr() as u64, 0]);
    // SAFETY: the call has just made this descriptor, and nobody else owns it.
    bpf(5, &mut attributes).map(|fd| unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Attaches a program to an interface of the calling thread's namespace by a link.
///
/// # Errors
/// What bpf(2) answers.
pub fn attach_program(program: &OwnedFd, interface: u32, attach_type: u32, flags: u32) -> io::Result<OwnedFd> {
    let mut attributes = [0; 18];
    attributes[..2].copy_from_slice(&[words(program.as_raw_fd() as u32, interface), words(attach_type, flags)]);
    // SAFETY: as above.
    bpf(28, &mut attributes).map(|fd| unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Ids of the programs on a TCX hook of an interface of the calling thread's namespace, in order.
///
/// # Errors
/// What bpf(2) answers.
pub fn programs_at(interface: u32, attach_type: u32) -> io::Result<Vec<u32>> {
    let mut ids = [0u32; 64];
    let mut attributes = [0; 18];
    attributes[..4].copy_from_slice(&[words(interface, attach_type), 0, ids.as_mut_ptr() as u64, words(ids.len() as u32, 0)]);
    bpf(16, &mut attributes)?;
    let count = attributes[3].to_ne_bytes();
    let count = u32::from_ne_bytes([count[0], count[1], count[2], count[3]]) as usize;
    Ok(ids[..count].to_vec())
}

/// Takes the program of a pinned link off at once, whoever holds the link.
///
/// # Errors
/// What bpf(2) answers.
pub fn force_detach(pin: &std::path::Path) -> io::Result<()> {
    let path = CString::new(pin.as_os_str().as_encoded_bytes())?;
    let mut attributes = [0; 18];
    attributes[0] = path.as_ptr() as u64;
    // SAFETY: as above.
    let link = bpf(7, &mut attributes).map(|fd| unsafe { OwnedFd::from_raw_fd(fd) })?;
    let mut attributes = [0; 18];
    attributes[0] = words(link.as_raw_fd() as u32, 0);
    bpf(34, &mut attributes).map(|_zero| ())
}

fn check(answer: i32) -> io::Result<()> {
    if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
