//! Set files: what the globs of `[[set]] files` give, read once and recorded.
//!
//! Knows paths and bytes. Knows nothing of elements. A fresh snapshot asks the disk the first time and its record from then on; a
//! snapshot from the state directory has only its record.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::stable::{directory_of, problem, read_file};
use super::{FileProblem, MAX_SET_FILE, Snapshot};

/// Largest number of files that one glob may give.
const MAX_MATCHES: usize = 4096;

/// One set file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetFile {
    /// As shown to people.
    pub path: String,
    /// Content; see [`super::SourceFile::text`].
    pub text: String,
    /// Why the file cannot be used, if so.
    pub problem: Option<FileProblem>,
}

/// What one glob gave.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct GlobRecord {
    /// As written in the TOML file.
    pattern: String,
    /// Paths in lexical order, or why there are none.
    found: Result<Vec<String>, FileProblem>,
}

impl GlobRecord {
    pub(super) fn hash(&self, field: &mut impl FnMut(&[u8])) {
        field(b"glob");
        field(self.pattern.as_bytes());
        match &self.found {
            Ok(paths) => paths.iter().for_each(|path| field(path.as_bytes())),
            Err(problem) => field(problem.message.as_bytes()),
        }
    }
}

impl Snapshot {
    /// The files that a glob of a `[[set]]` gives, in lexical order of path; relative to the policy directory. The numbers are for
    /// [`Snapshot::set_file`]; none where no file matches.
    ///
    /// # Errors
    /// The glob is malformed, a directory cannot be read, or (in a snapshot from the state directory) was never asked before.
    pub fn set_files(&mut self, pattern: &str) -> Result<Vec<usize>, FileProblem> {
        let known = self.globs.iter().find(|record| record.pattern == pattern);
        let paths = match known {
            Some(record) => record.found.clone()?,
            None if !self.fresh => return Err(problem("this glob is not in the kept snapshot", None, None)),
            None => {
                let found = self.expand(pattern);
                self.globs.push(GlobRecord { pattern: pattern.to_owned(), found: found.clone() });
                found?
            }
        };
        Ok(paths.iter().map(|path| self.read_set_file(path)).collect())
    }

    /// Directories whose changes can change a set file, for the watcher: those of the files that were read.
    pub fn set_directories(&self) -> BTreeSet<PathBuf> {
        let fixed = self.globs.iter().map(|record| self.directory.join(fixed_directory(&record.pattern)));
        let files = self.set_files.iter().map(|file| directory_of(Path::new(&file.path)));
        fixed.chain(files).collect()
    }

    /// A set file by the number that [`Snapshot::set_files`] gave.
    pub fn set_file(&self, number: usize) -> Option<&SetFile> {
        self.set_files.get(number)
    }

    /// The glob as it is asked: relative ones begin in the policy directory.
    pub fn full_pattern(&self, pattern: &str) -> String {
        let base = glob::Pattern::escape(&self.directory.to_string_lossy());
        if Path::new(pattern).is_absolute() { pattern.to_owned() } else { format!("{base}/{pattern}") }
    }

    fn read_set_file(&mut self, path: &str) -> usize {
        if let Some(number) = self.set_files.iter().position(|file| file.path == path) {
            return number;
        }
        let (text, problem, is_written) = if self.fresh {
            read_file(Path::new(path), MAX_SET_FILE)
        } else {
            (String::new(), Some(problem("this file is not in the kept snapshot", None, None)), false)
        };
        if is_written && self.writing.is_none() {
            self.writing = Some(PathBuf::from(path));
        }
        self.set_files.push(SetFile { path: path.to_owned(), text, problem });
        self.set_files.len() - 1
    }

    fn expand(&self, pattern: &str) -> Result<Vec<String>, FileProblem> {
        let bad = |cause: glob::PatternError| problem(&format!("bad glob: {}", cause.msg), None, None);
        glob::Pattern::new(pattern).map_err(bad)?;
        let full = self.full_pattern(pattern);
        let options = glob::MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: true };
        let mut paths = Vec::new();
        for entry in glob::glob_with(&full, options).map_err(bad)? {
            let path = entry.map_err(|cause| problem(&format!("cannot read {}: {}", cause.path().display(), cause.error()), None, None))?;
            let text = path.to_str().ok_or_else(|| problem(&format!("the name {} is not UTF-8", path.display()), None, None))?;
            if !is_left_over(text) {
                paths.push(text.to_owned());
            }
            if paths.len() > MAX_MATCHES {
                return Err(problem(&format!("more than {MAX_MATCHES} files match"), None, None));
            }
        }
        paths.sort();
        Ok(paths)
    }
}

/// The directories of a glob before the first component with a special character.
fn fixed_directory(pattern: &str) -> PathBuf {
    let directory = directory_of(Path::new(pattern));
    let plain = |part: &std::path::Component<'_>| !part.as_os_str().to_string_lossy().contains(['*', '?', '[']);
    directory.components().take_while(plain).collect()
}

pub(super) fn is_left_over(path: &str) -> bool {
    [".swp", ".tmp", "~"].iter().any(|end| path.ends_with(end))
}
