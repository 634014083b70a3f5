//! Whether a process number that a file names still is that of the container: numbers are given again, files outlive crashes and
//! reboots. What proves it is the control group: engines put the container's id, or the unit's name, into its path, and only root
//! moves processes there.

use std::fs;
use std::path::Path;

use super::{Roots, trusted};

/// Ids have 64 hexadecimal digits; fewer than these prove nothing.
const ID: usize = 32;

/// The number in a file that holds nothing else.
pub(super) fn in_file(path: &Path) -> Option<u32> {
    std::str::from_utf8(&trusted(path)?).ok()?.trim().parse().ok()
}

/// The process is in a control group of the container of that id: `docker-ID.scope`, `libpod-payload-ID`, `ID`.
pub(super) fn carries(roots: &Roots, process: u32, id: &str) -> bool {
    let good = id.len() >= ID && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    let is = |group: &str| group.trim_end_matches(".scope").strip_suffix(id).is_some_and(|rest| rest.is_empty() || rest.ends_with('-'));
    good && groups(roots, process).split('/').any(is)
}

/// The process is in the control group of that unit.
pub(super) fn is_of(roots: &Roots, process: u32, unit: &str) -> bool {
    groups(roots, process).split('/').any(|group| group == unit)
}

/// Paths of its control groups, of every hierarchy, with a `/` between; empty where there is no such process. What stands in a user's
/// slice proves nothing: users make groups of any name there.
fn groups(roots: &Roots, process: u32) -> String {
    let text = fs::read_to_string(roots.path("/proc").join(process.to_string()).join("cgroup")).unwrap_or_default();
    let paths = text.lines().filter_map(|line| line.splitn(3, ':').nth(2));
    paths.filter(|path| !path.split('/').any(|group| group == "user.slice")).collect::<Vec<_>>().join("/")
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
