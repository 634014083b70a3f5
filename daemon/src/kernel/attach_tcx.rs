//! tc programs by TCX link (kernel 6.6 and later): at the head of the hook's list, pinned.
//!
//! A pinned link outlives this process, deletion of clsact, and `tc`.

use std::os::fd::{BorrowedFd, OwnedFd};

use super::bpf;
use super::error::{Error, Result};
use super::pins::{self, LinkPin, Pins};
use crate::policy::model::Hook;

/// Attach type of a hook.
fn attach_type(hook: Hook) -> u32 {
    match hook {
        Hook::Ingress => bpf::TCX_INGRESS,
        Hook::Egress => bpf::TCX_EGRESS,
    }
}

/// Name of a hook's pin.
pub fn pin_of(hook: Hook) -> LinkPin {
    match hook {
        Hook::Ingress => LinkPin::Ingress,
        Hook::Egress => LinkPin::Egress,
    }
}

/// Attaches a program at the head and pins the link. Without the pin there is no attachment.
pub fn attach(pins: &Pins, ifindex: u32, hook: Hook, program: BorrowedFd<'_>) -> Result<()> {
    let what = || format!("attach to {hook:?} of interface {ifindex}");
    let link =
        bpf::link_create(program, ifindex, attach_type(hook), bpf::F_BEFORE).map_err(|source| Error::System { what: what(), source })?;
    pin_fresh(pins, ifindex, pin_of(hook), &link)
}

/// Pins a link that was just made; a pin of a device that is gone makes room.
pub fn pin_fresh(pins: &Pins, ifindex: u32, which: LinkPin, link: &OwnedFd) -> Result<()> {
    let path = pins.link(ifindex, which);
    pins::ensure_directory(&pins.links())?;
    if path.exists() && bpf::link_info(&bpf::get(&path)?, "pin")?.ifindex == 0 {
        pins::unpin(&path)?;
    }
    bpf::pin(link, &path)
}

/// Exchanges the program of the pinned link.
pub fn switch(pins: &Pins, ifindex: u32, hook: Hook, program: BorrowedFd<'_>) -> Result<()> {
    let link = bpf::get(&pins.link(ifindex, pin_of(hook)))?;
    bpf::link_update(&link, program, &format!("{hook:?} of interface {ifindex}"))
}

/// Takes the program off and deletes the pin.
pub fn detach(pins: &Pins, ifindex: u32, hook: Hook) -> Result<()> {
    detach_pin(pins, ifindex, pin_of(hook))
}

/// Takes a link's program off and deletes its pin; a device that is gone needs no detaching.
pub fn detach_pin(pins: &Pins, ifindex: u32, which: LinkPin) -> Result<()> {
    let path = pins.link(ifindex, which);
    if !path.exists() {
        return Ok(());
    }
    let link = bpf::get(&path)?;
    if bpf::link_info(&link, "pin")?.ifindex != 0 {
        bpf::link_detach(&link, &format!("{which:?} of interface {ifindex}"))?;
    }
    pins::unpin(&path)
}

/// Deletes pins of links that were taken off by somebody who died before the pin was gone. Where every pin of an interface is like that
/// its device may be gone, which is for a plan to judge.
pub fn unpin_detached(pins: &Pins) -> Result<()> {
    let mut all = Vec::new();
    for (ifindex, which) in pins.link_pins()? {
        let there = bpf::link_info(&bpf::get(&pins.link(ifindex, which))?, "pin")?.ifindex;
        all.push((ifindex, which, there));
    }
    let lives = |ifindex: u32| all.iter().any(|(other, _, there)| (*other, *there) == (ifindex, ifindex));
    all.iter()
        .filter(|(ifindex, _, there)| *there == 0 && lives(*ifindex))
        .try_for_each(|(ifindex, which, _)| pins::unpin(&pins.link(*ifindex, *which)))
}

/// How many programs run before `program` on the hook; `None` = it is not among them.
pub fn ahead(ifindex: u32, hook: Hook, program: u32) -> Result<Option<usize>> {
    let order = bpf::tcx_programs(ifindex, attach_type(hook))
        .map_err(|source| Error::System { what: format!("order of programs at {hook:?} of interface {ifindex}"), source })?;
    Ok(order.iter().position(|id| *id == program))
}

/// Puts our program before those of others again. A link cannot move, and no program can stand twice on a hook: a `twin` of it is
/// attached at the head, takes over the pin in one step, and becomes `program` when the old link is gone. At no moment is there
/// none; a packet of that moment may be judged twice.
pub fn take_head(pins: &Pins, ifindex: u32, hook: Hook, twin: BorrowedFd<'_>, program: BorrowedFd<'_>) -> Result<()> {
    let what = format!("{hook:?} of interface {ifindex}");
    let path = pins.link(ifindex, pin_of(hook));
    let old = bpf::get(&path)?;
    let failed = |source| Error::System { what: format!("attach at the head of {what}"), source };
    let new = bpf::link_create(twin, ifindex, attach_type(hook), bpf::F_BEFORE).map_err(failed)?;
    let beside = pins.link_beside(ifindex, pin_of(hook));
    pins::unpin(&beside)?;
    bpf::pin(&new, &beside)?;
    pins::exchange(&beside, &path)?;
    bpf::link_detach(&old, &what)?;
    bpf::link_update(&new, program, &what)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::super::tests::{Namespace, Scratch, needs_root, needs_tcx, tc_program};
    use super::*;

    #[test]
    fn link_is_pinned_at_the_head_and_survives_its_maker() {
        needs_root!();
        needs_tcx!();
        let scratch = Scratch::new("tcx");
        let _namespace = Namespace::enter();
        let lo = 1;
        attach(&scratch.pins, lo, Hook::Egress, tc_program().as_fd()).unwrap();
        attach(&scratch.pins, lo, Hook::Ingress, tc_program().as_fd()).unwrap();
        let link = bpf::get(&scratch.pins.link(lo, LinkPin::Ingress)).unwrap();
        let info = bpf::link_info(&link, "t").unwrap();
        assert_eq!(info.ifindex, lo);
        assert_eq!(ahead(lo, Hook::Ingress, info.program).unwrap(), Some(0));

        let other = tc_program();
        switch(&scratch.pins, lo, Hook::Ingress, other.as_fd()).unwrap();
        assert_eq!(bpf::link_info(&link, "t").unwrap().program, bpf::program_id(&other, "t").unwrap());

        let before_ours = bpf::link_create(tc_program().as_fd(), lo, bpf::TCX_INGRESS, bpf::F_BEFORE).unwrap();
        let place = || ahead(lo, Hook::Ingress, bpf::program_id(&other, "t").unwrap()).unwrap();
        assert_eq!(place(), Some(1));
        take_head(&scratch.pins, lo, Hook::Ingress, tc_program().as_fd(), other.as_fd()).unwrap();
        assert_eq!((place(), bpf::tcx_programs(lo, bpf::TCX_INGRESS).unwrap().len()), (Some(0), 2));
        assert_eq!(scratch.pins.link_pins().unwrap(), [(lo, LinkPin::Ingress), (lo, LinkPin::Egress)]);
        drop(before_ours);

        detach(&scratch.pins, lo, Hook::Ingress).unwrap();
        detach(&scratch.pins, lo, Hook::Egress).unwrap();
        detach(&scratch.pins, lo, Hook::Egress).unwrap();
        assert_eq!(scratch.pins.link_pins().unwrap(), []);
        assert_eq!(bpf::tcx_programs(lo, bpf::TCX_INGRESS).unwrap(), Vec::<u32>::new());
    }

    #[test]
    fn missing_device_is_told_by_errno() {
        needs_root!();
        needs_tcx!();
        let scratch = Scratch::new("tcx-gone");
        let error = attach(&scratch.pins, 123_456, Hook::Ingress, tc_program().as_fd()).unwrap_err();
        assert_eq!(bpf::errno(&error), libc::ENODEV);
    }
}
