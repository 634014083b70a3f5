//! Why a policy set cannot be compiled.

use std::fmt;

use crate::policy::model::{Origin, Policy};

/// What stands against a compilation. The running generation stays.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CompileError {
    /// Host and workload policies on one interface.
    #[error("{0}")]
    EndpointConflict(Box<Conflict>),
    /// Two policies want the XDP program attached in different ways.
    #[error("{0}")]
    XdpConflict(Box<Conflict>),
    /// A table of fixed size is too small for what the policies say.
    #[error("{what}: {found}, and no more than {limit} are possible")]
    #[allow(missing_docs)]
    TooMany { what: String, found: usize, limit: usize },
}

/// Two policies that contradict each other on an interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// The interface that both select.
    pub interface: String,
    /// The key that they differ in.
    pub key: &'static str,
    /// The one.
    pub first: Claim,
    /// The other.
    pub second: Claim,
}

/// What one policy says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// Policy's name.
    pub policy: String,
    /// Where it is written.
    pub origin: Origin,
    /// The value that it gives.
    pub value: &'static str,
}

impl Claim {
    pub(super) fn of(policy: &Policy, value: &'static str) -> Claim {
        Claim { policy: policy.name.clone(), origin: policy.origin.clone(), value }
    }
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Conflict { interface, key, first, second } = self;
        write!(f, "interface {interface}: {key} is {first} and {second}")
    }
}

impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\" in policy \"{}\" ({})", self.value, self.policy, self.origin)
    }
}
