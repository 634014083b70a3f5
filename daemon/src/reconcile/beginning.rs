//! How the firewall begins: what the directory says, or what runs already and was applied, or the last good ruleset, or failsafe entries
//! alone. A host whose kernel can enforce anything at all is never left open.
//!
//! Knows which of them comes first. How one of them is enforced stands in [`super`].

use log::{error, warn};

use super::attempt::Attempt;
use super::{Candidate, Contested, Kind, Origin, Reconciler, Refusal, check, fallback};
use crate::kernel;
use crate::policy::model::ReloadMode;
use crate::source::{self, Trust};

impl Reconciler {
    /// The first enforcement: the directory; where that is refused, the last good ruleset; where there is none, failsafe entries only.
    ///
    /// # Errors
    /// Only when the kernel cannot be reached, or takes none of them: then nothing new is enforced, and what was pinned goes on.
    pub fn start(&mut self) -> Result<(), Refusal> {
        let attempt = Attempt::begin(&self.directories.state);
        self.remember_trial();
        if !self.waits_for_apply() {
            if attempt.follows_a_failure() && self.runs_nothing() {
                self.close_first();
            }
            self.begin()?;
        }
        attempt.end();
        Ok(())
    }

    /// What ended the last start may end this one: what was good last judges meanwhile. The directory comes next.
    fn close_first(&mut self) {
        error!("the last start ended before anything was enforced");
        let good = fallback::last_good_candidate(&self.directories).filter(|good| self.rolled_back != Some(good.digest));
        let Some(good) = good else { return };
        match self.enforce(good, Contested::Close, None) {
            Ok(()) => warn!("the last good ruleset is enforced until the policy directory is read"),
            Err(refusal) => refusal.log(module_path!(), 0, format_args!("the last good ruleset is refused: {}", refusal.text.trim_end())),
        }
    }

    /// The directory, or what comes in its place.
    fn begin(&mut self) -> Result<(), Refusal> {
        let Err(refusal) = self.reload(false) else { return Ok(()) };
        if self.kernel.is_none() && refusal.kind == Kind::Kernel {
            return Err(refusal);
        }
        refusal.log(module_path!(), self.generation(), format_args!("the policy directory is refused: {}", refusal.text.trim_end()));
        let stays_out = |candidate: &Candidate| self.rolled_back == Some(candidate.digest);
        let candidates: Vec<Candidate> = fallback::candidates(&self.directories).into_iter().filter(|c| !stays_out(c)).collect();
        let mut refused = refusal.kind;
        for candidate in candidates {
            let origin = candidate.origin;
            // What goes on in the kernel is worth more than failsafe entries alone.
            if refused == Kind::Kernel && origin == Origin::Failsafe && self.generation() != 0 {
                continue;
            }
            match self.enforce_instead(candidate) {
                Ok(()) => {
                    error!("enforcing {} instead", origin.sentence());
                    // From the directory after all: what was wrong stands among the closed interfaces, as long as it lasts.
                    self.last_error = (origin != Origin::Directory).then_some(refusal.text);
                    return Ok(());
                }
                Err(second) => {
                    let line = format_args!("{} is refused too: {}", origin.sentence(), second.text.trim_end());
                    second.log(module_path!(), self.generation(), line);
                    if second.kind == Kind::Kernel {
                        refused = Kind::Kernel;
                    }
                }
            }
        }
        Err(Refusal { kind: refused, ..refusal })
    }

    /// The last good ruleset gets a second try where the kernel refuses it, as the directory has one among the candidates: for want of
    /// memory in a single moment nothing but failsafe entries would be left.
    fn enforce_instead(&mut self, candidate: Candidate) -> Result<(), Refusal> {
        let again = (candidate.origin == Origin::LastGood).then(|| candidate.clone());
        match (self.enforce(candidate, Contested::Close, None), again) {
            (Err(refusal), Some(good)) if refusal.kind == Kind::Kernel => {
                warn!("{} is tried once more: {}", good.origin.sentence(), refusal.text.trim_end());
                self.enforce(good, Contested::Close, None)
            }
            (enforced, _) => enforced,
        }
    }

    /// The kernel was asked, and enforces no generation.
    fn runs_nothing(&self) -> bool {
        kernel::inspect(&self.directories.bpffs).is_ok_and(|found| found.is_none_or(|found| found.word.running == 0))
    }

    /// With `reload = "manual"` only `apply` and a reload bring in what was saved: a daemon that comes back to what runs takes that up.
    fn waits_for_apply(&mut self) -> bool {
        let runs = kernel::inspect(&self.directories.bpffs).ok().flatten().is_some_and(|found| found.word.running != 0 && !found.pending);
        if !runs || self.rolled_back.is_some() {
            return false;
        }
        let good = fallback::last_good_candidate(&self.directories);
        let Some(good) = good.filter(|good| good.policies.daemon.reload == ReloadMode::Manual) else { return false };
        let saved = source::read(&self.directories.config, Trust::Own).ok().map(|mut snapshot| check(&mut snapshot, Origin::Directory));
        if saved.is_some_and(|saved| saved.is_ok_and(|saved| saved.digest == good.digest)) {
            return false;
        }
        // It is what the directory said when it was applied.
        let taken_up = self.enforce(Candidate { origin: Origin::Directory, ..good }, Contested::Close, None);
        if taken_up.is_ok() {
            warn!("the policy directory has changed since it was applied; with reload = \"manual\" it waits for `netpol-ebpf apply`");
        }
        taken_up.is_ok()
    }
}
