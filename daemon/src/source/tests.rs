//! Directories as administrators, editors and attackers leave them.

use std::fs::{self, File, Permissions};
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use tempfile::TempDir;

use super::{MAX_POLICY_FILE, Snapshot, SourceError, Trust};
use crate::policy::load;

const SET: &str = "version = 1\n[[set]]\nname = \"s\"\nfiles = [\"lists/*.txt\"]\n[[policy]]\nname = \"p\"\ninterfaces = [\"eth0\"]\nxdp = { deny_sets = [\"s\"] }\n";

fn read(directory: &Path) -> Result<Snapshot, SourceError> {
    super::read(directory, Trust::Own)
}

fn directory(files: &[(&str, &str)]) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = directory.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    directory
}

fn names(snapshot: &Snapshot) -> Vec<&str> {
    snapshot.files.iter().map(|file| file.name.as_str()).collect()
}

fn problem(directory: &TempDir, name: &str) -> String {
    let snapshot = read(directory.path()).unwrap();
    let file = snapshot.files.into_iter().find(|file| file.name == name).unwrap();
    file.problem.map(|problem| problem.message).unwrap_or_default()
}

#[test]
fn read_takes_toml_files_in_lexical_order() {
    let directory = directory(&[
        ("b.toml", "b"),
        ("a.toml", "a"),
        ("10.toml", "x"),
        (".h.toml", "h"),
        ("c.toml~", "c"),
        ("d.toml.swp", "d"),
        ("e.txt", "e"),
    ]);
    assert_eq!(names(&read(directory.path()).unwrap()), ["10.toml", "a.toml", "b.toml"]);
}

#[test]
fn read_missing_directory_is_named() {
    let error = read(Path::new("/nowhere/netpol.d")).unwrap_err();
    assert!(matches!(error, SourceError::Directory { .. }) && error.to_string().contains("/nowhere/netpol.d"), "{error}");
}

#[test]
fn read_directory_without_files_polices_nothing() {
    let mut snapshot = read(directory(&[]).path()).unwrap();
    let policies = load(&mut snapshot).policies.unwrap();
    assert!(policies.policies.is_empty() && policies.sets.is_empty());
}

#[test]
fn read_follows_links_as_nixos_makes_them() {
    let store = directory(&[("abc-policy", "version = 1\n")]);
    let directory = directory(&[]);
    symlink(store.path().join("abc-policy"), directory.path().join("a.toml")).unwrap();
    symlink("/nowhere", directory.path().join("b.toml")).unwrap();
    let snapshot = read(directory.path()).unwrap();
    assert_eq!(snapshot.files[0].text, "version = 1\n");
    assert!(problem(&directory, "b.toml").contains("cannot be read"));
}

#[test]
fn read_unusable_files_say_why() {
    let directory =
        directory(&[("empty.toml", ""), ("open.toml", "version = 1\n"), ("large.toml", &"#".repeat(MAX_POLICY_FILE as usize + 1))]);
    fs::create_dir(directory.path().join("folder.toml")).unwrap();
    fs::set_permissions(directory.path().join("open.toml"), Permissions::from_mode(0o666)).unwrap();
    assert_eq!(problem(&directory, "empty.toml"), "the file is empty");
    assert_eq!(problem(&directory, "open.toml"), "the file is writable by everybody (mode 0666)");
    assert_eq!(problem(&directory, "large.toml"), "the file is larger than 16 MiB");
    assert_eq!(problem(&directory, "folder.toml"), "this is not a regular file");
}

#[test]
fn read_directory_open_to_everybody_is_refused() {
    let directory = directory(&[("a.toml", "version = 1\n")]);
    fs::set_permissions(directory.path(), Permissions::from_mode(0o777)).unwrap();
    assert!(matches!(read(directory.path()), Err(SourceError::DirectoryWritable { mode: 0o777, .. })));
}

#[test]
fn read_while_written_is_whole_or_refused() {
    let directory = directory(&[("a.toml", "")]);
    let path = directory.path().join("a.toml");
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut turn = 0_u64;
            while !stop.load(Ordering::Relaxed) {
                turn += 1;
                let mut file = File::options().append(true).open(&path).unwrap();
                file.write_all(format!("# {turn}\n").as_bytes()).unwrap();
                thread::sleep(std::time::Duration::from_millis(5));
            }
        });
        let outcome = read(directory.path());
        stop.store(true, Ordering::Relaxed);
        // A busy machine may give the reader two equal looks between two lines; then what it read is whole lines.
        match outcome {
            Ok(snapshot) => assert!(snapshot.files[0].text.is_empty() || snapshot.files[0].text.ends_with('\n')),
            Err(SourceError::BeingWritten { path: named }) => assert_eq!(named, path),
            Err(other) => panic!("{other}"),
        }
    });
    assert!(read(directory.path()).is_ok());
}

#[test]
fn digest_covers_names_texts_and_set_files() {
    let of = |directory: &TempDir| {
        let mut snapshot = read(directory.path()).unwrap();
        assert!(load(&mut snapshot).policies.is_ok());
        snapshot.digest()
    };
    let one = |name: &str, text: &str| of(&directory(&[(name, text)]));
    assert_ne!(one("a.toml", "version = 1\n"), one("b.toml", "version = 1\n"));
    assert_ne!(one("a.toml", "version = 1\n"), one("a.toml", "version = 1 \n"));
    let base = directory(&[("a.toml", SET), ("lists/1.txt", "192.0.2.1\n")]);
    let before = of(&base);
    assert_eq!(before, of(&base));
    fs::write(base.path().join("lists/1.txt"), "192.0.2.2\n").unwrap();
    let changed = of(&base);
    assert_ne!(before, changed);
    fs::write(base.path().join("lists/2.txt"), "").unwrap();
    assert_ne!(changed, of(&base));
}

#[test]
fn saved_snapshot_loads_without_the_directory() {
    let policies = directory(&[("a.toml", SET), ("lists/1.txt", "192.0.2.1\n2001:db8::/32\n")]);
    let state = directory(&[]);
    let path = state.path().join("last-good.json");
    let mut fresh = read(policies.path()).unwrap();
    let wanted = load(&mut fresh).policies.unwrap();
    fresh.save(&path).unwrap();
    drop(policies);
    let mut kept = Snapshot::load(&path).unwrap();
    assert_eq!(kept.digest(), fresh.digest());
    assert_eq!(load(&mut kept).policies.unwrap(), wanted);
    assert_eq!(wanted.sets[0].nets.len(), 2);
}

#[test]
fn saved_snapshot_damaged_is_refused() {
    let state = directory(&[]);
    let path = state.path().join("last-good.json");
    let policies = directory(&[("a.toml", "version = 1\n")]);
    read(policies.path()).unwrap().save(&path).unwrap();
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("version = 1", "version = 2")).unwrap();
    assert!(matches!(Snapshot::load(&path), Err(SourceError::StateContent { .. })));
    fs::write(&path, &text[..text.len() / 2]).unwrap();
    assert!(matches!(Snapshot::load(&path), Err(SourceError::StateContent { .. })));
    assert!(matches!(Snapshot::load(&state.path().join("none")), Err(SourceError::State { .. })));
}

#[test]
fn set_directories_are_those_to_watch() {
    let directory = directory(&[("a.toml", &SET.replace("lists/*.txt", "lists/*/x.txt")), ("lists/deep/x.txt", "192.0.2.1\n")]);
    let mut snapshot = read(directory.path()).unwrap();
    assert!(load(&mut snapshot).policies.is_ok());
    let wanted = [directory.path().join("lists"), directory.path().join("lists/deep")];
    assert!(snapshot.set_directories().into_iter().eq(wanted));
}

#[test]
fn set_of_a_million_elements_loads_in_seconds() {
    let lines: String = (0..1_000_000_u32).map(|n| format!("{}\n", std::net::Ipv4Addr::from(n.wrapping_mul(2_654_435_761)))).collect();
    let directory = directory(&[("a.toml", SET), ("lists/1.txt", &lines)]);
    let start = std::time::Instant::now();
    let mut snapshot = read(directory.path()).unwrap();
    let policies = load(&mut snapshot).policies.unwrap();
    assert_eq!(policies.sets[0].element_count, 1_000_000);
    assert!(policies.sets[0].nets.len() > 900_000);
    assert!(start.elapsed() < std::time::Duration::from_secs(60), "{:?}", start.elapsed());
}

/// Rounds of reading that an attacker's swapping must meet.
const ROUNDS: usize = 100_000;

/// Whoever swaps what a name leads to between check and reading (a good file, an evil one that everybody can write to, one of another
/// user, a FIFO, a device, a directory, nothing): what is taken for good is what was proven on the open file.
#[test]
fn read_swapped_between_check_and_reading_is_never_believed() {
    const GOOD: [&str; 2] = ["version = 1\n# one\n", "version = 1\n# the other\n"];
    let (policies, store) =
        (directory(&[]), directory(&[("good", GOOD[0]), ("evil", "version = 1\n# evil\n"), ("theirs", "version = 1\n# evil\n")]));
    let at = |name: &str| store.path().join(name);
    fs::set_permissions(at("evil"), Permissions::from_mode(0o666)).unwrap();
    // Only root can give files away; without root there is one trap less.
    if std::os::unix::fs::chown(at("theirs"), Some(61_236), None).is_err() {
        fs::set_permissions(at("theirs"), Permissions::from_mode(0o664)).unwrap();
    }
    fs::create_dir(at("folder")).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(at("fifo")).status().unwrap().success());
    let targets =
        ["good", "evil", "theirs", "folder", "fifo", "nothing"].map(at).into_iter().chain(["/dev/zero".into(), "/proc/kmsg".into()]);
    let targets: Vec<_> = targets.collect();
    let (name, new) = (policies.path().join("a.toml"), policies.path().join(".new"));
    symlink(&targets[0], &name).unwrap();
    let stop = AtomicBool::new(false);
    let mut seen = std::collections::BTreeMap::<String, usize>::new();
    thread::scope(|scope| {
        scope.spawn(|| {
            for turn in 0_usize.. {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                // Links to all of them, and every now and then the good file itself in two versions, renamed over.
                if turn % 3 == 0 {
                    fs::write(&new, GOOD[turn % 2]).unwrap();
                } else {
                    symlink(&targets[turn % targets.len()], &new).unwrap();
                }
                fs::rename(&new, &name).unwrap();
            }
        });
        for _ in 0..ROUNDS {
            let (files, _) = super::stable::read_round(policies.path(), Trust::Own).unwrap();
            for file in files {
                let what = file.problem.map_or_else(|| file.text.clone(), |problem| problem.message);
                assert!(!what.contains("evil"), "believed: {what}");
                *seen.entry(what).or_default() += 1;
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    let good = GOOD.iter().filter(|text| seen.contains_key(**text)).count();
    assert!(good == 2 && seen.len() >= 5, "the attacker was too slow to prove anything: {seen:?}");
}

#[test]
fn read_file_that_somebody_has_open_for_writing_is_waited_for_and_named() {
    let directory = directory(&[("a.toml", "version = 1\n")]);
    let path = directory.path().join("a.toml");
    assert_eq!(read(directory.path()).unwrap().writing, None);
    let writer = File::options().append(true).open(&path).unwrap();
    let snapshot = read(directory.path()).unwrap();
    assert_eq!((snapshot.writing.as_ref(), snapshot.files[0].text.as_str()), (Some(&path), "version = 1\n"));
    thread::scope(|scope| {
        scope.spawn(|| {
            thread::sleep(std::time::Duration::from_millis(100));
            (&writer).write_all(b"# more\n").unwrap();
            drop(writer);
        });
        let snapshot = read(directory.path()).unwrap();
        assert_eq!((snapshot.writing, snapshot.files[0].text.as_str()), (None, "version = 1\n# more\n"));
    });
}

#[test]
fn read_what_others_can_change_is_refused_only_where_it_is_to_be_enforced() {
    let directory = directory(&[("a.toml", "version = 1\n")]);
    let path = directory.path().join("a.toml");
    fs::set_permissions(&path, Permissions::from_mode(0o664)).unwrap();
    assert_eq!(problem(&directory, "a.toml"), "the file is writable by its group (mode 0664)");
    assert_eq!(super::read(directory.path(), Trust::Checked).unwrap().files[0].problem, None);
    let told = |what: &str| {
        let notes = super::refused_as_foreign(directory.path());
        // What is not root's at all, because somebody else runs the tests, is told first.
        let what = if rustix::process::geteuid().is_root() { what } else { "belongs to user" };
        assert!(notes.len() == 1 && notes[0].contains(what), "{what}: {notes:?}");
    };
    told(&format!("the file {}: it is writable by its group (mode 0664) (take the right away: chmod g-w)", path.display()));
    fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
    fs::set_permissions(directory.path(), Permissions::from_mode(0o770)).unwrap();
    let error = read(directory.path()).unwrap_err();
    assert!(error.to_string().contains("is writable by its group (mode 0770)"), "{error}");
    assert!(super::read(directory.path(), Trust::Checked).is_ok());
    told(&format!("the directory {}: it is writable by its group", directory.path().display()));
}
