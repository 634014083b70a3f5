//! What is live, and where it came from.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use super::Candidate;
use crate::compile::ruleset::{LinkFacts, Ruleset};
use crate::policy::model::{Policy, PolicySet};

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
    pub policies: Arc<PolicySet>,
    /// Of the files it was made from.
    pub digest: [u8; 32],
    /// The interfaces that it was compiled for.
    links: Vec<LinkFacts>,
    /// What the kernel was told.
    pub ruleset: Arc<Ruleset>,
    /// Warnings of its files.
    pub warnings: Arc<[String]>,
    /// Directories of its set files.
    pub list_directories: BTreeSet<PathBuf>,
}

impl Live {
    pub(super) fn new(candidate: Candidate, links: Vec<LinkFacts>, ruleset: Arc<Ruleset>) -> Self {
        let Candidate { origin, policies, digest, warnings, list_directories } = candidate;
        Live { origin, policies, digest, links, ruleset, warnings, list_directories }
    }

    /// The ruleset, if it is what the compiler would say again: link events that change no fact are frequent.
    pub(super) fn compiled(&self, candidate: &Candidate, links: &[LinkFacts]) -> Option<Arc<Ruleset>> {
        (Arc::ptr_eq(&self.policies, &candidate.policies) && self.links == links).then(|| Arc::clone(&self.ruleset))
    }

    /// Policies that select none of the interfaces that are there.
    pub(super) fn idle_policies(&self) -> impl Iterator<Item = &Policy> {
        let idle = |policy: &&Policy| self.ruleset.links.values().all(|link| !link.policies.contains(&policy.name));
        self.policies.policies.iter().filter(idle)
    }

    /// The same policies, to be enforced on the interfaces that are there now.
    pub(super) fn candidate(&self) -> Candidate {
        Candidate {
            origin: self.origin,
            policies: Arc::clone(&self.policies),
            digest: self.digest,
            warnings: Arc::clone(&self.warnings),
            list_directories: self.list_directories.clone(),
        }
    }
}
