//! Docker and Podman: names of running containers and a process of each, from the engines' own files. What cannot be read is
//! no container: the engines may be writing.

use std::collections::BTreeMap;
use std::fs;

use serde::Deserialize;

use super::Roots;

/// Running containers of all engines, by name.
pub(super) fn running(roots: &Roots) -> BTreeMap<String, u32> {
    let mut found = podman(roots);
    found.extend(docker(roots));
    found
}

/// `config.v2.json` of Docker, as far as it is of use.
#[derive(Deserialize)]
struct Docker {
    #[serde(rename = "Name")]
    name: String,
    #[serde(rename = "State")]
    state: DockerState,
}

#[derive(Deserialize)]
struct DockerState {
    #[serde(rename = "Running")]
    running: bool,
    #[serde(rename = "Pid")]
    pid: u32,
}

fn docker(roots: &Roots) -> BTreeMap<String, u32> {
    let Ok(directories) = fs::read_dir(roots.path("/var/lib/docker/containers")) else { return BTreeMap::new() };
    let read = |path: std::path::PathBuf| {
        let container: Docker = serde_json::from_slice(&fs::read(path.join("config.v2.json")).ok()?).ok()?;
        let running = container.state.running && container.state.pid != 0;
        running.then(|| (container.name.trim_start_matches('/').to_owned(), container.state.pid))
    };
    directories.filter_map(|entry| read(entry.ok()?.path())).collect()
}

/// An entry of `containers.json` of containers/storage, which Podman keeps names in.
#[derive(Deserialize)]
struct Stored {
    id: String,
    #[serde(default)]
    names: Vec<String>,
}

fn podman(roots: &Roots) -> BTreeMap<String, u32> {
    let list = fs::read(roots.path("/var/lib/containers/storage/overlay-containers/containers.json")).unwrap_or_default();
    let stored: Vec<Stored> = serde_json::from_slice(&list).unwrap_or_default();
    let run = roots.path("/run/containers/storage/overlay-containers");
    let pid = |id: &str| fs::read_to_string(run.join(id).join("userdata/pidfile")).ok()?.trim().parse::<u32>().ok();
    let named = stored.iter().filter_map(|container| Some((container, pid(&container.id)?)));
    named.flat_map(|(container, pid)| container.names.iter().map(move |name| (name.clone(), pid))).collect()
}
