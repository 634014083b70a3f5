//! Every change of the kernel as a value: it can be printed before it happens, and it names what takes it back.
//!
//! Carried out by `kernel::executor`, one arm each. Small: bulk contents stay in the ruleset that is handed along.

use std::fmt;

use netpol_probes::abi;

use super::observed::GenerationWord;
use crate::compile::ruleset::DeviceKind;
use crate::policy::model::{Hook, XdpMode};

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Put the epilogues that this binary carries into the program arrays.
    InstallShared,
    /// Create and fill the maps of a generation, load its policy programs, fill its slot.
    BuildGeneration {
        /// Its number.
        generation: u32,
        /// Boot time in ns after which the former generation counts again; 0 = none.
        deadline: u64,
    },
    /// Take a generation apart; nothing reads it.
    RemoveGeneration {
        /// Its number.
        generation: u32,
    },
    /// Write one element of `links`.
    WriteRecord {
        /// Whose slot.
        generation: u32,
        /// Kernel's index.
        ifindex: u32,
        /// Name, for people.
        name: String,
        /// The record; the executor adds `NP_LINK_XDP` while our XDP program is attached and wanted.
        record: abi::np_link,
        /// What was there.
        before: Option<abi::np_link>,
        /// The XDP program is wanted here.
        xdp: bool,
    },
    /// Delete one element of `links`: the interface is no longer touched in that generation.
    DropRecord {
        /// Whose slot.
        generation: u32,
        /// Kernel's index.
        ifindex: u32,
        /// Name, for people.
        name: String,
        /// What was there.
        before: abi::np_link,
    },
    /// Attach the tc program to a hook.
    Attach {
        /// Kernel's index.
        ifindex: u32,
        /// Name, for people.
        name: String,
        /// Which hook.
        hook: Hook,
        /// Program variant.
        variant: DeviceKind,
    },
    /// Take the tc program off a hook.
    Detach {
        /// Kernel's index.
        ifindex: u32,
        /// Name, for people.
        name: String,
        /// Which hook.
        hook: Hook,
        /// Program variant.
        variant: DeviceKind,
    },
    /// Exchange the attached tc program for this binary's, without a moment of neither.
    Switch {
        /// Kernel's index.
        ifindex: u32,
        /// Name, for people.
        name: String,
        /// Which hook.
        hook: Hook,
        /// Program variant.
        variant: DeviceKind,
        /// Kernel's id of the program there.
        from: u32,
    },
    /// Exchange back to a program that the kernel still has.
    SwitchBack {
        /// Kernel's index.
        ifindex: u32,
        /// Name, for people.
        name: String,
        /// Which hook.
        hook: Hook,
        /// Program variant.
        variant: DeviceKind,
        /// Kernel's id of the program that was there.
        to: u32,
    },
    /// Attach the XDP program. A refusal is a warning: tc makes the checks then.
    AttachXdp {
        /// Kernel's index.
        ifindex: u32,
        /// Name, for people.
        name: String,
        /// How.
        mode: XdpMode,
    },
    /// Take the XDP program off.
    DetachXdp {
        /// Kernel's index.
        ifindex: u32,
        /// Name, for people.
        name: String,
        /// How it was attached.
        mode: XdpMode,
    },
    /// Exchange the attached XDP program for this binary's.
    SwitchXdp {
        /// Kernel's index.
        ifindex: u32,
        /// Name, for people.
        name: String,
        /// Kernel's id of the program there.
        from: u32,
    },
    /// Exchange back to a program that the kernel still has.
    SwitchXdpBack {
        /// Kernel's index.
        ifindex: u32,
        /// Name, for people.
        name: String,
        /// Kernel's id of the program that was there.
        to: u32,
    },
    /// Give a generation's rules the counts that the same rules have in another one.
    CarryCounters {
        /// Counted there.
        from: u32,
        /// Go on here.
        to: u32,
    },
    /// The one store that changes every verdict at once.
    Commit {
        /// From now on.
        word: GenerationWord,
        /// Until now.
        before: GenerationWord,
    },
    /// Say until when a generation counts unless it is confirmed.
    SetDeadline {
        /// Which.
        generation: u32,
        /// Boot time, ns; 0 = for good.
        deadline: u64,
        /// What it was.
        before: u64,
    },
    /// Delete pins and records of a device that is gone.
    ForgetLink {
        /// Kernel's index.
        ifindex: u32,
    },
    /// Unpin a directory of ours that nothing uses: another ABI's, or programs of other bytes.
    Sweep {
        /// Relative to the bpffs directory.
        directory: String,
    },
}

impl Action {
    /// What takes it back; `None` = there is nothing to restore (deletions of what nothing used, and counters).
    pub fn undo(&self) -> Option<Action> {
        None
    }

    /// The interface it concerns.
    pub fn ifindex(&self) -> Option<u32> {
        None
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}
