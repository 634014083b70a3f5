//! The proven model: a policy that can no longer be wrong.
//!
//! Knows the meaning of a policy and where each part of it was written. Knows neither TOML nor the kernel.
//! Made by [`super::validate`], read by the judge, the compiler and the reports.

mod cases;
mod daemon;
mod policies;
mod rules;
mod sets;

use std::fmt;
use std::sync::Arc;

pub use cases::*;
pub use daemon::*;
pub use policies::*;
pub use rules::*;
pub use sets::*;

/// Where something was written: a file of the policy directory, line and column counted from 1.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Origin {
    /// Path as given to the user (the policy directory joined with the file's name).
    pub file: Arc<str>,
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// All files of the directory as one ruleset.
#[derive(Debug, Clone, PartialEq)]
pub struct PolicySet {
    /// `[daemon]`, with defaults filled in.
    pub daemon: Daemon,
    /// Every `[[set]]`, in order of definition; [`SetId`] is an index into it.
    pub sets: Vec<Set>,
    /// Every `[[policy]]`, sorted by (`order`, `name`).
    pub policies: Vec<Policy>,
    /// Every `[[test]]`, in order of definition.
    pub tests: Vec<TestCase>,
}

/// Which side of the interface is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndpointKind {
    /// A NIC of this host: policy ingress is the ingress hook.
    Host,
    /// The host side of a veth or tap: policy ingress (to the workload) is the egress hook.
    Workload,
}

/// Direction as seen from the protected thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    /// To the protected thing.
    Ingress,
    /// From the protected thing.
    Egress,
}

/// Where on the interface a packet is seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Hook {
    /// The packet arrives at the interface.
    Ingress,
    /// The packet leaves through the interface.
    Egress,
}

impl Hook {
    /// The other way through the interface.
    pub fn opposite(self) -> Hook {
        match self {
            Hook::Ingress => Hook::Egress,
            Hook::Egress => Hook::Ingress,
        }
    }
}

impl EndpointKind {
    /// The hook at which traffic of a policy direction is seen.
    pub fn hook(self, direction: Direction) -> Hook {
        match (self, direction) {
            (EndpointKind::Host, Direction::Ingress) | (EndpointKind::Workload, Direction::Egress) => Hook::Ingress,
            (EndpointKind::Host, Direction::Egress) | (EndpointKind::Workload, Direction::Ingress) => Hook::Egress,
        }
    }

    /// The policy direction of traffic seen at a hook.
    pub fn direction(self, hook: Hook) -> Direction {
        match (self, hook) {
            (EndpointKind::Host, Hook::Ingress) | (EndpointKind::Workload, Hook::Egress) => Direction::Ingress,
            (EndpointKind::Host, Hook::Egress) | (EndpointKind::Workload, Hook::Ingress) => Direction::Egress,
        }
    }
}
