//! A memory cgroup of a test's own, of whichever version the machine has; removed on drop.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::{residue, say};

/// Where each version may be mounted, with the names of its files: limit, usage, failed charges.
const VERSIONS: [(&str, [&str; 2]); 2] =
    [("/sys/fs/cgroup", ["memory.max", "memory.current"]), ("/sys/fs/cgroup/memory", ["memory.limit_in_bytes", "memory.usage_in_bytes"])];

/// A group without limit at first.
#[derive(Debug)]
pub struct Group {
    path: PathBuf,
    files: [&'static str; 2],
}

impl Group {
    /// Makes one; `None`, said aloud, where this machine lets nobody.
    pub fn new() -> Option<Group> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("{}{}-{}", residue::PREFIX, std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        for (root, files) in VERSIONS {
            let path = Path::new(root).join(&name);
            if fs::create_dir(&path).is_err() {
                continue;
            }
            if path.join(files[0]).exists() {
                return Some(Group { path, files });
            }
            // A directory that is no cgroup, or one without this controller.
            fs::remove_dir(&path).expect("what was just made");
        }
        let test = std::thread::current().name().unwrap_or("?").to_owned();
        say::aloud(&format!("SKIPPED {test}: no memory cgroup can be made here"));
        None
    }

    /// Bytes that its members, and what they made in the kernel, may take.
    pub fn limit(&self, bytes: u64) {
        self.write(self.files[0], &bytes.to_string());
    }

    /// Takes the limit off.
    pub fn no_limit(&self) {
        let word = if self.files[0] == "memory.max" { "max" } else { "-1" };
        self.write(self.files[0], word);
    }

    /// Bytes that they take.
    pub fn usage(&self) -> u64 {
        let path = self.path.join(self.files[1]);
        let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        text.trim().parse().expect("a number")
    }

    /// A shell line that makes its process a member and becomes the command that follows as arguments.
    pub fn entering(&self) -> String {
        format!("echo $$ > {}/cgroup.procs && exec \"$0\" \"$@\"", self.path.display())
    }

    fn write(&self, file: &str, text: &str) {
        let path = self.path.join(file);
        fs::write(&path, text).unwrap_or_else(|e| panic!("{text} to {}: {e}", path.display()));
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let gone = crate::wait::poll(std::time::Duration::from_secs(5), || fs::remove_dir(&self.path).ok());
        if gone.is_none() {
            say::aloud(&format!("cgroup {} is left behind", self.path.display()));
        }
    }
}
