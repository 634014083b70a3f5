//! Few open files, and clients by the hundred that neither ask nor listen.

use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use netpol_tests::cli::DONE;
use netpol_tests::held::Held;
use netpol_tests::policy::{VERSION, allow_port, arriving};
use netpol_tests::{Bench, Daemon, Family, Net, Packet, say, wait};

fn text(port: u16) -> String {
    let metrics = "[daemon]\nmetrics = { listen = \"127.0.0.1:9472\" }\n";
    arriving(&allow_port("one", "udp", port)).replacen(VERSION, &format!("{VERSION}{metrics}"), 1)
}

fn udp(port: u16) -> Packet {
    Packet::udp(Family::V4.at(1, 2, 4000), Family::V4.at(1, 1, port))
}

/// What a daemon with so few descriptors does: starts and works, or ends with a reason.
#[test]
fn limit_of_open_files_is_told_where_it_is_too_low() {
    let Some(net) = Net::new() else { return };
    net.write("10-test.toml", &text(1));
    let mut enough = None;
    for limit in [8, 16, 32, 48, 64, 96, 128, 192, 256] {
        let number = format!("--nofile={limit}:{limit}");
        match Daemon::try_start_under(&net, &["prlimit", &number], |_| ()) {
            Ok(daemon) => {
                say::aloud(&format!("{limit} open files: ready"));
                enough = Some((limit, daemon));
                break;
            }
            Err(why) => {
                let said = why.lines().rev().find(|line| line.contains("Too many open files") || line.contains("os error 24"));
                say::aloud(&format!("{limit} open files: {}", said.unwrap_or(&why)));
                assert!(said.is_some(), "{limit}: it ends and says why: {why}");
            }
        }
    }
    let (limit, daemon) = enough.expect("256 are enough");
    let bench = Bench::around(net, daemon);
    assert!(bench.arrives(&udp(1)) && !bench.arrives(&udp(2)), "{limit}");
    // A reload may need more than the start: then it is refused, and all stays as it was.
    let before = bench.cli().generation();
    bench.net.write("10-test.toml", &text(2));
    let settled = || bench.cli().generation() != before || !bench.cli().last_error().is_empty();
    wait::until("the reload is done or refused", Duration::from_secs(20), settled);
    let live = bench.cli().last_error().is_empty();
    assert_eq!((bench.arrives(&udp(1)), bench.arrives(&udp(2))), (!live, live), "{limit}: one or the other, whole");
}

#[test]
fn clients_by_the_hundred_that_never_ask_or_listen_hold_up_nobody() {
    let Some(bench) = Bench::start(&text(1)) else { return };
    let held = || Held::by(bench.daemon.process(), &bench.net.bpffs());
    bench.cli().status();
    let before = held();
    let control = bench.net.runtime_dir().join("control.sock");
    let ask = |n: usize| {
        let mut client = UnixStream::connect(&control).expect("the control socket");
        if n % 3 == 0 {
            client.write_all(b"{\"command\":\"rules\"}\n").expect("a question");
        }
        client
    };
    let silent: Vec<UnixStream> = (0..100).map(ask).collect();
    let scrape = |n: usize| {
        let mut client = bench.net.dut.run(|| TcpStream::connect("127.0.0.1:9472")).expect("the metrics listener");
        if n % 3 == 0 {
            // It may have been closed unheard.
            client.write_all(b"GET /metrics HTTP/1.1\r\n\r\n").unwrap_or_default();
        }
        client
    };
    let scrapers: Vec<TcpStream> = (0..100).map(scrape).collect();
    let begin = Instant::now();
    bench.cli().run(&["status"]).expect(DONE);
    let (answered, full) = (begin.elapsed(), held());
    bench.change(&text(2));
    assert!(bench.arrives(&udp(2)) && !bench.arrives(&udp(1)), "a saved file goes live meanwhile");
    say::aloud(&format!("with 200 silent clients: status after {answered:?}, {} threads, {} descriptors", full.threads, full.descriptors));
    assert!(full.threads <= before.threads + 100 + 8 + 2, "{before:?} {full:?}");
    let given_back = || {
        let now = held();
        now.threads <= before.threads && now.descriptors <= before.descriptors + 2
    };
    wait::until("places are given back though nobody hangs up", Duration::from_secs(60), given_back);
    drop((silent, scrapers));
}

#[test]
fn silent_clients_leave_a_daemon_with_few_descriptors_enough_to_work() {
    let Some(net) = Net::new() else { return };
    net.write("10-test.toml", &text(1));
    let daemon = Daemon::start_under(&net, &["prlimit", "--nofile=256:256"], |_| ());
    let bench = Bench::around(net, daemon);
    let control = bench.net.runtime_dir().join("control.sock");
    let silent: Vec<UnixStream> = (0..250).map(|_| UnixStream::connect(&control).expect("the control socket")).collect();
    let (begin, worked) = (Instant::now(), cpu_time(&bench));
    bench.change(&text(2));
    let worked = cpu_time(&bench) - worked;
    // Who can accept nobody any more rests, and does not try as fast as it can.
    assert!(worked < begin.elapsed() / 2 + Duration::from_secs(1), "{worked:?} of {:?}", begin.elapsed());
    say::aloud(&format!("256 open files, 250 silent clients: a saved file is live after {:?}", begin.elapsed()));
    assert!(bench.arrives(&udp(2)) && !bench.arrives(&udp(1)));
    drop(silent);
}

/// User and system time of the daemon so far; 100 ticks are a second on every Linux.
fn cpu_time(bench: &Bench) -> Duration {
    let text = fs::read_to_string(format!("/proc/{}/stat", bench.daemon.process())).expect("its times");
    let (_, behind_name) = text.rsplit_once(") ").expect("a name in parentheses");
    let ticks = behind_name.split(' ').skip(11).take(2).map(|word| word.parse::<u64>().expect("a number"));
    Duration::from_millis(ticks.sum::<u64>() * 10)
}
