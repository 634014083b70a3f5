//! tc programs by clsact filter, for kernels without TCX: a fixed priority and handle, so that a restarted daemon finds its own
//! and exchanges it in place.
//!
//! Anybody with `tc` can remove such a filter or put another one before it; `observe` notices, and the next plan puts it right.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use netlink_sys::protocols::NETLINK_ROUTE;

use super::error::{Error, Result};
use super::netlink::{Netlink, attributes, u32_at};
use crate::policy::model::Hook;

/// Before every filter that does not ask for the same place.
const PRIORITY: u32 = 1;
/// "np": the same number on every interface.
const HANDLE: u32 = 0x6e70;
/// Of the filter that stands in for ours while it moves.
const STAND_IN: u32 = 0x6e71;

const RTM_NEWTFILTER: u16 = 44;
const RTM_GETTFILTER: u16 = 46;
const TCA_OPTIONS: u16 = 2;
const TCA_CHAIN: u16 = 11;
const TCA_BPF_ID: u16 = 11;
/// `TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS)`; egress is one more.
const CLSACT_INGRESS: u32 = 0xffff_fff2;

fn hook_of(ifindex: u32, attach_point: u32) -> bpf_sys::bpf_tc_hook {
    // SAFETY: all-zero is a valid `bpf_tc_hook`.
    let mut hook: bpf_sys::bpf_tc_hook = unsafe { std::mem::zeroed() };
    hook.sz = size_of::<bpf_sys::bpf_tc_hook>() as _;
    hook.ifindex = ifindex as i32;
    hook.attach_point = attach_point;
    hook
}

fn options(handle: u32) -> bpf_sys::bpf_tc_opts {
    // SAFETY: all-zero is a valid `bpf_tc_opts`.
    let mut options: bpf_sys::bpf_tc_opts = unsafe { std::mem::zeroed() };
    options.sz = size_of::<bpf_sys::bpf_tc_opts>() as _;
    options.handle = handle;
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
    put(ifindex, hook, HANDLE, program)
}

fn put(ifindex: u32, hook: Hook, handle: u32, program: BorrowedFd<'_>) -> Result<()> {
    let place = hook_of(ifindex, point(hook));
    let mut options = options(handle);
    options.prog_fd = program.as_raw_fd();
    options.flags = bpf_sys::bpf_tc_flags_BPF_TC_F_REPLACE;
    // SAFETY: both structs are valid and say their sizes.
    answer(unsafe { bpf_sys::bpf_tc_attach(&place, &mut options) }, || format!("attach to {hook:?} of interface {ifindex} by clsact"))
}

/// Id of the program in our place; `None` = the place is empty.
pub fn attached(ifindex: u32, hook: Hook) -> Option<u32> {
    let place = hook_of(ifindex, point(hook));
    let mut options = options(HANDLE);
    // SAFETY: both structs are valid and say their sizes.
    let found = unsafe { bpf_sys::bpf_tc_query(&place, &mut options) };
    (found == 0).then_some(options.prog_id)
}

/// Takes our program off. The clsact qdisc stays: others may use it.
pub fn detach(ifindex: u32, hook: Hook) -> Result<()> {
    if attached(ifindex, hook).is_none() { Ok(()) } else { take_off(ifindex, hook, HANDLE) }
}

fn take_off(ifindex: u32, hook: Hook, handle: u32) -> Result<()> {
    let place = hook_of(ifindex, point(hook));
    let options = options(handle);
    // SAFETY: both structs are valid and say their sizes.
    answer(unsafe { bpf_sys::bpf_tc_detach(&place, &options) }, || format!("detach from {hook:?} of interface {ifindex}"))
}

/// Puts our filter before those of others again. The kernel puts a new filter first: one stands in for ours until that is new.
pub fn take_head(ifindex: u32, hook: Hook, program: BorrowedFd<'_>) -> Result<()> {
    put(ifindex, hook, STAND_IN, program)?;
    take_off(ifindex, hook, HANDLE)?;
    put(ifindex, hook, HANDLE, program)?;
    take_off(ifindex, hook, STAND_IN)
}

/// The filters of every interface's hooks, asked for over one connection.
pub struct Filters(Netlink);

impl Filters {
    /// Connects.
    pub fn open() -> Result<Filters> {
        Netlink::open(NETLINK_ROUTE, "rtnetlink").map(Filters)
    }

    /// Id of the program in our place, and how many filters of others run before it; `None` = the place is empty.
    pub fn ours(&mut self, ifindex: u32, hook: Hook) -> Result<Option<(u32, usize)>> {
        let order = self.order(ifindex, hook)?;
        Ok(order.iter().position(|filter| (filter.priority, filter.handle) == (PRIORITY, HANDLE)).map(|at| (order[at].program, at)))
    }

    /// Ids of the programs of a hook, whoever put them there, in the order in which they run; 0 = a filter without a program.
    #[cfg(test)]
    pub fn programs(&mut self, ifindex: u32, hook: Hook) -> Result<Vec<u32>> {
        Ok(self.order(ifindex, hook)?.iter().map(|filter| filter.program).collect())
    }

    fn order(&mut self, ifindex: u32, hook: Hook) -> Result<Vec<Filter>> {
        // `struct tcmsg`: family, padding, interface, handle, parent, info.
        let parent = CLSACT_INGRESS + u32::from(hook == Hook::Egress);
        let mut body = vec![0u8; 4];
        [ifindex, 0, parent, 0].iter().for_each(|word| body.extend(word.to_ne_bytes()));
        let told = |kind, body: &[u8]| parse_filter(body).filter(|_| kind == RTM_NEWTFILTER);
        self.0.dump(RTM_GETTFILTER, &body, "filters", told)
    }
}

struct Filter {
    priority: u32,
    handle: u32,
    program: u32,
}

/// A filter of chain 0, the only one that every packet meets; the message that stands for a whole priority has no handle.
fn parse_filter(body: &[u8]) -> Option<Filter> {
    let mut filter = Filter { handle: u32_at(body, 8)?, priority: u32_at(body, 16)? >> 16, program: 0 };
    let mut chain = 0;
    for (kind, value) in attributes(body.get(20..)?) {
        match kind {
            TCA_CHAIN => chain = u32_at(value, 0)?,
            TCA_OPTIONS => {
                filter.program = attributes(value).find(|(kind, _)| *kind == TCA_BPF_ID).and_then(|(_, id)| u32_at(id, 0)).unwrap_or(0)
            }
            _ => {}
        }
    }
    (chain == 0 && filter.handle != 0).then_some(filter)
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
        let id = |program| bpf::program_id(program, "t").unwrap();
        let mut filters = Filters::open().unwrap();
        assert_eq!(filters.ours(lo, Hook::Egress).unwrap(), Some((id(&second), 0)));
        put(lo, Hook::Egress, 1, first.as_fd()).unwrap();
        assert_eq!(filters.ours(lo, Hook::Egress).unwrap(), Some((id(&second), 1)));
        take_head(lo, Hook::Egress, second.as_fd()).unwrap();
        assert_eq!(filters.ours(lo, Hook::Egress).unwrap(), Some((id(&second), 0)));
        detach(lo, Hook::Egress).unwrap();
        detach(lo, Hook::Egress).unwrap();
        assert_eq!(attached(lo, Hook::Egress), None);
    }

    /// Whoever lets the kernel choose a priority runs out of them after some ten thousand times.
    #[test]
    fn place_of_the_filter_is_the_same_however_often_it_is_attached() {
        const TIMES: usize = 100_000;
        needs_root!();
        super::super::libbpf::listen_to_libbpf();
        let _namespace = Namespace::enter();
        // An emulated machine is slow.
        let small = std::env::var("NETPOL_SMALL").ok().and_then(|small| small.parse().ok()).unwrap_or(1);
        let (lo, programs) = (1, [tc_program(), tc_program()]);
        let mut filters = Filters::open().unwrap();
        for (n, program) in programs.iter().cycle().take(TIMES / small).enumerate() {
            attach(lo, Hook::Ingress, program.as_fd()).unwrap();
            // A deletion waits for the kernel: every hundredth time is enough to see it found again.
            if n % 100 == 99 {
                let there = filters.order(lo, Hook::Ingress).unwrap();
                let places: Vec<_> = there.iter().map(|filter| (filter.priority, filter.handle)).collect();
                assert_eq!(places, [(PRIORITY, HANDLE)], "attached {} times", n + 1);
                detach(lo, Hook::Ingress).unwrap();
            }
        }
    }
}
