//! tc programs on hooks, in whichever of the two ways the kernel has.

use std::os::fd::{AsFd, BorrowedFd};

use super::error::Result;
use super::features::Features;
use super::pins::Pins;
use super::{attach_clsact, attach_tcx, bpf};
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

/// [`switch`] to a program that the kernel has under that id.
pub fn switch_to_id(way: TcAttachment, pins: &Pins, ifindex: u32, hook: Hook, program: u32) -> Result<()> {
    switch(way, pins, ifindex, hook, bpf::program_by_id(program)?.as_fd())
}

/// Takes our program off a hook, however it is attached.
pub fn detach(way: TcAttachment, pins: &Pins, ifindex: u32, hook: Hook) -> Result<()> {
    attach_tcx::detach(pins, ifindex, hook)?;
    if way == TcAttachment::Clsact {
        attach_clsact::detach(ifindex, hook)?;
    }
    Ok(())
}
