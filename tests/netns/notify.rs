//! What the daemon tells its service manager, on a real notification socket.

use std::time::{Duration, Instant};

use netpol_tests::policy::{allow_port, arriving};
use netpol_tests::sys::Held;
use netpol_tests::{Daemon, Net, Notified, say, wait};

/// As long as the tests let the service manager wait for a sign of life.
const WATCHDOG: Duration = Duration::from_millis(1500);

fn policy(port: u16) -> String {
    arriving(&allow_port("one", "udp", port))
}

fn start(net: &Net) -> (Daemon, Notified, Instant) {
    let begin = Instant::now();
    let (daemon, notified) = Daemon::heard(net, &[], &[("WATCHDOG_USEC", &WATCHDOG.as_micros().to_string())]);
    notified.wait(begin, "READY");
    (daemon, notified, begin)
}

/// The keys that were told since a moment, in order, without signs of life; several in a row that are equal are one.
fn told(notified: &Notified, since: Instant) -> Vec<String> {
    let messages = notified.all().into_iter().filter(|message| message.at >= since);
    let keys =
        |lines: &[String]| lines.iter().map(|line| line.split('=').next().unwrap_or_default().to_owned()).collect::<Vec<_>>().join("+");
    let mut told: Vec<String> = messages.map(|message| keys(&message.lines)).filter(|keys| keys != "WATCHDOG").collect();
    told.dedup();
    told
}

fn monotonic_now() -> u64 {
    let uptime = std::fs::read_to_string("/proc/uptime").expect("/proc/uptime");
    let seconds: f64 = uptime.split(' ').next().and_then(|word| word.parse().ok()).expect("a number");
    (seconds * 1e6) as u64
}

#[test]
fn start_reload_bad_reload_and_stop_are_told_in_their_order() {
    let Some(net) = Net::new() else { return };
    net.write("10-test.toml", &policy(1000));
    let (mut daemon, notified, begin) = start(&net);
    assert_eq!(told(&notified, begin), ["READY+STATUS"], "nothing is ready before it is");
    let ready = notified.wait(begin, "READY");
    assert!(ready.value("STATUS").is_some_and(|status| status.starts_with("generation ") && !status.contains("refused")), "{ready:?}");

    let hup = Instant::now();
    daemon.reload();
    notified.wait(hup, "RELOADING");
    notified.wait(hup, "READY");
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(told(&notified, hup), ["RELOADING+MONOTONIC_USEC", "READY+STATUS"]);
    let reloading = notified.wait(hup, "RELOADING");
    let when: u64 = reloading.value("MONOTONIC_USEC").and_then(|usec| usec.parse().ok()).expect("a number");
    // The moment is that of the reload by the clock that never jumps: not one from before the signal, not one to come.
    assert!((monotonic_now().saturating_sub(60_000_000)..=monotonic_now() + 1_000_000).contains(&when), "{when} at {}", monotonic_now());

    let bad = Instant::now();
    net.write("20-bad.toml", "version = 1\n[[policy]\n");
    daemon.reload();
    notified.wait(bad, "RELOADING");
    std::thread::sleep(Duration::from_millis(600));
    let ready = notified.since(bad, "READY").pop().expect("a refused reload ends with READY too: the former ruleset is enforced");
    assert!(ready.value("STATUS").is_some_and(|status| status.contains("refused")), "{ready:?}");
    assert_eq!(told(&notified, bad).last().map(String::as_str), Some("READY+STATUS"), "{:?}", told(&notified, bad));

    let stop = Instant::now();
    assert!(daemon.terminate().success());
    wait::until("STOPPING", Duration::from_secs(5), || !notified.since(stop, "STOPPING").is_empty());
    assert_eq!(told(&notified, stop), ["STOPPING"]);
}

#[test]
fn refused_start_is_never_ready() {
    let Some(net) = Net::new() else { return };
    net.write("10-test.toml", &policy(1000));
    // A runtime directory that another daemon works in.
    let (_first, _heard, _) = start(&net);
    let begin = Instant::now();
    let (mut second, notified) = Daemon::heard(&net, &[], &[]);
    wait::until("the second daemon ends", Duration::from_secs(30), || !second.lives());
    assert_eq!(told(&notified, begin), [""; 0]);
}

#[test]
fn only_a_living_loop_feeds_the_watchdog() {
    let Some(net) = Net::new() else { return };
    net.write("10-test.toml", &policy(1000));
    let (daemon, notified, begin) = start(&net);
    std::thread::sleep(WATCHDOG * 2);
    let signs = notified.since(begin, "WATCHDOG");
    let longest = signs.windows(2).map(|pair| pair[1].at - pair[0].at).max().expect("signs of life");
    say::aloud(&format!("watchdog of {WATCHDOG:?}: longest time between two signs of life {longest:?}"));
    assert!(signs.len() >= 4, "{} signs in {:?}", signs.len(), begin.elapsed());

    // The loop hangs, as in a call of the kernel that does not return; all other threads go on.
    let held = Held::hold(daemon.process()).expect("ptrace of our own child");
    let hung = Instant::now();
    for port in 1001..1005 {
        net.write("10-test.toml", &policy(port));
        daemon.reload();
        std::thread::sleep(WATCHDOG / 3);
    }
    std::thread::sleep(WATCHDOG);
    assert!(notified.since(hung, "WATCHDOG").is_empty(), "a hung loop is fed: {:?}", notified.all());
    let freed = Instant::now();
    drop(held);
    notified.wait(freed, "WATCHDOG");

    // As a whole process that is stopped.
    netpol_tests::sys::signal(daemon.process(), libc::SIGSTOP).expect("SIGSTOP");
    std::thread::sleep(Duration::from_millis(100));
    let stopped = Instant::now();
    std::thread::sleep(WATCHDOG);
    assert!(notified.since(stopped, "WATCHDOG").is_empty());
    netpol_tests::sys::signal(daemon.process(), libc::SIGCONT).expect("SIGCONT");
    notified.wait(stopped, "WATCHDOG");
}
