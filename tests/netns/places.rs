//! The directory itself: behind links that are swapped, gone, another one, mounted over; and a watcher that cannot watch.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime};

use netpol_tests::policy::{VERSION, allow_port, arriving};
use netpol_tests::{Bench, Daemon, Family, Net, residue, say, sys, sys_inotify, wait};

use crate::matrix::{followed, udp_to};

/// Files touched while the daemon cannot read its events: more than any queue of inotify holds.
const TOUCHES: usize = 100_000;
/// A user whose inotify instances are all taken; nobody else on this machine.
const POOR_USER: u32 = 61_234;
/// Of his instances, where only the watches are taken: the daemon has a few.
const LEFT_INSTANCES: usize = 8;

fn allowing(port: u16) -> String {
    arriving(&(allow_port("always", "udp", 53) + &allow_port("one", "udp", port)))
}

fn enforced(bench: &Bench, port: u16, what: &str) -> Duration {
    followed(bench, port, Duration::from_secs(45), what)
}

fn point(link: &Path, to: &Path) {
    let new = link.with_extension("tmp");
    symlink(to, &new).expect("a link");
    fs::rename(&new, link).expect("renamed over");
}

/// All times 1, as in the Nix store.
fn timeless(path: &Path) {
    fs::File::open(path).expect("a file").set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1)).expect("a time");
}

/// A system generation as NixOS makes it: `etc/netpol.d` is a directory of links into the store, all with one time.
fn generation(store: &Path, port: u16) -> PathBuf {
    let (file, etc) = (store.join(format!("{port}-10-test.toml")), store.join(format!("{port}-etc")));
    fs::write(&file, allowing(port)).expect("a store file");
    timeless(&file);
    fs::create_dir_all(etc.join("netpol.d")).expect("a directory");
    symlink(&file, etc.join("netpol.d/10-test.toml")).expect("a link");
    timeless(&etc.join("netpol.d"));
    etc
}

#[test]
fn switches_of_a_nixos_system_are_enforced() {
    let Some(net) = Net::new() else { return };
    let (store, link) = (net.scratch("store"), net.scratch("static"));
    fs::create_dir(&store).expect("a store");
    let systems: Vec<PathBuf> = (1000..=1050).map(|port| generation(&store, port)).collect();
    symlink(&systems[0], &link).expect("etc/static");
    fs::remove_dir(net.policy_dir()).expect("the empty directory");
    // etc/netpol.d -> static/netpol.d, static -> store/…-etc: only the second link is swapped.
    symlink(link.join("netpol.d"), net.policy_dir()).expect("etc/netpol.d");
    let daemon = Daemon::start(&net);
    let bench = Bench::around(net, daemon);
    enforced(&bench, 1000, "first");
    let first = bench.cli().generation().as_u64().expect("a number");
    let mut times = Vec::new();
    for (port, system) in (1001..).zip(&systems[1..]) {
        point(&link, system);
        times.push(enforced(&bench, port, "switched"));
    }
    times.sort_unstable();
    say::aloud(&format!("50 switches of a link above the directory: median {:?}, slowest {:?}", times[25], times[49]));
    assert_eq!(bench.cli().generation().as_u64(), Some(first + 50), "one generation a switch");
    assert_eq!(bench.cli().last_error(), "");
}

#[test]
fn links_in_the_directory_that_are_swapped_one_by_one_are_enforced() {
    let Some(net) = Net::new() else { return };
    let store = net.scratch("store");
    fs::create_dir(&store).expect("a store");
    let file = |port| generation(&store, port).join("netpol.d/10-test.toml");
    let link = net.policy_dir().join("10-test.toml");
    point(&link, &file(1000));
    let daemon = Daemon::start(&net);
    let bench = Bench::around(net, daemon);
    for port in 1001..=1010 {
        point(&link, &file(port));
        enforced(&bench, port, "swapped");
    }
}

#[test]
fn missing_directory_keeps_the_generation_and_is_told_until_it_is_back() {
    let Some(bench) = Bench::start(&allowing(1000)) else { return };
    let (directory, away) = (bench.net.policy_dir(), bench.net.scratch("away"));
    let generation = bench.cli().generation();
    for (round, port) in (1001..1004).enumerate() {
        if round == 1 {
            fs::remove_dir_all(&directory).expect("removed");
        } else {
            fs::rename(&directory, &away).expect("moved away");
        }
        wait::until("status tells", Duration::from_secs(10), || bench.cli().last_error().contains("cannot read the policy directory"));
        assert_eq!(bench.cli().status()["state"], "degraded");
        if round == 0 {
            assert_eq!(bench.cli().generation(), generation, "the running generation stays");
        }
        assert!(bench.arrives(&udp_to(Family::V4, 53)) && !bench.arrives(&udp_to(Family::V4, 54)), "as before");
        fs::create_dir(&directory).expect("made again");
        bench.net.write("10-test.toml", &allowing(port));
        enforced(&bench, port, "the new directory is watched");
        assert_eq!((bench.cli().last_error().as_str(), &bench.cli().status()["state"]), ("", &"ok".into()));
        if away.exists() {
            fs::remove_dir_all(&away).expect("removed");
        }
    }
}

/// A mount that goes with the test.
struct Mounted<'a>(&'a Path);

impl<'a> Mounted<'a> {
    fn bind(from: &Path, at: &'a Path) -> Mounted<'a> {
        assert!(Command::new("mount").arg("--bind").args([from, at]).status().expect("mount").success(), "mount --bind");
        Mounted(at)
    }

    /// Shows what these directories hold; `None`, said aloud, where the kernel has no overlayfs.
    fn overlay(lower: &[&Path], at: &'a Path) -> Option<Mounted<'a>> {
        let lower: Vec<_> = lower.iter().map(|path| path.display().to_string()).collect();
        let options = format!("lowerdir={}", lower.join(":"));
        let output = Command::new("mount").args(["-t", "overlay", "overlay", "-o", &options]).arg(at).output().expect("mount");
        if !output.status.success() {
            say::aloud(&format!("SKIPPED below an overlay: {}", String::from_utf8_lossy(&output.stderr).trim()));
            return None;
        }
        Some(Mounted(at))
    }
}

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        let status = Command::new("umount").arg("-l").arg(self.0).status();
        assert!(status.is_ok_and(|status| status.success()) || std::thread::panicking(), "umount {}", self.0.display());
    }
}

#[test]
fn directory_that_is_mounted_over_and_unmounted_is_the_one_that_is_seen() {
    let Some(bench) = Bench::start(&allowing(1000)) else { return };
    let (directory, other) = (bench.net.policy_dir(), bench.net.scratch("other"));
    fs::create_dir(&other).expect("another directory");
    fs::write(other.join("10-test.toml"), allowing(2000)).expect("a policy");
    let mounted = Mounted::bind(&other, &directory);
    let over = enforced(&bench, 2000, "mounted over");
    fs::write(directory.join("10-test.toml"), allowing(2001)).expect("a policy");
    enforced(&bench, 2001, "what is mounted is watched");
    drop(mounted);
    let back = enforced(&bench, 1000, "unmounted");
    bench.net.write("10-test.toml", &allowing(1001));
    enforced(&bench, 1001, "what was below is watched again");
    say::aloud(&format!("bind mount over the directory: enforced after {over:?}; unmounted: {back:?}"));
}

#[test]
fn events_that_were_lost_end_at_what_is_on_disk() {
    let Some(bench) = Bench::start(&allowing(1000)) else { return };
    let process = bench.daemon.process();
    // A queue holds fs.inotify.max_queued_events; that is the whole machine's, so the daemon is made slow instead of the queue short.
    sys::signal(process, libc::SIGSTOP).expect("SIGSTOP");
    let noise = bench.net.policy_dir().join("noise.txt");
    for _ in 0..TOUCHES {
        fs::write(&noise, "").expect("a file");
    }
    fs::remove_file(&noise).expect("removed");
    bench.net.write("10-test.toml", &allowing(1001));
    sys::signal(process, libc::SIGCONT).expect("SIGCONT");
    enforced(&bench, 1001, "changed when no event had room");
    assert!(!bench.daemon.lines_with(&["more files changed than could be told"]).is_empty(), "no overflow:\n{}", bench.daemon.log());
    bench.net.write("10-test.toml", &allowing(1002));
    enforced(&bench, 1002, "still watched");
}

/// A daemon that runs as a user of whom all that inotify grants has been taken.
fn as_poor_user(net: Net) -> Bench {
    let (user, begin) = (format!("--reuid={POOR_USER}"), Instant::now());
    let capabilities = "+bpf,+perfmon,+net_admin,+sys_admin,+dac_override,+lease";
    let (inherited, ambient) = (format!("--inh-caps={capabilities}"), format!("--ambient-caps={capabilities}"));
    let wrapper = ["setpriv", &user, "--clear-groups", &inherited, &ambient];
    let (daemon, notified) = Daemon::heard(&net, &wrapper, &[]);
    notified.wait(begin, "READY");
    Bench::around(net, daemon)
}

/// The directory is polled while `status` says so, and watched as soon as what was taken is given back.
fn polled_until_given_back<T>(bench: &Bench, taken: T, warning: &str) {
    let polled = || bench.cli().warnings().contains(warning);
    assert!(polled(), "{}", bench.cli().warnings());
    bench.net.write("10-test.toml", &allowing(1001));
    let time = enforced(bench, 1001, "polled");
    say::aloud(&format!("{warning}: saved file enforced after {time:?}"));
    drop(taken);
    wait::until("inotify is used as soon as it can be had", Duration::from_secs(15), || !polled());
    bench.net.write("10-test.toml", &allowing(1002));
    enforced(bench, 1002, "watched");
}

/// One at a time: what a user may have is counted over all namespaces.
static POOR: Mutex<()> = Mutex::new(());

#[test]
fn without_inotify_the_directory_is_polled_and_status_says_so() {
    let _alone = POOR.lock();
    let Some(net) = Net::new() else { return };
    net.write("10-test.toml", &allowing(1000));
    let taken = sys_inotify::all_instances(POOR_USER).expect("inotify instances");
    polled_until_given_back(&as_poor_user(net), taken, "inotify is not available");
}

#[test]
fn beyond_the_limit_of_watches_the_directory_is_polled_and_status_says_so() {
    let _alone = POOR.lock();
    let Some(net) = Net::new() else { return };
    net.write("10-test.toml", &allowing(1000));
    let most = |name: &str| {
        fs::read_to_string(format!("/proc/sys/fs/inotify/{name}")).expect("a limit").trim().parse::<usize>().expect("a number")
    };
    let files = net.scratch("watched");
    fs::create_dir(&files).expect("a directory");
    let instances = most("max_user_instances").saturating_sub(LEFT_INSTANCES);
    if !(1..=512).contains(&instances) {
        return say::aloud(&format!(
            "SKIPPED the limit of watches: {instances} inotify instances are none or more than a process may open"
        ));
    }
    let files: Vec<PathBuf> = (0..=most("max_user_watches").div_ceil(instances)).map(|n| files.join(n.to_string())).collect();
    files.iter().for_each(|file| fs::write(file, "").expect("a file"));
    let taken = sys_inotify::all_watches(POOR_USER, &files, LEFT_INSTANCES).expect("inotify watches");
    polled_until_given_back(&as_poor_user(net), taken, "cannot be watched");
}

/// What changes below an overlay, like what another host changes on a file system of the network, no event tells of.
#[test]
fn change_that_no_event_tells_of_is_seen_within_a_minute() {
    let Some(net) = Net::new() else { return };
    let (directory, lower) = (net.policy_dir(), net.scratch("lower"));
    fs::create_dir(&lower).expect("another directory");
    fs::write(lower.join("10-test.toml"), allowing(1000)).expect("a policy");
    let empty = net.scratch("empty");
    fs::create_dir(&empty).expect("another directory");
    let Some(mounted) = Mounted::overlay(&[&lower, &empty], &directory) else { return };
    let daemon = Daemon::start(&net);
    let bench = Bench::around(net, daemon);
    fs::write(lower.join("10-test.toml"), allowing(1001)).expect("a policy");
    let time = followed(&bench, 1001, Duration::from_secs(75), "changed below an overlay");
    say::aloud(&format!("a change that no event tells of: enforced after {time:?}"));
    drop(mounted);
}

/// Who maps a file has it open, though no descriptor is left, and writes to it without a call.
#[test]
fn file_that_is_written_through_a_mapping_is_read_when_the_mapping_ends() {
    let Some(bench) = Bench::start(&allowing(1000)) else { return };
    let mut mapped = sys::Mapped::open(&bench.net.policy_dir().join("10-test.toml")).expect("a mapping");
    std::thread::sleep(Duration::from_secs(3));
    mapped.write(&allowing(1001));
    std::thread::sleep(Duration::from_secs(2));
    assert!(!bench.arrives(&udp_to(Family::V4, 1001)), "nobody knows when it is whole");
    drop(mapped);
    enforced(&bench, 1001, "the mapping has ended");
}

/// `git checkout`, `rsync --delete`, a file system that is not mounted: no file is no wish for no policy.
#[test]
fn directory_that_has_lost_all_its_files_keeps_what_runs_and_what_ran() {
    let Some(mut bench) = Bench::start(&allowing(1000)) else { return };
    bench.net.remove("10-test.toml");
    wait::until("status says so", Duration::from_secs(8), || bench.cli().last_error().contains("no policy file"));
    enforced(&bench, 1000, "emptied");
    assert_eq!(bench.cli().status()["state"], "degraded");
    for boot in [false, true] {
        bench.daemon.kill();
        if boot {
            residue::remove_tree(&bench.net.bpffs());
        }
        bench.daemon = Daemon::start(&bench.net);
        enforced(&bench, 1000, "the next daemon");
        assert!(bench.cli().last_error().contains("no policy file"), "boot: {boot}");
    }
    bench.net.write("10-test.toml", VERSION);
    wait::until("that is a wish for no policy", Duration::from_secs(8), || bench.cli().last_error().is_empty());
    assert!(Family::BOTH.iter().all(|f| bench.arrives(&udp_to(*f, 2000))), "nothing is under policy");
    bench.net.remove("10-test.toml");
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(bench.cli().last_error(), "", "nothing is lost by that");
}
