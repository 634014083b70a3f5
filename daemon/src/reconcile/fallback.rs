//! What is enforced when the directory cannot be: the last good ruleset, or failsafe entries alone.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use log::{error, warn};

use super::{Candidate, Directories, Origin, check};
use crate::policy;
use crate::source::{self, Snapshot};

/// Where the last good ruleset is kept.
pub fn last_good(directories: &Directories) -> PathBuf {
    directories.state.join("last-good.json")
}

/// Keeps the ruleset that has just gone live. That it cannot be kept is a warning: what is enforced is right.
pub fn keep(directories: &Directories, snapshot: &Snapshot) {
    let path = last_good(directories);
    let made = fs::create_dir_all(&directories.state).map_err(|error| format!("{}: {error}", directories.state.display()));
    if let Err(error) = made.and_then(|()| snapshot.save(&path).map_err(|error| error.to_string())) {
        warn!("the last good ruleset could not be kept: {error}");
    }
}

/// What to try, best first.
pub fn candidates(directories: &Directories) -> Vec<Candidate> {
    // The directory itself may have been refused only for an interface that two of its policies contest: that one is closed then.
    let directory = source::read(&directories.config).ok().and_then(|mut snapshot| check(&mut snapshot, Origin::Directory).ok());
    let path = last_good(directories);
    let kept = match Snapshot::load(&path) {
        Ok(mut snapshot) => check(&mut snapshot, Origin::LastGood)
            .map_err(|refusal| error!("the last good ruleset ({}) is refused: {}", path.display(), refusal.text.trim_end()))
            .ok(),
        Err(error) => {
            warn!("no last good ruleset: {error}");
            None
        }
    };
    directory.into_iter().chain(kept).chain([failsafe_only(directories)]).collect()
}

/// Everything denied on every interface but the loopback device, except failsafe entries of those files that can be read.
fn failsafe_only(directories: &Directories) -> Candidate {
    let entries = source::read(&directories.config).map(|snapshot| policy::salvage_failsafe(&snapshot)).unwrap_or_default();
    Candidate {
        origin: Origin::Failsafe,
        policies: Arc::new(policy::failsafe_only(entries)),
        digest: [0; 32],
        warnings: Arc::new([]),
        list_directories: BTreeSet::new(),
    }
}
