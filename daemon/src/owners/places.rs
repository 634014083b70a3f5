//! The directories whose changes can mean that a container or machine has come or gone.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::{Roots, docker, machines, podman};

/// Those of them that are there now, and where the next ones will appear. A `*` stands for any beginning of a name.
pub fn directories(roots: &Roots) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    let (stored, run) = (podman::STORED, podman::RUNNING);
    let drivers = format!("*{}", podman::SUFFIX);
    let podman = [format!("{stored}/{drivers}"), format!("{run}/{drivers}/*/userdata")];
    let docker = [docker::CONTAINERS].into_iter().chain(docker::TASKS).map(|directory| format!("{directory}/*"));
    for pattern in docker.chain(podman).chain([machines::MACHINES.to_owned()]) {
        let mut names = pattern.trim_start_matches('/').split('/');
        // `/` itself gets no new children that matter.
        if let Some(first) = names.next() {
            below(&roots.path(first), &names.collect::<Vec<_>>(), &mut found);
        }
    }
    found
}

fn below(directory: &Path, names: &[&str], found: &mut BTreeSet<PathBuf>) {
    if !directory.is_dir() {
        return;
    }
    found.insert(directory.to_path_buf());
    let Some((name, rest)) = names.split_first() else { return };
    let Some(end) = name.strip_prefix('*') else { return below(&directory.join(name), rest, found) };
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().ends_with(end) {
            below(&entry.path(), rest, found);
        }
    }
}
