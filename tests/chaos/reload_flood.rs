//! A thousand reloads under a flood (with `NETPOL_SOAK=1` ten thousand): no packet passes that both policies deny, none is lost that both allow.

use std::time::{Duration, Instant};

use netpol_tests::cli::DONE;
use netpol_tests::flood::{Flood, Sent};
use netpol_tests::{Bench, Family, Net, machine, say};

use crate::mixture::{Detector, Findings, policy, round};

const MANUAL: &str = "reload = \"manual\"";

fn judge(what: &str, reloads: u64, sent: Sent, always: u64, findings: &Findings, time: Duration) {
    say::aloud(&format!(
        "{what}: {reloads} reloads in {:.1} s under {} packets/s ({} packets, {} reloads/s): {} mixed, {} + {} of {} always-allowed packets forwarded, {} lost by the sender's device, {} sometimes-allowed",
        time.as_secs_f64(),
        sent.rate(),
        sent.frames,
        (reloads as f64 / time.as_secs_f64()) as u64,
        findings.mixed,
        findings.forwarded[0],
        findings.forwarded[1],
        2 * sent.rounds * always,
        findings.lost_by_device,
        findings.sometimes.iter().sum::<u64>(),
    ));
    assert_eq!(findings.mixed, 0, "packets judged by parts of two generations, or leaked");
    assert!(findings.sometimes.iter().all(|packets| *packets > 0), "the detector sees what is allowed");
    let lost = (2 * sent.rounds * always).checked_sub(findings.forwarded.iter().sum()).expect("no more packets than were sent");
    assert!(lost <= findings.lost_by_device, "{lost} always-allowed packets wrongly dropped");
}

#[test]
fn thousand_applies_under_a_flood_leak_nothing_and_drop_nothing_wrongly() {
    let reloads = if std::env::var_os("NETPOL_SOAK").is_some() { 10_000 } else { machine::times(1000, 10) as usize };
    let Some(bench) = Bench::start(&policy(0, MANUAL)) else { return };
    warm_up(&bench.net);
    let round = round();
    let detector = Detector::new(&bench.net);
    let mut findings = Findings::none();
    let flood = Flood::start(&bench.net.src, "eth0", &round.packets);
    let begin = Instant::now();
    for n in 1..=reloads {
        bench.net.write("10-test.toml", &policy(n % 2, MANUAL));
        bench.cli().run(&["apply"]).expect(DONE);
        detector.read(&mut findings);
    }
    let time = begin.elapsed();
    let sent = flood.stop();
    let findings = detector.finish(&bench.net, findings);
    judge("apply", reloads as u64, sent, round.always, &findings, time);
}

#[test]
fn saved_files_under_a_flood_leak_nothing_and_drop_nothing_wrongly() {
    let Some(bench) = Bench::start(&policy(0, "reload = \"auto\"")) else { return };
    warm_up(&bench.net);
    let round = round();
    let detector = Detector::new(&bench.net);
    let mut findings = Findings::none();
    let flood = Flood::start(&bench.net.src, "eth0", &round.packets);
    let begin = Instant::now();
    let first = bench.cli().generation();
    let mut generations = 0;
    let mut last = first;
    for n in 1.. {
        bench.net.write("10-test.toml", &policy(n % 2, "reload = \"auto\""));
        let pause = Instant::now();
        while pause.elapsed() < Duration::from_millis(400) {
            detector.read(&mut findings);
            std::thread::sleep(Duration::from_millis(20));
        }
        let now = bench.cli().generation();
        if now != last {
            generations += 1;
            last = now;
        }
        if begin.elapsed() > Duration::from_secs(15) && (generations > 5 || begin.elapsed() > machine::patience(Duration::from_secs(15))) {
            break;
        }
    }
    let time = begin.elapsed();
    let sent = flood.stop();
    let findings = detector.finish(&bench.net, findings);
    judge("saved files", generations, sent, round.always, &findings, time);
    assert!(generations > 5, "the files went live while the flood ran: {generations} times");
}

/// One packet of each family through the firewall, so that the stack's own first-packet work is done.
fn warm_up(net: &Net) {
    for family in Family::BOTH {
        let server = netpol_tests::sock::udp(&net.dst, family.at(2, 2, 9));
        let client = netpol_tests::sock::udp(&net.src, family.any(0));
        assert!(netpol_tests::sock::datagram_passes(&client, &server, family.at(2, 2, 9)), "{family:?}: always allowed");
    }
}
