//! Where the scenarios of crashes are played: interfaces that are down, a bpffs, a policy directory, a state directory.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU16, Ordering};

use super::frames::FRAMES;
use super::layouts;
use crate::kernel::fingerprints::{self, Judging};
use crate::kernel::lifecycle::Bench;
use crate::kernel::{Ways, faults, witness};
use crate::plan;
use crate::reconcile::{Directories, Reconciler};

/// Interfaces that may be there.
const LINKS: [&str; 3] = ["np0", "np1", "np2"];
/// Where an operation began: which frames passed, what was pinned.
type Before = (Vec<bool>, BTreeMap<String, u64>);

pub(super) struct World {
    _bench: Option<Bench>,
    bpffs: PathBuf,
    home: PathBuf,
    ways: Ways,
    before: Mutex<Before>,
    port: AtomicU16,
}

impl World {
    pub(super) fn new(name: &str) -> World {
        World::with(name, Ways::default())
    }

    pub(super) fn with(name: &str, ways: Ways) -> World {
        let bench = Bench::new(&format!("crash-{name}"));
        let home = std::env::temp_dir().join(format!("netpol-ebpf-crash-{}-{name}", std::process::id()));
        for part in ["policy", "state"] {
            fs::create_dir_all(home.join(part)).unwrap();
        }
        let bpffs = bench.scratch.path.clone();
        World { _bench: Some(bench), bpffs, home, ways, before: Mutex::default(), port: AtomicU16::new(0) }
    }

    /// The same in a child process, which shares the namespace.
    pub(super) fn inherited(bpffs: &str, home: &str, ways: Ways) -> World {
        World { _bench: None, bpffs: bpffs.into(), home: home.into(), ways, before: Mutex::default(), port: AtomicU16::new(0) }
    }

    pub(super) fn bpffs(&self) -> &Path {
        &self.bpffs
    }

    pub(super) fn home(&self) -> &Path {
        &self.home
    }

    /// A daemon that has not looked at anything yet; nobody else is there.
    pub(super) fn daemon(&self) -> Reconciler {
        witness::wait_until_unlocked(&self.bpffs);
        Reconciler::new(self.directories(), self.ways)
    }

    fn directories(&self) -> Directories {
        Directories { config: self.home.join("policy"), bpffs: self.bpffs.clone(), state: self.home.join("state") }
    }

    pub(super) fn write(&self, text: &str) {
        fs::write(self.home.join("policy/10.toml"), text).unwrap();
    }

    pub(super) fn ip(&self, words: &str) {
        let output = Command::new("timeout").args(["5", "ip", "link"]).args(words.split(' ')).output().unwrap();
        assert!(output.status.success(), "ip link {words}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// Nothing of ours is in the kernel, nothing is remembered.
    pub(super) fn blank(&self) {
        witness::wait_until_unlocked(&self.bpffs);
        crate::kernel::detach_directory(&self.bpffs).unwrap();
        fs::remove_dir_all(self.home.join("state")).unwrap();
        fs::create_dir_all(self.home.join("state")).unwrap();
    }

    /// A daemon that has made this text live for good, whatever was before.
    pub(super) fn settle(&self, text: &str) -> Reconciler {
        self.write(text);
        let mut daemon = self.daemon();
        daemon.start().map_err(|refusal| refusal.text).unwrap();
        if daemon.last_error.is_some() || daemon.rolled_back.is_some() {
            daemon.reload(true).map_err(|refusal| refusal.text).unwrap();
        }
        daemon.confirm();
        assert_eq!(daemon.last_error, None);
        daemon
    }

    /// The moment before the operation: what is seen now is "before", and faults count from here on.
    pub(super) fn ready(&self) {
        self.ready_without_faults();
        faults::arm();
    }

    pub(super) fn ready_without_faults(&self) {
        *self.before.lock().unwrap() = (self.seen(), fingerprints::pinned(&self.bpffs));
    }

    pub(super) fn before(&self) -> Before {
        self.before.lock().unwrap().clone()
    }

    /// Which frames pass where, by whatever hangs there. All of them are of new flows.
    pub(super) fn seen(&self) -> Vec<bool> {
        let source_port = 1024 + self.port.fetch_add(1, Ordering::Relaxed) % 60_000;
        let hung = LINKS.iter().filter_map(|name| witness::Hung::on(name));
        hung.flat_map(|hung| FRAMES.each_ref().map(|frame| hung.lets_pass(frame.hook, &frame.bytes(source_port)))).collect()
    }

    /// The generation that judges, by our own layout or by another one, as far as it is not taken over.
    pub(super) fn judging(&self) -> Option<Judging> {
        Judging::of(&[&layouts::tree(self), &self.bpffs.join(layouts::OTHER_TREE)])
    }

    /// Every pin is there again with what it held, and no other.
    pub(super) fn same_pins(&self, before: &BTreeMap<String, u64>, what: &str) {
        let now = fingerprints::pinned(&self.bpffs);
        let names = |pins: &BTreeMap<String, u64>| pins.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(&now), names(before), "{what}");
        for (name, held) in before {
            assert!(now[name] == *held, "{what}: {name} holds something else");
        }
    }

    /// The next daemon starts, judges by one of these, and leaves nothing behind.
    pub(super) fn next_start(&self, allowed: &[&[bool]], what: &str) {
        let mut daemon = self.daemon();
        if let Err(refusal) = daemon.start() {
            panic!("{what}: the next start: {}", refusal.text);
        }
        let seen = self.seen();
        // Where the first start did nothing, the next one does all of it.
        assert!(allowed.contains(&seen.as_slice()), "{what}: after the next start: {seen:?}");
        self.is_tidy(&mut daemon, what);
    }

    pub(super) fn is_put_right(&self) {
        let mut daemon = self.daemon();
        daemon.start().map_err(|refusal| refusal.text).unwrap();
        self.is_tidy(&mut daemon, "without a fault");
    }

    pub(super) fn is_tidy(&self, daemon: &mut Reconciler, what: &str) {
        // XDP may have needed a second look.
        daemon.follow_links().map_err(|refusal| refusal.text).unwrap();
        let kernel = daemon.kernel.as_ref().unwrap();
        let there = kernel.observe().unwrap();
        let live = daemon.live.as_ref().unwrap();
        assert_eq!(plan::plan(&live.ruleset, &there), [], "{what}: the plan after the next start");
        assert_eq!(there.leftovers, Vec::<String>::new(), "{what}");
        let numbers: Vec<u32> = there.generations.keys().copied().collect();
        assert!(numbers.iter().all(|number| there.word.holds(*number)), "{what}: generations {numbers:?}, {:?}", there.word);
        assert!(there.running_digest().is_some(), "{what}: half a generation runs");
        assert!(there.records.keys().all(|(number, _)| there.word.holds(*number)), "{what}: records {:?}", there.records);
        let half = there.links.values().find(|link| link.ingress.is_some() != link.egress.is_some());
        assert_eq!(half, None, "{what}: one hook without the other");
        let beside = fingerprints::pinned(&self.bpffs).into_keys().find(|name| name.contains("/next-"));
        assert_eq!(beside, None, "{what}: the content of a set that was being exchanged");
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if self._bench.is_some() {
            fs::remove_dir_all(&self.home).unwrap();
        }
    }
}
