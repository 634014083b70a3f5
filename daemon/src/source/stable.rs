//! Stable reading: what is half written is never taken for a file.
//!
//! The directory is opened once and its files relative to it; size, owner and kind are asked of the open file. A whole round is
//! repeated until two rounds in a row are equal, by content and not by time stamp (store paths all have the same one), and nobody
//! has a file of them open for writing: a writer may rest longer than two readings take.

use std::ffi::CString;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use rustix::fs::{CWD, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::{FileProblem, MAX_POLICY_FILE, SourceError, SourceFile, Trust, trust};
use crate::kernel;

/// Rounds before giving up; with [`PAUSE`] about half a second.
const ROUNDS: usize = 24;
/// Time between two rounds.
const PAUSE: Duration = Duration::from_millis(20);
/// Everybody may write.
const WORLD_WRITABLE: u32 = 0o002;

/// All `*.toml` of the directory; and one that somebody still had open for writing after all rounds, its content resting.
pub(super) fn read_policies(dir: &Path, trust: Trust) -> Result<(Vec<SourceFile>, Option<PathBuf>), SourceError> {
    let mut former: Option<Vec<SourceFile>> = None;
    let mut unstable = dir.to_path_buf();
    for round in 0..ROUNDS {
        if round > 0 {
            thread::sleep(PAUSE);
        }
        let (now, writing) = read_round(dir, trust)?;
        if let Some(former) = &former {
            match first_difference(former, &now) {
                None if writing.is_none() || round + 1 == ROUNDS => return Ok((now, writing)),
                None => {}
                Some(name) => unstable = dir.join(name),
            }
        }
        former = Some(now);
    }
    Err(SourceError::BeingWritten { path: unstable })
}

fn first_difference<'a>(former: &'a [SourceFile], now: &'a [SourceFile]) -> Option<&'a str> {
    let changed = former.iter().zip(now).find(|(a, b)| a != b).map(|(_, b)| b.name.as_str());
    let longer = if former.len() > now.len() { former } else { now };
    changed.or_else(|| if former.len() == now.len() { None } else { longer.last().map(|f| f.name.as_str()) })
}

/// One look at the whole directory.
pub(super) fn read_round(dir: &Path, trust: Trust) -> Result<(Vec<SourceFile>, Option<PathBuf>), SourceError> {
    let failed = |cause: Errno| SourceError::Directory { directory: dir.to_path_buf(), cause: cause.into() };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = rustix::fs::openat(CWD, dir, flags, Mode::empty()).map_err(failed)?;
    let facts = rustix::fs::fstat(&directory).map_err(failed)?;
    let mode = facts.st_mode & 0o7777;
    if mode & WORLD_WRITABLE != 0 {
        return Err(SourceError::DirectoryWritable { directory: dir.to_path_buf(), mode });
    }
    if let Some(cause) = trust::foreign(&facts, trust) {
        return Err(SourceError::DirectoryForeign { directory: dir.to_path_buf(), cause });
    }
    let (mut files, mut writing) = (Vec::new(), None);
    for name in &policy_names(&directory).map_err(failed)? {
        let opened = rustix::fs::openat(&directory, name.as_c_str(), READ, Mode::empty());
        let Open { content, is_written } = match opened {
            Ok(descriptor) => read_open(&mut File::from(descriptor), MAX_POLICY_FILE, trust),
            Err(cause) => Open::failed(&cause.into()),
        };
        let name = name.to_string_lossy().into_owned();
        writing = writing.or_else(|| is_written.then(|| dir.join(&name)));
        files.push(policy_file(dir, name, content));
    }
    Ok((files, writing))
}

/// Names of the policy files of an open directory, in lexical order.
pub(super) fn policy_names(directory: impl AsFd) -> Result<Vec<CString>, Errno> {
    let mut names = Vec::new();
    for entry in rustix::fs::Dir::read_from(directory)? {
        let name = entry?.file_name().to_owned();
        if is_policy_name(name.to_bytes()) {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// What somebody may have put in a file's place (a FIFO, a device) must not hold the reader.
const READ: OFlags = OFlags::RDONLY.union(OFlags::CLOEXEC).union(OFlags::NONBLOCK).union(OFlags::NOCTTY);

/// A policy file of these bytes, or of what forbids to read them.
pub(super) fn policy_file(dir: &Path, name: String, content: Result<Vec<u8>, FileProblem>) -> SourceFile {
    let path = dir.join(&name).to_string_lossy().into_owned();
    let (text, problem) = text_of(content.and_then(|bytes| if bytes.is_empty() { Err(empty()) } else { Ok(bytes) }));
    SourceFile { name, path, text, problem }
}

/// `*.toml`; not dot-files and what editors leave behind (`*~`, `*.swp` and `*.tmp` do not end in `.toml` anyway).
fn is_policy_name(name: &[u8]) -> bool {
    name.ends_with(b".toml") && !name.starts_with(b".")
}

/// Reads one file outside the policy directory until two readings agree. Also whether somebody still has it open for writing.
pub(super) fn read_file(path: &Path, limit: u64) -> (String, Option<FileProblem>, bool) {
    let mut former: Option<Result<Vec<u8>, FileProblem>> = None;
    for round in 0..ROUNDS {
        if round > 0 {
            thread::sleep(PAUSE);
        }
        let Open { content, is_written } = match rustix::fs::openat(CWD, path, READ, Mode::empty()) {
            Ok(descriptor) => read_open(&mut File::from(descriptor), limit, Trust::Checked),
            Err(cause) => Open::failed(&cause.into()),
        };
        if former.as_ref() == Some(&content) && (!is_written || round + 1 == ROUNDS) {
            let (text, problem) = text_of(content);
            return (text, problem, is_written);
        }
        former = Some(content);
    }
    (String::new(), Some(problem("the file is being written: its content still changes", None, None)), true)
}

/// What a regular file holds that nobody but root and this process's user can change; `None` where it is another one, or is longer.
pub fn own_bytes(path: &Path, limit: u64) -> Option<Vec<u8>> {
    let descriptor = rustix::fs::openat(CWD, path, READ, Mode::empty()).ok()?;
    bytes_of(&mut File::from(descriptor), limit, Trust::Own).ok()
}

/// What came of an open file.
struct Open {
    content: Result<Vec<u8>, FileProblem>,
    /// Somebody has it open for writing.
    is_written: bool,
}

impl Open {
    fn failed(cause: &io::Error) -> Open {
        Open { content: Err(cannot_read(cause)), is_written: false }
    }
}

/// The bytes of an open file, after asking it what it is.
fn read_open(file: &mut File, limit: u64, trust: Trust) -> Open {
    let content = bytes_of(file, limit, trust);
    // Asked after the reading: whoever begins to write now has not been read.
    Open { is_written: content.is_ok() && kernel::is_written(&*file) == Some(true), content }
}

fn bytes_of(file: &mut File, limit: u64, trust: Trust) -> Result<Vec<u8>, FileProblem> {
    let facts = rustix::fs::fstat(&*file).map_err(|cause| cannot_read(&cause.into()))?;
    if FileType::from_raw_mode(facts.st_mode) != FileType::RegularFile {
        return Err(problem("this is not a regular file", None, None));
    }
    if facts.st_mode & WORLD_WRITABLE != 0 {
        let message = format!("the file is writable by everybody (mode {:04o})", facts.st_mode & 0o7777);
        return Err(problem(&message, None, Some("take the right away: chmod o-w")));
    }
    if let Some(FileProblem { message, help, .. }) = trust::foreign(&facts, trust) {
        return Err(problem(&format!("the file {message}"), None, help.as_deref()));
    }
    let mut bytes = Vec::new();
    let read = Read::take(&mut *file, limit + 1).read_to_end(&mut bytes);
    read.map_err(|cause| cannot_read(&cause))?;
    if bytes.len() as u64 > limit {
        return Err(problem(&format!("the file is larger than {} MiB", limit >> 20), None, None));
    }
    Ok(bytes)
}

/// Bytes as text, and what forbids to use them as such.
fn text_of(content: Result<Vec<u8>, FileProblem>) -> (String, Option<FileProblem>) {
    let bytes = match content {
        Ok(bytes) => bytes,
        Err(problem) => return (String::new(), Some(problem)),
    };
    let text = match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(cause) => {
            let offset = cause.utf8_error().valid_up_to();
            let text = String::from_utf8_lossy(cause.as_bytes()).into_owned();
            return (text, Some(problem("the file is not UTF-8 from here on", Some(offset), Some("save it as UTF-8"))));
        }
    };
    let found = if text.starts_with('\u{feff}') {
        Some(problem("the file begins with a byte order mark", Some(0), Some("save it as UTF-8 without one")))
    } else {
        text.find('\0').map(|offset| problem("the file holds a NUL byte", Some(offset), None))
    };
    (text, found)
}

fn empty() -> FileProblem {
    problem(
        "the file is empty",
        None,
        Some("an empty file is more often a half-written one than a wish for no rules; write at least `version = 1`"),
    )
}

fn cannot_read(cause: &io::Error) -> FileProblem {
    problem(&format!("the file cannot be read: {cause}"), None, None)
}

pub(super) fn problem(message: &str, offset: Option<usize>, help: Option<&str>) -> FileProblem {
    FileProblem { message: message.to_owned(), offset, help: help.map(str::to_owned) }
}

/// Directory of a path; empty for a bare name.
pub(super) fn directory_of(path: &Path) -> PathBuf {
    path.parent().map_or_else(PathBuf::new, Path::to_path_buf)
}
