//! What is enforced when the directory cannot be: the last good ruleset, or failsafe entries alone.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use log::{error, warn};
use rustix::fs::{CWD, RenameFlags};

use super::{Candidate, Directories, Origin, check};
use crate::policy;
use crate::source::{self, Snapshot, Trust};

/// Where the last good ruleset is kept.
pub fn last_good(directories: &Directories) -> PathBuf {
    directories.state.join("last-good.json")
}

/// Keeps the ruleset that has just gone live. That it cannot be kept is a warning (`Err`): what is enforced is right.
pub fn keep(directories: &Directories, snapshot: &Snapshot) -> Result<(), String> {
    let path = last_good(directories);
    let said = |error: &dyn Display| format!("the last good ruleset could not be kept: {error}");
    fs::create_dir_all(&directories.state).map_err(|error| said(&format!("{}: {error}", directories.state.display())))?;
    if Snapshot::load(&path).is_ok_and(|kept| kept.digest() != snapshot.digest()) {
        if let Err(error) = also_as(&path, &former_good(directories)) {
            warn!("{}: {error}", path.display());
        }
    }
    snapshot.save(&path).map_err(|error| said(&error))
}

/// Gives a file another name as well, in place of what had it. The file itself stays: on a full disk, and at any moment of a
/// crash, there is a last good ruleset.
fn also_as(path: &Path, name: &Path) -> io::Result<()> {
    let beside = name.with_extension("new");
    if let Err(error) = fs::remove_file(&beside) {
        if error.kind() != io::ErrorKind::NotFound {
            return Err(error);
        }
    }
    // Not every file system has hard links.
    let linked = fs::hard_link(path, &beside).or_else(|_no_links| fs::copy(path, &beside).map(drop));
    if let Err(error) = linked.and_then(|()| fs::rename(&beside, name)) {
        fs::remove_file(&beside).unwrap_or_default();
        return Err(error);
    }
    // Two names of one file: then the rename has done nothing, and left both.
    if beside.exists() { fs::remove_file(&beside) } else { Ok(()) }
}

/// Where the one before it is kept, for a roll-back that no running daemon remembers the former ruleset of.
fn former_good(directories: &Directories) -> PathBuf {
    directories.state.join("former-good.json")
}

/// After a roll-back from the content with that digest: what was before it is the last good ruleset again, and it is what another
/// roll-back returns to.
pub fn restore_former(directories: &Directories, left: [u8; 32]) {
    let (path, former) = (last_good(directories), former_good(directories));
    if !Snapshot::load(&path).is_ok_and(|kept| kept.digest() == left) {
        return;
    }
    if let Err(error) = Snapshot::load(&former) {
        // What was rolled back is no last good ruleset.
        error!("the ruleset before the one that was rolled back is not known: {error}");
        fs::remove_file(&path).unwrap_or_else(|error| warn!("{}: {error}", path.display()));
        return;
    }
    // Not every file system exchanges two names.
    let exchanged = rustix::fs::renameat_with(CWD, &former, CWD, &path, RenameFlags::EXCHANGE).map_err(io::Error::from);
    if let Err(error) = exchanged.or_else(|_cannot| fs::rename(&former, &path)) {
        warn!("{}: {error}", path.display());
    }
}

/// Where the digest of a ruleset is kept that waits for confirmation, so that a later daemon knows what was rolled back.
fn on_trial(directories: &Directories) -> PathBuf {
    directories.state.join("on-trial")
}

/// Remembers, over a death of the daemon, that this content waits for confirmation; `None` = nothing does.
///
/// # Errors
/// It could not be written: what was kept before still is.
pub fn keep_trial(directories: &Directories, digest: Option<[u8; 32]>) -> Result<(), String> {
    let path = on_trial(directories);
    write_trial(&directories.state, &path, digest).map_err(|error| format!("{}: {error}", path.display()))
}

/// On the disk when it returns: after a loss of power, too, what was not confirmed stays out and what was confirmed comes back.
fn write_trial(state: &Path, path: &Path, digest: Option<[u8; 32]>) -> io::Result<()> {
    match digest {
        Some(digest) => {
            fs::create_dir_all(state)?;
            let beside = path.with_extension("new");
            let write = || {
                let mut file = File::create(&beside)?;
                file.write_all(&digest)?;
                file.sync_all()?;
                fs::rename(&beside, path)
            };
            if let Err(error) = write() {
                fs::remove_file(&beside).unwrap_or_default();
                return Err(error);
            }
        }
        None if !path.exists() => return Ok(()),
        None => fs::remove_file(path)?,
    }
    File::open(state)?.sync_all()
}

/// The content that waited for confirmation when the last daemon ended: never the last good one, which is kept when it is confirmed.
/// A note that cannot be read says that one did, not which: then it is what the directory holds.
pub fn kept_trial(directories: &Directories) -> Option<[u8; 32]> {
    let noted = noted_trial(directories)?;
    let good = Snapshot::load(&last_good(directories)).ok().map(|kept| kept.digest());
    Some(noted).filter(|digest| good != Some(*digest))
}

fn noted_trial(directories: &Directories) -> Option<[u8; 32]> {
    let path = on_trial(directories);
    let why = match fs::read(&path).map(<[u8; 32]>::try_from) {
        Ok(Ok(digest)) => return Some(digest),
        Ok(Err(_)) => "it is damaged".to_string(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => error.to_string(),
    };
    error!("{}: {why}; what the policy directory holds counts as rolled back until `netpol-ebpf apply`", path.display());
    let mut snapshot = source::read(&directories.config, Trust::Own).ok()?;
    check(&mut snapshot, Origin::Directory).ok().map(|candidate| candidate.digest)
}

/// What to try, best first.
pub fn candidates(directories: &Directories) -> Vec<Candidate> {
    contested(directories).into_iter().chain(last_good_candidate(directories)).chain([failsafe_only(directories)]).collect()
}

fn contested(directories: &Directories) -> Option<Candidate> {
    // The directory itself may have been refused only for an interface that two of its policies contest: that one is closed then.
    // What somebody is still writing is not it, nor a directory that has lost its files.
    let mut snapshot = source::read(&directories.config, Trust::Own).ok()?;
    let checked = check(&mut snapshot, Origin::Directory).ok();
    checked.filter(|_| snapshot.writing.is_none() && !snapshot.files.is_empty())
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
