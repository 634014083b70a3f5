//! What is enforced when the directory cannot be: the last good ruleset, or failsafe entries alone.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use log::{error, warn};

use super::{Candidate, Directories, Origin, check};
use crate::policy;
use crate::source::{self, Snapshot, Trust};

/// Where the last good ruleset is kept.
pub fn last_good(directories: &Directories) -> PathBuf {
    directories.state.join("last-good.json")
}

/// Keeps the ruleset that has just gone live. That it cannot be kept is a warning: what is enforced is right.
pub fn keep(directories: &Directories, snapshot: &Snapshot) {
    let path = last_good(directories);
    if Snapshot::load(&path).is_ok_and(|kept| kept.digest() != snapshot.digest()) {
        if let Err(error) = fs::rename(&path, former_good(directories)) {
            warn!("{}: {error}", path.display());
        }
    }
    let made = fs::create_dir_all(&directories.state).map_err(|error| format!("{}: {error}", directories.state.display()));
    if let Err(error) = made.and_then(|()| snapshot.save(&path).map_err(|error| error.to_string())) {
        warn!("the last good ruleset could not be kept: {error}");
    }
}

/// Where the one before it is kept, for a roll-back that no running daemon remembers the former ruleset of.
fn former_good(directories: &Directories) -> PathBuf {
    directories.state.join("former-good.json")
}

/// After a roll-back from the content with that digest: what was before it is the last good ruleset again.
pub fn restore_former(directories: &Directories, left: [u8; 32]) {
    let path = last_good(directories);
    if !Snapshot::load(&path).is_ok_and(|kept| kept.digest() == left) {
        return;
    }
    if let Err(error) = fs::rename(former_good(directories), &path) {
        warn!("{}: {error}", path.display());
    }
}

/// Where the digest of a ruleset is kept that waits for confirmation, so that a later daemon knows what was rolled back.
fn on_trial(directories: &Directories) -> PathBuf {
    directories.state.join("on-trial")
}

/// Remembers, over a death of the daemon, that this content waits for confirmation; `None` = nothing does.
pub fn keep_trial(directories: &Directories, digest: Option<[u8; 32]>) {
    let path = on_trial(directories);
    if let Err(error) = write_trial(&directories.state, &path, digest) {
        warn!("{}: {error}", path.display());
    }
}

/// On the disk when it returns: after a loss of power, too, what was not confirmed stays out and what was confirmed comes back.
fn write_trial(state: &Path, path: &Path, digest: Option<[u8; 32]>) -> io::Result<()> {
    match digest {
        Some(digest) => {
            fs::create_dir_all(state)?;
            let beside = path.with_extension("new");
            let mut file = File::create(&beside)?;
            file.write_all(&digest)?;
            file.sync_all()?;
            fs::rename(&beside, path)?;
        }
        None if !path.exists() => return Ok(()),
        None => fs::remove_file(path)?,
    }
    File::open(state)?.sync_all()
}

/// The content that waited for confirmation when the last daemon ended.
pub fn kept_trial(directories: &Directories) -> Option<[u8; 32]> {
    fs::read(on_trial(directories)).ok()?.try_into().ok()
}

/// What to try, best first.
pub fn candidates(directories: &Directories) -> Vec<Candidate> {
    // The directory itself may have been refused only for an interface that two of its policies contest: that one is closed then.
    let directory =
        source::read(&directories.config, Trust::Own).ok().and_then(|mut snapshot| check(&mut snapshot, Origin::Directory).ok());
    directory.into_iter().chain(last_good_candidate(directories)).chain([failsafe_only(directories)]).collect()
}

/// The last good ruleset, proven again.
pub fn last_good_candidate(directories: &Directories) -> Option<Candidate> {
    let path = last_good(directories);
    match Snapshot::load(&path) {
        Ok(mut snapshot) => check(&mut snapshot, Origin::LastGood)
            .map_err(|refusal| error!("the last good ruleset ({}) is refused: {}", path.display(), refusal.text.trim_end()))
            .ok(),
        Err(error) => {
            warn!("no last good ruleset: {error}");
            None
        }
    }
}

/// Everything denied on every interface but the loopback device, except failsafe entries of those files that can be read.
fn failsafe_only(directories: &Directories) -> Candidate {
    let entries = source::read(&directories.config, Trust::Own).map(|snapshot| policy::salvage_failsafe(&snapshot)).unwrap_or_default();
    Candidate {
        origin: Origin::Failsafe,
        policies: Arc::new(policy::failsafe_only(entries)),
        digest: [0; 32],
        warnings: Arc::new([]),
        list_directories: BTreeSet::new(),
    }
}
