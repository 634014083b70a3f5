//! File events -> triggers, by inotify through `notify`.
//!
//! Watches directories, never single files: editors replace files. Knows when a writer is half-way (modified, not yet closed)
//! and stays silent until it has finished. Knows nothing of what the files say: the reader compares contents.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use log::{debug, warn};
use notify::event::{AccessKind, AccessMode, EventKind, ModifyKind};
use notify::{Event, RecommendedWatcher, RecursiveMode, Watcher};

use super::Trigger;
use super::symlinks::Symlinks;

/// Quiet time after the last event before anybody looks.
const SETTLE: Duration = Duration::from_millis(80);
/// A directory that never comes to rest is looked at this often all the same.
const SETTLE_LIMIT: Duration = Duration::from_millis(600);
/// A look without any event: lost events, bind mounts, file systems without inotify.
const RESCAN: Duration = Duration::from_secs(60);
/// Symbolic links are followed this often where there are any: no event tells that their target has changed.
const FOLLOW: Duration = Duration::from_millis(300);
/// The same where inotify cannot be used at all (watch limit reached).
const POLL: Duration = Duration::from_secs(2);

/// A handle to tell the watcher which further directories matter (those of set files).
#[derive(Debug, Clone)]
pub struct Watch {
    directories: Sender<Message>,
}

impl Watch {
    /// Replaces the list of further directories.
    pub fn also(&self, directories: BTreeSet<PathBuf>) {
        if self.directories.send(Message::Also(directories)).is_err() {
            debug!("the file watcher has ended");
        }
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
    let events = to_thread.clone();
    let watcher = notify::recommended_watcher(move |event| {
        if events.send(Message::Event(event)).is_err() {
            debug!("a file event came after the end");
        }
    });
    let watcher = watcher.map_err(|error| warn!("inotify is not available ({error}); the policy directory is polled")).ok();
    let mut state = State {
        directory: directory.to_path_buf(),
        also: BTreeSet::new(),
        watcher,
        watched: BTreeMap::new(),
        writers: BTreeMap::new(),
        polling: false,
        symlinks: Symlinks::default(),
    };
    state.renew();
    thread::Builder::new().name("files".into()).spawn(move || state.run(&messages, &send))?;
    Ok(Watch { directories: to_thread })
}

struct State {
    directory: PathBuf,
    also: BTreeSet<PathBuf>,
    watcher: Option<RecommendedWatcher>,
    /// Directory -> (device, inode) that is being watched: a path that leads elsewhere now must be watched anew.
    watched: BTreeMap<PathBuf, (u64, u64)>,
    /// Files that were written to and not closed yet, and since when.
    writers: BTreeMap<PathBuf, Instant>,
    polling: bool,
    symlinks: Symlinks,
}

impl State {
    fn run(&mut self, messages: &Receiver<Message>, send: &Sender<Trigger>) {
        let mut looked = Instant::now();
        loop {
            let rescan = if self.polling || self.watcher.is_none() { POLL } else { RESCAN };
            let patience = if self.symlinks.is_empty() { rescan } else { FOLLOW };
            match messages.recv_timeout(patience) {
                Ok(message) => {
                    if !self.take(message) {
                        continue;
                    }
                    self.settle(messages);
                }
                Err(RecvTimeoutError::Timeout) if looked.elapsed() >= rescan => self.writers.clear(),
                Err(RecvTimeoutError::Timeout) if self.symlinks.have_moved() => self.settle(messages),
                Err(RecvTimeoutError::Timeout) => continue,
                Err(RecvTimeoutError::Disconnected) => return,
            }
            looked = Instant::now();
            self.renew();
            if send.send(Trigger::Files).is_err() {
                return;
            }
        }
    }

    /// Waits until nothing has happened for a while and no writer is half-way.
    fn settle(&mut self, messages: &Receiver<Message>) {
        let started = Instant::now();
        loop {
            match messages.recv_timeout(SETTLE) {
                Ok(message) => {
                    self.take(message);
                }
                Err(RecvTimeoutError::Timeout) if self.writers.is_empty() => return,
                Err(RecvTimeoutError::Timeout) => self.report_slow_writers(),
                Err(RecvTimeoutError::Disconnected) => return,
            }
            if self.writers.is_empty() && started.elapsed() > SETTLE_LIMIT {
                return;
            }
        }
    }

    /// A writer that keeps a file open holds back every reload: that must not stay unsaid.
    fn report_slow_writers(&mut self) {
        for (path, since) in &mut self.writers {
            if since.elapsed() > Duration::from_secs(10) {
                warn!("{}: written to and still open; waiting for its writer (`netpol-ebpf apply` does not wait)", path.display());
                *since = Instant::now();
            }
        }
        // A writer that died with its mount never closes; a file that is gone has no writer that matters.
        self.writers.retain(|path, _| path.exists());
    }

    /// Notes what an event says; true when it is a reason to look.
    fn take(&mut self, message: Message) -> bool {
        let event = match message {
            Message::Also(directories) => {
                self.also = directories;
                self.renew();
                return false;
            }
            Message::Event(Err(error)) => {
                warn!("watching files: {error}");
                return true;
            }
            Message::Event(Ok(event)) => event,
        };
        if event.need_rescan() {
            self.writers.clear();
            return true;
        }
        match event.kind {
            // Our own reading opens files: only a finished write counts among accesses.
            EventKind::Access(AccessKind::Close(AccessMode::Write)) => self.finished(&event),
            EventKind::Access(_) => return false,
            EventKind::Modify(ModifyKind::Data(_)) => {
                let written: Vec<PathBuf> = event.paths.iter().filter(|path| self.concerns(path)).cloned().collect();
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
        self.symlinks = Symlinks::of(std::iter::once(&self.directory).chain(&self.also));
        let mut wanted: BTreeSet<PathBuf> = self.also.clone();
        wanted.extend(self.directory.parent().map(Path::to_path_buf));
        wanted.insert(self.directory.clone());
        self.polling = false;
        for path in wanted {
            let identity = fs::metadata(&path).ok().map(|meta| (meta.dev(), meta.ino()));
            if identity.is_some() && self.watched.get(&path) == identity.as_ref() {
                continue;
            }
            self.unwatch(&path);
            let (Some(identity), Some(watcher)) = (identity, self.watcher.as_mut()) else { continue };
            match watcher.watch(&path, RecursiveMode::NonRecursive) {
                Ok(()) => {
                    self.watched.insert(path, identity);
                }
                Err(error) => {
                    warn!("{}: cannot be watched ({error}); polled every {} s", path.display(), POLL.as_secs());
                    self.polling = true;
                }
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;
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
