//! `run`: the daemon's loop. Receives triggers, calls the reconciler, answers, tells systemd. One thing at a time.

use std::fs::{DirBuilder, File};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use anyhow::Context;
use log::{info, warn};
use serde_json::{Value, json};

use super::{Common, DONE, UNREACHABLE, detach};
use crate::kernel::{self, Ways};
use crate::reconcile::{Directories, Kind, Reconciler};
use crate::report::{outlet, systemd};
use crate::trigger::control::{Progress, Reply, Request, Response};
use crate::trigger::{Bell, Trigger, control, files, links, metrics, owners, signals};

mod descriptors;
mod event_log;
mod leaving;

/// Containers and machines that policies name are looked for this often, whatever events tell: not every manager's files can be watched.
const OWNERS: Duration = Duration::from_secs(1);
/// Our attachments are looked at this often: others can take a hook's head, or remove a pin, without any event. What they did is to be
/// put right within a second.
const LOOK: Duration = Duration::from_millis(400);
/// They are not looked at sooner than that again, however often filters change.
const LOOK_REST: Duration = Duration::from_millis(50);
/// Expired flows are deleted this often.
const SWEEP: Duration = Duration::from_secs(5);
/// After a reload that found the files moving, or did its work half.
const RETRY: Duration = Duration::from_millis(500);

/// Between two words about how far a piece of work is.
const TELL: Duration = Duration::from_millis(200);

/// Runs until SIGTERM or SIGINT.
///
/// # Errors
/// When the first enforcement is not possible at all, or a trigger cannot be set up.
pub(super) fn run(common: &Common, ways: Ways) -> anyhow::Result<u8> {
    outlet::detach().context("no thread for the log")?;
    let descriptors = descriptors::raise();
    let offset = kernel::boot_time_offset();
    if offset != 0 {
        info!("in a time namespace that shows boot time {:.3} s off: the kernel's own is used", offset as f64 / 1e9);
    }
    let (send, triggers) = mpsc::channel();
    // Every source is connected before the first look, so that nothing that changes in between is missed.
    signals::watch(send.clone())?;
    let file_watch = files::watch(&common.config_dir, send.clone())?;
    let _link_watch = links::watch(ringing(Bell::new(Trigger::Links, send.clone())))?;
    let _route_watch = links::watch_routes(ringing(Bell::new(Trigger::Routes, send.clone())))?;
    let _filter_watch = links::watch_filters(ringing(Bell::new(Trigger::Filters, send.clone())))?;
    let directories = Directories { config: common.config_dir.clone(), bpffs: common.bpffs.clone(), state: common.state_dir.clone() };
    let mut service = Service {
        reconciler: Reconciler::new(directories, ways),
        file_watch,
        event_log: None,
        metrics: None,
        owners_watched: false,
        send: send.clone(),
        ready: false,
        retry: None,
        retry_asked: false,
        routes: None,
        routes_rest: Instant::now(),
        looked: Instant::now(),
    };
    let _lock = lock(&common.runtime_dir)?;
    if let Err(refusal) = service.reconciler.start() {
        refusal.log(module_path!(), service.reconciler.generation(), format_args!("{}", refusal.text.trim_end()));
        return Ok(if refusal.kind == Kind::Kernel { UNREACHABLE } else { refusal.exit() });
    }
    control::serve(&common.runtime_dir, send, descriptors)
        .with_context(|| format!("no control socket can be made in {}; what is enforced stays so", common.runtime_dir.display()))?;
    service.after_change();
    service.serve(&triggers)
}

/// A directory that another daemon works in is not shared: its socket would be taken away.
fn lock(directory: &Path) -> anyhow::Result<File> {
    // The directory itself, which takes no room. Whoever may open it may lock it: nobody but its owner (as in the unit).
    let open = || {
        DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        File::open(directory)
    };
    let file = open().with_context(|| format!("cannot use {}", directory.display()))?;
    rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive)
        .with_context(|| format!("another netpol-ebpf works in {}", directory.display()))?;
    Ok(file)
}

fn ringing(bell: Bell) -> impl Fn() + Send + 'static {
    move || {
        if !bell.ring() {
            // The loop has ended; so will this process.
        }
    }
}

struct Service {
    reconciler: Reconciler,
    file_watch: files::Watch,
    event_log: Option<event_log::EventLog>,
    metrics: Option<metrics::Listener>,
    /// The files of containers and machines are watched, or were found to be beyond that.
    owners_watched: bool,
    send: Sender<Trigger>,
    ready: bool,
    retry: Option<Instant>,
    /// What is tried again was asked for by a signal.
    retry_asked: bool,
    /// Routes have changed and are to be looked at then.
    routes: Option<Instant>,
    /// They are not looked at before.
    routes_rest: Instant,
    /// Our attachments were looked at then.
    looked: Instant,
}

impl Service {
    fn serve(mut self, triggers: &Receiver<Trigger>) -> anyhow::Result<u8> {
        let patience = systemd::watchdog().map_or(SWEEP, |interval| SWEEP.min(interval / 3));
        let mut swept = Instant::now();
        let mut looked_for_owners = swept;
        let mut filters = false;
        loop {
            let idle = if self.reconciler.names_owners() { OWNERS.min(patience) } else { patience };
            let usual = if self.retry.is_some() { RETRY } else { idle };
            let wait = self.reconciler.trial_ends_in().map_or(usual, |left| usual.min(left));
            let wait = self.routes.map_or(wait, |due| wait.min(due.saturating_duration_since(Instant::now())));
            let wait = wait.min((self.looked + if filters { LOOK_REST } else { LOOK }).saturating_duration_since(Instant::now()));
            let mut pending = Pending::default();
            match triggers.recv_timeout(wait) {
                Ok(trigger) => pending.take(trigger),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(DONE),
            }
            triggers.try_iter().for_each(|trigger| pending.take(trigger));
            if self.retry.is_some_and(|at| at <= Instant::now()) {
                self.retry = None;
                pending.links = true;
                pending.files = true;
                pending.reload |= std::mem::take(&mut self.retry_asked);
            }
            if pending.routes && self.routes.is_none() {
                self.routes = Some(self.routes_rest);
            }
            if pending.owners || looked_for_owners.elapsed() >= OWNERS {
                looked_for_owners = Instant::now();
                pending.links |= self.reconciler.owners_moved();
            }
            filters |= pending.filters;
            if self.looked.elapsed() >= if filters { LOOK_REST } else { LOOK } {
                filters = false;
                self.reconciler.tell_neighbours();
                pending.links |= self.reconciler.moved();
                self.looked = Instant::now();
            }
            systemd::alive();
            if pending.stop {
                return self.stop();
            }
            if self.reconciler.end_trial() {
                self.after_change();
            }
            self.work(pending);
            if swept.elapsed() >= SWEEP {
                self.reconciler.sweep();
                swept = Instant::now();
            }
        }
    }

    /// Everything that came in since the last time, each kind once.
    fn work(&mut self, pending: Pending) {
        if self.routes.is_some_and(|due| due <= Instant::now()) {
            // What went wrong is logged and in `status`; it is tried again.
            let rest = self.reconciler.follow_routes();
            self.routes_rest = Instant::now() + rest.as_ref().map_or(RETRY, |rest| *rest);
            self.routes = rest.is_err().then_some(self.routes_rest);
        }
        if pending.reload {
            systemd::reloading();
            self.reload(true);
        } else if pending.files && self.reconciler.reloads_by_itself() {
            self.reload(false);
        }
        if pending.links {
            if let Err(refusal) = self.reconciler.follow_links() {
                warn!("following the interfaces: {}", refusal.text.trim_end());
                self.retry = Some(Instant::now() + RETRY);
            }
            self.after_change();
        }
        for (request, reply) in pending.requests {
            let response = self.answer(&request, &mut teller(&reply));
            if reply.send(Reply::Response(response)).is_err() {
                info!("whoever asked did not wait for the answer: {}", request.name());
            }
        }
    }

    fn reload(&mut self, force: bool) {
        match self.reconciler.reload(force) {
            Ok(()) => {}
            Err(refusal) if refusal.passing => {
                self.retry = Some(Instant::now() + RETRY);
                self.retry_asked |= force;
            }
            Err(_) => {} // noted and logged by the reconciler
        }
        self.after_change();
    }

    /// Watches what the live ruleset reads, logs what it logs, and tells systemd.
    fn after_change(&mut self) {
        self.file_watch.also(self.reconciler.list_directories());
        if self.event_log.is_none() {
            self.event_log = event_log::EventLog::start(&self.reconciler);
        }
        self.follow_metrics();
        self.follow_owners();
        if self.reconciler.again() {
            self.retry = Some(Instant::now() + RETRY);
        }
        let summary = self.reconciler.summary();
        let told = if self.ready { systemd::ready(&summary) } else { self.announce(&summary) };
        if !told {
            self.retry = Some(Instant::now() + RETRY);
        }
    }

    /// Listens where the live ruleset says, or nowhere.
    fn follow_metrics(&mut self) {
        let wanted = self.reconciler.metrics_address();
        if self.metrics.as_ref().map(metrics::Listener::address) == wanted {
            return;
        }
        self.metrics = None;
        let Some(address) = wanted else { return };
        match metrics::Listener::start(address, self.send.clone()) {
            Ok(listener) => {
                info!("metrics on http://{address}/metrics");
                self.metrics = Some(listener);
                self.reconciler.set_metrics_trouble(None);
            }
            Err(error) => {
                let trouble = format!("metrics cannot be served on {address}: {error}");
                warn!("{trouble}");
                self.reconciler.set_metrics_trouble(Some(trouble));
            }
        }
    }

    /// Watches the files of containers and machines from the first policy on that names one.
    fn follow_owners(&mut self) {
        if self.owners_watched || !self.reconciler.names_owners() {
            return;
        }
        self.owners_watched = true;
        if let Err(error) = owners::watch(ringing(Bell::new(Trigger::Owners, self.send.clone()))) {
            warn!("containers and machines are looked for every second only: {error}");
        }
    }

    /// READY=1 is said when every present selected interface is enforced, not before. `false`: try again.
    fn announce(&mut self, summary: &str) -> bool {
        match self.reconciler.status() {
            Ok(status) if status.interfaces.iter().all(|interface| interface.attach != "none") => {
                info!("ready: {summary}");
                self.ready = true;
                systemd::ready(summary)
            }
            Ok(_) => {
                systemd::status(&format!("not ready, an interface is not enforced yet; {summary}"));
                false
            }
            Err(error) => {
                warn!("what is enforced cannot be read: {error}");
                false
            }
        }
    }

    fn answer(&mut self, request: &Request, tell: &mut dyn FnMut(&str, usize, usize)) -> Response {
        match request {
            Request::Status => {
                self.reconciler.set_watch_trouble(self.file_watch.trouble());
                respond(self.reconciler.status())
            }
            Request::Rules => respond(self.reconciler.rules()),
            Request::Metrics => self.reconciler.metrics(),
            Request::SetList => self.reconciler.set_list(),
            Request::SetShow { name } => self.reconciler.set_show(name),
            Request::SetAdd { name, elements, lifetime } => self.reconciler.set_add(name, elements, *lifetime),
            Request::SetDel { name, elements } => self.reconciler.set_del(name, elements),
            Request::SetFlush { name } => self.reconciler.set_flush(name),
            Request::SetReplace { name, file, list, lifetime } => self.reconciler.set_replace(name, file, list, *lifetime, tell),
            Request::Apply { confirm, session } => {
                systemd::reloading();
                let result = match confirm {
                    None => self.reconciler.apply(session.as_ref()),
                    Some(trial) => self.reconciler.apply_on_trial(trial.seconds),
                };
                self.after_change();
                self.reconciler.applied(&result)
            }
            Request::Confirm => self.reconciler.confirm(),
            Request::Rollback => {
                let response = self.reconciler.rollback();
                self.after_change();
                response
            }
            Request::Detach => {
                self.event_log = None;
                match self.reconciler.detach() {
                    Ok(interfaces) => {
                        // Nor does what was to be tried again bring it back.
                        (self.retry, self.retry_asked) = (None, false);
                        warn!("detached on request: the firewall is OFF until `netpol-ebpf apply`, a reload or a restart");
                        systemd::status("detached: the firewall is off");
                        detach::detached(&interfaces)
                    }
                    Err(refusal) => {
                        Response { exit: refusal.exit(), value: json!({ "version": 1, "error": refusal.text }), text: refusal.text }
                    }
                }
            }
        }
    }

    fn stop(mut self) -> anyhow::Result<u8> {
        systemd::stopping();
        self.event_log = None;
        let stays = if self.reconciler.goes_with_the_daemon() { leaving::reason_to_stay() } else { None };
        self.reconciler.stop(stays)?;
        Ok(DONE)
    }
}

/// Tells whoever asked how far the work is, a few times a second.
fn teller(reply: &Sender<Reply>) -> impl FnMut(&str, usize, usize) {
    let mut told = Instant::now();
    move |what, done, total| {
        if told.elapsed() < TELL {
            return;
        }
        told = Instant::now();
        systemd::alive();
        let progress = Progress { what: what.to_owned(), done: done as u64, total: total as u64 };
        if reply.send(Reply::Progress { progress }).is_err() {
            log::debug!("whoever asked does not listen any more");
        }
    }
}

fn respond<T: serde::Serialize>(result: crate::kernel::Result<T>) -> Response {
    let value = result.map_err(|error| error.to_string()).and_then(|value| serde_json::to_value(value).map_err(|error| error.to_string()));
    match value {
        Ok(value) => Response { exit: DONE, text: String::new(), value },
        Err(text) => Response { exit: UNREACHABLE, value: Value::Null, text },
    }
}

/// Triggers that came in together: a storm of one kind is one look.
#[derive(Default)]
struct Pending {
    files: bool,
    links: bool,
    owners: bool,
    filters: bool,
    routes: bool,
    reload: bool,
    stop: bool,
    requests: Vec<(Request, Sender<Reply>)>,
}

impl Pending {
    fn take(&mut self, trigger: Trigger) {
        match trigger {
            Trigger::Files => self.files = true,
            Trigger::Links(_) => self.links = true,
            Trigger::Owners(_) => self.owners = true,
            Trigger::Filters(_) => self.filters = true,
            Trigger::Routes(_) => self.routes = true,
            Trigger::Reload(_) => self.reload = true,
            Trigger::Stop => self.stop = true,
            Trigger::Control(request, reply) => self.requests.push((request, reply)),
        }
    }
}
