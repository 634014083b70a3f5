//! Whose interface is it: containers and machines by name, from the files in which their managers keep what runs.
//!
//! Stands beside `source` in the walk: it reads facts for the compiler. Knows files, process numbers and what proves that a process
//! still is the one that a file means; which interface leads to its network namespace is for `kernel` to say. Believes only files
//! that nobody but root can change. A name that nobody knows has no claim, and the policy selects nothing.

mod docker;
mod machines;
mod places;
mod podman;
mod process;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

pub use places::directories;

use crate::policy::model::{Owner, OwnerKind, PolicySet};
use crate::source;

/// Longest file that is read here; lists of thousands of containers are shorter.
const LONGEST: u64 = 16 << 20;

/// How the interfaces of an owner are found: by every way that is known.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Claim {
    /// These, by index.
    pub interfaces: BTreeSet<u32>,
    /// Those whose other end is in the network namespace of one of these processes.
    pub processes: BTreeSet<u32>,
}

/// Where the managers keep their files; `/` but for tests.
#[derive(Debug, Clone)]
pub struct Roots(PathBuf);

impl Default for Roots {
    fn default() -> Self {
        Roots("/".into())
    }
}

impl Roots {
    /// Below another directory.
    pub fn below(directory: &Path) -> Roots {
        Roots(directory.to_path_buf())
    }

    fn path(&self, absolute: &str) -> PathBuf {
        self.0.join(absolute.trim_start_matches('/'))
    }
}

/// The owners that policies name.
pub fn named(policies: &PolicySet) -> BTreeSet<Owner> {
    policies.policies.iter().filter_map(|policy| policy.owner.clone()).collect()
}

/// The claims of those owners that run now. A container is that of every engine that has one of the name running.
pub fn claims(roots: &Roots, wanted: &BTreeSet<Owner>) -> BTreeMap<Owner, Claim> {
    let containers = wanted.iter().any(|owner| owner.kind == OwnerKind::Container).then(|| Running::now(roots));
    let claim = |owner: &Owner| match owner.kind {
        OwnerKind::Machine => machines::claim(roots, &owner.name),
        OwnerKind::Container => {
            let processes = containers.as_ref()?.0.get(&owner.name)?.clone();
            Some(Claim { processes, ..Claim::default() })
        }
    };
    wanted.iter().filter_map(|owner| Some((owner.clone(), claim(owner)?))).collect()
}

/// Processes of running containers, by name.
#[derive(Default)]
struct Running(BTreeMap<String, BTreeSet<u32>>);

impl Running {
    fn now(roots: &Roots) -> Running {
        let mut found = Running::default();
        docker::running(roots, &mut found);
        podman::running(roots, &mut found);
        found
    }

    fn add(&mut self, name: &str, process: u32) {
        self.0.entry(name.to_owned()).or_default().insert(process);
    }
}

/// What a file holds that only root (and the daemon's user) can change.
fn trusted(path: &Path) -> Option<Vec<u8>> {
    source::own_bytes(path, LONGEST)
}

#[cfg(test)]
mod tests;
