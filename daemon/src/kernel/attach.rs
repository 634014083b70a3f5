//! tc programs on hooks, in whichever of the two ways the kernel has.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::error::Result;
use super::features::Features;
use super::pins::Pins;
use super::{attach_clsact, attach_tcx};
use crate::plan::observed::TcAttachment;
use crate::policy::model::Hook;

/// The way for this kernel.
pub fn way(features: &Features) -> TcAttachment {
    if features.tcx.is_yes() { TcAttachment::Tcx } else { TcAttachment::Clsact }
}

/// Attaches a program to a hook.
pub fn attach(way: TcAttachment, pins: &Pins, ifindex: u32, hook: Hook, program: BorrowedFd<'_>) -> Result<()> {
    match way {
        TcAttachment::Tcx => attach_tcx::attach(pins, ifindex, hook, program),
        TcAttachment::Clsact => attach_clsact::attach(ifindex, hook, program),
    }
}

/// Exchanges the program there; at no moment is there none.
pub fn switch(way: TcAttachment, pins: &Pins, ifindex: u32, hook: Hook, program: BorrowedFd<'_>) -> Result<()> {
    match way {
        TcAttachment::Tcx => attach_tcx::switch(pins, ifindex, hook, program),
        TcAttachment::Clsact => attach_clsact::attach(ifindex, hook, program),
    }
}

/// Puts our program before those of others again; at no moment is there none. `twin` loads another copy of it where that is needed.
pub fn take_head(
    way: TcAttachment,
    pins: &Pins,
    (ifindex, hook): (u32, Hook),
    program: BorrowedFd<'_>,
    twin: impl FnOnce() -> Result<OwnedFd>,
) -> Result<()> {
    match way {
        TcAttachment::Tcx => attach_tcx::take_head(pins, ifindex, hook, twin()?.as_fd(), program),
        TcAttachment::Clsact => attach_clsact::take_head(ifindex, hook, program),
    }
}

/// Takes off what hangs on a hook in the way that is not used (any more), so that no packet is judged twice.
pub fn leave_other_way(way: TcAttachment, pins: &Pins, ifindex: u32, hook: Hook) -> Result<()> {
    match way {
        TcAttachment::Tcx => attach_clsact::detach(ifindex, hook),
        TcAttachment::Clsact => attach_tcx::detach(pins, ifindex, hook),
    }
}

/// [`switch`] to a program that the kernel has under that id.
pub fn switch_to_id(way: TcAttachment, pins: &Pins, ifindex: u32, hook: Hook, program: u32) -> Result<()> {
    switch(way, pins, ifindex, hook, pins.program(program)?.as_fd())
}

/// Takes our program off a hook, however it is attached.
pub fn detach(way: TcAttachment, pins: &Pins, ifindex: u32, hook: Hook) -> Result<()> {
    attach_tcx::detach(pins, ifindex, hook)?;
    if way == TcAttachment::Clsact {
        attach_clsact::detach(ifindex, hook)?;
    }
    Ok(())
}
