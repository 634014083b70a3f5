//! A writer that truncates, waits and writes piece by piece, over and over: no half of a file ever goes live.

use std::fs::File;
use std::io::Write;
use std::thread::sleep;
use std::time::Duration;

use netpol_tests::policy::{allow_port, arriving};
use netpol_tests::{Bench, Family, Packet, machine};

/// Many rules, the telling one last: a file cut at a rule's end is valid and would deny it.
fn policy(telling: u16) -> String {
    let mut rules = String::new();
    for port in 2000..2100 {
        rules += &allow_port(&format!("p{port}"), "udp", port);
    }
    arriving(&(rules + &allow_port("always", "udp", 53) + &allow_port("telling", "udp", telling)))
}

#[test]
fn slow_writer_never_loses_a_rule_that_is_in_every_version() {
    let Some(bench) = Bench::start(&policy(1000)) else { return };
    let f = Family::V4;
    let passes = |port| bench.arrives(&Packet::udp(f.at(1, 2, 4000), f.at(1, 1, port)));
    let path = bench.net.policy_dir().join("10-test.toml");
    for round in 1..=machine::times(8, 2) as u16 {
        let text = policy(1000 + round);
        let mut file = File::create(&path).expect("truncated");
        for piece in text.as_bytes().chunks(text.len() / 8 + 1) {
            sleep(Duration::from_millis(30));
            assert!(passes(53), "round {round}: a rule of every version");
            file.write_all(piece).expect("write");
        }
        drop(file);
        netpol_tests::wait::until("the whole file is enforced", Duration::from_secs(5), || passes(1000 + round));
        assert!(!passes(1000 + round - 1), "round {round}: the former version is gone");
    }
}
