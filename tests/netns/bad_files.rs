//! A bad file changes nothing: the running generation stays, the status says why.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use netpol_tests::policy::{VERSION, allow_port, arriving, policy};
use netpol_tests::{Bench, Family, wait};

use crate::matrix::udp_to;

fn good() -> String {
    arriving(&allow_port("dns", "udp", 53))
}

fn unchanged(bench: &Bench, what: &str) {
    for f in Family::BOTH {
        assert!(bench.arrives(&udp_to(f, 53)), "{what}, {f:?}: allowed as before");
        assert!(!bench.arrives(&udp_to(f, 54)), "{what}, {f:?}: denied as before");
    }
}

/// What is wrong, the second file, and a word that the error must hold besides the file's name.
fn bad_files() -> Vec<(&'static str, String, &'static str)> {
    let with = |text: &str| format!("{VERSION}{text}");
    vec![
        ("an empty file", String::new(), ""),
        ("no version", "[[set]]\nname = \"s\"\nelements = [\"10.0.0.1\"]\n".into(), "version"),
        ("another version", "version = 2\n".into(), "version"),
        ("half a line", with("[[policy]]\nname = \"x\"\ninterfa"), ""),
        ("an unknown key", with("[[policy]]\nname = \"x\"\ninterfaces = [\"left\"]\ninterfacess = [\"left\"]\n"), "interfaces"),
        ("an unknown set", policy("x", "[[policy.ingress]]\naction = \"allow\"\nsource = { sets = [\"nobody\"] }"), "nobody"),
        ("a policy of the same name", policy("arriving", "policy_types = [\"ingress\"]"), "arriving"),
        ("a missing set file", with("[[set]]\nname = \"s\"\nfiles = [\"absent.txt\"]\n"), "absent.txt"),
        ("an empty selector", policy("x", "[[policy.ingress]]\naction = \"allow\"\nsource = { nets = [] }"), "nets"),
        ("a bad address", with("[[set]]\nname = \"s\"\nelements = [\"10.0.0.300\"]\n"), "10.0.0.300"),
        (
            "ports of a protocol without ports",
            policy("x", "[[policy.ingress]]\naction = \"allow\"\nprotocol = \"gre\"\ndestination = { ports = [1] }"),
            "ports",
        ),
        (
            "a rule for a direction outside policy_types",
            policy("x", "policy_types = [\"egress\"]\n[[policy.ingress]]\naction = \"allow\""),
            "ingress",
        ),
        ("a workload policy on the host's interface", policy("x", "endpoint = \"workload\"\npolicy_types = [\"ingress\"]"), "left"),
        (
            "an IPv6 net in an IPv4 rule",
            policy("x", "[[policy.ingress]]\naction = \"allow\"\nip_version = 4\nsource = { nets = [\"fd00::/8\"] }"),
            "fd00::/8",
        ),
        (
            "two rules with one id",
            policy("x", "[[policy.ingress]]\nid = \"twin\"\naction = \"allow\"\n[[policy.ingress]]\nid = \"twin\"\naction = \"deny\""),
            "twin",
        ),
        ("a byte order mark", format!("\u{feff}{VERSION}"), "20-bad.toml:1:1"),
        ("a NUL", with("# \0\n"), "20-bad.toml:2:3"),
        ("one key twice", with("[daemon]\non_stop = \"keep\"\non_stop = \"keep\"\n"), "20-bad.toml:4:1"),
        ("an array without end", with(&format!("x = {}", "[".repeat(100_000))), "20-bad.toml:2:"),
        ("a line of a megabyte", with(&format!("x = \"{}\"\n", "a".repeat(1 << 20))), "20-bad.toml:2:1"),
        ("a lone carriage return", with("[daemon]\ron_stop = \"keep\"\n"), "20-bad.toml:2:"),
        ("no TOML at all", "\u{1}\u{2}\u{3}\n".into(), ""),
    ]
}

#[test]
fn bad_file_leaves_the_running_generation_and_is_named_in_the_status() {
    let Some(bench) = Bench::start(&good()) else { return };
    let generation = bench.cli().generation();
    for (what, text, word) in bad_files() {
        bench.net.write("20-bad.toml", &text);
        let error = wait::poll(Duration::from_secs(5), || Some(bench.cli().last_error()).filter(|error| !error.is_empty()));
        let error = error.unwrap_or_else(|| panic!("{what}: no error within 5 s"));
        assert!(error.contains("20-bad.toml"), "{what}: the error names the file: {error}");
        assert!(error.contains(word), "{what}: the error names {word}: {error}");
        assert_eq!(bench.cli().generation(), generation, "{what}");
        unchanged(&bench, what);
        bench.net.remove("20-bad.toml");
        wait::until("the error is gone with its file", Duration::from_secs(5), || bench.cli().last_error().is_empty());
    }
    unchanged(&bench, "in the end");
}

#[test]
fn bytes_that_are_no_text_are_refused() {
    let Some(bench) = Bench::start(&good()) else { return };
    fs::write(bench.net.policy_dir().join("20-bad.toml"), [0xff, 0xfe, 0x00, 0x80]).expect("a file");
    wait::until("an error", Duration::from_secs(5), || bench.cli().last_error().contains("20-bad.toml"));
    unchanged(&bench, "binary file");
}

/// Files that must not be read at all, or not believed, whoever has put them there: a name, how it is made, a word of the error.
type Trap = (&'static str, fn(&Path), &'static str);

const TRAPS: [Trap; 10] = [
    ("a FIFO that nobody writes to", |path| shell(&format!("mkfifo '{}'", path.display())), "not a regular file"),
    ("a device without end", |path| symlink("/dev/zero", path).expect("a link"), "not a regular file"),
    ("a terminal", |path| symlink("/dev/ptmx", path).expect("a link"), "not a regular file"),
    ("a directory", |path| fs::create_dir(path).expect("a directory"), "not a regular file"),
    ("a file of the kernel that waits for news", |path| symlink("/proc/kmsg", path).expect("a link"), ""),
    ("the memory of whoever reads it", |path| symlink("/proc/self/mem", path).expect("a link"), ""),
    ("a link to itself", |path| symlink(path, path).expect("a link"), "cannot be read"),
    ("a hole of a terabyte", |path| File::create(path).and_then(|file| file.set_len(1 << 40)).expect("a file"), "larger than"),
    ("somebody else's file", |path| owned(path, 0o644, Some(61_235)), "belongs to user 61235"),
    ("a file that a group can write to", |path| owned(path, 0o664, None), "writable by its group"),
];

fn shell(line: &str) {
    assert!(Command::new("sh").args(["-c", line]).status().expect("sh").success(), "{line}");
}

fn owned(path: &Path, mode: u32, user: Option<u32>) {
    fs::write(path, VERSION).expect("a file");
    fs::set_permissions(path, Permissions::from_mode(mode)).expect("a mode");
    chown(path, user, None).expect("an owner");
}

#[test]
fn traps_in_the_directory_neither_block_nor_go_live() {
    let Some(bench) = Bench::start(&good()) else { return };
    let (generation, path) = (bench.cli().generation(), bench.net.policy_dir().join("20-trap.toml"));
    for (what, set, word) in TRAPS {
        set(&path);
        let error = wait::poll(Duration::from_secs(20), || Some(bench.cli().last_error()).filter(|error| !error.is_empty()));
        let error = error.unwrap_or_else(|| panic!("{what}: no error within 20 s\n{}", bench.daemon.log()));
        assert!(error.contains("20-trap.toml") && error.contains(word), "{what}: {error}");
        assert_eq!(bench.cli().generation(), generation, "{what}");
        assert!(bench.arrives(&udp_to(Family::V4, 53)) && !bench.arrives(&udp_to(Family::V4, 54)), "{what}: as before");
        if path.is_dir() { fs::remove_dir(&path) } else { fs::remove_file(&path) }.expect("taken away");
        wait::until("the error is gone with its file", Duration::from_secs(10), || bench.cli().last_error().is_empty());
    }
}

#[test]
fn directory_of_somebody_else_is_not_believed() {
    let Some(bench) = Bench::start(&good()) else { return };
    let path = bench.net.policy_dir();
    for (mode, user, word) in
        [(0o755, 61_235, "belongs to user 61235"), (0o775, 0, "writable by its group"), (0o777, 0, "writable by everybody")]
    {
        fs::set_permissions(&path, Permissions::from_mode(mode)).expect("a mode");
        chown(&path, Some(user), None).expect("an owner");
        bench.net.write("20-more.toml", VERSION);
        wait::until(word, Duration::from_secs(10), || bench.cli().last_error().contains(word));
        unchanged(&bench, word);
    }
    fs::set_permissions(&path, Permissions::from_mode(0o755)).expect("a mode");
    bench.change(&arriving(&(allow_port("dns", "udp", 53) + &allow_port("ntp", "udp", 123))));
}

#[test]
fn file_written_byte_by_byte_goes_live_only_when_it_is_whole() {
    let Some(bench) = Bench::start(&good()) else { return };
    let wanted = arriving(&(allow_port("dns", "udp", 53) + &allow_port("ntp", "udp", 123)));
    let path = bench.net.policy_dir().join("10-test.toml");
    let half = &wanted[..wanted.len() / 2];
    for end in (0..half.len()).step_by(7) {
        fs::write(&path, &half[..end]).expect("a file");
        std::thread::sleep(Duration::from_millis(5));
        assert!(bench.arrives(&udp_to(Family::V4, 53)), "after {end} bytes");
        assert!(!bench.arrives(&udp_to(Family::V4, 54)), "after {end} bytes");
    }
    fs::write(&path, &wanted).expect("a file");
    wait::until("the whole file is enforced", Duration::from_secs(5), || bench.arrives(&udp_to(Family::V4, 123)));
    unchanged(&bench, "in the end");
}

#[test]
fn emptied_directory_is_not_an_empty_policy() {
    let Some(bench) = Bench::start(&good()) else { return };
    let path = bench.net.policy_dir();
    fs::rename(&path, bench.net.scratch("away")).expect("moved away");
    std::thread::sleep(Duration::from_millis(1500));
    unchanged(&bench, "the directory is gone");
    fs::rename(bench.net.scratch("away"), &path).expect("moved back");
    bench.change(&arriving(&(allow_port("dns", "udp", 53) + &allow_port("ntp", "udp", 123))));
    assert!(bench.arrives(&udp_to(Family::V4, 123)), "the directory is watched again");
}

#[test]
fn editor_droppings_are_not_read() {
    let Some(bench) = Bench::start(&good()) else { return };
    for name in [".hidden.toml", "10-test.toml~", "10-test.toml.swp", ".10-test.toml.swp", "x.tmp", "notes.txt", "README"] {
        fs::write(bench.net.policy_dir().join(name), "this is no policy").expect("a file");
    }
    std::thread::sleep(Duration::from_millis(1000));
    assert_eq!(bench.cli().last_error(), "");
    unchanged(&bench, "droppings");
}
