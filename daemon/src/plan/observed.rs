//! What is there: the kernel's side of the comparison, as plain data.
//!
//! Filled by `kernel::observe`, read by [`super::plan`]. Knows no file descriptor; a test can write one by hand.

use std::collections::BTreeMap;

use netpol_probes::abi;

use crate::compile::ruleset::DeviceKind;
use crate::policy::model::Hook;

/// The word that every packet reads once: which generation judges, and which one did before it. 0 = none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct GenerationWord {
    /// Judges packets now.
    pub running: u32,
    /// Kept whole for a roll-back.
    pub former: u32,
}

impl GenerationWord {
    /// As stored: bits 0..31 running, bits 32..63 former.
    pub fn to_bits(self) -> u64 {
        u64::from(self.running) | u64::from(self.former) << 32
    }

    /// The inverse of [`GenerationWord::to_bits`].
    pub fn from_bits(word: u64) -> Self {
        GenerationWord { running: (word & 0xffff_ffff) as u32, former: (word >> 32) as u32 }
    }

    /// Whether a generation is one of the two.
    pub fn holds(self, generation: u32) -> bool {
        generation != 0 && (generation == self.running || generation == self.former)
    }
}

/// A generation whose maps are pinned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GenerationFacts {
    /// SHA-256 of the ruleset it was built from; `None` = half built.
    pub digest: Option<[u8; 32]>,
    /// Unix time of the build, s.
    pub created: u64,
    /// Boot time in ns after which the former generation counts again; 0 = none.
    pub deadline: u64,
    /// Its policy programs are in their places, and were made from the objects that this binary carries.
    pub programs_current: bool,
}

/// How a tc program hangs on its hook.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TcAttachment {
    /// A pinned TCX link (kernel 6.6 and later).
    Tcx,
    /// A clsact filter.
    Clsact,
}

/// The tc program of ours on one hook of one interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TcObserved {
    /// By link or by filter.
    pub attachment: TcAttachment,
    /// Program variant; `None` = a program of ours, but not one that this binary carries.
    pub variant: Option<DeviceKind>,
    /// Kernel's id of the program.
    pub program: u32,
    /// Programs that run before ours on this hook and can skip it.
    pub ahead: usize,
    /// The head was taken back from them too often lately: it is left to them for now.
    pub contested: bool,
}

/// What XDP runs on an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum XdpObserved {
    /// Nothing.
    #[default]
    None,
    /// Ours, in the driver.
    Native {
        /// Kernel's id of the program.
        program: u32,
        /// It is the program that this binary carries.
        current: bool,
    },
    /// Ours, after the skb is made.
    Generic {
        /// Kernel's id of the program.
        program: u32,
        /// It is the program that this binary carries.
        current: bool,
    },
    /// Somebody else's.
    Foreign {
        /// Kernel's id of the program.
        program: u32,
    },
}

impl XdpObserved {
    /// Our program runs.
    pub fn is_ours(self) -> bool {
        matches!(self, XdpObserved::Native { .. } | XdpObserved::Generic { .. })
    }
}

/// The guard of interfaces that are not enforced yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum GuardObserved {
    /// This kernel cannot have one.
    #[default]
    Unknown,
    /// It could be there and is not, or not everywhere, or it is another binary's.
    Missing,
    /// It is in all its places.
    Attached,
}

/// Everything of ours on one interface.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LinkObserved {
    /// Current name; empty where the device is gone.
    pub name: String,
    /// `bridge`, `veth`, …; empty = a device of its own.
    pub kind: String,
    /// The bridge, bond or the like that it is a member of.
    pub master: Option<u32>,
    /// The device that it is made of.
    pub on: Option<u32>,
    /// The kernel has an interface of that index. `false`: pins or records are left of one that is gone.
    pub present: bool,
    /// A pin of ours is left whose device is gone (also where another device has that index now).
    pub dead_pins: bool,
    /// On the ingress hook.
    pub ingress: Option<TcObserved>,
    /// On the egress hook.
    pub egress: Option<TcObserved>,
    /// On XDP.
    pub xdp: XdpObserved,
}

impl Observed {
    /// A VLAN device stands on the interface: frames with tags are for this host, too.
    pub fn takes_tags(&self, ifindex: u32) -> bool {
        self.links.values().any(|upper| upper.present && upper.kind == "vlan" && upper.on == Some(ifindex))
    }
}

impl LinkObserved {
    /// Our tc program on a hook.
    pub fn tc(&self, hook: Hook) -> Option<&TcObserved> {
        match hook {
            Hook::Ingress => self.ingress.as_ref(),
            Hook::Egress => self.egress.as_ref(),
        }
    }

    /// Anything of ours hangs on it.
    pub fn attached(&self) -> bool {
        self.ingress.is_some() || self.egress.is_some() || self.xdp.is_ours()
    }
}

/// Everything that is there.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Observed {
    /// Who judges.
    pub word: GenerationWord,
    /// By number: every generation that has a directory.
    pub generations: BTreeMap<u32, GenerationFacts>,
    /// By ifindex: every interface of this network namespace and whatever pins name.
    pub links: BTreeMap<u32, LinkObserved>,
    /// By (generation number that the slot holds, ifindex): every record of the `links` map.
    pub records: BTreeMap<(u32, u32), abi::np_link>,
    /// The epilogue in the program array is the one that this binary carries.
    pub shared_current: bool,
    /// Kernel's id of the epilogue in the program array.
    pub shared: Option<u32>,
    /// The netfilter programs of this binary.
    pub guard: GuardObserved,
    /// Directories to unpin at the end, relative to the bpffs directory: another ABI's, or programs of other bytes.
    pub leftovers: Vec<String>,
    /// `net.ipv4.tcp_syncookies` is 0: this host never gives a SYN cookie.
    pub no_syn_cookies: bool,
    /// Boot time of the observation, ns.
    pub now: u64,
}

impl Observed {
    /// A generation waits for confirmation that has come too late: the packets are judged by the former one again.
    pub fn expired(&self) -> bool {
        let deadline = self.deadline();
        deadline != 0 && self.now >= deadline && self.word.former != 0
    }

    /// A generation waits for confirmation and still counts.
    pub fn pending(&self) -> bool {
        let deadline = self.deadline();
        deadline > self.now && self.word.former != 0
    }

    /// Deadline of the running generation, ns of boot time; 0 = none.
    pub fn deadline(&self) -> u64 {
        self.generations.get(&self.word.running).map_or(0, |g| g.deadline)
    }

    /// Digest of the running generation, where there is a whole one.
    pub fn running_digest(&self) -> Option<[u8; 32]> {
        self.generations.get(&self.word.running).and_then(|g| g.digest)
    }
}
