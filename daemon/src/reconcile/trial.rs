//! Commit-confirm: a ruleset that is live on trial, and what returns without a word from the administrator.
//!
//! The deadline itself stands beside the generation word and is obeyed by the programs, with or without a daemon. Here the
//! daemon learns of it, and keeps what was rolled back from coming in again by itself.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use log::{error, info, warn};
use serde_json::json;

use super::{Candidate, Contested, Kind, Live, Origin, Reconciler, Refusal, check, fallback, opened};
use crate::kernel::{self, Kernel, boot_time};
use crate::policy::model::PolicySet;
use crate::source::{self, Snapshot, SourceError, Trust};
use crate::trigger::control::Response;

/// A ruleset that waits for confirmation.
pub(super) struct Trial {
    /// Its content: becomes the last good one when it is confirmed. `None` where the daemon that read it is gone.
    snapshot: Option<Snapshot>,
    digest: [u8; 32],
    /// Boot time, ns.
    deadline: u64,
}

/// What was live before.
pub(super) struct Former {
    candidate: Candidate,
    /// When it was replaced.
    since: Instant,
}

impl Reconciler {
    /// `apply --confirm`: makes the directory live; without [`Reconciler::confirm`] in time the former ruleset returns.
    ///
    /// # Errors
    /// The first stage that refused. The running generation is as it was.
    pub fn apply_on_trial(&mut self, seconds: Option<u64>) -> Result<(), Refusal> {
        let mut snapshot = source::read(&self.directories.config, Trust::Own).map_err(|error| self.note(Refusal::source(&error)))?;
        self.refuse_emptied(&snapshot).map_err(|refusal| self.note(refusal))?;
        let candidate = check(&mut snapshot, Origin::Directory).map_err(|refusal| self.note(refusal))?;
        if let Some(path) = snapshot.writing.take() {
            warn!("{}; it is read as it is, because that was asked for", SourceError::BeingWritten { path });
        }
        if self.is_former_of_trial(&candidate) {
            return self.withdraw_trial(candidate);
        }
        let patience = Duration::from_secs(seconds.unwrap_or(candidate.policies.daemon.confirm_timeout));
        let same = self.live.as_ref().is_some_and(|live| live.origin == Origin::Directory && live.digest == candidate.digest);
        let fresh = self.former.as_ref().is_some_and(|former| former.since.elapsed() < patience);
        if same && !fresh && self.trial.is_none() {
            return Err(Refusal::nothing_to_try());
        }
        let nothing_ran = self.generation() == 0;
        if nothing_ran {
            info!("nothing is enforced: without `confirm` an empty ruleset returns");
            self.enforce(Candidate::without_policies(&candidate), Contested::Close, None).map_err(|refusal| self.note(refusal))?;
        }
        let deadline = boot_time().saturating_add(u64::try_from(patience.as_nanos()).unwrap_or(u64::MAX / 2));
        // Without this note a restart after the roll-back would take the ruleset for a good one.
        fallback::keep_trial(&self.directories, Some(candidate.digest)).map_err(|error| self.note(Refusal::not_kept(&error)))?;
        self.left_on_trial = None;
        if let Err(refusal) = self.enforce(candidate, Contested::Refuse, Some(deadline)) {
            // What was rolled back before still stays out.
            self.keep_trial(self.trial.as_ref().map(|trial| trial.digest).or(self.rolled_back));
            if nothing_ran {
                self.detach()?;
            }
            return Err(self.note(refusal));
        }
        // However long it took to make it live: the time that was given begins now.
        let prolonged = self.kernel.as_mut().map_or(Ok(()), |kernel| kernel.prolong(patience));
        prolonged.unwrap_or_else(|error| warn!("the time for confirmation has begun before the ruleset was live: {error}"));
        self.accepted(snapshot);
        Ok(())
    }

    /// `confirm`: what runs counts for good. The disk learns it first: a daemon that dies in between has confirmed nothing in the
    /// kernel yet, and one that dies afterwards must not find a ruleset that counts among those that were rolled back.
    pub fn confirm(&mut self) -> Response {
        self.end_trial();
        let waits = self.kernel.as_ref().map_or(Ok(false), Kernel::pending);
        let confirmed = waits.and_then(|waits| if waits { self.count_for_good() } else { Ok(false) });
        let generation = self.generation();
        match confirmed {
            Err(error) => told(3, error.to_string(), generation),
            Ok(false) => told(1, format!("nothing waits for confirmation; generation {generation} is live"), generation),
            Ok(true) => told(0, format!("generation {generation} counts for good"), generation),
        }
    }

    fn count_for_good(&mut self) -> kernel::Result<bool> {
        let snapshot = self.trial.as_mut().and_then(|trial| trial.snapshot.take());
        if let Some(snapshot) = &snapshot {
            self.keep(snapshot);
        }
        self.keep_trial(None);
        let confirmed = self.kernel.as_mut().map_or(Ok(false), Kernel::confirm);
        if matches!(confirmed, Ok(true)) {
            self.trial = None;
        } else if let Some(trial) = &mut self.trial {
            trial.snapshot = snapshot;
            let digest = trial.digest;
            self.note_on_trial(digest);
        }
        confirmed
    }

    /// Puts down that this content waits for confirmation; it is not the last good one meanwhile.
    fn note_on_trial(&self, digest: [u8; 32]) {
        self.keep_trial(Some(digest));
        fallback::restore_former(&self.directories, digest);
    }

    /// `rollback`: the former ruleset is live again.
    pub fn rollback(&mut self) -> Response {
        let over = self.end_trial();
        if over || (self.rolled_back.is_some() && self.trial.is_none()) {
            // What is former now is what was left: nobody who says `rollback` a moment too late wants that one.
            let text = format!("generation {} is the former ruleset already; what it replaced stays out", self.generation());
            return told(u8::from(!over), text, self.generation());
        }
        let left = self.live.as_ref().map(|live| live.digest);
        let done = self.kernel.as_mut().map_or(Ok(None), |kernel| kernel.rollback());
        match done {
            Err(error) => told(3, error.to_string(), self.generation()),
            Ok(None) => told(1, "there is no former ruleset to return to".into(), self.generation()),
            Ok(Some(_)) => {
                warn!("rolled back on request: generation {} is live", self.generation());
                self.return_to_former(left);
                let generation = self.generation();
                told(0, format!("generation {generation} is live again; what it replaces stays out until the files change"), generation)
            }
        }
    }

    /// How long the trial still lasts, where there is one.
    pub fn trial_ends_in(&self) -> Option<Duration> {
        self.trial.as_ref().map(|trial| Duration::from_nanos(trial.deadline.saturating_sub(boot_time())))
    }

    /// Follows the programs, for which a deadline that is over has already changed the verdicts. Whether that was so.
    pub fn end_trial(&mut self) -> bool {
        if self.trial.as_ref().is_none_or(|trial| boot_time() < trial.deadline) {
            return false;
        }
        error!("generation {} was not confirmed in time: the former ruleset is live again", self.generation());
        let left = self.trial.as_ref().map(|trial| trial.digest);
        self.return_to_former(left);
        true
    }

    /// Brings the daemon to where the kernel is, or is about to be brought: at the former ruleset.
    fn return_to_former(&mut self, left: Option<[u8; 32]>) {
        self.trial = None;
        self.rolled_back = left;
        self.keep_trial(left);
        if let Some(left) = left {
            fallback::restore_former(&self.directories, left);
        }
        if let Err(refusal) = self.follow_former() {
            self.last_error = Some(self.note(refusal).text);
            self.again = true;
        }
    }

    /// What is live for the daemon is what was left, while the programs judge by the former ruleset: it must not come back with the
    /// next interface.
    pub(super) fn is_behind(&self) -> bool {
        self.trial.is_none() && self.live.as_ref().is_some_and(|live| self.rolled_back == Some(live.digest))
    }

    /// Makes the former ruleset the daemon's own again. Where nobody knows what it was made from, the programs go on with it as it
    /// is, and interfaces that appear are not followed.
    ///
    /// # Errors
    /// What the compiler or the kernel refused: to be tried again.
    pub(super) fn follow_former(&mut self) -> Result<(), Refusal> {
        let former = self.former.take().map(|former| former.candidate).or_else(|| fallback::last_good_candidate(&self.directories));
        let Some(candidate) = former.filter(|candidate| self.rolled_back != Some(candidate.digest)) else {
            let text =
                "rolled back, but what the former ruleset was made from is no longer known: it stays, and no new interface is followed";
            self.last_error = Some(text.into());
            return Ok(());
        };
        self.enforce(candidate, Contested::Close, None)?;
        self.last_error = Some(Refusal::rolled_back().text);
        self.former = None;
        Ok(())
    }

    /// Whether this is what was live before the ruleset on trial.
    pub(super) fn is_former_of_trial(&self, candidate: &Candidate) -> bool {
        let last_good = || fallback::last_good_candidate(&self.directories).map(|good| good.digest);
        let former = || self.former.as_ref().map(|former| former.candidate.digest).or_else(last_good);
        let on_trial = self.trial.as_ref().map(|trial| trial.digest).or(self.left_on_trial);
        on_trial.is_some_and(|on_trial| on_trial != candidate.digest) && former() == Some(candidate.digest)
    }

    /// The files say again what they said before the trial: that ends it, and nothing stays out.
    ///
    /// # Errors
    /// What the kernel refused.
    pub(super) fn withdraw_trial(&mut self, candidate: Candidate) -> Result<(), Refusal> {
        let kernel = opened(&mut self.kernel, &self.directories, self.ways, &candidate)?;
        if kernel.pending()? {
            kernel.rollback()?;
        }
        // Until the former ruleset is the daemon's own.
        self.rolled_back = self.trial.take().map(|trial| trial.digest).or(self.left_on_trial.take());
        self.enforce(candidate, Contested::Close, None)?;
        warn!("the files say again what was live before the trial: generation {} is live for good", self.generation());
        (self.former, self.rolled_back, self.last_error, self.refused) = (None, None, None, None);
        self.keep_trial(None);
        Ok(())
    }

    /// What the files say has gone live: as the last good ruleset, or on trial.
    pub(super) fn note_trial(&mut self, snapshot: Snapshot) {
        let deadline = self.kernel.as_ref().and_then(|kernel| Some((kernel.pending().ok()?, kernel.deadline().ok()?)));
        match (deadline, &self.live) {
            (Some((true, deadline)), Some(live)) => {
                let digest = live.digest;
                self.note_on_trial(digest);
                self.trial = Some(Trial { snapshot: Some(snapshot), digest, deadline });
            }
            _ => {
                self.trial = None;
                self.keep_trial(None);
                self.keep(&snapshot);
            }
        }
    }

    /// At the start: a trial of the last daemon goes on, or is over and its content stays out.
    pub(super) fn remember_trial(&mut self) {
        let kept = fallback::kept_trial(&self.directories);
        let pending = kernel::inspect(&self.directories.bpffs).ok().flatten().is_some_and(|found| found.pending);
        (self.left_on_trial, self.rolled_back) = if pending { (kept, None) } else { (None, kept) };
    }

    /// After `detach` nothing waits.
    pub(super) fn forget_trial(&mut self) {
        self.trial = None;
        self.former = None;
        (self.rolled_back, self.left_on_trial) = (None, None);
        self.keep_trial(None);
    }

    /// What is enforced is right, kept or not: that it is not is a warning, until it is.
    fn keep(&mut self, snapshot: &Snapshot) {
        self.not_kept = fallback::keep(&self.directories, snapshot).err();
        self.not_kept.iter().for_each(|trouble| warn!("{trouble}"));
    }

    pub(super) fn keep_trial(&self, digest: Option<[u8; 32]>) {
        if let Err(error) = fallback::keep_trial(&self.directories, digest) {
            warn!("{error}");
        }
    }

    /// Remembers what was live before. What replaces a ruleset on trial does not make that one the former.
    pub(super) fn replace_live(&mut self, live: Live) {
        let changed = self.live.as_ref().is_some_and(|before| before.digest != live.digest);
        if let Some(before) = self.live.replace(live).filter(|_| changed && self.trial.is_none()) {
            self.former = Some(Former { candidate: before.candidate(), since: Instant::now() });
        }
    }
}

impl Candidate {
    /// No policy at all, with the settings of the other one: what returns where nothing ran.
    fn without_policies(other: &Candidate) -> Candidate {
        let policies = PolicySet { daemon: other.policies.daemon.clone(), sets: Vec::new(), policies: Vec::new(), tests: Vec::new() };
        Candidate {
            origin: Origin::Directory,
            policies: Arc::new(policies),
            digest: [0; 32],
            warnings: Arc::new([]),
            list_directories: BTreeSet::new(),
        }
    }
}

impl Refusal {
    fn not_kept(error: &str) -> Self {
        let text = format!("that the ruleset is on trial cannot be kept: {error}");
        Refusal::new(Kind::Declined, text)
    }

    fn nothing_to_try() -> Self {
        let text = "the directory's ruleset is live already and for good: there is nothing to confirm";
        Refusal::new(Kind::Declined, text.to_string())
    }
}

fn told(exit: u8, text: String, generation: u32) -> Response {
    Response { exit, value: json!({ "version": 1, "generation": generation, "done": exit == 0, "text": text }), text }
}
