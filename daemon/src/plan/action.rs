//! Every change of the kernel as a value: it can be printed before it happens, and it names what takes it back.
//!
//! Carried out by `kernel::executor`, one arm each. Small: bulk contents stay in the ruleset that is handed along.

use std::fmt;

use netpol_probes::abi;

use super::observed::GenerationWord;
use crate::compile::ruleset::DeviceKind;
use crate::policy::model::{Hook, XdpMode};

/// An interface as an action names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Kernel's index.
    pub ifindex: u32,
    /// Name when the plan was made.
    pub name: String,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (index {})", self.name, self.ifindex)
    }
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Put the epilogue that this binary carries into the program array.
    InstallShared {
        /// Kernel's id of the program there.
        before: Option<u32>,
    },
    /// Put a program that the kernel still has there again.
    RestoreShared {
        /// Its id.
        program: u32,
    },
    /// Attach the netfilter programs that refuse what passes interfaces that are selected and not enforced yet. That it cannot be
    /// done is a warning: such an interface is open for a moment then.
    AttachGuard,
    /// Take them off.
    DetachGuard,
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
        /// Which interface.
        link: Target,
        /// The record, without `NP_LINK_XDP`.
        record: abi::np_link,
        /// Add `NP_LINK_XDP` if our XDP program is attached at that moment.
        xdp: bool,
        /// What was there.
        before: Option<abi::np_link>,
    },
    /// Make flows of the connections of this host's sockets that run over an interface; what cannot be done is a warning.
    Adopt {
        /// By whose rules they count as judged.
        generation: u32,
        /// Which interface, not under policy yet.
        link: Target,
    },
    /// Delete the flows of an interface that is not under policy.
    Disown {
        /// Which interface.
        link: Target,
    },
    /// Put one element of `links` back as it was.
    RestoreRecord {
        /// Whose slot.
        generation: u32,
        /// Which interface.
        link: Target,
        /// As it was, flags included.
        record: abi::np_link,
    },
    /// Delete one element of `links`: the interface is no longer touched in that generation.
    DropRecord {
        /// Whose slot.
        generation: u32,
        /// Which interface.
        link: Target,
        /// What was there; `None` = nothing to put back.
        before: Option<abi::np_link>,
    },
    /// Attach the tc program to a hook.
    Attach {
        /// Which interface.
        link: Target,
        /// Which hook.
        hook: Hook,
        /// Program variant.
        variant: DeviceKind,
    },
    /// Take the tc program off a hook.
    Detach {
        /// Which interface.
        link: Target,
        /// Which hook.
        hook: Hook,
        /// Program variant.
        variant: DeviceKind,
    },
    /// Exchange the attached tc program for this binary's, without a moment of neither.
    Switch {
        /// Which interface.
        link: Target,
        /// Which hook.
        hook: Hook,
        /// Program variant.
        variant: DeviceKind,
        /// Kernel's id of the program there.
        from: u32,
    },
    /// Exchange back to a program that the kernel still has.
    SwitchBack {
        /// Which interface.
        link: Target,
        /// Which hook.
        hook: Hook,
        /// Kernel's id of the program that was there.
        to: u32,
    },
    /// Put the attached tc program before those of others again.
    TakeHead {
        /// Which interface.
        link: Target,
        /// Which hook.
        hook: Hook,
        /// Program variant.
        variant: DeviceKind,
    },
    /// Attach the XDP program. A refusal is a warning: tc makes the checks then.
    AttachXdp {
        /// Which interface.
        link: Target,
        /// How.
        mode: XdpMode,
    },
    /// Take the XDP program off; every record of the interface loses `NP_LINK_XDP` first.
    DetachXdp {
        /// Which interface.
        link: Target,
        /// How it is attached.
        mode: XdpMode,
    },
    /// Exchange the attached XDP program for this binary's.
    SwitchXdp {
        /// Which interface.
        link: Target,
        /// Kernel's id of the program there.
        from: u32,
    },
    /// Exchange back to a program that the kernel still has.
    SwitchXdpBack {
        /// Which interface.
        link: Target,
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
    /// Delete pins and records that a vanished device left behind.
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
    /// What takes it back; `None` = there is nothing to restore: deletions of what nothing used, and counters.
    pub fn undo(&self) -> Option<Action> {
        use Action::*;
        Some(match self.clone() {
            InstallShared { before } => RestoreShared { program: before? },
            AttachGuard => DetachGuard,
            BuildGeneration { generation, .. } => RemoveGeneration { generation },
            WriteRecord { generation, link, before: Some(record), .. } => RestoreRecord { generation, link, record },
            WriteRecord { generation, link, before: None, .. } => DropRecord { generation, link, before: None },
            Adopt { link, .. } => Disown { link },
            DropRecord { generation, link, before } => RestoreRecord { generation, link, record: before? },
            Attach { link, hook, variant } => Detach { link, hook, variant },
            Detach { link, hook, variant } => Attach { link, hook, variant },
            Switch { link, hook, from, .. } => SwitchBack { link, hook, to: from },
            AttachXdp { link, mode } => DetachXdp { link, mode },
            DetachXdp { link, mode } => AttachXdp { link, mode },
            SwitchXdp { link, from } => SwitchXdpBack { link, to: from },
            Commit { word, before } => Commit { word: before, before: word },
            SetDeadline { generation, deadline, before } => SetDeadline { generation, deadline: before, before: deadline },
            DetachGuard | RestoreShared { .. } | RestoreRecord { .. } | Disown { .. } | SwitchBack { .. } | SwitchXdpBack { .. } => {
                return None;
            }
            TakeHead { .. } | RemoveGeneration { .. } | CarryCounters { .. } | ForgetLink { .. } | Sweep { .. } => return None,
        })
    }

    /// It only deletes what nothing uses: should it fail, no verdict is wrong.
    pub fn is_clean_up(&self) -> bool {
        matches!(self, Action::RemoveGeneration { .. } | Action::ForgetLink { .. } | Action::Sweep { .. })
    }

    /// The interface it concerns.
    pub fn link(&self) -> Option<&Target> {
        use Action::*;
        match self {
            WriteRecord { link, .. } | RestoreRecord { link, .. } | DropRecord { link, .. } => Some(link),
            Adopt { link, .. } | Disown { link } => Some(link),
            Attach { link, .. } | Detach { link, .. } | Switch { link, .. } | SwitchBack { link, .. } => Some(link),
            TakeHead { link, .. } => Some(link),
            AttachXdp { link, .. } | DetachXdp { link, .. } | SwitchXdp { link, .. } | SwitchXdpBack { link, .. } => Some(link),
            AttachGuard | DetachGuard | InstallShared { .. } | RestoreShared { .. } | BuildGeneration { .. } | RemoveGeneration { .. } => {
                None
            }
            CarryCounters { .. } | Commit { .. } | SetDeadline { .. } | ForgetLink { .. } | Sweep { .. } => None,
        }
    }
}

/// `ingress` or `egress`.
pub fn hook_name(hook: Hook) -> &'static str {
    match hook {
        Hook::Ingress => "ingress",
        Hook::Egress => "egress",
    }
}

fn variant_name(variant: DeviceKind) -> &'static str {
    match variant {
        DeviceKind::Ethernet | DeviceKind::Loopback => "ethernet",
        DeviceKind::Raw => "raw IP",
    }
}

fn mode_name(mode: XdpMode) -> &'static str {
    match mode {
        XdpMode::Auto => "native, else generic",
        XdpMode::Native => "native",
        XdpMode::Generic => "generic",
        XdpMode::Off => "off",
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use Action::*;
        match self {
            InstallShared { .. } => write!(f, "install the epilogue program"),
            RestoreShared { program } => write!(f, "install epilogue program {program} again"),
            AttachGuard => write!(f, "attach the guard of interfaces that are not enforced yet"),
            DetachGuard => write!(f, "detach the guard of interfaces that are not enforced yet"),
            BuildGeneration { generation, deadline: 0 } => write!(f, "build generation {generation}"),
            BuildGeneration { generation, .. } => write!(f, "build generation {generation}, until it is confirmed"),
            RemoveGeneration { generation } => write!(f, "remove generation {generation}"),
            WriteRecord { generation, link, before: None, .. } => write!(f, "put {link} under policy in generation {generation}"),
            WriteRecord { generation, link, .. } => write!(f, "change the record of {link} in generation {generation}"),
            Adopt { generation, link } => write!(f, "take over the connections of sockets over {link} into generation {generation}"),
            Disown { link } => write!(f, "forget the connections over {link}"),
            RestoreRecord { generation, link, .. } => write!(f, "restore the record of {link} in generation {generation}"),
            DropRecord { generation, link, .. } => write!(f, "take {link} out of generation {generation}"),
            Attach { link, hook, variant } => write!(f, "attach the {} program to {} of {link}", variant_name(*variant), hook_name(*hook)),
            Detach { link, hook, .. } => write!(f, "detach the program from {} of {link}", hook_name(*hook)),
            Switch { link, hook, from, .. } => write!(f, "exchange program {from} at {} of {link}", hook_name(*hook)),
            SwitchBack { link, hook, to } => write!(f, "return to program {to} at {} of {link}", hook_name(*hook)),
            TakeHead { link, hook, .. } => write!(f, "put our program before others at {} of {link}", hook_name(*hook)),
            AttachXdp { link, mode } => write!(f, "attach the XDP program to {link} ({})", mode_name(*mode)),
            DetachXdp { link, .. } => write!(f, "detach the XDP program from {link}"),
            SwitchXdp { link, from } => write!(f, "exchange XDP program {from} of {link}"),
            SwitchXdpBack { link, to } => write!(f, "return to XDP program {to} of {link}"),
            CarryCounters { from, to } => write!(f, "carry the counters of generation {from} to {to}"),
            Commit { word, before } => write!(f, "commit generation {} (before: {})", word.running, before.running),
            SetDeadline { generation, deadline: 0, .. } => write!(f, "let generation {generation} count for good"),
            SetDeadline { generation, .. } => write!(f, "let generation {generation} count until it is confirmed"),
            ForgetLink { ifindex } => write!(f, "forget the vanished device of index {ifindex}"),
            Sweep { directory } => write!(f, "unpin {directory}"),
        }
    }
}
