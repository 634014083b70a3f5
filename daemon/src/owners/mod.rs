//! Whose interface is it: containers and machines by name, from the files in which their managers keep what runs.
//!
//! Stands beside `source` in the walk: it reads facts for the compiler. Knows files and process numbers; which interface leads
//! to a process's network namespace is for `kernel` to say. A name that nobody knows has no claim, and the policy selects nothing.

mod containers;
mod machines;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::policy::model::{Owner, OwnerKind, PolicySet};

/// How the interfaces of an owner are found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claim {
    /// These, by index.
    Interfaces(Vec<u32>),
    /// Those whose other end is in the network namespace of this process.
    Process(u32),
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

/// The claims of those owners that run now.
pub fn claims(roots: &Roots, wanted: &BTreeSet<Owner>) -> BTreeMap<Owner, Claim> {
    let mut found = BTreeMap::new();
    let containers = wanted.iter().any(|owner| owner.kind == OwnerKind::Container).then(|| containers::running(roots));
    for owner in wanted {
        let claim = match owner.kind {
            OwnerKind::Machine => machines::interfaces(roots, &owner.name).map(Claim::Interfaces),
            OwnerKind::Container => containers.as_ref().and_then(|all| all.get(&owner.name)).copied().map(Claim::Process),
        };
        found.extend(claim.map(|claim| (owner.clone(), claim)));
    }
    found
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // tests may fail loudly
mod tests {
    use std::fs;

    use super::*;

    fn write(root: &Path, path: &str, text: &str) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn claim(root: &Path, kind: OwnerKind, name: &str) -> Option<Claim> {
        let owner = Owner { kind, name: name.into() };
        claims(&Roots::below(root), &BTreeSet::from([owner.clone()])).remove(&owner)
    }

    #[test]
    fn machine_is_known_by_machined() {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), "run/systemd/machines/web", "# This is private data.\nNAME=web\nLEADER=77\nNETIF=5 9\n");
        assert_eq!(claim(root.path(), OwnerKind::Machine, "web"), Some(Claim::Interfaces(vec![5, 9])));
        assert_eq!(claim(root.path(), OwnerKind::Machine, "other"), None);
        assert_eq!(claim(root.path(), OwnerKind::Machine, "../machines/web"), None, "a name is no path");
    }

    #[test]
    fn docker_container_is_known_while_it_runs() {
        let root = tempfile::tempdir().unwrap();
        let config = |name: &str, running: bool| format!(r#"{{"Name":"/{name}","State":{{"Running":{running},"Pid":4711}}}}"#);
        write(root.path(), "var/lib/docker/containers/abc/config.v2.json", &config("web", true));
        write(root.path(), "var/lib/docker/containers/def/config.v2.json", &config("old", false));
        write(root.path(), "var/lib/docker/containers/ghi/config.v2.json", "{ half");
        assert_eq!(claim(root.path(), OwnerKind::Container, "web"), Some(Claim::Process(4711)));
        assert_eq!(claim(root.path(), OwnerKind::Container, "old"), None);
    }

    #[test]
    fn podman_container_is_known_by_its_names_and_pid_file() {
        let root = tempfile::tempdir().unwrap();
        write(
            root.path(),
            "var/lib/containers/storage/overlay-containers/containers.json",
            r#"[{"id":"abc","names":["web","w"]},{"id":"d"}]"#,
        );
        write(root.path(), "run/containers/storage/overlay-containers/abc/userdata/pidfile", "815");
        assert_eq!(claim(root.path(), OwnerKind::Container, "web"), Some(Claim::Process(815)));
        assert_eq!(claim(root.path(), OwnerKind::Container, "d"), None);
    }
}
