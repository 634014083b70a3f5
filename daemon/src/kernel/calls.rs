//! What a call into the kernel, of which [`super::faults`] was told, is for: whether it changes anything, and which program it loads.
//!
//! Its arguments are read from the memory of this process, whose thread waits for the answer meanwhile.

/// Commands of bpf(2) that only read: a process that dies before one dies before the next that changes something.
const READING: [u64; 14] = [1, 4, 7, 10, 11, 12, 13, 14, 15, 16, 19, 20, 24, 31];
/// `BPF_PROG_LOAD`.
const LOAD: u64 = 5;
/// Where `prog_name` stands in its attributes.
const PROG_NAME: u64 = 48;
/// Messages of rtnetlink that change something: of links, qdiscs and filters.
const CHANGING: [u16; 7] = [
    libc::RTM_NEWLINK,
    libc::RTM_DELLINK,
    libc::RTM_SETLINK,
    libc::RTM_NEWQDISC,
    libc::RTM_DELQDISC,
    libc::RTM_NEWTFILTER,
    libc::RTM_DELTFILTER,
];

/// Name of a program, as the kernel is told it; empty = none.
pub(super) type Name = [u8; 16];

/// What a call does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Reads,
    /// Loads a program of that name.
    Load(Name),
    /// Changes a link, qdisc or filter.
    Netlink,
    /// Changes something else.
    Changes,
}

/// What that call does.
pub(super) fn kind(call: &libc::seccomp_data) -> Kind {
    let [first, second, third, ..] = call.args;
    match i64::from(call.nr) {
        libc::SYS_bpf if first == LOAD && third >= PROG_NAME + size_of::<Name>() as u64 => {
            Kind::Load(read(second + PROG_NAME).unwrap_or_default())
        }
        libc::SYS_bpf if first == LOAD => Kind::Load(Name::default()),
        libc::SYS_bpf if READING.contains(&first) => Kind::Reads,
        libc::SYS_sendto => {
            // `nlmsg_type` of `struct nlmsghdr`.
            let kind: Option<[u8; 2]> = read(second + 4);
            if kind.is_some_and(|kind| CHANGING.contains(&u16::from_ne_bytes(kind))) { Kind::Netlink } else { Kind::Reads }
        }
        _ => Kind::Changes,
    }
}

/// The call in words.
pub(super) fn text(call: &libc::seccomp_data, kind: &Kind) -> String {
    match kind {
        Kind::Load(name) => format!("load of program `{}`", String::from_utf8_lossy(name).trim_end_matches('\0')),
        _ if i64::from(call.nr) == libc::SYS_bpf => format!("bpf command {}", call.args[0]),
        _ => format!("system call {}, {kind:?}", call.nr),
    }
}

/// Bytes of this process; `None` = there is no such memory.
fn read<const N: usize>(address: u64) -> Option<[u8; N]> {
    let mut bytes = [0u8; N];
    let here = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: N };
    let there = libc::iovec { iov_base: address as *mut libc::c_void, iov_len: N };
    // SAFETY: `here` is valid for writes of its length; the kernel answers an error where `there` is not valid for reads.
    let count = unsafe { libc::process_vm_readv(libc::getpid(), &raw const here, 1, &raw const there, 1, 0) };
    (count == N as isize).then_some(bytes)
}
