//! kill -9 while dynamic sets change: what was answered stays, a member never misses, a stranger never gets in.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use netpol_tests::cli::DONE;
use netpol_tests::flood::Flood;
use netpol_tests::policy::arriving;
use netpol_tests::{Bench, Cli, Daemon, Family, Packet, machine, say, wait};
use serde_json::Value;

const POLICY: &str = "[[rule]]\naction = \"allow\"\nsource = { sets = [\"friends\"] }\n\
    [[set]]\nname = \"friends\"\nelements = [\"10.1.0.9\"]\ndynamic = true\n";

/// Adds and deletes until told to stop, and counts; what must be in and what must be out afterwards, as far as it was answered.
fn change(cli: Cli<'_>, first: u32, stop: &AtomicBool, answered: &AtomicU32) -> (BTreeSet<String>, BTreeSet<String>) {
    let (mut there, mut gone) = (BTreeSet::new(), BTreeSet::new());
    for n in first.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let element = format!("10.7.{}.{}", n / 256, n % 256);
        if cli.run(&["set", "add", "friends", &element]).code != DONE {
            break;
        }
        answered.fetch_add(1, Ordering::Relaxed);
        if n % 3 != 0 {
            there.insert(element);
            continue;
        }
        match cli.run(&["set", "del", "friends", &element]).code {
            DONE => gone.insert(element),
            _ => break,
        };
    }
    (there, gone)
}

#[test]
fn kills_while_sets_change_lose_nothing_that_was_answered() {
    let Some(mut bench) = Bench::start(&arriving(POLICY)) else { return };
    bench.cli().run(&["set", "add", "friends", "10.1.0.2", "fd00:1::2", "--timeout", "1h"]).expect(DONE);
    let packet = |f: Family, host, port: u16| Packet::udp(f.at(1, host, port), f.at(1, 1, 53));
    let members: Vec<Packet> = (0..50).flat_map(|n| Family::BOTH.map(|f| packet(f, 2, 2000 + n))).collect();
    let refused = bench.cli().drops("default");
    let flood = Flood::start(&bench.net.src, "eth0", &members);
    let (mut there, mut gone) = (BTreeSet::new(), BTreeSet::new());
    let kills = machine::times(12, 3);
    for round in 1..=kills {
        let (net, daemon, stop, answered) = (&bench.net, &mut bench.daemon, AtomicBool::new(false), AtomicU32::new(0));
        let (more, less) = std::thread::scope(|scope| {
            let changes = scope.spawn(|| change(Cli(net), round * 1000, &stop, &answered));
            // On a slow machine a command takes as long as all of them here.
            wait::until("some changes are answered", Duration::from_secs(20), || answered.load(Ordering::Relaxed) >= 4);
            std::thread::sleep(Duration::from_millis(u64::from(round * 7919 % 600)));
            daemon.kill();
            stop.store(true, Ordering::Relaxed);
            changes.join().expect("the changes")
        });
        there.extend(more);
        gone.extend(less);
        bench.daemon = Daemon::start(&bench.net);
        let shown = bench.cli().run(&["set", "show", "friends", "--json"]).expect(DONE).out;
        let shown: Value = serde_json::from_str(&shown).expect("JSON");
        let elements: BTreeSet<&str> = shown["elements"].as_array().expect("elements").iter().filter_map(Value::as_str).collect();
        assert!(there.iter().all(|element| elements.contains(element.as_str())), "round {round}: answered additions are there");
        assert!(gone.iter().all(|element| !elements.contains(element.as_str())), "round {round}: answered deletions are gone");
        assert_eq!(bench.cli().status()["state"], "ok", "round {round}");
    }
    let sent = flood.stop();
    say::aloud(&format!(
        "{kills} kills: {} additions and {} deletions answered; {} packets of members under {} packets/s",
        there.len(),
        gone.len(),
        sent.frames,
        sent.rate()
    ));
    assert!(there.len() > 4 && !gone.is_empty(), "the sets did change");
    assert_eq!(bench.cli().drops("default"), refused, "a member was refused");
    assert!(!bench.arrives(&packet(Family::V4, 3, 4000)) && bench.arrives(&packet(Family::V4, 9, 4000)));
}
