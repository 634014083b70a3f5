//! Who else could change what a file says, where that matters.
//!
//! Knows owners and permission bits; reads no content. The daemon asks before it reads, `check` for a word about what the daemon will say.

use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, Stat};

use super::stable::{self, problem};
use super::{FileProblem, Trust};

const GROUP_WRITABLE: u32 = 0o020;

/// Why somebody else than root and this process's user could change what these facts are about, where that matters.
pub(super) fn foreign(facts: &Stat, trust: Trust) -> Option<FileProblem> {
    match trust {
        Trust::Own => changeable(facts, rustix::process::geteuid().as_raw()),
        Trust::Checked => None,
    }
}

/// Why somebody else than root and this user could change what these facts are about.
fn changeable(facts: &Stat, user: u32) -> Option<FileProblem> {
    if facts.st_uid != 0 && facts.st_uid != user {
        let message = format!("belongs to user {}, who can change it at any time", facts.st_uid);
        return Some(problem(&message, None, Some("give it to root: chown root")));
    }
    if facts.st_mode & GROUP_WRITABLE != 0 {
        let message = format!("is writable by its group (mode {:04o})", facts.st_mode & 0o7777);
        return Some(problem(&message, None, Some("take the right away: chmod g-w")));
    }
    None
}

/// What a daemon that runs as root will not enforce because of whose it is, one sentence each: the directory, else single files.
pub fn refused_as_foreign(directory: &Path) -> Vec<String> {
    let sentence = |what: &str, path: &Path, problem: FileProblem| {
        let help = problem.help.map(|help| format!(" ({help})")).unwrap_or_default();
        format!("the daemon will refuse the {what} {}: it {}{help}", path.display(), problem.message)
    };
    let Ok(opened) = rustix::fs::openat(CWD, directory, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()) else {
        return Vec::new();
    };
    if let Some(problem) = rustix::fs::fstat(&opened).ok().and_then(|facts| changeable(&facts, 0)) {
        return vec![sentence("directory", directory, problem)];
    }
    let names = stable::policy_names(&opened).unwrap_or_default();
    let files = names.iter().filter_map(|name| {
        let facts = rustix::fs::statat(&opened, name, rustix::fs::AtFlags::empty()).ok()?;
        let path = directory.join(name.to_string_lossy().as_ref());
        changeable(&facts, 0).map(|problem| sentence("file", &path, problem))
    });
    files.collect()
}
