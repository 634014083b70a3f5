//! System calls for frames that are not simply bytes in one buffer: in pages of a ring, or larger than the link lets through.
//! With `sys` the only module of the bench with `unsafe`.
#![allow(unsafe_code)]

use std::io;
use std::mem;
use std::os::fd::{AsRawFd, OwnedFd};

use crate::sys;

/// Bytes of one frame of a ring, and frames in it. A frame is a block.
const FRAME: usize = 1 << 17;
const FRAMES: usize = 4;
/// Where the bytes of a frame begin: behind `struct tpacket_hdr`, aligned.
const DATA: usize = 32;
/// `TP_STATUS_AVAILABLE`, `TP_STATUS_SEND_REQUEST`.
const FREE: u64 = 0;
const SEND: u64 = 1;

fn set<T>(socket: &impl AsRawFd, option: i32, value: &T) -> io::Result<()> {
    let length = mem::size_of::<T>() as libc::socklen_t;
    // SAFETY: `value` is valid for reads of its own size, which is the size that is given.
    let answer = unsafe { libc::setsockopt(socket.as_raw_fd(), libc::SOL_PACKET, option, (&raw const *value).cast(), length) };
    if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// From now on each frame that is sent begins with a `struct virtio_net_hdr`, which may say that it is many in one.
///
/// # Errors
/// What setsockopt(2) answers.
pub fn announce_offloads(socket: &impl AsRawFd) -> io::Result<()> {
    set(socket, libc::PACKET_VNET_HDR, &1i32)
}

/// A ring of frames that are sent from its pages: beyond the Ethernet header nothing of them lies in the linear part of an skb.
#[derive(Debug)]
pub struct Ring {
    socket: OwnedFd,
    pages: *mut u8,
    next: usize,
}

// SAFETY: the pages belong to this ring alone, and whoever sends has it exclusively.
unsafe impl Send for Ring {}

impl Ring {
    /// On one interface.
    ///
    /// # Errors
    /// What socket(2), setsockopt(2) or mmap(2) answers.
    pub fn open(interface: u32) -> io::Result<Ring> {
        let socket = sys::packet_socket(interface, 0)?;
        let request = libc::tpacket_req {
            tp_block_size: FRAME as u32,
            tp_block_nr: FRAMES as u32,
            tp_frame_size: FRAME as u32,
            tp_frame_nr: FRAMES as u32,
        };
        set(&socket, libc::PACKET_TX_RING, &request)?;
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a fresh mapping of the ring that was just asked for, in its size.
        let pages = unsafe { libc::mmap(std::ptr::null_mut(), FRAME * FRAMES, protection, libc::MAP_SHARED, socket.as_raw_fd(), 0) };
        if pages == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(Ring { socket, pages: pages.cast(), next: 0 }) }
    }

    /// Sends one frame and waits until the kernel has let go of it.
    ///
    /// # Errors
    /// What send(2) answers.
    pub fn send(&mut self, frame: &[u8]) -> io::Result<()> {
        assert!(frame.len() <= FRAME - DATA, "a frame of {} bytes", frame.len());
        // SAFETY: `next` is below FRAMES, so the frame lies within the mapping.
        let at = unsafe { self.pages.add(self.next * FRAME) };
        let status: *mut u64 = at.cast();
        // SAFETY: the frame begins with `tp_status`, and is aligned to a page.
        let found = unsafe { status.read_volatile() };
        assert_eq!(found, FREE, "the kernel has let go of what was sent before");
        // SAFETY: header and bytes fit into the frame, which nobody else touches while it is free.
        unsafe {
            at.add(8).cast::<u32>().write(frame.len() as u32);
            at.add(DATA).copy_from_nonoverlapping(frame.as_ptr(), frame.len());
            status.write_volatile(SEND);
        }
        // SAFETY: nothing is read from the null buffer of length 0: the ring holds what is sent.
        if unsafe { libc::send(self.socket.as_raw_fd(), std::ptr::null(), 0, 0) } >= 0 {
            self.next = (self.next + 1) % FRAMES;
            return Ok(());
        }
        let error = io::Error::last_os_error();
        // What was dropped on its way out stands there still, and the kernel would send it again.
        // SAFETY: as above.
        unsafe { status.write_volatile(FREE) };
        Err(error)
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // SAFETY: the mapping that `open` made, in its size; nothing refers to it any more.
        unsafe { libc::munmap(self.pages.cast(), FRAME * FRAMES) };
    }
}
