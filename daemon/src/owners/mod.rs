//! Whose interface is it: containers and machines by name, from the files in which their managers keep what runs.
//!
//! Stands beside `source` in the walk: it reads facts for the compiler. Knows files, process numbers and what proves that a process
//! still is the one that a file means; which interface leads to its network namespace is for `kernel` to say. Believes only files
//! that nobody but root can change. A name that nobody knows has no claim, and the policy selects nothing.

mod docker;
mod holdings;
mod machines;
mod places;
mod podman;
mod process;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

pub use holdings::Holdings;
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
    /// Those whose other end is in one of these network namespaces. The first process of a container may leave the one that its engine
    /// made for it, as any process may; the engine's file stays what it is.
    pub networks: BTreeSet<PathBuf>,
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
    let containers = wanted.iter().filter(|owner| owner.kind == OwnerKind::Container).map(|owner| owner.name.as_str());
    let running = Running::now(roots, containers.collect());
    let claim = |owner: &Owner| match owner.kind {
        OwnerKind::Machine => machines::claim(roots, &owner.name),
        OwnerKind::Container => running.claims.get(&owner.name).cloned(),
    };
    wanted.iter().filter_map(|owner| Some((owner.clone(), claim(owner)?))).collect()
}

/// Running containers of the names that are asked for.
struct Running<'a> {
    wanted: BTreeSet<&'a str>,
    claims: BTreeMap<String, Claim>,
}

impl Running<'_> {
    fn now<'a>(roots: &Roots, wanted: BTreeSet<&'a str>) -> Running<'a> {
        let mut found = Running { wanted, claims: BTreeMap::new() };
        if !found.wanted.is_empty() {
            docker::running(roots, &mut found);
            podman::running(roots, &mut found);
        }
        found
    }

    fn wants(&self, name: &str) -> bool {
        self.wanted.contains(name)
    }

    /// A container of that name runs: this is its first process, and the network namespace that its engine made.
    fn add(&mut self, roots: &Roots, name: &str, process: u32, network: Option<&str>) {
        let claim = self.claims.entry(name.to_owned()).or_default();
        claim.processes.insert(process);
        claim.networks.extend(network.filter(|path| NETWORKS.iter().any(|made| is_below(path, made))).map(|path| roots.path(path)));
    }
}

/// Where engines keep the network namespaces that they make; only root can put something there.
const NETWORKS: [&str; 4] = ["/run/docker/netns", "/var/run/docker/netns", "/run/netns", "/var/run/netns"];

fn is_below(path: &str, directory: &str) -> bool {
    let name = path.strip_prefix(directory).and_then(|rest| rest.strip_prefix('/'));
    name.is_some_and(|name| !name.is_empty() && name != ".." && !name.contains('/'))
}

/// What a file holds that only root (and the daemon's user) can change.
fn trusted(path: &Path) -> Option<Vec<u8>> {
    source::own_bytes(path, LONGEST)
}

#[cfg(test)]
mod tests;
