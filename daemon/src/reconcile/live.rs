//! What is live, and where it came from.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use super::Candidate;
use crate::compile::ruleset::{LinkFacts, LinkPlan, Ruleset};
use crate::policy::model::{Direction, Mode, Policy, PolicySet};

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

    /// Policies in audit mode that judge a direction of an interface, in order.
    pub(super) fn audits(&self, link: &LinkPlan, direction: Direction) -> Vec<String> {
        let judges =
            |policy: &&Policy| policy.mode == Mode::Audit && policy.chain(direction).is_some() && link.policies.contains(&policy.name);
        self.policies.policies.iter().filter(judges).map(|policy| policy.name.clone()).collect()
    }

    /// Rules that held when their files were read and have expired since.
    pub(super) fn expired_meanwhile(&self, now: i64) -> impl Iterator<Item = String> {
        let chains = self.policies.policies.iter().flat_map(|policy| policy.ingress.iter().chain(&policy.egress));
        let expired = chains.flat_map(|chain| &chain.rules).filter(move |rule| rule.expires.is_some_and(|end| end <= now));
        let said = |start: &str| self.warnings.iter().any(|warning| warning.contains(start));
        expired.filter(move |rule| !said(&format!("the rule `{}` expired", rule.id))).map(|rule| {
            format!("{}: the rule `{}` has expired and never matches any more (take it out, or give it a later date)", rule.origin, rule.id)
        })
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
