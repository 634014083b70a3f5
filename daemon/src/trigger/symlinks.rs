//! What inotify cannot tell: a file behind a symbolic link was changed where it really is, or a link on the way leads elsewhere now.
//!
//! Knows identities and times of files, not their contents. NixOS hands out /etc as such links.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Device, inode, size and times of change of what a path leads to; `None` = nowhere.
type Target = Option<(u64, u64, u64, i64, i64)>;

/// The links of some directories and what they led to when last looked at.
#[derive(Debug, Default)]
pub(super) struct Symlinks(BTreeMap<PathBuf, Target>);

impl Symlinks {
    /// Looks at the links that are in the directories now, or on the way to them.
    pub(super) fn of(directory: &Path, also: &BTreeSet<PathBuf>) -> Self {
        let directories: BTreeSet<&Path> = also.iter().map(PathBuf::as_path).chain([directory]).collect();
        let on_the_way = directories.iter().filter(|path| fs::canonicalize(path).is_ok_and(|real| real != **path));
        let on_the_way: Vec<PathBuf> = on_the_way.map(|path| path.to_path_buf()).collect();
        let entries = directories.into_iter().flat_map(|directory| fs::read_dir(directory).into_iter().flatten().flatten());
        let links = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_symlink())).map(|entry| entry.path());
        Symlinks(links.chain(on_the_way).map(|path| (path.clone(), target(&path))).collect())
    }

    /// There are none: nobody has to look.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// One of them leads to something else than before.
    pub(super) fn have_moved(&self) -> bool {
        self.0.iter().any(|(path, before)| target(path) != *before)
    }
}

fn target(path: &Path) -> Target {
    let meta = fs::metadata(path).ok()?;
    let changed = meta.ctime().checked_mul(1_000_000_000)?.checked_add(meta.ctime_nsec())?;
    Some((meta.dev(), meta.ino(), meta.size(), meta.mtime_nsec(), changed))
}
