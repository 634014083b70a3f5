//! Directory -> [`Snapshot`]: the bytes of the policy files and of the set files that they name, read until two reads agree.
//!
//! Knows files, owners and sizes. Knows no TOML. First stage of the control walk: everything after it works on a snapshot and
//! touches no disk, so the last good one can be kept in the state directory and compiled again later.

mod set_files;
mod stable;
mod state;
#[cfg(test)]
mod tests;
mod trust;

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

pub use set_files::SetFile;
pub use stable::own_bytes;
pub use trust::refused_as_foreign;

/// Largest TOML file, in bytes.
pub const MAX_POLICY_FILE: u64 = 16 << 20;
/// Largest set file, in bytes.
pub const MAX_SET_FILE: u64 = 64 << 20;

/// Why there is no snapshot. What is wrong with a single file does not stand here but in [`SourceFile::problem`], so that it is
/// reported together with the errors of all other files.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// Not there, no directory, or not readable.
    #[error("cannot read the policy directory {}: {cause}", directory.display())]
    Directory {
        /// As given.
        directory: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// Everybody could add a policy.
    #[error("the policy directory {} is writable by everybody (mode {mode:04o}); run: chmod o-w {}", directory.display(), directory.display())]
    DirectoryWritable {
        /// As given.
        directory: PathBuf,
        /// Permission bits.
        mode: u32,
    },
    /// Somebody else than root and this process's user could add a policy.
    #[error("the policy directory {} {}", directory.display(), cause.message)]
    DirectoryForeign {
        /// As given.
        directory: PathBuf,
        /// Who, and what to do about it.
        cause: FileProblem,
    },
    /// Two reads did not agree, several times in a row, or somebody has a file open for writing.
    #[error("{} is being written: its writer has not finished", path.display())]
    BeingWritten {
        /// The file, or the directory where files come and go.
        path: PathBuf,
    },
    /// The kept snapshot cannot be read or written.
    #[error("cannot {doing} the snapshot {}: {cause}", path.display())]
    State {
        /// "read" or "write".
        doing: &'static str,
        /// The state file.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// The kept snapshot is damaged or of another version.
    #[error("the snapshot {} is not usable: {why}", path.display())]
    StateContent {
        /// The state file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
}

/// All files of a policy directory at one moment.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Snapshot {
    /// As given to [`read`].
    pub directory: PathBuf,
    /// `*.toml`, in lexical order of name.
    pub files: Vec<SourceFile>,
    /// What each glob of a `[[set]]` gave, in order of first question.
    globs: Vec<set_files::GlobRecord>,
    /// The set files themselves, in order of first reading.
    set_files: Vec<SetFile>,
    /// Whether unknown globs may be looked up on the disk; a snapshot from the state directory answers from its record only.
    #[serde(skip)]
    fresh: bool,
    /// A file that somebody still had open for writing when waiting for it came to its end; complete after [`crate::policy::load`].
    #[serde(skip)]
    pub writing: Option<PathBuf>,
}

/// One policy file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceFile {
    /// Name in the directory.
    pub name: String,
    /// Directory joined with the name, as shown to people.
    pub path: String,
    /// Content; bytes that are not UTF-8 are replaced, and then `problem` says so.
    pub text: String,
    /// Why the file cannot be used, if so.
    pub problem: Option<FileProblem>,
}

/// What is wrong with a file before anybody looks at its meaning.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileProblem {
    /// One sentence without the file's name.
    pub message: String,
    /// Byte of `text` where it is, if it is at a place.
    pub offset: Option<usize>,
    /// What to do about it.
    pub help: Option<String>,
}

/// Whose policies are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// What only root and this process's user can have written and can change: what is to be enforced.
    Own,
    /// What not everybody can change: what is only checked, for this host or for another.
    Checked,
}

/// Whether a file of that name can be a policy or a list. What editors keep beside them (a swap file, open for as long as the editor)
/// is read by nobody.
pub fn may_be_read(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    !name.starts_with('.') && !set_files::is_left_over(&name)
}

/// Reads all policy files of a directory; two complete readings must agree.
///
/// # Errors
/// The directory is missing, unreadable or writable by others, or its content does not hold still.
pub fn read(dir: &Path, trust: Trust) -> Result<Snapshot, SourceError> {
    let (files, writing) = stable::read_policies(dir, trust)?;
    Ok(Snapshot { files, writing, ..Snapshot::of(dir, &[]) })
}

impl Snapshot {
    /// A snapshot of files that were never on a disk; set files are still looked for in `directory`.
    pub fn of(directory: &Path, files: &[(String, Vec<u8>)]) -> Snapshot {
        let mut files: Vec<_> = files.iter().map(|(name, bytes)| stable::policy_file(directory, name.clone(), Ok(bytes.clone()))).collect();
        files.sort_by(|a, b| a.name.cmp(&b.name));
        Snapshot { directory: directory.to_path_buf(), files, globs: Vec::new(), set_files: Vec::new(), fresh: true, writing: None }
    }

    /// SHA-256 over names and contents of all policy files and of the set files that were read so far; complete after
    /// [`crate::policy::load`].
    pub fn digest(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        let mut field = |bytes: &[u8]| {
            hash.update((bytes.len() as u64).to_le_bytes());
            hash.update(bytes);
        };
        for file in &self.files {
            field(b"policy");
            field(file.name.as_bytes());
            field(file.text.as_bytes());
            field(file.problem.as_ref().map_or("", |p| p.message.as_str()).as_bytes());
        }
        for record in &self.globs {
            record.hash(&mut field);
        }
        for file in &self.set_files {
            field(b"set");
            field(file.path.as_bytes());
            field(file.text.as_bytes());
            field(file.problem.as_ref().map_or("", |p| p.message.as_str()).as_bytes());
        }
        hash.finalize().into()
    }

    /// Text of a policy or set file by its shown path, for diagnostics.
    pub fn text(&self, path: &str) -> Option<&str> {
        let policy = self.files.iter().find(|f| f.path == path).map(|f| f.text.as_str());
        policy.or_else(|| self.set_files.iter().find(|f| f.path == path).map(|f| f.text.as_str()))
    }
}
