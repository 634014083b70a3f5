//! A start that enforced nothing: a list that memory does not hold kills the daemon or leaves the kernel no room, at every start anew.
//! The next one has to know, because after a boot nothing else is enforced.
//!
//! Knows one empty file of the state directory. Does not know what a start does.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use log::warn;

/// A start under way.
pub(super) struct Attempt {
    note: PathBuf,
    follows_a_failure: bool,
}

impl Attempt {
    /// Notes that a start has begun. It outlives the process; a loss of power may take it, and then nothing was learnt.
    pub fn begin(state: &Path) -> Attempt {
        let note = state.join("starting");
        let follows_a_failure = note.exists();
        if let Err(error) = fs::create_dir_all(state).and_then(|()| File::create(&note)) {
            warn!("{}: {error}; should this start fail, the next one will not know", note.display());
        }
        Attempt { note, follows_a_failure }
    }

    /// The last start has enforced nothing.
    pub fn follows_a_failure(&self) -> bool {
        self.follows_a_failure
    }

    /// Something is enforced.
    pub fn end(self) {
        if let Err(error) = fs::remove_file(&self.note) {
            if self.note.exists() {
                warn!("{}: {error}", self.note.display());
            }
        }
    }
}
