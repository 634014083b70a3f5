//! The story: one function, one call a stage, one generation.
//!
//! Ties the stages together and remembers what is live. Decides only what to do when a stage refuses: keep what runs; at the
//! start, fall back to the last good ruleset, or to failsafe entries alone. Never opens what was closed.

mod answers;
mod attempt;
mod beginning;
mod contested;
#[cfg(test)]
mod crash_tests;
mod ending;
mod fallback;
mod guard;
mod live;
mod neighbours;
mod refusal;
mod routes;
mod set_commands;
#[cfg(test)]
mod set_tests;
mod sets;
mod trial;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use log::{error, info, warn};

use contested::{Contested, compile};
pub use live::{Live, Origin};
pub use refusal::{Kind, Refusal};

use crate::compile::ruleset::Ruleset;
use crate::kernel::{self, Kernel, Outcome, Ways};
use crate::owners::{self, Claim, Holdings, Roots};
use crate::plan::{self, Action};
use crate::policy::model::{Owner, PolicySet, ReloadMode};
use crate::policy::{self, judge};
use crate::report;
use crate::report::names::SharedNames;
use crate::schema::render;
use crate::source::{self, Snapshot, SourceError, Trust};
use crate::trigger::control::Session;

/// Files that have not come to rest after this time are told in `status`.
const MOVING: Duration = Duration::from_secs(5);

/// Where the daemon works.
#[derive(Debug, Clone)]
pub struct Directories {
    /// Policies.
    pub config: PathBuf,
    /// Pins.
    pub bpffs: PathBuf,
    /// Last good ruleset, journals of dynamic sets.
    pub state: PathBuf,
}

/// A ruleset that passed every check that needs no kernel.
#[derive(Clone)]
struct Candidate {
    origin: Origin,
    policies: Arc<PolicySet>,
    digest: [u8; 32],
    warnings: Arc<[String]>,
    list_directories: BTreeSet<PathBuf>,
}

/// What the daemon knows between two looks.
pub struct Reconciler {
    directories: Directories,
    ways: Ways,
    /// `None` before the first enforcement and after `detach`.
    kernel: Option<Kernel>,
    live: Option<Live>,
    /// Digest of the content that was refused last, so that it is not judged and reported again and again.
    refused: Option<[u8; 32]>,
    /// Since when the files have not come to rest.
    moving: Option<Instant>,
    /// What was wrong with the files last; gone with the next good ones.
    last_error: Option<String>,
    /// What was wrong when the interfaces were followed last.
    link_error: Option<String>,
    /// Interfaces that policies claim in contradicting ways: closed in both directions.
    closed: Vec<String>,
    /// A ruleset that waits for confirmation, and the one that returns without it.
    trial: Option<trial::Trial>,
    /// What was live before, and when that changed: what `rollback` returns to.
    former: Option<trial::Former>,
    /// Digest of the content that was rolled back: it stays out until the files change or `apply` is called.
    rolled_back: Option<[u8; 32]>,
    /// Digest of what the last daemon left on trial, until the kernel has been asked whether it knows.
    left_on_trial: Option<[u8; 32]>,
    /// What containers and machines were found to have.
    holdings: Holdings,
    /// Warnings of the last execution.
    warnings: Vec<String>,
    /// Why the ruleset that is live is not the one kept as the last good.
    not_kept: Option<String>,
    /// What keeps the metrics listener from listening.
    metrics_trouble: Option<String>,
    /// What keeps the file watcher from seeing changes at once.
    watch_trouble: Vec<String>,
    routes: routes::Following,
    /// How the interfaces of containers and machines were found last.
    claims: BTreeMap<Owner, Claim>,
    names: SharedNames,
    sets: sets::Sets,
    neighbours: neighbours::Neighbours,
    /// How full the tables of flows were when they were swept last.
    flows: Vec<kernel::Fill>,
    again: bool,
}

impl Reconciler {
    /// Nothing is read and nothing touched yet.
    pub fn new(directories: Directories, ways: Ways) -> Self {
        let sets = sets::Sets::new(directories.state.join("sets"));
        Reconciler {
            directories,
            ways,
            kernel: None,
            live: None,
            refused: None,
            moving: None,
            last_error: None,
            link_error: None,
            closed: Vec::new(),
            trial: None,
            former: None,
            rolled_back: None,
            left_on_trial: None,
            holdings: Holdings::default(),
            warnings: Vec::new(),
            not_kept: None,
            metrics_trouble: None,
            watch_trouble: Vec::new(),
            routes: routes::Following::default(),
            claims: BTreeMap::new(),
            names: SharedNames::default(),
            sets,
            neighbours: neighbours::Neighbours::default(),
            flows: Vec::new(),
            again: false,
        }
    }

    /// Reads the directory and makes it live. `force`: also when the same content is live or was refused before.
    ///
    /// # Errors
    /// The first stage that refused. The running generation is as it was.
    pub fn reload(&mut self, force: bool) -> Result<(), Refusal> {
        self.reload_sparing(force, None)
    }

    /// [`Reconciler::reload`], unless that would end this session.
    fn reload_sparing(&mut self, force: bool, session: Option<&Session>) -> Result<(), Refusal> {
        let mut snapshot =
            source::read(&self.directories.config, Trust::Own).map_err(|error| self.moving(Refusal::source(&error), force))?;
        self.refuse_emptied(&snapshot).map_err(|refusal| self.note(refusal))?;
        let checked = check(&mut snapshot, Origin::Directory);
        if let Some(path) = snapshot.writing.take() {
            let error = SourceError::BeingWritten { path };
            if !force {
                return Err(self.moving(Refusal::source(&error), force));
            }
            warn!("{error}; it is read as it is, because that was asked for");
        }
        self.moving = None;
        let candidate = match checked {
            Ok(candidate) => candidate,
            Err(refusal) => {
                let digest = snapshot.digest();
                let known = self.refused.replace(digest) == Some(digest) && self.last_error.is_some();
                return Err(if known && !force { refusal } else { self.note(refusal) });
            }
        };
        let unchanged = self.live.as_ref().is_some_and(|live| live.origin == Origin::Directory && live.digest == candidate.digest);
        if unchanged && !force {
            self.last_error = None;
            // The files have changed, back to what is live: what was rolled back may be written anew.
            if self.rolled_back.take().is_some() {
                self.keep_trial(None);
            }
            return Ok(());
        }
        if self.is_former_of_trial(&candidate) {
            return self.withdraw_trial(candidate);
        }
        if self.rolled_back == Some(candidate.digest) && !force {
            return Err(Refusal::rolled_back());
        }
        if force {
            self.left_on_trial = None;
        }
        if let Some(session) = session {
            self.spare(session, &candidate)?;
        }
        if let Err(refusal) = self.enforce(candidate, Contested::Refuse, None) {
            return Err(self.note(refusal));
        }
        self.accepted(snapshot);
        Ok(())
    }

    /// A directory without any file is more often one that was lost than a wish for no policy.
    fn refuse_emptied(&self, snapshot: &Snapshot) -> Result<(), Refusal> {
        let runs = self.live.as_ref().is_some_and(|live| !live.policies.policies.is_empty());
        let ran = || fallback::last_good_candidate(&self.directories).is_some_and(|good| !good.policies.policies.is_empty());
        if snapshot.files.is_empty() && (runs || ran()) { Err(Refusal::emptied(&snapshot.directory)) } else { Ok(()) }
    }

    /// What the files say is live.
    fn accepted(&mut self, snapshot: Snapshot) {
        self.last_error = None;
        self.refused = None;
        self.rolled_back = None;
        self.note_trial(snapshot);
    }

    /// Follows the interfaces that are there now, with the policies that are live.
    ///
    /// # Errors
    /// What the compiler or the kernel refused; everything that was enforced still is.
    pub fn follow_links(&mut self) -> Result<(), Refusal> {
        if self.is_behind() {
            return self.follow_former();
        }
        let Some(live) = &self.live else { return Ok(()) };
        if live.origin != Origin::Directory && self.reloads_by_itself() && self.reload(false).is_ok() {
            return Ok(());
        }
        let Some(candidate) = self.live.as_ref().map(Live::candidate) else { return Ok(()) };
        let followed = self.enforce(candidate, Contested::Close, None);
        self.link_error = followed.as_ref().err().map(|refusal| refusal.text.trim_end().to_string());
        followed
    }

    /// Stages 5 to 8: compile for the interfaces that are there, plan, execute, remember.
    /// `deadline`: boot time in ns until which the former generation waits to return.
    fn enforce(&mut self, candidate: Candidate, contested: Contested, deadline: Option<u64>) -> Result<(), Refusal> {
        let kernel = opened(&mut self.kernel, &self.directories, self.ways, &candidate)?;
        // Damaged tables were replaced by new ones, which know no deadline: the trial is over, and was not confirmed.
        let left = self.left_on_trial.take();
        if left.is_some() && !kernel.pending()? {
            self.rolled_back = left;
            if left == Some(candidate.digest) {
                return Err(Refusal::rolled_back());
            }
        }
        let claims = owners::claims(&Roots::default(), &owners::named(&candidate.policies));
        let owned = kernel.owned(&claims, &mut self.holdings)?;
        let links = kernel.links(&owned)?;
        let known = self.live.as_ref().and_then(|live| live.compiled(&candidate, &links));
        let (ruleset, closed) = match known {
            Some(ruleset) => (ruleset, self.closed.clone()),
            None => compile(&candidate.policies, &links, contested)?,
        };
        self.neighbours.pinned_again(&kernel.mend()?);
        let observed = kernel.observe()?;
        let in_use = routes::prepare(kernel, &ruleset, &observed)?;
        self.sets.learn(kernel, &candidate.policies)?;
        let contents = self.sets.contents(kernel, &candidate.policies);
        // A changed list alone makes no generation. On trial it does: the former content has to return by itself.
        let on_trial = deadline.is_some() || kernel.pending()?;
        let rebuild = on_trial && contents.sets.values().any(|content| !content.runs);
        let actions = plan::plan_with(&ruleset, &observed, plan::Options { deadline, rebuild });
        let outcome = kernel.execute(&ruleset, &contents, &actions)?;
        self.neighbours.executed(&observed, &actions, &outcome);
        if let Some(live) = &self.live {
            neighbours::Neighbours::moved(&live.ruleset, &ruleset, &observed);
        }
        let built = |action: &Action| matches!(action, Action::BuildGeneration { generation, .. } if *generation == outcome.generation);
        // What is enforced is enforced: a set that could not be brought up to date is looked at again.
        let settled = self.sets.settle(kernel, &candidate.policies, actions.iter().any(built));
        let stale_sets = settled.err().map(|error| format!("dynamic sets: {error}"));
        let unjudged = kernel.unjudged().unwrap_or_default().into_iter().filter(|(name, _)| ruleset.core.guard.hooks_of(name) != 0);
        let unjudged = unjudged.map(|(name, why)| format!("{name} is selected and cannot be judged: {why}"));
        let standing: Vec<String> = kernel.warnings().iter().cloned().chain(stale_sets.clone()).chain(unjudged).collect();
        let committed = outcome.generation != observed.word.running;
        self.again = outcome.again || stale_sets.is_some();
        self.routes = routes::Following { in_use, error: None };
        self.claims = claims;
        self.link_error = None;
        self.tell(outcome, standing, closed, &ruleset);
        if committed {
            announce(self.generation(), &ruleset, &candidate);
        }
        self.replace_live(Live::new(candidate, links, ruleset));
        Ok(())
    }

    /// Logs what is new of an execution, and keeps it for `status`.
    fn tell(&mut self, outcome: Outcome, standing: Vec<String>, closed: Vec<String>, ruleset: &Ruleset) {
        outcome.notes.iter().for_each(|note| info!("{note}"));
        self.names.learn(outcome.generation, ruleset);
        let warnings: Vec<String> = standing.into_iter().chain(outcome.warnings).collect();
        warnings.iter().filter(|warning| !self.warnings.contains(warning)).for_each(|warning| warn!("{warning}"));
        self.warnings = warnings;
        closed.iter().filter(|text| !self.closed.contains(text)).for_each(|text| error!("{text}"));
        self.closed = closed;
    }

    /// Notes why there is nothing to judge, once. What is being written is no fault yet: it is one when it lasts.
    fn moving(&mut self, refusal: Refusal, force: bool) -> Refusal {
        let since = *self.moving.get_or_insert_with(Instant::now);
        let known = self.last_error.as_deref() == Some(refusal.text.trim_end());
        let early = refusal.passing && since.elapsed() < MOVING;
        if !refusal.passing {
            self.moving = None;
        }
        if force || !(known || early) { self.note(refusal) } else { refusal }
    }

    /// Logs a refusal and keeps it for `status`.
    fn note(&mut self, refusal: Refusal) -> Refusal {
        if self.live.is_some() {
            let generation = self.generation();
            let line = format_args!("refused, generation {generation} goes on: {}", refusal.text.trim_end());
            refusal.log(module_path!(), generation, line);
        }
        self.last_error = Some(refusal.text.trim_end().to_string());
        refusal
    }

    /// Deletes expired flows and set elements.
    pub fn sweep(&mut self) {
        self.sets.sweep(self.kernel.as_mut(), self.live.as_ref().map(|live| &*live.policies));
        match self.kernel.as_mut().map(Kernel::sweep_flows) {
            Some(Ok(fill)) => self.flows = fill,
            Some(Err(error)) => warn!("expired flows could not be deleted: {error}"),
            None => self.flows.clear(),
        }
    }

    /// A reader of logged packets, where there is a kernel side.
    ///
    /// # Errors
    /// When the ring cannot be mapped.
    pub fn events(&self) -> kernel::Result<Option<kernel::Events>> {
        self.kernel.as_ref().map(Kernel::events).transpose()
    }

    /// Names of rules and interfaces, for the reader of events.
    pub fn names(&self) -> SharedNames {
        self.names.clone()
    }

    /// The running generation; 0 = none.
    pub fn generation(&self) -> u32 {
        self.kernel.as_ref().map_or(0, |kernel| kernel.word().running)
    }

    /// Something could only be done half: look again soon.
    pub fn again(&mut self) -> bool {
        std::mem::take(&mut self.again)
    }

    /// A saved file goes live by itself.
    pub fn reloads_by_itself(&self) -> bool {
        self.live.as_ref().is_some_and(|live| live.policies.daemon.reload == ReloadMode::Auto)
    }

    /// Some live policy names a container or machine.
    pub fn names_owners(&self) -> bool {
        self.live.as_ref().is_some_and(|live| live.policies.policies.iter().any(|policy| policy.owner.is_some()))
    }

    /// A container or machine that policies name has come, gone or moved since the interfaces were looked at last.
    pub fn owners_moved(&self) -> bool {
        let Some(live) = &self.live else { return false };
        let named = owners::named(&live.policies);
        !named.is_empty() && owners::claims(&Roots::default(), &named) != self.claims
    }

    /// Where the live ruleset wants metrics served.
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.live.as_ref()?.policies.daemon.metrics
    }

    /// What `status` has to say about the metrics listener.
    pub fn set_metrics_trouble(&mut self, trouble: Option<String>) {
        self.metrics_trouble = trouble;
    }

    /// The same for the file watcher.
    pub fn set_watch_trouble(&mut self, trouble: Vec<String>) {
        self.watch_trouble = trouble;
    }

    /// Directories of set files.
    pub fn list_directories(&self) -> BTreeSet<PathBuf> {
        self.live.as_ref().map(|live| live.list_directories.clone()).unwrap_or_default()
    }

    /// One line for `systemctl status`.
    pub fn summary(&self) -> String {
        match &self.live {
            None => "detached: no interface is under policy".into(),
            Some(live) => {
                let trouble = if self.last_error.is_some() { "; the last change was refused, see `netpol-ebpf status`" } else { "" };
                let (rules, links) = (live.ruleset.core.rules.len(), live.ruleset.links.len());
                format!("generation {}: {rules} rules on {links} interfaces{trouble}", self.generation())
            }
        }
    }
}

/// The kernel; opened, where it is not, with tables of the size that the policies ask for.
fn opened<'k>(
    kernel: &'k mut Option<Kernel>,
    directories: &Directories,
    ways: Ways,
    candidate: &Candidate,
) -> Result<&'k mut Kernel, Refusal> {
    let conntrack = &candidate.policies.daemon.conntrack;
    let open = match kernel.take() {
        Some(open) => open,
        None => Kernel::open_by(&directories.bpffs, conntrack.max_entries, conntrack.max_half_open, ways)?,
    };
    Ok(kernel.insert(open))
}

fn announce(generation: u32, ruleset: &Ruleset, candidate: &Candidate) {
    let (rules, links) = (ruleset.core.rules.len(), ruleset.links.len());
    let from = candidate.origin.sentence();
    info!(NETPOL_GENERATION = generation; "generation {generation} is live: {rules} rules on {links} interfaces, from {from}");
    if candidate.policies.policies.is_empty() {
        warn!("there is no policy: no interface is under policy");
    }
}

/// Stages 3 and 4: what the files say, proven, and their tests.
fn check(snapshot: &mut Snapshot, origin: Origin) -> Result<Candidate, Refusal> {
    let loaded = policy::load(snapshot);
    let warnings: Arc<[String]> = loaded.warnings.iter().map(report::diagnostic_line).collect();
    let policies = loaded.policies.map_err(|errors| Refusal::policy(&errors, render(&errors, snapshot, false)))?;
    let failures = judge::run_tests(&policies);
    if !failures.is_empty() {
        return Err(Refusal::tests(&failures));
    }
    let list_directories = snapshot.set_directories();
    Ok(Candidate { origin, digest: snapshot.digest(), policies: Arc::new(policies), warnings, list_directories })
}
