//! Every way in which editors and tools save a file goes live.

use std::fs::{self, File, Permissions};
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use netpol_tests::policy::{allow_port, arriving};
use netpol_tests::{Bench, Family, Net, say, sys, wait};

use crate::matrix::{followed, udp_to};

fn allowing(port: u16) -> String {
    arriving(&allow_port("one", "udp", port))
}

/// A way of saving: its name, the tool it takes where it is not this process, and what is done with the path, the text and its port.
type Save = (&'static str, Option<&'static str>, fn(&Path, &str, u16));

/// What the tools change is the number of the last rule.
const CHANGE: &str = "s/ports = \\[[0-9]*\\]/ports = [PORT]/";

/// Tools are run where they are at hand; what those that are often missing do is done here by the same system calls as well.
const WAYS: [Save; 30] = [
    ("rename over", None, |path, text, _| {
        let new = path.with_extension("new");
        fs::write(&new, text).expect("write");
        fs::rename(&new, path).expect("rename");
    }),
    ("synced, renamed over, directory synced", None, |path, text, _| {
        let new = path.with_file_name(".10-test.toml.x7Yz");
        let mut file = File::create(&new).expect("create");
        file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).expect("write");
        fs::rename(&new, path).expect("rename");
        File::open(directory_of(path)).and_then(|directory| directory.sync_all()).expect("sync");
    }),
    ("exchanged", None, |path, text, _| {
        let new = path.with_extension("new");
        fs::write(&new, text).expect("write");
        sys::exchange(&new, path).expect("renameat2");
        fs::remove_file(&new).expect("remove");
    }),
    ("hard link moved over", None, |path, text, _| {
        let (new, second) = (path.with_extension("new"), path.with_extension("second"));
        fs::write(&new, text).expect("write");
        fs::hard_link(&new, &second).expect("link");
        fs::rename(&second, path).expect("rename");
        fs::remove_file(&new).expect("remove");
    }),
    ("in place", None, |path, text, _| fs::write(path, text).expect("write")),
    ("in place, the end cut off afterwards, as VS Code does", None, |path, text, _| {
        let mut file = File::options().write(true).open(path).expect("open");
        file.write_all(text.as_bytes()).and_then(|()| file.set_len(text.len() as u64)).and_then(|()| file.sync_all()).expect("write");
    }),
    ("remove and write", None, |path, text, _| {
        fs::remove_file(path).expect("remove");
        fs::write(path, text).expect("write");
    }),
    ("backup by rename, lock as a link, as Emacs does", None, |path, text, _| {
        let (lock, backup) = (path.with_file_name(".#10-test.toml"), path.with_file_name("10-test.toml~"));
        symlink("admin@host.1234:1700000000", &lock).expect("lock");
        fs::write(path.with_file_name("#10-test.toml#"), text).expect("auto-save");
        fs::rename(path, &backup).expect("backup");
        File::options().write(true).create_new(true).open(path).and_then(|mut file| file.write_all(text.as_bytes())).expect("write");
        fs::remove_file(path.with_file_name("#10-test.toml#")).expect("remove");
        fs::remove_file(&lock).expect("unlock");
    }),
    ("backup by copy, then in place, as nano -B does", None, |path, text, _| {
        fs::copy(path, path.with_file_name("10-test.toml~")).expect("backup");
        fs::write(path, text).expect("write");
    }),
    (".goutputstream renamed over, as gedit does", None, |path, text, _| {
        let new = path.with_file_name(".goutputstream-A1B2C3");
        fs::write(&new, text).expect("write");
        fs::rename(&new, path).expect("rename");
    }),
    ("in pieces that stand beside each other, as rsync does", None, |path, text, _| {
        let new = path.with_file_name(".10-test.toml.a8Kd2f");
        let mut file = File::create(&new).expect("create");
        text.as_bytes().chunks(64).for_each(|piece| file.write_all(piece).expect("write"));
        drop(file);
        fs::set_permissions(&new, Permissions::from_mode(0o600)).expect("chmod");
        fs::rename(&new, path).expect("rename");
    }),
    ("vim", Some("vim"), |path, _, port| vim(path, port, "set backupcopy=auto")),
    ("vim with a backup that stays", Some("vim"), |path, _, port| vim(path, port, "set backup writebackup backupcopy=auto")),
    ("vim that copies the backup", Some("vim"), |path, _, port| vim(path, port, "set writebackup backupcopy=yes")),
    ("vim that renames the backup", Some("vim"), |path, _, port| vim(path, port, "set writebackup backupcopy=no")),
    ("vim without a backup", Some("vim"), |path, _, port| vim(path, port, "set nobackup nowritebackup")),
    ("nano", Some("nano"), |path, _, port| nano(path, port, "")),
    ("nano with a backup", Some("nano"), |path, _, port| nano(path, port, "-B")),
    ("ed", Some("ed"), |path, _, port| with(port, &format!("printf ',{CHANGE}\\nw\\nq\\n' | ed '{}' >/dev/null", path.display()))),
    ("sed -i", Some("sed"), |path, _, port| with(port, &format!("sed -i '{CHANGE}' '{}'", path.display()))),
    ("perl -i", Some("perl"), |path, _, port| with(port, &format!("perl -pi -e '{CHANGE}' '{}'", path.display()))),
    ("cp", Some("cp"), |path, text, _| from_elsewhere("cp", path, text)),
    ("cp --remove-destination", Some("cp"), |path, text, _| from_elsewhere("cp --remove-destination", path, text)),
    ("mv", Some("mv"), |path, text, _| from_elsewhere("mv", path, text)),
    ("install", Some("install"), |path, text, _| from_elsewhere("install -m 0640", path, text)),
    ("rsync", Some("rsync"), |path, text, _| from_elsewhere("rsync --ignore-times", path, text)),
    ("rsync --inplace", Some("rsync"), |path, text, _| from_elsewhere("rsync --ignore-times --inplace", path, text)),
    ("dd", Some("dd"), |path, text, _| shell(&format!("dd of='{}' bs=16 status=none <<'EOF'\n{text}EOF", path.display()))),
    ("tee", Some("tee"), |path, text, _| shell(&format!("tee '{}' >/dev/null <<'EOF'\n{text}EOF", path.display()))),
    ("shell redirection", Some("cat"), |path, text, _| shell(&format!("cat > '{}' <<'EOF'\n{text}EOF", path.display()))),
];

fn directory_of(path: &Path) -> &Path {
    path.parent().expect("a parent")
}

fn with(port: u16, line: &str) {
    shell(&line.replace("PORT", &port.to_string()));
}

fn vim(path: &Path, port: u16, how: &str) {
    with(port, &format!("TERM=dumb timeout 20 vim -Nu NONE -es -c '{how}' -c '%{CHANGE}' -c wq '{}' </dev/null", path.display()));
}

/// Types into it: replace, by a regular expression, all of them, save, leave.
fn nano(path: &Path, port: u16, options: &str) {
    let typed = ["\\034", "\\033r", "ports = .[0-9]+.\\r", "ports = [PORT]\\r", "A", "\\017\\r", "\\030"];
    let keys: Vec<String> = typed.iter().map(|keys| format!("printf '{keys}'; sleep 0.5")).collect();
    let nano = format!("nano -I {options} '{}'", path.display());
    with(port, &format!("(sleep 2; {}) | TERM=xterm timeout 20 script -qec \"{nano}\" /dev/null >/dev/null", keys.join("; ")));
}

/// Brings the text with this tool from a file in another directory.
fn from_elsewhere(tool: &str, path: &Path, text: &str) {
    let other = directory_of(path).parent().expect("a parent").join("elsewhere");
    fs::write(&other, text).expect("write");
    shell(&format!("{tool} '{}' '{}'", other.display(), path.display()));
}

fn shell(line: &str) {
    assert!(Command::new("sh").args(["-c", line]).status().expect("sh").success(), "{line}");
}

fn is_at_hand(tool: &str) -> bool {
    Command::new("sh").args(["-c", &format!("command -v {tool}")]).output().expect("sh").status.success()
}

fn enforced(bench: &Bench, port: u16, what: &str) -> Duration {
    followed(bench, port, Duration::from_secs(30), what)
}

#[test]
fn file_saved_in_any_way_is_enforced() {
    let Some(bench) = Bench::start(&allowing(1000)) else { return };
    let path = bench.net.policy_dir().join("10-test.toml");
    let (at_hand, missing): (Vec<Save>, Vec<Save>) = WAYS.into_iter().partition(|(_, tool, _)| tool.is_none_or(is_at_hand));
    let mut times = Vec::new();
    let mut generation = bench.cli().generation().as_u64().expect("a number");
    for (port, (what, _, save)) in (1001..).zip(at_hand) {
        save(&path, &allowing(port), port);
        times.push((enforced(&bench, port, what), what));
        generation += 1;
        assert_eq!(bench.cli().generation().as_u64(), Some(generation), "{what}: one save is one generation, and nothing in between");
        assert_eq!(bench.cli().last_error(), "", "{what}");
    }
    times.sort_unstable();
    let (median, slowest) = (times[times.len() / 2].0.as_millis(), times[times.len() - 1]);
    let missing: Vec<&str> = missing.into_iter().map(|(what, _, _)| what).collect();
    let ways = times.len();
    say::aloud(&format!("saved file to enforced, {ways} ways: median {median} ms, slowest {} ms ({})", slowest.0.as_millis(), slowest.1));
    if !missing.is_empty() {
        say::aloud(&format!("SKIPPED for want of the tool: {}", missing.join(", ")));
    }
}

#[test]
fn symlinks_swapped_into_another_tree_are_enforced() {
    let Some(net) = Net::new() else { return };
    let store = net.scratch("store");
    for port in [1000, 1001, 1002] {
        let version = store.join(port.to_string());
        fs::create_dir_all(&version).expect("a directory");
        fs::write(version.join("10-test.toml"), allowing(port)).expect("a file");
    }
    let link = net.policy_dir().join("10-test.toml");
    let point_at = |port: u16| {
        let new = link.with_extension("new");
        symlink(store.join(port.to_string()).join("10-test.toml"), &new).expect("a link");
        fs::rename(&new, &link).expect("rename");
    };
    point_at(1000);
    let daemon = netpol_tests::Daemon::start(&net);
    let bench = Bench::around(net, daemon);
    enforced(&bench, 1000, "first");
    point_at(1001);
    enforced(&bench, 1001, "swapped");
    point_at(1002);
    enforced(&bench, 1002, "swapped again");
}

#[test]
fn directory_that_is_a_swapped_symlink_is_enforced() {
    let Some(net) = Net::new() else { return };
    let store = net.scratch("store");
    for port in [1000, 1001] {
        let version = store.join(port.to_string());
        fs::create_dir_all(&version).expect("a directory");
        fs::write(version.join("10-test.toml"), allowing(port)).expect("a file");
    }
    let directory = net.policy_dir();
    fs::remove_dir(&directory).expect("the empty directory");
    symlink(store.join("1000"), &directory).expect("a link");
    let daemon = netpol_tests::Daemon::start(&net);
    let bench = Bench::around(net, daemon);
    enforced(&bench, 1000, "first");
    let new = bench.net.scratch("new");
    symlink(store.join("1001"), &new).expect("a link");
    fs::rename(&new, &directory).expect("rename");
    enforced(&bench, 1001, "swapped");
}

/// Two files that are valid only together: `20-rule.toml` names the set that `10-set.toml` defines.
fn pair(port: u16) -> (String, String) {
    let set = format!("version = 1\n[[set]]\nname = \"s{port}\"\nelements = [\"10.1.0.2\", \"fd00:1::2\"]\n");
    let rule = format!(
        "[[rule]]\naction = \"allow\"\nprotocol = \"udp\"\nsource = {{ sets = [\"s{port}\"] }}\ndestination = {{ ports = [{port}] }}\n"
    );
    (set, arriving(&rule))
}

#[test]
fn two_files_that_are_valid_only_together_go_live_together() {
    let Some(net) = Net::new() else { return };
    net.write("10-set.toml", &pair(1000).0);
    net.write("20-rule.toml", &pair(1000).1);
    let daemon = netpol_tests::Daemon::start(&net);
    let bench = Bench::around(net, daemon);
    let generation = || bench.cli().generation().as_u64().expect("a number");
    enforced(&bench, 1000, "first");
    let first = generation();
    for port in 1001..1006 {
        // One after the other, as a tool that deploys both does.
        bench.net.write("20-rule.toml", &pair(port).1);
        bench.net.write("10-set.toml", &pair(port).0);
        enforced(&bench, port, "both at once");
    }
    assert_eq!((generation(), bench.cli().last_error().as_str()), (first + 5, ""), "{}", bench.daemon.log());
    // Long between them: the half is refused and named, what runs goes on, and the other half heals it.
    bench.net.write("20-rule.toml", &pair(1006).1);
    wait::until("the half is refused", Duration::from_secs(10), || bench.cli().last_error().contains("s1006"));
    assert!(bench.arrives(&udp_to(Family::V4, 1005)), "the running generation goes on");
    bench.net.write("10-set.toml", &pair(1006).0);
    enforced(&bench, 1006, "the other half");
    assert_eq!((generation(), bench.cli().last_error().as_str()), (first + 6, ""));
}

#[test]
fn manual_reload_waits_until_it_is_told_that_all_files_are_there() {
    let Some(net) = Net::new() else { return };
    net.write("00-daemon.toml", "version = 1\n[daemon]\nreload = \"manual\"\n");
    net.write("10-set.toml", &pair(1000).0);
    net.write("20-rule.toml", &pair(1000).1);
    let daemon = netpol_tests::Daemon::start(&net);
    let bench = Bench::around(net, daemon);
    enforced(&bench, 1000, "first");
    let generation = bench.cli().generation();
    bench.net.write("20-rule.toml", &pair(1001).1);
    std::thread::sleep(Duration::from_millis(1500));
    assert_eq!((bench.cli().generation(), bench.cli().last_error().as_str()), (generation.clone(), ""), "nobody has looked");
    bench.cli().run(&["apply"]).expect(netpol_tests::cli::BAD);
    assert_eq!(bench.cli().generation(), generation, "the half is refused");
    bench.net.write("10-set.toml", &pair(1001).0);
    bench.cli().run(&["apply"]).expect(netpol_tests::cli::DONE);
    enforced(&bench, 1001, "applied");
}

#[test]
fn files_added_and_removed_are_enforced() {
    let Some(bench) = Bench::start(&allowing(1000)) else { return };
    bench.net.write("20-more.toml", &allowing(2000).replace("\"arriving\"", "\"more\""));
    wait::until("both files", Duration::from_secs(5), || bench.arrives(&udp_to(Family::V4, 2000)));
    assert!(bench.arrives(&udp_to(Family::V4, 1000)));
    bench.net.remove("20-more.toml");
    wait::until("one file", Duration::from_secs(5), || !bench.arrives(&udp_to(Family::V4, 2000)));
    assert!(bench.arrives(&udp_to(Family::V4, 1000)));
}

/// Lists may lie where others write, too: what is open there for long is no list that is being written.
#[test]
fn log_that_is_never_closed_beside_a_list_holds_back_no_reload_for_long() {
    let Some(net) = Net::new() else { return };
    let directory = net.scratch("lists");
    fs::create_dir(&directory).expect("a directory");
    fs::write(directory.join("bad.txt"), "192.0.2.1\n").expect("a list");
    let set = format!("[[set]]\nname = \"bad\"\nfiles = [\"{}\"]\n", directory.join("bad.txt").display());
    let text = |port| arriving(&allow_port("one", "udp", port)) + "[policy.xdp]\ndeny_sets = [\"bad\"]\n" + &set;
    let Some(bench) = Bench::start_in(net, &text(1000)) else { return };
    let ended = AtomicBool::new(false);
    let log = directory.join("app.log");
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut file = fs::File::create(&log).expect("a log");
            while !ended.load(Ordering::Relaxed) {
                file.write_all(b"a line\n").expect("a line");
                thread::sleep(Duration::from_millis(100));
            }
        });
        thread::sleep(Duration::from_secs(1));
        bench.net.write("10-test.toml", &text(1001));
        let live = wait::poll(Duration::from_secs(20), || bench.arrives(&udp_to(Family::V4, 1001)).then_some(()));
        bench.net.write("10-test.toml", &text(1002));
        let again = wait::poll(Duration::from_secs(5), || bench.arrives(&udp_to(Family::V4, 1002)).then_some(()));
        ended.store(true, Ordering::Relaxed);
        assert_eq!((live, again), (Some(()), Some(())), "at first after a while, then at once");
    });
}
