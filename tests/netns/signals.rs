//! Signals by the hundred thousand: few reloads, no memory, and SIGTERM is still heard.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use netpol_tests::policy::{allow_port, arriving};
use netpol_tests::{Bench, Daemon, Family, Net, Notified, say, sys, wait};

use crate::matrix::udp_to;

/// A reload reads the directory twice, with this pause.
const READING: Duration = Duration::from_millis(20);
const HANGUPS: usize = 100_000;

fn policy(port: u16) -> String {
    arriving(&(allow_port("always", "udp", 53) + &allow_port("one", "udp", port)))
}

fn started() -> Option<(Bench, Notified)> {
    let net = Net::new()?;
    net.write("10-test.toml", &policy(1000));
    let begin = Instant::now();
    let (daemon, notified) = Daemon::heard(&net, &[], &[]);
    notified.wait(begin, "READY");
    Some((Bench::around(net, daemon), notified))
}

fn memory_kib(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).expect("its status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

/// Reloads until a while after the last one has ended.
fn reloads(notified: &Notified, since: Instant) -> usize {
    let count = || notified.since(since, "RELOADING").len();
    let mut before = count();
    loop {
        thread::sleep(Duration::from_secs(1));
        match count() {
            now if now == before => return now,
            now => before = now,
        }
    }
}

/// Does something in the end, on panic too.
struct OnDrop<F: Fn()>(F);

impl<F: Fn()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

#[test]
fn hundred_thousand_hangups_are_few_reloads() {
    let Some((mut bench, notified)) = started() else { return };
    let process = bench.daemon.process();
    for _ in 0..20 {
        bench.daemon.reload();
        thread::sleep(READING * 2);
    }
    reloads(&notified, Instant::now());
    let (before, begin) = (memory_kib(process), Instant::now());
    for n in 0..HANGUPS {
        sys::signal(process, libc::SIGHUP).expect("SIGHUP");
        if n % (HANGUPS / 20) == 0 {
            bench.net.write("10-test.toml", &policy(2000 + (n / (HANGUPS / 20)) as u16));
            thread::sleep(Duration::from_millis(10));
        }
    }
    let sending = begin.elapsed();
    wait::until("the last version is enforced", Duration::from_secs(60), || bench.arrives(&udp_to(Family::V4, 2019)));
    let took = begin.elapsed();
    let (reloads, after) = (reloads(&notified, begin), memory_kib(process));
    let most = 2 + took.as_millis() / READING.as_millis();
    say::aloud(&format!("{HANGUPS} hang-ups in {sending:?}: {reloads} reloads (at most {most}); memory {before} -> {after} KiB"));
    assert!(reloads >= 1 && reloads as u128 <= most, "{reloads} reloads");
    assert!(after < before + 8192, "{before} KiB before, {after} KiB after");
    assert!(bench.daemon.lives());
    assert!(!bench.arrives(&udp_to(Family::V4, 2018)), "no former version is");
}

#[test]
fn signals_during_reloads_lose_nothing_and_sigterm_is_heard_in_a_storm() {
    let Some((mut bench, _notified)) = started() else { return };
    let (process, stop) = (bench.daemon.process(), AtomicBool::new(false));
    let status = thread::scope(|scope| {
        // A test that fails must end too.
        let _stop = OnDrop(|| stop.store(true, Ordering::Relaxed));
        scope.spawn(|| {
            // It may be gone already.
            while !stop.load(Ordering::Relaxed) && sys::signal(process, libc::SIGHUP).is_ok() {
                thread::sleep(Duration::from_micros(200));
            }
        });
        for port in 1001..1010 {
            bench.net.write("10-test.toml", &policy(port));
            assert!(bench.arrives(&udp_to(Family::V4, 53)), "a rule of every version");
        }
        wait::until("the last version", Duration::from_secs(60), || bench.arrives(&udp_to(Family::V4, 1009)));
        let begin = Instant::now();
        let status = bench.daemon.terminate();
        say::aloud(&format!("SIGTERM in a storm of hang-ups: ended after {:?}", begin.elapsed()));
        status
    });
    assert!(status.success(), "{status}");
    assert!(bench.arrives(&udp_to(Family::V4, 1009)) && !bench.arrives(&udp_to(Family::V4, 1008)), "the kernel goes on enforcing");
}
