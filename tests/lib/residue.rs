//! What tests may leave behind: namespaces, pins, directories, processes. Finds it and removes what no living process owns.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::net::BPFFS;
use crate::{ns, say};

/// Every name that the bench makes begins so; then follow the process id, `-` and a number.
pub const PREFIX: &str = "np-test-";

/// Where version 2 is mounted, or the controllers of version 1.
const CGROUPS: &str = "/sys/fs/cgroup";

/// Places where names with [`PREFIX`] can stand.
const PLACES: [&str; 6] = ["/run/netns", BPFFS, "/run", CGROUPS, "/sys/fs/cgroup/memory", "/sys/fs/cgroup/unified"];

/// What was found of one kind, as paths.
pub fn found(owner: impl Fn(u32) -> bool) -> Vec<PathBuf> {
    let entries = PLACES.iter().filter_map(|place| fs::read_dir(place).ok()).flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| owner_of(path).is_some_and(&owner)).collect()
}

/// Removes everything that belongs to test processes which no longer live.
pub fn sweep() {
    for path in found(|process| !Path::new(&format!("/proc/{process}")).exists()) {
        if path.starts_with("/run/netns") {
            ns::remove(&path.file_name().unwrap_or_default().to_string_lossy());
        } else if path.starts_with(CGROUPS) {
            fs::remove_dir(&path).unwrap_or_else(|error| say::aloud(&format!("{} is left behind: {error}", path.display())));
        } else {
            unmount_below(&path);
            remove_tree(&path);
        }
    }
}

/// File systems that a test had mounted in its directory.
fn unmount_below(path: &Path) {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let points = mounts.lines().filter_map(|line| line.split(' ').nth(1)).map(Path::new);
    points.filter(|point| point.starts_with(path) && path.starts_with("/run")).for_each(unmount);
}

/// Takes a mount away at once, whoever still uses it; none is no fault.
pub fn unmount(path: &Path) {
    let status = Command::new("umount").arg("--lazy").arg(path).stderr(Stdio::null()).status();
    if !status.is_ok_and(|status| status.success()) && is_mounted(path) {
        say::aloud(&format!("{} stays mounted", path.display()));
    }
}

fn is_mounted(path: &Path) -> bool {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    mounts.lines().any(|line| line.split(' ').nth(1).map(Path::new) == Some(path))
}

/// Removes a directory with everything in it, where it exists.
pub fn remove_tree(path: &Path) {
    match fs::remove_dir_all(path) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => say::aloud(&format!("{} is left behind: {error}", path.display())),
    }
}

/// Everything below a directory that is not a directory itself (pins), sorted.
pub fn files_below(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let mut files = Vec::new();
    for path in entries.flatten().map(|entry| entry.path()) {
        if path.is_dir() { files.extend(files_below(&path)) } else { files.push(path) }
    }
    files.sort();
    files
}

fn owner_of(path: &Path) -> Option<u32> {
    path.file_name()?.to_str()?.strip_prefix(PREFIX)?.split('-').next()?.parse().ok()
}
