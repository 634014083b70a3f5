//! Whether a process number that a file names still is that of the container: numbers are given again, files outlive crashes and
//! reboots. What proves it is the control group: engines put the container's id, or the unit's name, into its path, and only root
//! moves processes there.
//!
//! The process says itself in which group it is, unless it is hidden from us (`ProtectProc=` of the unit hides those of other users, so
//! of containers with users of their own); then the groups are asked which processes they have.

use std::fs;
use std::path::{Path, PathBuf};

use super::{Roots, trusted};

/// Ids have 64 hexadecimal digits; fewer than these prove nothing.
const ID: usize = 32;
/// Groups of engines lie no deeper than this below the root of a hierarchy.
const DEEPEST: usize = 5;

/// The number in a file that holds nothing else.
pub(super) fn in_file(path: &Path) -> Option<u32> {
    std::str::from_utf8(&trusted(path)?).ok()?.trim().parse().ok()
}

/// The process is in a control group of the container of that id: `docker-ID.scope`, `libpod-payload-ID`, `ID`.
pub(super) fn carries(roots: &Roots, process: u32, id: &str) -> bool {
    let good = id.len() >= ID && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    let is = |group: &str| group.trim_end_matches(".scope").strip_suffix(id).is_some_and(|rest| rest.is_empty() || rest.ends_with('-'));
    good && is_in(roots, process, &is)
}

/// The process is in the control group of that unit.
pub(super) fn is_of(roots: &Roots, process: u32, unit: &str) -> bool {
    is_in(roots, process, &|group| group == unit)
}

/// What stands in a user's slice proves nothing: users make groups of any name there.
const USERS: &str = "user.slice";

fn is_in(roots: &Roots, process: u32, is: &dyn Fn(&str) -> bool) -> bool {
    let Ok(text) = fs::read_to_string(roots.path("/proc").join(process.to_string()).join("cgroup")) else {
        return is_listed(&roots.path("/sys/fs/cgroup"), process, is, DEEPEST, false);
    };
    let paths = text.lines().filter_map(|line| line.splitn(3, ':').nth(2));
    let mut paths = paths.filter(|path| !path.split('/').any(|group| group == USERS));
    paths.any(|path| path.split('/').any(is))
}

/// A group below this one that is of that name, or one below it, has the process. `inside`: this one is.
fn is_listed(directory: &Path, process: u32, is: &dyn Fn(&str) -> bool, depth: usize, inside: bool) -> bool {
    let has = || fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default();
    if inside && has().lines().any(|line| line.parse() == Ok(process)) {
        return true;
    }
    let groups = fs::read_dir(directory).into_iter().flatten().flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    let groups: Vec<(String, PathBuf)> = groups.map(|entry| (entry.file_name().to_string_lossy().into_owned(), entry.path())).collect();
    let mut groups = groups.into_iter().filter(|(name, _)| depth > 0 && name != USERS);
    groups.any(|(name, path)| is_listed(&path, process, is, depth - 1, inside || is(&name)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // tests may fail loudly
mod tests {
    use super::*;

    const ID: &str = "5f1bb0e7b0a94e38b5c3b2a1c0d9e8f75f1bb0e7b0a94e38b5c3b2a1c0d9e8f7";

    fn proven(cgroup: &str, id: &str) -> bool {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("proc/4711")).unwrap();
        fs::write(root.path().join("proc/4711/cgroup"), cgroup.replace("ID", id)).unwrap();
        carries(&Roots::below(root.path()), 4711, id)
    }

    #[test]
    fn groups_of_the_engines_prove_a_container() {
        for path in [
            "0::/system.slice/docker-ID.scope\n",
            "0::/docker/ID\n",
            "0::/machine.slice/libpod-ID.scope/container\n",
            "0::/system.slice/web.service/libpod-payload-ID\n",
            "0::/libpod_parent/libpod-ID\n",
            "12:pids:/docker/ID\n1:name=systemd:/docker/ID\n0::/\n",
            "0::/../machine.slice/libpod-ID.scope/init.scope\n",
        ] {
            assert!(proven(path, ID), "{path}");
        }
    }

    #[test]
    fn hidden_process_is_proven_by_what_its_group_lists() {
        let root = tempfile::tempdir().unwrap();
        let list = |group: String, processes: &str| {
            let directory = root.path().join("sys/fs/cgroup").join(group);
            fs::create_dir_all(&directory).unwrap();
            fs::write(directory.join("cgroup.procs"), processes).unwrap();
        };
        let proven = |process| carries(&Roots::below(root.path()), process, ID);
        list(format!("machine.slice/libpod-{ID}.scope/container"), "4711\n4712\n");
        list("machine.slice/libpod-other.scope".into(), "5\n");
        list(format!("user.slice/docker-{ID}.scope"), "6\n");
        assert!(proven(4711) && proven(4712));
        assert!(!proven(5) && !proven(6) && !proven(7));
        fs::create_dir_all(root.path().join("proc/4711")).unwrap();
        fs::write(root.path().join("proc/4711/cgroup"), "0::/system.slice/cron.service\n").unwrap();
        assert!(!proven(4711), "what a process says itself counts");
    }

    #[test]
    fn other_groups_and_short_ids_prove_nothing() {
        for path in [
            "0::/\n",
            "0::/system.slice/ssh.service\n",
            "0::/system.slice/docker-aID.scope\n",
            "0::/user.slice/user-1000.slice/docker-ID.scope\n",
            "",
        ] {
            assert!(!proven(path, ID), "{path}");
        }
        assert!(!proven("0::/docker/abc\n", "abc"));
        assert!(!proven("0::/docker/\n", ""));
        let root = tempfile::tempdir().unwrap();
        assert!(!carries(&Roots::below(root.path()), 4711, ID), "no process");
    }
}
