//! The few bpf(2) commands with which the bench counts what a daemon holds in the kernel, and plays another tool. Beside
//! [`crate::sys`] and [`crate::sys_packet`] the only module with `unsafe`.
#![allow(unsafe_code)]

use std::ffi::CString;
use std::io;
use std::mem;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// `enum bpf_cmd` of linux/bpf.h.
const MAP_DELETE_ELEM: libc::c_long = 3;
const PROG_LOAD: libc::c_long = 5;
const OBJ_GET: libc::c_long = 7;
const PROG_GET_NEXT_ID: libc::c_long = 11;
const PROG_GET_FD_BY_ID: libc::c_long = 13;
const OBJ_GET_INFO_BY_FD: libc::c_long = 15;
const PROG_QUERY: libc::c_long = 16;
const LINK_CREATE: libc::c_long = 28;
const LINK_DETACH: libc::c_long = 34;

/// Maps that a program may use, at most (`MAX_USED_MAPS`).
const MOST_MAPS: usize = 64;

/// The beginning of `struct bpf_prog_info`, up to what is of interest here.
#[repr(C)]
#[derive(Clone, Copy)]
struct ProgramInfo {
    kind: u32,
    id: u32,
    tag: [u8; 8],
    jited_length: u32,
    xlated_length: u32,
    jited: u64,
    xlated: u64,
    load_time: u64,
    user: u32,
    map_count: u32,
    maps: u64,
}

/// What a file descriptor of bpf(2) stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Object {
    /// A map, by its id.
    Map(u32),
    /// A program: its id, and the ids of its maps.
    Program(u32, Vec<u32>),
    /// A link or something else.
    Other,
}

fn bpf<T>(command: libc::c_long, attributes: &mut T) -> io::Result<i32> {
    // SAFETY: `attributes` is a plain structure that lives over the call, and its size is given; the pointers in it are those of
    // the callers below, valid for the call.
    let answer = unsafe { libc::syscall(libc::SYS_bpf, command, attributes as *mut T, mem::size_of::<T>()) };
    if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(answer as i32) }
}

fn owned(fd: i32) -> OwnedFd {
    // SAFETY: every caller hands the fresh result of a successful call.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// Opens what is pinned there.
///
/// # Errors
/// What bpf(2) answers.
pub fn pinned(path: &Path) -> io::Result<OwnedFd> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let mut attributes = [path.as_ptr() as u64, 0];
    bpf(OBJ_GET, &mut attributes).map(owned)
}

/// The next program of this machine after that id; `None` = there is none.
///
/// # Errors
/// What bpf(2) answers.
pub fn next_program(after: u32) -> io::Result<Option<u32>> {
    let mut attributes = [after, 0, 0];
    match bpf(PROG_GET_NEXT_ID, &mut attributes) {
        Ok(_) => Ok(Some(attributes[1])),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Opens a program by its id.
///
/// # Errors
/// What bpf(2) answers; `NotFound` where it is gone meanwhile.
pub fn program(id: u32) -> io::Result<OwnedFd> {
    let mut attributes = [id, 0, 0];
    bpf(PROG_GET_FD_BY_ID, &mut attributes).map(owned)
}

/// What a descriptor stands for.
///
/// # Errors
/// What bpf(2) answers.
pub fn object(fd: &OwnedFd) -> io::Result<Object> {
    let kind = std::fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd()))?;
    match kind.to_str() {
        Some("anon_inode:bpf-map") => {
            // `struct bpf_map_info` begins with type and id.
            let mut info = [0u32; 2];
            query(fd, &mut info)?;
            Ok(Object::Map(info[1]))
        }
        Some("anon_inode:bpf-prog") => {
            let mut maps = [0u32; MOST_MAPS];
            // SAFETY: a structure of numbers for which all zeroes is a valid value.
            let mut info: ProgramInfo = unsafe { mem::zeroed() };
            info.map_count = MOST_MAPS as u32;
            info.maps = maps.as_mut_ptr() as u64;
            query(fd, &mut info)?;
            Ok(Object::Program(info.id, maps[..(info.map_count as usize).min(MOST_MAPS)].to_vec()))
        }
        _ => Ok(Object::Other),
    }
}

/// `struct { bpf_fd, info_len, info }` of the command.
fn query<T>(fd: &OwnedFd, info: &mut T) -> io::Result<()> {
    #[repr(C)]
    struct Attributes {
        fd: u32,
        length: u32,
        info: u64,
    }
    let mut attributes = Attributes { fd: fd.as_raw_fd() as u32, length: mem::size_of::<T>() as u32, info: info as *mut T as u64 };
    bpf(OBJ_GET_INFO_BY_FD, &mut attributes).map(|_| ())
}

fn words(low: u32, high: u32) -> u64 {
    u64::from_ne_bytes([low.to_ne_bytes(), high.to_ne_bytes()].concat().try_into().expect("8 bytes"))
}

/// Deletes an element of a pinned map whose keys are numbers, as a tool of somebody else might.
///
/// # Errors
/// What bpf(2) answers.
pub fn delete_from_map(pin: &Path, key: u32) -> io::Result<()> {
    let map = pinned(pin)?;
    let mut attributes = [words(map.as_raw_fd() as u32, 0), &raw const key as u64, 0, 0];
    bpf(MAP_DELETE_ELEM, &mut attributes).map(|_zero| ())
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
    let mut attributes = [0u64; 18];
    attributes[..4].copy_from_slice(&[words(kind, 2), code.as_ptr() as u64, c"GPL".as_ptr() as u64, 0]);
    bpf(PROG_LOAD, &mut attributes).map(owned)
}

/// Attaches a program to an interface of the calling thread's namespace by a link.
///
/// # Errors
/// What bpf(2) answers.
pub fn attach_program(program: &OwnedFd, interface: u32, attach_type: u32, flags: u32) -> io::Result<OwnedFd> {
    let mut attributes = [0u64; 18];
    attributes[..2].copy_from_slice(&[words(program.as_raw_fd() as u32, interface), words(attach_type, flags)]);
    bpf(LINK_CREATE, &mut attributes).map(owned)
}

/// Ids of the programs on a TCX hook of an interface of the calling thread's namespace, in order.
///
/// # Errors
/// What bpf(2) answers.
pub fn programs_at(interface: u32, attach_type: u32) -> io::Result<Vec<u32>> {
    let mut ids = [0u32; 64];
    let mut attributes = [0u64; 18];
    attributes[..4].copy_from_slice(&[words(interface, attach_type), 0, ids.as_mut_ptr() as u64, words(ids.len() as u32, 0)]);
    bpf(PROG_QUERY, &mut attributes)?;
    let count = attributes[3].to_ne_bytes();
    let count = u32::from_ne_bytes([count[0], count[1], count[2], count[3]]) as usize;
    Ok(ids[..count].to_vec())
}

/// Takes the program of a pinned link off at once, whoever holds the link.
///
/// # Errors
/// What bpf(2) answers.
pub fn force_detach(pin: &Path) -> io::Result<()> {
    let link = pinned(pin)?;
    let mut attributes = [words(link.as_raw_fd() as u32, 0)];
    bpf(LINK_DETACH, &mut attributes).map(|_zero| ())
}
