//! Docker: `config.v2.json` of each container has its name from its creation on; its process is in containerd's files before it runs
//! anything, and in `config.v2.json` a moment later.

use std::fs;
use std::path::Path;

use serde::Deserialize;

use super::{Roots, Running, process, trusted};

pub(super) const CONTAINERS: &str = "/var/lib/docker/containers";
/// Where containerd keeps Docker's containers: as a service of its own, or started by Docker.
pub(super) const TASKS: [&str; 2] =
    ["/run/containerd/io.containerd.runtime.v2.task/moby", "/run/docker/containerd/daemon/io.containerd.runtime.v2.task/moby"];

/// `config.v2.json`, as far as it is of use.
#[derive(Deserialize)]
struct Config {
    #[serde(rename = "Name")]
    name: String,
    #[serde(rename = "State")]
    state: State,
    #[serde(rename = "NetworkSettings", default)]
    network: Network,
}

#[derive(Deserialize, Default)]
struct Network {
    /// The network namespace's file.
    #[serde(rename = "SandboxKey", default)]
    path: String,
}

#[derive(Deserialize)]
struct State {
    #[serde(rename = "Running")]
    running: bool,
    #[serde(rename = "Pid")]
    pid: u32,
}

pub(super) fn running(roots: &Roots, found: &mut Running) {
    let directories = fs::read_dir(roots.path(CONTAINERS)).into_iter().flatten().flatten();
    for directory in directories.map(|entry| entry.path()) {
        let Some((id, config)) = read(&directory) else { continue };
        let name = config.name.trim_start_matches('/');
        if !found.wants(name) {
            continue;
        }
        let task = |base: &str| process::in_file(&roots.path(base).join(&id).join("init.pid"));
        let told = config.state.running.then_some(config.state.pid);
        for process in TASKS.into_iter().filter_map(task).chain(told).filter(|process| process::carries(roots, *process, &id)) {
            found.add(roots, name, process, Some(&config.network.path));
        }
    }
}

fn read(directory: &Path) -> Option<(String, Config)> {
    let id = directory.file_name()?.to_str()?.to_owned();
    Some((id, serde_json::from_slice(&trusted(&directory.join("config.v2.json"))?).ok()?))
}
