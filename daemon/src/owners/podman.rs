//! Podman: names are in the lists of containers/storage, each container's process in the file that conmon writes before it runs
//! anything, its network namespace in the OCI runtime's configuration. All lie in a directory that has the storage driver's name.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::{Roots, Running, process, trusted};

pub(super) const STORED: &str = "/var/lib/containers/storage";
pub(super) const RUNNING: &str = "/run/containers/storage";
/// `overlay-containers`, `vfs-containers`, ….
pub(super) const SUFFIX: &str = "-containers";
/// Containers that are removed when they end (`--rm`, so those of Quadlet too) are in the second list.
const LISTS: [&str; 2] = ["containers.json", "volatile-containers.json"];

/// An entry of a list.
#[derive(Deserialize)]
struct Stored {
    id: String,
    #[serde(default)]
    names: Vec<String>,
}

/// `config.json` of the OCI runtime, as far as it is of use.
#[derive(Deserialize)]
struct Runtime {
    linux: Linux,
}

#[derive(Deserialize)]
struct Linux {
    #[serde(default)]
    namespaces: Vec<Namespace>,
}

#[derive(Deserialize)]
struct Namespace {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    path: String,
}

pub(super) fn running(roots: &Roots, found: &mut Running) {
    let (stored, run) = (roots.path(STORED), roots.path(RUNNING));
    for driver in drivers(&run) {
        // With a transient store the lists lie beside the processes.
        let lists = [&stored, &run].into_iter().flat_map(|base| LISTS.map(|list| base.join(&driver).join(list)));
        for mut container in lists.flat_map(|list| read(&list)) {
            container.names.retain(|name| found.wants(name));
            if container.names.is_empty() {
                continue;
            }
            let process = process::in_file(&run.join(&driver).join(&container.id).join("userdata/pidfile"));
            let Some(process) = process.filter(|process| process::carries(roots, *process, &container.id)) else { continue };
            let network = network(&stored.join(&driver).join(&container.id).join("userdata/config.json"));
            container.names.iter().for_each(|name| found.add(roots, name, process, network.as_deref()));
        }
    }
}

fn drivers(run: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(run).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name()).filter(|name| name.to_string_lossy().ends_with(SUFFIX)).map(PathBuf::from).collect()
}

/// What cannot be read is no container: the engine may be writing, and says so by another event. Nor is an entry that is none.
fn read(list: &Path) -> Vec<Stored> {
    let entries: Vec<serde_json::Value> = trusted(list).and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
    entries.into_iter().filter_map(|entry| serde_json::from_value(entry).ok()).collect()
}

/// The network namespace that was made for the container.
fn network(configuration: &Path) -> Option<String> {
    let runtime: Runtime = serde_json::from_slice(&trusted(configuration)?).ok()?;
    runtime.linux.namespaces.into_iter().find(|namespace| namespace.kind == "network").map(|namespace| namespace.path)
}
