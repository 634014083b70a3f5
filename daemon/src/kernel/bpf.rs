//! bpf(2), one function a command, each with errno and the name of what it was for.
//!
//! Knows numbers of newer kernels that the bundled libbpf does not (TCX). Knows no layout of ours.

use std::ffi::{CString, c_char, c_int, c_void};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use super::error::{Error, Result};
use super::sys;

/// `BPF_TCX_INGRESS` of linux/bpf.h (6.6).
pub const TCX_INGRESS: u32 = 46;
/// `BPF_TCX_EGRESS`.
pub const TCX_EGRESS: u32 = 47;
/// `BPF_XDP`.
pub const XDP: u32 = 37;
/// `BPF_NETFILTER` (6.4).
pub const NETFILTER: u32 = 45;
/// `BPF_F_BEFORE` without a relative: the head of the list.
pub const F_BEFORE: u32 = 1 << 3;
/// `XDP_FLAGS_SKB_MODE` of linux/if_link.h.
pub const XDP_SKB_MODE: u32 = 1 << 1;
/// `XDP_FLAGS_DRV_MODE`.
pub const XDP_DRV_MODE: u32 = 1 << 2;

/// What the kernel says of a map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct MapFacts {
    pub kind: u32,
    pub key_size: u32,
    pub value_size: u32,
    pub max_entries: u32,
    pub flags: u32,
}

/// What the kernel says of a link of type XDP or TCX.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinkInfo {
    /// Program's id.
    pub program: u32,
    /// Interface; 0 = the device is gone.
    pub ifindex: u32,
}

/// `struct bpf_link_info` as far as XDP, TCX and netfilter fill it; the kernel fills a shorter struct than its own without complaint.
#[repr(C)]
#[derive(Default)]
struct RawLinkInfo {
    kind: u32,
    id: u32,
    program: u32,
    pad: u32,
    /// Of XDP and TCX the interface; of netfilter the family.
    ifindex: u32,
    /// Of TCX the attach type; of netfilter the hook.
    attach_type: u32,
    /// Of netfilter only.
    priority: i32,
    rest: [u32; 5],
}

fn descriptor(fd: c_int, what: impl FnOnce() -> String) -> Result<OwnedFd> {
    if fd < 0 { Err(sys::last_error(what())) } else { Ok(sys::owned(fd)) }
}

fn done(result: c_int, what: impl FnOnce() -> String) -> Result<()> {
    if result < 0 { Err(sys::last_error(what())) } else { Ok(()) }
}

/// Opens what is pinned at a path.
pub fn get(path: &Path) -> Result<OwnedFd> {
    let name = sys::c_path(path)?;
    // SAFETY: `name` ends with NUL.
    descriptor(unsafe { bpf_sys::bpf_obj_get(name.as_ptr()) }, || format!("open pin {}", path.display()))
}

/// Pins a map, program or link.
pub fn pin(fd: &impl AsRawFd, path: &Path) -> Result<()> {
    let name = sys::c_path(path)?;
    // SAFETY: `name` ends with NUL.
    done(unsafe { bpf_sys::bpf_obj_pin(fd.as_raw_fd(), name.as_ptr()) }, || format!("pin {}", path.display()))
}

fn info<T>(fd: c_int, into: &mut T, what: &str) -> Result<()> {
    let mut length = size_of::<T>() as u32;
    // SAFETY: `into` is valid for writes of `length` bytes; the kernel writes no more.
    done(unsafe { bpf_sys::bpf_obj_get_info_by_fd(fd, std::ptr::from_mut(into).cast(), &mut length) }, || format!("facts about {what}"))
}

/// What a map is like.
pub fn map_facts(fd: &impl AsRawFd, name: &str) -> Result<MapFacts> {
    // SAFETY: all-zero is a valid `bpf_map_info`.
    let mut raw: bpf_sys::bpf_map_info = unsafe { std::mem::zeroed() };
    info(fd.as_raw_fd(), &mut raw, &format!("map `{name}`"))?;
    Ok(MapFacts { kind: raw.type_, key_size: raw.key_size, value_size: raw.value_size, max_entries: raw.max_entries, flags: raw.map_flags })
}

/// Id of a map.
pub fn map_id(fd: &impl AsRawFd, name: &str) -> Result<u32> {
    // SAFETY: all-zero is a valid `bpf_map_info`.
    let mut raw: bpf_sys::bpf_map_info = unsafe { std::mem::zeroed() };
    info(fd.as_raw_fd(), &mut raw, &format!("map `{name}`"))?;
    Ok(raw.id)
}

/// Id of a loaded program.
pub fn program_id(fd: &impl AsRawFd, name: &str) -> Result<u32> {
    // SAFETY: all-zero is a valid `bpf_prog_info`.
    let mut raw: bpf_sys::bpf_prog_info = unsafe { std::mem::zeroed() };
    info(fd.as_raw_fd(), &mut raw, &format!("program `{name}`"))?;
    Ok(raw.id)
}

/// A program that the kernel has, by id. Takes CAP_SYS_ADMIN, which the service does not have (`bpf_prog_get_fd_by_id()` of
/// kernel/bpf/syscall.c): [`super::pins::Pins::program`] finds what is pinned.
pub fn program_by_id(id: u32) -> Result<OwnedFd> {
    // SAFETY: no pointers.
    descriptor(unsafe { bpf_sys::bpf_prog_get_fd_by_id(id) }, || format!("open program {id}"))
}

/// Ids of the maps that a program uses.
pub fn program_maps(fd: &impl AsRawFd, name: &str) -> Result<Vec<u32>> {
    let mut ids = [0u32; 64]; // MAX_USED_MAPS of the verifier
    // SAFETY: all-zero is a valid `bpf_prog_info`.
    let mut raw: bpf_sys::bpf_prog_info = unsafe { std::mem::zeroed() };
    raw.nr_map_ids = ids.len() as u32;
    raw.map_ids = ids.as_mut_ptr() as u64;
    info(fd.as_raw_fd(), &mut raw, &format!("program `{name}`"))?;
    Ok(ids.iter().take(raw.nr_map_ids as usize).copied().collect())
}

/// A map that the kernel has, by id, with the (at most 15) bytes of its name.
pub fn map_by_id(id: u32) -> Result<(String, OwnedFd)> {
    // SAFETY: no pointers.
    let fd = descriptor(unsafe { bpf_sys::bpf_map_get_fd_by_id(id) }, || format!("open map {id}"))?;
    // SAFETY: all-zero is a valid `bpf_map_info`.
    let mut raw: bpf_sys::bpf_map_info = unsafe { std::mem::zeroed() };
    info(fd.as_raw_fd(), &mut raw, &format!("map {id}"))?;
    let name = raw.name.iter().map(|byte| *byte as u8).take_while(|byte| *byte != 0).collect::<Vec<u8>>();
    Ok((String::from_utf8_lossy(&name).into_owned(), fd))
}

/// What a link is like.
pub fn link_info(fd: &impl AsRawFd, what: &str) -> Result<LinkInfo> {
    let mut raw = RawLinkInfo::default();
    info(fd.as_raw_fd(), &mut raw, &format!("link `{what}`"))?;
    Ok(LinkInfo { program: raw.program, ifindex: raw.ifindex })
}

/// Priority of a netfilter link.
pub fn netfilter_link_priority(fd: &impl AsRawFd, what: &str) -> Result<i32> {
    let mut raw = RawLinkInfo::default();
    info(fd.as_raw_fd(), &mut raw, &format!("link `{what}`"))?;
    Ok(raw.priority)
}

/// Attaches a program to an interface by a link.
pub fn link_create(program: BorrowedFd<'_>, ifindex: u32, attach_type: u32, flags: u32) -> io::Result<OwnedFd> {
    // SAFETY: all-zero is a valid `bpf_link_create_opts`.
    let mut options: bpf_sys::bpf_link_create_opts = unsafe { std::mem::zeroed() };
    options.sz = size_of::<bpf_sys::bpf_link_create_opts>() as _;
    options.flags = flags;
    let target = c_int::try_from(ifindex).map_err(io::Error::other)?;
    // SAFETY: `options` is valid for reads and says its size.
    let fd = unsafe { bpf_sys::bpf_link_create(program.as_raw_fd(), target, attach_type, &options) };
    if fd < 0 { Err(io::Error::last_os_error()) } else { Ok(sys::owned(fd)) }
}

/// `union bpf_attr` as `BPF_LINK_CREATE` reads it for netfilter; the bundled libbpf does not know these fields.
#[repr(C)]
struct NetfilterLink {
    program: u32,
    target: u32,
    attach_type: u32,
    flags: u32,
    family: u32,
    hook: u32,
    priority: i32,
    netfilter_flags: u32,
}

/// Attaches a program to a netfilter hook of this network namespace by a link.
pub fn netfilter_link_create(program: BorrowedFd<'_>, family: u32, hook: u32, priority: i32) -> io::Result<OwnedFd> {
    const LINK_CREATE: c_int = 28;
    let program = u32::try_from(program.as_raw_fd()).map_err(io::Error::other)?;
    let wanted = NetfilterLink { program, target: 0, attach_type: NETFILTER, flags: 0, family, hook, priority, netfilter_flags: 0 };
    // SAFETY: `wanted` is valid for reads and its size is told.
    let fd = unsafe { libc::syscall(libc::SYS_bpf, LINK_CREATE, &raw const wanted, size_of::<NetfilterLink>()) };
    if fd < 0 { Err(io::Error::last_os_error()) } else { Ok(sys::owned(c_int::try_from(fd).map_err(io::Error::other)?)) }
}

/// Exchanges the program of a link; at no moment is there none.
pub fn link_update(link: &impl AsRawFd, program: BorrowedFd<'_>, what: &str) -> Result<()> {
    // SAFETY: a null pointer for options means none.
    done(unsafe { bpf_sys::bpf_link_update(link.as_raw_fd(), program.as_raw_fd(), std::ptr::null()) }, || {
        format!("exchange the program of {what}")
    })
}

/// Takes a link's program off at once, whoever else holds the link.
pub fn link_detach(link: &impl AsRawFd, what: &str) -> Result<()> {
    // SAFETY: no pointers.
    done(unsafe { bpf_sys::bpf_link_detach(link.as_raw_fd()) }, || format!("detach {what}"))
}

/// Ids of the programs on a TCX hook, in the order in which they run.
pub fn tcx_programs(ifindex: u32, attach_type: u32) -> io::Result<Vec<u32>> {
    let target = c_int::try_from(ifindex).map_err(io::Error::other)?;
    let mut ids = [0u32; 64]; // BPF_MPROG_MAX
    let mut count = ids.len() as u32;
    // SAFETY: `ids` has room for `count` elements, and `count` is valid for reads and writes.
    let result = unsafe { bpf_sys::bpf_prog_query(target, attach_type, 0, std::ptr::null_mut(), ids.as_mut_ptr(), &mut count) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(ids.iter().take(count as usize).copied().collect())
}

/// Creates a map.
pub fn map_create(name: &str, facts: MapFacts) -> io::Result<OwnedFd> {
    let name = CString::new(name.get(..name.len().min(15)).unwrap_or(name))?;
    // SAFETY: all-zero is a valid `bpf_create_map_attr`.
    let mut wanted: bpf_sys::bpf_create_map_attr = unsafe { std::mem::zeroed() };
    wanted.name = name.as_ptr();
    wanted.map_type = facts.kind;
    wanted.map_flags = facts.flags;
    wanted.key_size = facts.key_size;
    wanted.value_size = facts.value_size;
    wanted.max_entries = facts.max_entries;
    // SAFETY: `wanted` is valid for reads, and its name ends with NUL and outlives the call.
    let fd = unsafe { bpf_sys::bpf_create_map_xattr(&wanted) };
    if fd < 0 { Err(io::Error::last_os_error()) } else { Ok(sys::owned(fd)) }
}

/// Creates an array of maps. Its elements will be like `inner`.
pub fn map_of_maps_create(name: &str, facts: MapFacts, inner: &impl AsRawFd) -> io::Result<OwnedFd> {
    let name = CString::new(name.get(..name.len().min(15)).unwrap_or(name))?;
    let (key_size, entries) = (facts.key_size as c_int, facts.max_entries as c_int);
    // SAFETY: `name` ends with NUL and outlives the call.
    let fd = unsafe { bpf_sys::bpf_create_map_in_map(facts.kind, name.as_ptr(), key_size, inner.as_raw_fd(), entries, facts.flags) };
    if fd < 0 { Err(io::Error::last_os_error()) } else { Ok(sys::owned(fd)) }
}

/// What one run of a program on a frame gave.
pub struct Run {
    /// Return value.
    pub verdict: u32,
    /// Kernel's measurement, ns a run.
    pub nanoseconds: u32,
}

/// Runs a program on a frame, off every wire (`BPF_PROG_TEST_RUN`). `context` is a `struct __sk_buff` or `struct xdp_md`, or empty.
pub fn test_run(program: &impl AsRawFd, frame: &[u8], context: &mut [u8], repeat: u32) -> Result<Run> {
    let mut out = vec![0u8; frame.len() + 256];
    // SAFETY: all-zero is a valid `bpf_test_run_opts`.
    let mut options: bpf_sys::bpf_test_run_opts = unsafe { std::mem::zeroed() };
    options.sz = size_of::<bpf_sys::bpf_test_run_opts>() as _;
    options.data_in = frame.as_ptr().cast();
    options.data_size_in = frame.len() as u32;
    options.data_out = out.as_mut_ptr().cast();
    options.data_size_out = out.len() as u32;
    if !context.is_empty() {
        options.ctx_in = context.as_ptr().cast();
        options.ctx_size_in = context.len() as u32;
        options.ctx_out = context.as_mut_ptr().cast();
        options.ctx_size_out = context.len() as u32;
    }
    options.repeat = repeat as c_int;
    // SAFETY: every pointer is valid for the size that is told with it.
    done(unsafe { bpf_sys::bpf_prog_test_run_opts(program.as_raw_fd(), &mut options) }, || "test run of a program".into())?;
    Ok(Run { verdict: options.retval, nanoseconds: options.duration })
}

/// One instruction: opcode, registers (destination | source << 4), offset, immediate.
pub type Instruction = (u8, u8, i16, i32);

/// Loads a hand-assembled program: feature probes and tests need no object.
pub fn program_load(kind: u32, code: &[Instruction]) -> io::Result<OwnedFd> {
    program_load_for(kind, 0, code)
}

/// [`program_load`] for an attach type, which some kinds want to be told.
pub fn program_load_for(kind: u32, attach_type: u32, code: &[Instruction]) -> io::Result<OwnedFd> {
    let mut bytes = Vec::with_capacity(code.len() * 8);
    for (opcode, registers, offset, immediate) in code {
        bytes.extend([*opcode, *registers]);
        bytes.extend(offset.to_ne_bytes());
        bytes.extend(immediate.to_ne_bytes());
    }
    // An instruction holds an i32: copy into memory that is aligned for it.
    let mut aligned = vec![0u64; code.len()];
    // SAFETY: both are `code.len() * 8` bytes long and do not overlap.
    unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), aligned.as_mut_ptr().cast::<u8>(), bytes.len()) };
    let license: *const c_char = c"Dual MIT/GPL".as_ptr();
    // SAFETY: all-zero is a valid `bpf_load_program_attr`.
    let mut wanted: bpf_sys::bpf_load_program_attr = unsafe { std::mem::zeroed() };
    wanted.prog_type = kind;
    wanted.expected_attach_type = attach_type;
    wanted.insns = aligned.as_ptr().cast();
    wanted.insns_cnt = code.len() as _;
    wanted.license = license;
    // SAFETY: `wanted` names `code.len()` instructions and a license that ends with NUL; no log is asked for.
    let fd = unsafe { bpf_sys::bpf_load_program_xattr(&wanted, std::ptr::null_mut::<c_char>(), 0) };
    if fd < 0 { Err(io::Error::last_os_error()) } else { Ok(sys::owned(fd)) }
}

/// A pointer for a batch call.
pub fn pointer<T>(slice: &[T]) -> *mut c_void {
    slice.as_ptr().cast_mut().cast()
}

/// errno of an error, 0 where it has none.
pub fn errno(error: &Error) -> i32 {
    match error {
        Error::System { source, .. } | Error::MapSize { source, .. } => source.raw_os_error().unwrap_or(0),
        Error::Action { source, .. } => errno(source),
        _ => 0,
    }
}
