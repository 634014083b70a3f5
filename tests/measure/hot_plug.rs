//! A hundred interfaces plugged in at once, and one after the other.

use std::time::{Duration, Instant};

use netpol_tests::bench::Way;
use netpol_tests::policy::VERSION;
use netpol_tests::{Bench, Family, Packet, say};

use crate::{alone, median_and_max, milliseconds};

const POLICY: &str = "[[policy]]\nname = \"hot\"\ninterfaces = [\"hot*\"]\npolicy_types = [\"ingress\"]\n";

fn plug(bench: &Bench, n: usize) {
    let src = bench.net.src.name();
    bench.net.dut.ip(&format!("link add hot{n} up type veth peer name p-hot{n} netns {src}"));
    bench.net.src.ip(&format!("link set p-hot{n} up"));
}

fn covered(bench: &Bench) -> usize {
    bench.cli().status()["interfaces"].as_array().expect("interfaces").len()
}

#[test]
fn hot_plugged_interfaces_until_they_deny() {
    let _alone = alone();
    let Some(bench) = Bench::start(&format!("{VERSION}{POLICY}")) else { return };
    let f = Family::V4;
    let mut times: Vec<Duration> = (0..10)
        .map(|n| {
            plug(&bench, n);
            let begin = Instant::now();
            let way = Way::new(&bench.net.src, &format!("p-hot{n}"), &bench.net.dut, &format!("hot{n}"), &[0x0800]);
            while way.passes(&bench.net.dut, "unused", &Packet::udp(f.at(1, 2, 1), f.at(1, 1, 2))) {
                assert!(begin.elapsed() < Duration::from_secs(10), "hot{n} is not under policy after 10 s");
            }
            begin.elapsed()
        })
        .collect();
    let (median, max) = median_and_max(&mut times);
    say::aloud(&format!("one hot-plugged interface until it denies: median {} ms, max {} ms", milliseconds(median), milliseconds(max)));
}

#[test]
fn hundred_hot_plugged_interfaces_are_all_enforced() {
    let _alone = alone();
    let Some(bench) = Bench::start(&format!("{VERSION}{POLICY}")) else { return };
    let begin = Instant::now();
    for n in 0..100 {
        plug(&bench, n);
    }
    let plugged = begin.elapsed();
    while covered(&bench) < 100 {
        assert!(begin.elapsed() < Duration::from_secs(60), "{} of 100 are under policy after a minute", covered(&bench));
    }
    let enforced = begin.elapsed();
    say::aloud(&format!(
        "100 hot-plugged interfaces: made in {} ms, all under policy {} ms after the last",
        milliseconds(plugged),
        milliseconds(enforced - plugged)
    ));
    let f = Family::V6;
    for n in [0, 50, 99] {
        let way = Way::new(&bench.net.src, &format!("p-hot{n}"), &bench.net.dut, &format!("hot{n}"), &[0x86dd]);
        assert!(!way.passes(&bench.net.dut, "unused", &Packet::udp(f.at(1, 2, 1), f.at(1, 1, 2))), "hot{n} denies");
    }
}
