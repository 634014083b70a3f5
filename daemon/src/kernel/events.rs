//! The reader of the event ring: packets that a policy asked to log.
//!
//! Verdicts never wait for it: a full ring loses events, not packets.

use std::ffi::{c_int, c_void};
use std::os::fd::AsRawFd;
use std::time::Duration;

use netpol_probes::abi;

use super::error::{Error, Result};
use super::maps::Map;
use super::sys;

/// Events that one call takes out of the ring at most, so that a flood cannot hold the caller.
const MOST: usize = 16_384;

/// A reader of `events`; lives on a thread of its own, one at a time.
pub struct Events {
    ring: *mut bpf_sys::ring_buffer,
    taken: Box<Taken>,
}

/// What libbpf's callback writes into; boxed, because libbpf keeps its address.
#[derive(Default)]
struct Taken {
    events: Vec<abi::np_event>,
}

// SAFETY: the ring and what it writes into belong to this value alone.
unsafe impl Send for Events {}

/// The event that a sample of the ring holds; `None` = it is too short for one.
pub fn event(sample: &[u8]) -> Option<abi::np_event> {
    let bytes = sample.get(..size_of::<abi::np_event>())?;
    // SAFETY: `bytes` holds a whole np_event, which is plain numbers; every pattern is valid, and no alignment is asked for.
    Some(unsafe { bytes.as_ptr().cast::<abi::np_event>().read_unaligned() })
}

/// Called by libbpf for each sample; copies it. A negative answer ends the round.
unsafe extern "C" fn take(context: *mut c_void, data: *mut c_void, size: bpf_sys::size_t) -> c_int {
    // SAFETY: `context` is the box that `Events::open` gave, which nothing else touches during a poll.
    let taken = unsafe { &mut *context.cast::<Taken>() };
    // SAFETY: `data` is valid for `size` bytes until the callback returns.
    let sample = unsafe { std::slice::from_raw_parts(data.cast::<u8>(), size as usize) };
    taken.events.extend(event(sample));
    if taken.events.len() >= MOST { -libc::EAGAIN } else { 0 }
}

impl Events {
    /// Opens the ring.
    pub fn open(map: &Map) -> Result<Events> {
        let mut taken: Box<Taken> = Box::default();
        let context: *mut Taken = &mut *taken;
        // SAFETY: `context` lives in a box that lives as long as the ring.
        let ring = unsafe { bpf_sys::ring_buffer__new(map.as_raw_fd(), Some(take), context.cast(), std::ptr::null()) };
        if ring.is_null() {
            return Err(sys::last_error("open map `events`"));
        }
        Ok(Events { ring, taken })
    }

    /// Waits at most `timeout` for events and hands each to `each`; returns how many there were.
    pub fn poll(&mut self, timeout: Duration, each: &mut dyn FnMut(&abi::np_event)) -> Result<usize> {
        let milliseconds = c_int::try_from(timeout.as_millis()).unwrap_or(c_int::MAX);
        // SAFETY: the ring is open; its callback writes into `self.taken`, which is not borrowed here.
        let answer = unsafe { bpf_sys::ring_buffer__poll(self.ring, milliseconds) };
        let taken = std::mem::take(&mut self.taken.events);
        taken.iter().for_each(each);
        match -answer {
            libc::EAGAIN | libc::EINTR => Ok(taken.len()),
            errno if errno > 0 => Err(Error::System { what: "read map `events`".into(), source: std::io::Error::from_raw_os_error(errno) }),
            _ => Ok(taken.len()),
        }
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        // SAFETY: made by `open`, freed once.
        unsafe { bpf_sys::ring_buffer__free(self.ring) };
    }
}
