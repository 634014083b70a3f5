//! Journals of dynamic sets: whatever a crash or a bad disk left, what is appended afterwards counts, and nothing else changes.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use netpol_ebpf::sets::{Change, Expiry, Journal};

/// The input as a journal that a daemon finds.
pub fn run(bytes: &[u8]) {
    let directory = directory();
    let path = directory.join("set");
    fs::write(&path, bytes).expect("a journal");
    let (mut journal, before, trouble) = Journal::load(&path);
    let told = trouble.map(|trouble| trouble.to_string());
    assert!(before.keys().all(|net| net.trunc() == *net));
    let added = "192.0.2.77/32".parse().expect("a prefix");
    let mut wanted = before;
    for (change, expiry) in [(Change::Add(added, Expiry::at(7)), Some(Expiry::at(7))), (Change::Remove(added), None)] {
        journal.append(&[change]).expect("a change is appended");
        match expiry {
            Some(expiry) => wanted.insert(added, expiry),
            None => wanted.remove(&added),
        };
        let (_, after, trouble) = Journal::load(&path);
        assert_eq!(after, wanted);
        assert_eq!(trouble.is_some(), told.is_some(), "{trouble:?} after {told:?}");
    }
    if told.is_some() {
        assert!(fs::read(&path).expect("the journal").starts_with(bytes), "something was cut off a damaged journal");
    }
    rewritten(&mut journal, &path, &wanted);
    fs::remove_dir_all(&directory).expect("the directory goes");
}

/// A rewritten journal holds the same elements and no trouble.
fn rewritten(journal: &mut Journal, path: &Path, wanted: &BTreeMap<ipnet::IpNet, Expiry>) {
    journal.rewrite(wanted.iter().map(|(net, expiry)| (*net, *expiry))).expect("rewritten");
    let (_, after, trouble) = Journal::load(path);
    assert_eq!((&after, trouble.map(|trouble| trouble.to_string())), (wanted, None));
}

/// In memory where that is at hand: each change is synced.
fn directory() -> PathBuf {
    let memory = Path::new("/dev/shm");
    let base = if memory.is_dir() { memory.to_path_buf() } else { std::env::temp_dir() };
    let directory = base.join(format!("netpol-fuzz-{}-{:?}", std::process::id(), std::thread::current().id()));
    fs::create_dir_all(&directory).expect("a directory");
    directory
}
