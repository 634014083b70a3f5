//! What is live, and where it came from.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::Candidate;
use crate::compile::ruleset::Ruleset;
use crate::policy::model::PolicySet;

/// Where a ruleset came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The policy directory as it is.
    Directory,
    /// The copy of the last ruleset that was live.
    LastGood,
    /// Nothing but failsafe entries.
    Failsafe,
}

impl Origin {
    /// As `status` names it.
    pub fn word(self) -> &'static str {
        match self {
            Origin::Directory => "directory",
            Origin::LastGood => "last-good",
            Origin::Failsafe => "failsafe",
        }
    }

    /// As a log line names it.
    pub fn sentence(self) -> &'static str {
        match self {
            Origin::Directory => "the policy directory",
            Origin::LastGood => "the last good ruleset",
            Origin::Failsafe => "failsafe entries only (everything else is denied on every interface)",
        }
    }
}

/// The enforced ruleset.
pub struct Live {
    /// Where it came from.
    pub origin: Origin,
    /// What it means.
    pub policies: PolicySet,
    /// Of the files it was made from.
    pub digest: [u8; 32],
    /// What the kernel was told.
    pub ruleset: Ruleset,
    /// Warnings of its files.
    pub warnings: Vec<String>,
    /// Directories of its set files.
    pub list_directories: BTreeSet<PathBuf>,
}

impl Live {
    pub(super) fn new(candidate: Candidate, ruleset: Ruleset) -> Self {
        let Candidate { origin, policies, digest, warnings, list_directories } = candidate;
        Live { origin, policies, digest, ruleset, warnings, list_directories }
    }

    /// The same policies, to be enforced on the interfaces that are there now.
    pub(super) fn candidate(&self) -> Candidate {
        Candidate {
            origin: self.origin,
            policies: self.policies.clone(),
            digest: self.digest,
            warnings: self.warnings.clone(),
            list_directories: self.list_directories.clone(),
        }
    }
}
