//! File events -> triggers, by inotify through `notify`.
//!
//! Watches directories, never single files: editors replace files. Knows when a writer is half-way (modified, not yet closed)
//! and stays silent until it has finished. What inotify does not tell (links and mounts that lead elsewhere, a watch that could not
//! be had) is looked for now and then. Knows nothing of what the files say: the reader compares contents.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use log::{debug, warn};
use notify::event::{AccessKind, AccessMode, EventKind, ModifyKind};
use notify::{Event, RecommendedWatcher, RecursiveMode, Watcher};

use super::Trigger;
use super::symlinks::Symlinks;
use crate::kernel;
use crate::source;

/// Quiet time after the last event before anybody looks.
const SETTLE: Duration = Duration::from_millis(80);
/// A directory that never comes to rest is looked at this often all the same.
const SETTLE_LIMIT: Duration = Duration::from_millis(600);
/// A look without any event: lost events, file systems without inotify.
const RESCAN: Duration = Duration::from_secs(60);
/// Symbolic links are followed this often where there are any: no event tells that their target has changed.
const FOLLOW: Duration = Duration::from_millis(300);
/// Where the paths lead is asked this often (no event tells of a mount), and everything is looked at this often where inotify
/// cannot be used (watch limit reached).
const POLL: Duration = Duration::from_secs(2);
/// A writer that keeps its file open is told in `status` after this time.
const SLOW: Duration = Duration::from_secs(10);

/// A handle to tell the watcher which further directories matter (those of set files).
#[derive(Debug, Clone)]
pub struct Watch {
    directories: Sender<Message>,
    troubles: Troubles,
}

/// What keeps changes from being seen at once, by path; shared with the thread.
type Troubles = Arc<Mutex<BTreeMap<PathBuf, String>>>;

impl Watch {
    /// Replaces the list of further directories.
    pub fn also(&self, directories: BTreeSet<PathBuf>) {
        if self.directories.send(Message::Also(directories)).is_err() {
            debug!("the file watcher has ended");
        }
    }

    /// What keeps changes from being seen at once, for `status`.
    pub fn trouble(&self) -> Vec<String> {
        self.troubles.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }
}

enum Message {
    Event(notify::Result<Event>),
    Also(BTreeSet<PathBuf>),
}

/// Watches `directory`, its parent, and what [`Watch::also`] adds.
///
/// # Errors
/// When the thread cannot start. A failing inotify is not an error: the directory is polled then, and a warning says so.
pub fn watch(directory: &Path, send: Sender<Trigger>) -> std::io::Result<Watch> {
    let (to_thread, messages) = mpsc::channel();
    let troubles = Troubles::default();
    let mut state = State {
        directory: directory.to_path_buf(),
        also: BTreeSet::new(),
        events: to_thread.clone(),
        watcher: None,
        watched: BTreeMap::new(),
        led: BTreeMap::new(),
        writers: BTreeMap::new(),
        troubles: Arc::clone(&troubles),
        polling: false,
        symlinks: Symlinks::default(),
    };
    state.renew();
    thread::Builder::new().name("files".into()).spawn(move || state.run(&messages, &send))?;
    Ok(Watch { directories: to_thread, troubles })
}

/// What a path leads to: device and inode; `None` = nowhere.
type Identity = Option<(u64, u64)>;

fn identity(path: &Path) -> Identity {
    fs::metadata(path).ok().map(|meta| (meta.dev(), meta.ino()))
}

struct State {
    directory: PathBuf,
    also: BTreeSet<PathBuf>,
    events: Sender<Message>,
    watcher: Option<RecommendedWatcher>,
    /// Directory -> what is being watched: a path that leads elsewhere now must be watched anew.
    watched: BTreeMap<PathBuf, Identity>,
    /// Every directory that matters, there or not, and what it led to when it was looked at last.
    led: BTreeMap<PathBuf, Identity>,
    /// Files that were written to and not closed yet, and since when.
    writers: BTreeMap<PathBuf, Instant>,
    troubles: Troubles,
    polling: bool,
    symlinks: Symlinks,
}

impl State {
    fn run(&mut self, messages: &Receiver<Message>, send: &Sender<Trigger>) {
        let mut looked = Instant::now();
        let mut polled = looked;
        loop {
            let rescan = if self.polling { POLL } else { RESCAN };
            let patience = if self.symlinks.is_empty() { POLL } else { FOLLOW };
            let concerns_us = match messages.recv_timeout(patience.saturating_sub(polled.elapsed())) {
                Ok(message) => self.take(message),
                Err(RecvTimeoutError::Timeout) => false,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            // What is told of others, however often, does not put off the looks at what nobody tells.
            let due = polled.elapsed() >= patience;
            if concerns_us || (due && (self.symlinks.have_moved() || self.have_moved())) {
                self.settle(messages);
            } else if due && looked.elapsed() >= rescan {
                self.writers.clear();
            } else {
                polled = if due { Instant::now() } else { polled };
                continue;
            }
            looked = Instant::now();
            polled = looked;
            self.renew();
            if send.send(Trigger::Files).is_err() {
                return;
            }
        }
    }

    /// One of the directories is another than before: mounted over, unmounted, a link on the way to it swapped.
    fn have_moved(&self) -> bool {
        self.led.iter().any(|(path, before)| identity(path) != *before)
    }

    /// Waits until nothing has happened for a while and no writer is half-way.
    fn settle(&mut self, messages: &Receiver<Message>) {
        let started = Instant::now();
        loop {
            match messages.recv_timeout(SETTLE) {
                Ok(message) => {
                    self.take(message);
                }
                Err(RecvTimeoutError::Timeout) if !self.must_wait() => return,
                Err(RecvTimeoutError::Timeout) => self.report_slow_writers(),
                Err(RecvTimeoutError::Disconnected) => return,
            }
            if !self.must_wait() && started.elapsed() > SETTLE_LIMIT {
                return;
            }
        }
    }

    /// Somebody is half-way. What has been open for long beside a list is a log rather than a list; the reader looks for itself.
    fn must_wait(&self) -> bool {
        self.writers.iter().any(|(path, since)| path.parent() == Some(&self.directory) || since.elapsed() <= SLOW)
    }

    /// A writer that keeps a file open holds back every reload: that must not stay unsaid. One that has closed it without our
    /// hearing of it (truncate(2) opens nothing, an unmounted file system tells nothing) is none.
    fn report_slow_writers(&mut self) {
        let may_write = |path: &Path| File::open(path).is_ok_and(|file| kernel::is_written(&file) != Some(false));
        self.writers.retain(|path, _| may_write(path));
        for path in self.writers.iter().filter(|(_, since)| since.elapsed() > SLOW).map(|(path, _)| path) {
            let what = "written to and still open; waiting for its writer (`netpol-ebpf apply` does not wait)";
            tell(&self.troubles, path, format!("{}: {what}", path.display()));
        }
    }

    /// Notes what an event says; true when it is a reason to look.
    fn take(&mut self, message: Message) -> bool {
        let event = match message {
            Message::Also(directories) => {
                // What has moved since the last look is a reason for another: after `renew` nobody would know of it.
                let moved = self.symlinks.have_moved() || self.have_moved();
                self.also = directories;
                self.renew();
                return moved;
            }
            Message::Event(Err(error)) => {
                warn!("watching files: {error}");
                return true;
            }
            Message::Event(Ok(event)) => event,
        };
        if event.need_rescan() {
            warn!("more files changed than could be told; looking at all of them");
            self.writers.clear();
            // The loss of a watch may be among what was not told.
            self.watched.keys().cloned().collect::<Vec<_>>().iter().for_each(|path| self.unwatch(path));
            return true;
        }
        match event.kind {
            // Our own reading opens files: only a finished write counts among accesses.
            EventKind::Access(AccessKind::Close(AccessMode::Write)) => self.finished(&event),
            EventKind::Access(_) => return false,
            EventKind::Modify(ModifyKind::Data(_)) => {
                let written: Vec<PathBuf> =
                    event.paths.iter().filter(|path| self.concerns(path) && source::may_be_read(path)).cloned().collect();
                for path in written {
                    self.writers.entry(path).or_insert_with(Instant::now);
                }
            }
            _ => self.finished(&event),
        }
        // A directory that was removed or renamed has lost its watch, even if its successor gets the same inode number.
        if matches!(event.kind, EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(_))) {
            event.paths.iter().for_each(|path| self.unwatch(path));
        }
        event.paths.iter().any(|path| self.concerns(path))
    }

    fn finished(&mut self, event: &Event) {
        for path in &event.paths {
            self.writers.remove(path);
        }
    }

    /// Whether a path lies in a watched directory or is one; the parent's other children do not matter.
    fn concerns(&self, path: &Path) -> bool {
        let roots = || std::iter::once(&self.directory).chain(&self.also);
        roots().any(|root| path == root || path.parent() == Some(root) || root.parent() == Some(path))
    }

    fn unwatch(&mut self, path: &Path) {
        if self.watched.remove(path).is_none() {
            return;
        }
        if let Some(Err(error)) = self.watcher.as_mut().map(|watcher| watcher.unwatch(path)) {
            debug!("{}: the old watch was gone already: {error}", path.display());
        }
    }

    /// Watches every directory that is not watched or whose path leads to another inode now.
    fn renew(&mut self) {
        self.symlinks = Symlinks::of(&self.directory, &self.also);
        let mut wanted: BTreeSet<PathBuf> = self.also.clone();
        wanted.extend(self.directory.parent().map(Path::to_path_buf));
        wanted.insert(self.directory.clone());
        self.led = wanted.iter().map(|path| (path.clone(), identity(path))).collect();
        let mut troubles = BTreeMap::new();
        if self.watcher.is_none() {
            self.watcher = self.inotify(&mut troubles);
        }
        for (path, identity) in self.led.clone() {
            if identity.is_some() && self.watched.get(&path) == Some(&identity) {
                continue;
            }
            self.unwatch(&path);
            let Some(watcher) = self.watcher.as_mut().filter(|_| identity.is_some()) else { continue };
            match watcher.watch(&path, RecursiveMode::NonRecursive) {
                Ok(()) => {
                    self.watched.insert(path, identity);
                }
                Err(error) => {
                    let what = format!("{}: cannot be watched ({error}); polled every {} s", path.display(), POLL.as_secs());
                    troubles.insert(path, what);
                }
            }
        }
        self.polling = !troubles.is_empty();
        self.troubles.lock().unwrap_or_else(PoisonError::into_inner).retain(|path, _| troubles.contains_key(path));
        troubles.into_iter().for_each(|(path, what)| tell(&self.troubles, &path, what));
    }

    fn inotify(&self, troubles: &mut BTreeMap<PathBuf, String>) -> Option<RecommendedWatcher> {
        let events = self.events.clone();
        let watcher = notify::recommended_watcher(move |event| {
            if events.send(Message::Event(event)).is_err() {
                debug!("a file event came after the end");
            }
        });
        let failed = |error| format!("inotify is not available ({error}); the policy directory is polled every {} s", POLL.as_secs());
        watcher.map_err(|error| troubles.insert(PathBuf::new(), failed(error))).ok()
    }
}

/// Keeps a trouble for `status`, and logs it the first time.
fn tell(troubles: &Troubles, path: &Path, what: String) {
    let mut troubles = troubles.lock().unwrap_or_else(PoisonError::into_inner);
    if troubles.get(path) != Some(&what) {
        warn!("{what}");
        troubles.insert(path.to_path_buf(), what);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;
    use crate::kernel::tests::truncate;
    use std::fs::OpenOptions;
    use std::io::Write;

    fn start(directory: &Path) -> Receiver<Trigger> {
        let (send, receive) = mpsc::channel();
        let watch = watch(directory, send).expect("watch");
        std::mem::forget(watch);
        receive
    }

    #[test]
    fn rename_over_is_one_trigger() {
        let dir = tempfile::tempdir().unwrap();
        let policies = dir.path().join("netpol.d");
        fs::create_dir(&policies).unwrap();
        let triggers = start(&policies);
        fs::write(policies.join(".new"), "version = 1\n").unwrap();
        fs::rename(policies.join(".new"), policies.join("a.toml")).unwrap();
        assert!(matches!(triggers.recv_timeout(Duration::from_secs(2)), Ok(Trigger::Files)));
        assert!(triggers.recv_timeout(Duration::from_millis(400)).is_err(), "one save, one look");
    }

    #[test]
    fn half_written_file_waits_for_its_writer() {
        let dir = tempfile::tempdir().unwrap();
        let policies = dir.path().join("netpol.d");
        fs::create_dir(&policies).unwrap();
        let triggers = start(&policies);
        let mut file = OpenOptions::new().create(true).truncate(true).write(true).open(policies.join("a.toml")).unwrap();
        for byte in b"version = 1" {
            file.write_all(&[*byte]).unwrap();
            thread::sleep(Duration::from_millis(120));
        }
        assert!(triggers.try_recv().is_err(), "nobody looks at a half-written file");
        drop(file);
        assert!(matches!(triggers.recv_timeout(Duration::from_secs(2)), Ok(Trigger::Files)));
    }

    #[test]
    fn file_that_is_cut_without_being_opened_has_no_writer() {
        let dir = tempfile::tempdir().unwrap();
        let policies = dir.path().join("netpol.d");
        fs::create_dir(&policies).unwrap();
        fs::write(policies.join("a.toml"), "version = 1\n# more\n").unwrap();
        let triggers = start(&policies);
        truncate(&policies.join("a.toml"), 12).unwrap();
        assert!(triggers.recv_timeout(Duration::from_secs(5)).is_ok());
    }

    #[test]
    fn link_on_the_way_to_the_directory_that_is_swapped_is_a_reason_to_look() {
        let dir = tempfile::tempdir().unwrap();
        for store in ["one", "two"] {
            fs::create_dir_all(dir.path().join(store).join("netpol.d")).unwrap();
        }
        let point = |to: &str, name: &str| std::os::unix::fs::symlink(to, dir.path().join(name)).unwrap();
        point("one", "static");
        point("static/netpol.d", "netpol.d");
        let triggers = start(&dir.path().join("netpol.d"));
        point("two", "new");
        fs::rename(dir.path().join("new"), dir.path().join("static")).unwrap();
        assert!(triggers.recv_timeout(Duration::from_secs(1)).is_ok(), "soon");
        fs::write(dir.path().join("two/netpol.d/a.toml"), "x").unwrap();
        assert!(triggers.recv_timeout(Duration::from_secs(2)).is_ok(), "the new directory is watched");
    }

    #[test]
    fn link_that_is_swapped_just_before_other_directories_are_named_is_a_reason_to_look() {
        let dir = tempfile::tempdir().unwrap();
        let policies = dir.path().join("netpol.d");
        for store in ["one", "two"] {
            fs::create_dir_all(dir.path().join(store)).unwrap();
            fs::write(dir.path().join(store).join("a.toml"), store).unwrap();
        }
        fs::create_dir(&policies).unwrap();
        // Through a link that no event tells of.
        std::os::unix::fs::symlink("one", dir.path().join("current")).unwrap();
        std::os::unix::fs::symlink("../current/a.toml", policies.join("a.toml")).unwrap();
        let (send, triggers) = mpsc::channel();
        let watch = watch(&policies, send).unwrap();
        std::os::unix::fs::symlink("two", dir.path().join("new")).unwrap();
        fs::rename(dir.path().join("new"), dir.path().join("current")).unwrap();
        watch.also(BTreeSet::from([dir.path().join("one")]));
        assert!(triggers.recv_timeout(Duration::from_secs(5)).is_ok());
    }

    #[test]
    fn directory_that_is_replaced_is_watched_again() {
        let dir = tempfile::tempdir().unwrap();
        let policies = dir.path().join("netpol.d");
        fs::create_dir(&policies).unwrap();
        let triggers = start(&policies);
        fs::remove_dir(&policies).unwrap();
        fs::create_dir(&policies).unwrap();
        assert!(triggers.recv_timeout(Duration::from_secs(2)).is_ok());
        while triggers.recv_timeout(Duration::from_millis(300)).is_ok() {}
        fs::write(policies.join("a.toml"), "x").unwrap();
        assert!(triggers.recv_timeout(Duration::from_secs(2)).is_ok(), "the new directory is watched");
    }

    #[test]
    fn target_of_a_link_that_changes_elsewhere_is_a_reason_to_look() {
        let dir = tempfile::tempdir().unwrap();
        let (policies, elsewhere) = (dir.path().join("netpol.d"), dir.path().join("store/one"));
        fs::create_dir(&policies).unwrap();
        fs::create_dir_all(&elsewhere).unwrap();
        fs::write(elsewhere.join("a.toml"), "x").unwrap();
        std::os::unix::fs::symlink(elsewhere.join("a.toml"), policies.join("a.toml")).unwrap();
        let triggers = start(&policies);
        fs::write(elsewhere.join("a.toml"), "other").unwrap();
        assert!(triggers.recv_timeout(Duration::from_secs(2)).is_ok());
    }

    #[test]
    fn reading_is_not_a_reason_to_look() {
        let dir = tempfile::tempdir().unwrap();
        let policies = dir.path().join("netpol.d");
        fs::create_dir(&policies).unwrap();
        fs::write(policies.join("a.toml"), "x").unwrap();
        let triggers = start(&policies);
        for _ in 0..20 {
            fs::read(policies.join("a.toml")).unwrap();
        }
        assert!(triggers.recv_timeout(Duration::from_millis(500)).is_err());
    }
}
