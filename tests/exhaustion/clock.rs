//! Clocks: flows live by boot time, whatever anybody does to the wall clock, and whatever boot time a time namespace shows.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::Duration;

use netpol_tests::cli::DONE;
use netpol_tests::policy::{VERSION, policy};
use netpol_tests::standing::Standing;
use netpol_tests::{Bench, Daemon, Family, Net, Packet, moment, wait};

const TEN_YEARS: i64 = 315_360_000;

/// A `clock_gettime` that shows the wall clock so many seconds off as the file says; no other process of this machine sees it.
const SHIM: &str = r#"
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
int clock_gettime(clockid_t clock, struct timespec *now)
{
	long answer = syscall(SYS_clock_gettime, clock, now);
	const char *path = getenv("WALL_CLOCK_OFF");
	char text[32] = { 0 };
	int file;
	if (answer || clock != CLOCK_REALTIME || !path || (file = open(path, O_RDONLY | O_CLOEXEC)) < 0)
		return answer;
	if (read(file, text, sizeof(text) - 1) > 0)
		now->tv_sec += atol(text);
	close(file);
	return 0;
}
"#;

/// The wall clock of one daemon.
struct WallClock {
    library: PathBuf,
    offset: PathBuf,
}

impl WallClock {
    fn new(net: &Net) -> WallClock {
        let (source, library, offset) = (net.scratch("shim.c"), net.scratch("shim.so"), net.scratch("wall-clock"));
        fs::write(&source, SHIM).expect("the shim");
        let status = Command::new("clang").args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(&source).status();
        assert!(status.expect("clang starts").success());
        let clock = WallClock { library, offset };
        clock.set(0);
        clock
    }

    fn set(&self, seconds: i64) {
        let beside = self.offset.with_extension("new");
        fs::write(&beside, seconds.to_string()).and_then(|()| fs::rename(&beside, &self.offset)).expect("the offset");
    }

    fn start(&self, net: &Net) -> Daemon {
        Daemon::start_under(net, &[], |command| {
            command.env("LD_PRELOAD", &self.library).env("WALL_CLOCK_OFF", &self.offset);
        })
    }
}

fn text() -> String {
    let keys = "policy_types = [\"ingress\", \"egress\"]";
    let rule = |id: &str, rest: &str| format!("[[policy.ingress]]\nid = \"{id}\"\naction = \"allow\"\n{rest}\n");
    let rules = rule("web", "protocol = \"tcp\"\ndestination = { ports = [80] }")
        + &rule("plain", "protocol = \"udp\"\ndestination = { ports = [1] }")
        + &rule("ends", &format!("protocol = \"udp\"\ndestination = {{ ports = [2] }}\nexpires = {}", moment::in_seconds(3600)))
        + &rule("friends", "protocol = \"udp\"\ndestination = { ports = [3] }\nsource = { sets = [\"friends\"] }")
        + &rule("guests", "protocol = \"udp\"\ndestination = { ports = [4] }\nsource = { sets = [\"guests\"] }");
    let sets = "[[set]]\nname = \"friends\"\ndynamic = true\n[[set]]\nname = \"guests\"\ndynamic = true\n";
    (policy("clock", keys) + &rules + sets).replacen(VERSION, &format!("{VERSION}[daemon.conntrack]\nadopt_existing = false\n"), 1)
}

/// Which of the ports 1 to 4 are open to a flow that is new.
fn open(bench: &Bench) -> [bool; 4] {
    let f = Family::V4;
    [1, 2, 3, 4]
        .map(|port| bench.arrives(&Packet::udp(f.at(1, 2, 1024 + netpol_tests::packet_l4::unique() as u16 % 60_000), f.at(1, 1, port))))
}

fn becomes(bench: &Bench, wanted: [bool; 4], what: &str) {
    let mut last = [false; 4];
    let seen = wait::poll(Duration::from_secs(20), || {
        last = open(bench);
        (last == wanted).then_some(())
    });
    assert!(seen.is_some(), "{what}: {last:?}, not {wanted:?}\n{}", bench.daemon.log());
}

#[test]
fn wall_clock_set_by_ten_years_moves_expiries_that_name_a_date_and_nothing_else() {
    let Some(net) = Net::new() else { return };
    let clock = WallClock::new(&net);
    net.write("10-test.toml", &text());
    let daemon = clock.start(&net);
    let mut bench = Bench::around(net, daemon);
    bench.cli().run(&["set", "add", "friends", "10.1.0.2"]).expect(DONE);
    bench.cli().run(&["set", "add", "guests", "10.1.0.2", "--timeout", "1h"]).expect(DONE);
    let standing = Standing::start(&bench.net, 20, 80, Duration::from_millis(5));
    let f = Family::V6;
    let (ours, theirs) = (f.at(1, 1, 1), f.at(1, 2, 9));
    assert!(bench.arrives(&Packet::udp(theirs, ours)) && bench.leaves(&Packet::udp(ours, theirs)));
    assert_eq!(open(&bench), [true; 4]);
    clock.set(TEN_YEARS);
    // A lifetime of one hour is one hour, whatever the date is; a date is a date.
    becomes(&bench, [true, false, true, true], "ten years later");
    assert!(bench.leaves(&Packet::udp(ours, theirs)), "a flow is as old as it is");
    clock.set(-TEN_YEARS);
    becomes(&bench, [true; 4], "ten years ago");
    assert!(bench.leaves(&Packet::udp(ours, theirs)), "a flow is as old as it is");
    assert!(standing.live());
    bench.daemon.kill();
    bench.daemon = clock.start(&bench.net);
    becomes(&bench, [true; 4], "a start ten years ago");
    bench.daemon.kill();
    clock.set(TEN_YEARS);
    bench.daemon = clock.start(&bench.net);
    // While no daemon ran, nobody could tell a clock that was set from one that ran on: the journal's dates count.
    becomes(&bench, [true, false, true, false], "a start ten years later");
    assert!(bench.leaves(&Packet::udp(ours, theirs)), "flows do not know");
    standing.finish();
    assert_eq!(bench.cli().status()["state"], "ok");
}

#[test]
fn daemon_in_a_time_namespace_computes_with_the_clock_of_the_kernel() {
    let ahead = TEN_YEARS.to_string();
    // No clock can be set before the boot.
    let uptime = std::fs::read_to_string("/proc/uptime").expect("/proc/uptime");
    let behind = format!("-{}", (uptime.split('.').next().and_then(|seconds| seconds.parse().ok()).unwrap_or(0) / 2).clamp(1, 60));
    // A process of its own in there: on Linux 6.1 whoever has only unshared the namespace may start no thread.
    for offset in [ahead.as_str(), behind.as_str()] {
        let by = ["unshare", "--time", "--fork", "--kill-child", "--boottime", offset];
        let Some(net) = Net::new() else { return };
        net.write("10-test.toml", &text());
        let daemon = Daemon::start_under(&net, &by, |_| ());
        let bench = Bench::around(net, daemon);
        let standing = Standing::start(&bench.net, 8, 80, Duration::from_secs(1));
        bench.cli().run(&["set", "add", "friends", "10.1.0.2"]).expect(DONE);
        bench.cli().run(&["set", "add", "guests", "10.1.0.2", "--timeout", "4s"]).expect(DONE);
        assert_eq!(open(&bench), [true; 4], "{by:?}");
        becomes(&bench, [true, true, true, false], "a lifetime of 4 s ends");
        // On trial the former ruleset returns when it is time, neither at once nor never.
        bench.net.write("10-test.toml", &text().replace("ports = [1]", "ports = [5]"));
        bench.cli().run(&["apply", "--confirm", "4s"]).expect(DONE);
        assert_eq!(open(&bench), [false, true, true, false], "{by:?}: on trial");
        becomes(&bench, [true, true, true, false], "the trial is over");
        // Longer than the daemon takes to sweep: idle connections are not taken for old ones.
        thread::sleep(Duration::from_secs(7));
        standing.finish();
        assert!(bench.daemon.log().contains("in a time namespace"), "{by:?}: it says so: {}", bench.daemon.log());
    }
}
