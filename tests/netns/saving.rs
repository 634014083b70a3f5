//! Every way in which editors and tools save a file goes live.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use netpol_tests::policy::{allow_port, arriving};
use netpol_tests::{Bench, Family, Net, say, wait};

use crate::matrix::udp_to;

fn allowing(port: u16) -> String {
    arriving(&allow_port("one", "udp", port))
}

/// A way of saving: its name, and what it does with the path and the new text.
type Save = (&'static str, fn(&Path, &str));

const WAYS: [Save; 8] = [
    ("rename over", |path, text| {
        let new = path.with_extension("new");
        fs::write(&new, text).expect("write");
        fs::rename(&new, path).expect("rename");
    }),
    ("in place", |path, text| fs::write(path, text).expect("write")),
    ("remove and write", |path, text| {
        fs::remove_file(path).expect("remove");
        fs::write(path, text).expect("write");
    }),
    ("backup and write, as vim does", |path, text| {
        let backup = path.with_extension("toml~");
        fs::rename(path, &backup).expect("rename");
        fs::write(path, text).expect("write");
        fs::remove_file(&backup).expect("remove");
    }),
    ("sed -i", |path, text| {
        let port = text.rsplit('[').next().and_then(|rest| rest.split(']').next()).expect("a port");
        shell(&format!("sed -i 's/ports = \\[[0-9]*\\]/ports = [{port}]/' '{}'", path.display()));
    }),
    ("cp", |path, text| {
        let other = path.parent().and_then(Path::parent).expect("a parent").join("copy");
        fs::write(&other, text).expect("write");
        shell(&format!("cp '{}' '{}'", other.display(), path.display()));
    }),
    ("mv from elsewhere", |path, text| {
        let other = path.parent().and_then(Path::parent).expect("a parent").join("moved");
        fs::write(&other, text).expect("write");
        shell(&format!("mv '{}' '{}'", other.display(), path.display()));
    }),
    ("shell redirection", |path, text| shell(&format!("cat > '{}' <<'EOF'\n{text}EOF", path.display()))),
];

fn shell(line: &str) {
    assert!(Command::new("sh").args(["-c", line]).status().expect("sh").success(), "{line}");
}

fn enforced(bench: &Bench, port: u16, what: &str) -> Duration {
    let begin = Instant::now();
    wait::until(&format!("{what}: port {port} is allowed"), Duration::from_secs(5), || bench.arrives(&udp_to(Family::V4, port)));
    let time = begin.elapsed();
    assert!(!bench.arrives(&udp_to(Family::V4, port - 1)), "{what}: the former port is denied");
    time
}

#[test]
fn file_saved_in_any_way_is_enforced() {
    let Some(bench) = Bench::start(&allowing(1000)) else { return };
    let path = bench.net.policy_dir().join("10-test.toml");
    let mut slowest = (Duration::ZERO, "");
    for (port, (what, save)) in (1001..).zip(WAYS) {
        save(&path, &allowing(port));
        slowest = slowest.max((enforced(&bench, port, what), what));
    }
    say::aloud(&format!("saved file to enforced, slowest of {} ways: {} ms ({})", WAYS.len(), slowest.0.as_millis(), slowest.1));
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
