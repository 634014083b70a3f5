//! tc programs by clsact filter, for kernels without TCX: a fixed priority and handle, so that a restarted daemon finds its own
//! and exchanges it in place.
//!
//! Anybody with `tc` can remove such a filter; `observe` notices, and the next plan attaches again.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use super::error::{Error, Result};
use crate::policy::model::Hook;

/// Before every filter that does not ask for the same place.
const PRIORITY: u32 = 1;
/// "np": the same number on every interface.
const HANDLE: u32 = 0x6e70;

fn hook_of(ifindex: u32, attach_point: u32) -> bpf_sys::bpf_tc_hook {
    // SAFETY: all-zero is a valid `bpf_tc_hook`.
    let mut hook: bpf_sys::bpf_tc_hook = unsafe { std::mem::zeroed() };
    hook.sz = size_of::<bpf_sys::bpf_tc_hook>() as _;
    hook.ifindex = ifindex as i32;
    hook.attach_point = attach_point;
    hook
}

fn options() -> bpf_sys::bpf_tc_opts {
    // SAFETY: all-zero is a valid `bpf_tc_opts`.
    let mut options: bpf_sys::bpf_tc_opts = unsafe { std::mem::zeroed() };
    options.sz = size_of::<bpf_sys::bpf_tc_opts>() as _;
    options.handle = HANDLE;
    options.priority = PRIORITY;
    options
}

fn point(hook: Hook) -> u32 {
    match hook {
        Hook::Ingress => bpf_sys::bpf_tc_attach_point_BPF_TC_INGRESS,
        Hook::Egress => bpf_sys::bpf_tc_attach_point_BPF_TC_EGRESS,
    }
}

/// libbpf answers with a negative errno here.
fn answer(value: i32, what: impl FnOnce() -> String) -> Result<()> {
    if value < 0 { Err(Error::System { what: what(), source: io::Error::from_raw_os_error(-value) }) } else { Ok(()) }
}

/// Attaches a program, in place of our former one where there is one.
pub fn attach(ifindex: u32, hook: Hook, program: BorrowedFd<'_>) -> Result<()> {
    let both = bpf_sys::bpf_tc_attach_point_BPF_TC_INGRESS | bpf_sys::bpf_tc_attach_point_BPF_TC_EGRESS;
    let mut qdisc = hook_of(ifindex, both);
    // SAFETY: `qdisc` is valid and says its size.
    let made = unsafe { bpf_sys::bpf_tc_hook_create(&mut qdisc) };
    if made != -libc::EEXIST {
        answer(made, || format!("add clsact to interface {ifindex}"))?;
    }
    let place = hook_of(ifindex, point(hook));
    let mut options = options();
    options.prog_fd = program.as_raw_fd();
    options.flags = bpf_sys::bpf_tc_flags_BPF_TC_F_REPLACE;
    // SAFETY: both structs are valid and say their sizes.
    answer(unsafe { bpf_sys::bpf_tc_attach(&place, &mut options) }, || format!("attach to {hook:?} of interface {ifindex} by clsact"))
}

/// Id of the program in our place; `None` = the place is empty.
pub fn attached(ifindex: u32, hook: Hook) -> Option<u32> {
    let place = hook_of(ifindex, point(hook));
    let mut options = options();
    // SAFETY: both structs are valid and say their sizes.
    let found = unsafe { bpf_sys::bpf_tc_query(&place, &mut options) };
    (found == 0).then_some(options.prog_id)
}

/// Takes our program off. The clsact qdisc stays: others may use it.
pub fn detach(ifindex: u32, hook: Hook) -> Result<()> {
    if attached(ifindex, hook).is_none() {
        return Ok(());
    }
    let place = hook_of(ifindex, point(hook));
    let options = options();
    // SAFETY: both structs are valid and say their sizes.
    answer(unsafe { bpf_sys::bpf_tc_detach(&place, &options) }, || format!("detach from {hook:?} of interface {ifindex}"))
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::super::bpf;
    use super::super::tests::{Namespace, needs_root, tc_program};
    use super::*;

    #[test]
    fn filter_is_exchanged_in_place_and_taken_off() {
        needs_root!();
        let _namespace = Namespace::enter();
        let lo = 1;
        assert_eq!(attached(lo, Hook::Egress), None);
        let (first, second) = (tc_program(), tc_program());
        attach(lo, Hook::Egress, first.as_fd()).unwrap();
        assert_eq!(attached(lo, Hook::Egress), Some(bpf::program_id(&first, "t").unwrap()));
        attach(lo, Hook::Egress, second.as_fd()).unwrap();
        assert_eq!(attached(lo, Hook::Egress), Some(bpf::program_id(&second, "t").unwrap()));
        assert_eq!(attached(lo, Hook::Ingress), None);
        detach(lo, Hook::Egress).unwrap();
        detach(lo, Hook::Egress).unwrap();
        assert_eq!(attached(lo, Hook::Egress), None);
    }
}
