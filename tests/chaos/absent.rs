//! Nobody there: the kernel judges on by itself, for as long as it takes, and everything that has an end ends on time.

use std::time::{Duration, Instant};

use netpol_tests::cli::DONE;
use netpol_tests::policy::VERSION;
use netpol_tests::sock::{self, Connection};
use netpol_tests::{Bench, Daemon, Family, Packet, moment, say};

/// Ends of an element, of a rule, of a trial and of a silent flow, s. What is asked within `SLACK` of an end may be answered either way.
const ELEMENT: u64 = 6;
const RULE: u64 = 18;
const TRIAL: u64 = 12;
const FLOW: u64 = 5;
const SLACK: f64 = 2.5;

fn text(port: u16, expires: &str) -> String {
    let allow = |id: &str, keys: &str| format!("[[policy.ingress]]\nid = \"{id}\"\naction = \"allow\"\n{keys}\n");
    let udp = |port: u16| format!("protocol = \"udp\"\ndestination = {{ ports = [{port}] }}");
    format!(
        "{VERSION}[daemon]\nreload = \"manual\"\n[daemon.conntrack]\nudp = \"{FLOW}s\"\n[[set]]\nname = \"friends\"\nelements = [\"10.1.0.77\"]\ndynamic = true\n\
         [[policy]]\nname = \"absent\"\ninterfaces = [\"left\"]\npolicy_types = [\"ingress\"]\n{}{}{}{}{}",
        allow("always", &udp(53)),
        allow("web", "protocol = \"tcp\"\ndestination = { ports = [80] }"),
        allow("one", &udp(port)),
        allow("late", &format!("{}\nexpires = \"{expires}\"", udp(7777))),
        allow("friends", "protocol = \"udp\"\nsource = { sets = [\"friends\"] }\ndestination = { ports = [99] }"),
    )
}

/// When something began: not before the one moment, not after the other.
struct Began(Instant, Instant);

impl Began {
    fn with(command: impl FnOnce()) -> Began {
        let before = Instant::now();
        command();
        Began(before, Instant::now())
    }

    /// Asks for a verdict that changes once, `end` seconds after this, from `before` to its opposite.
    fn changes_once(&self, what: &str, end: u64, before: bool, ask: impl FnOnce() -> bool) {
        let (end, asked) = (end as f64, self.1.elapsed().as_secs_f64());
        let passes = ask();
        let answered = self.0.elapsed().as_secs_f64();
        if answered < end - SLACK {
            assert_eq!(passes, before, "{what} after {asked:.1} s");
        } else if asked > end + SLACK {
            assert_eq!(passes, !before, "{what} after {asked:.1} s");
        }
    }
}

#[test]
fn verdicts_stay_connections_go_on_and_ends_are_kept_without_a_daemon() {
    let away = Duration::from_secs(if std::env::var_os("NETPOL_SOAK").is_some() { 900 } else { 25 });
    let mut expires = String::new();
    // Moments are written in full seconds: it may end up to one earlier.
    let rule = Began::with(|| expires = moment::in_seconds(RULE as i64));
    let Some(mut bench) = Bench::start(&text(1000, &expires)) else { return };
    let mut connections = Family::BOTH.map(|f| {
        let listener = sock::listen(&bench.net.dut, f.at(1, 1, 80));
        let connection = Connection::open(&bench.net.src, &listener, f.at(1, 1, 80)).expect("a connection");
        (listener, connection)
    });
    let packet =
        |f: Family, host, port| Packet::udp(f.at(1, host, netpol_tests::packet_l4::unique() as u16 % 50_000 + 1024), f.at(1, 1, port));
    // A flow that this side opens and nobody speaks in again.
    let silent = |f: Family| (Packet::udp(f.at(1, 1, 5000), f.at(1, 2, 5001)), Packet::udp(f.at(1, 2, 5001), f.at(1, 1, 5000)));
    bench.net.write("10-test.toml", &text(2000, &expires));
    let trial = Began::with(|| drop(bench.cli().run(&["apply", "--confirm", &format!("{TRIAL}s")]).expect(DONE)));
    let add = ["set", "add", "friends", "10.1.0.2", "fd00:1::2", "--timeout", &format!("{ELEMENT}s")];
    let element = Began::with(|| drop(bench.cli().run(&add).expect(DONE)));
    for f in Family::BOTH {
        assert!(bench.leaves(&silent(f).0));
    }
    let quiet = Instant::now();
    bench.daemon.kill();
    let (mut rounds, mut answered) = (0, false);
    while quiet.elapsed() < away {
        for f in Family::BOTH {
            let passes = |host, port| bench.arrives(&packet(f, host, port));
            assert!(passes(2, 53), "{f:?}: what every ruleset allows, after {:?}", quiet.elapsed());
            assert!(!passes(2, 54), "{f:?}: what none allows, after {:?}", quiet.elapsed());
            element.changes_once("a friend", ELEMENT, true, || passes(2, 99));
            trial.changes_once("what is on trial", TRIAL, true, || passes(2, 2000));
            trial.changes_once("what was before the trial", TRIAL, false, || passes(2, 1000));
            rule.changes_once("a rule that expires", RULE, true, || passes(2, 7777));
        }
        if !answered && quiet.elapsed().as_secs_f64() > FLOW as f64 + SLACK {
            answered = true;
            for f in Family::BOTH {
                assert!(!bench.arrives(&silent(f).1), "{f:?}: the answer to a flow that is over");
            }
        }
        for (_, connection) in &mut connections {
            assert!(connection.lives(), "a connection, after {:?}", quiet.elapsed());
        }
        rounds += 1;
        std::thread::sleep(Duration::from_millis(500));
    }
    assert!(answered && rounds > 1, "every end was met");
    bench.daemon = Daemon::start(&bench.net);
    for f in Family::BOTH {
        let passes = |host, port| bench.arrives(&packet(f, host, port));
        let found = [53, 54, 99, 2000, 1000, 7777].map(|port| passes(2, port));
        assert_eq!(found, [true, false, false, false, true, false], "{f:?}: the next daemon finds it as it was");
    }
    assert!(connections.iter_mut().all(|(_, connection)| connection.lives()));
    say::aloud(&format!("{} s without a daemon: {rounds} rounds of questions in both families, all answered as before", away.as_secs()));
}

#[test]
fn silent_flow_is_answered_while_it_lives() {
    let Some(mut bench) = Bench::start(&text(1000, &moment::in_seconds(600))) else { return };
    bench.daemon.kill();
    for f in Family::BOTH {
        let answer = Packet::udp(f.at(1, 2, 5001), f.at(1, 1, 5000));
        assert!(!bench.arrives(&answer), "{f:?}: an answer to nothing");
        assert!(bench.leaves(&Packet::udp(f.at(1, 1, 5000), f.at(1, 2, 5001))));
        assert!(bench.arrives(&answer), "{f:?}: an answer");
    }
}
