//! Interfaces that come and go while policies change and signals rain.

use std::fs;
use std::time::Duration;

use netpol_tests::held::memory_kib;
use netpol_tests::policy::{VERSION, allow_port, arriving};
use netpol_tests::{Bench, Family, Packet, wait};

#[test]
fn links_that_come_and_go_during_reloads_leave_a_working_daemon() {
    let hot = format!("{VERSION}[[policy]]\nname = \"hot\"\ninterfaces = [\"hot*\"]\npolicy_types = [\"ingress\"]\n");
    let Some(mut bench) = Bench::start(&arriving(&allow_port("a", "udp", 1))) else { return };
    bench.net.write("20-hot.toml", &hot);
    for n in 0..40u16 {
        bench.net.dut.ip("link add hot0 type veth peer name peer0");
        bench.net.dut.ip("link set hot0 up");
        if n % 4 == 0 {
            bench.net.write("10-test.toml", &arriving(&allow_port("a", "udp", 100 + n)));
        }
        bench.net.dut.ip("link del hot0");
    }
    assert!(bench.daemon.lives(), "{}", bench.daemon.log());
    let f = Family::V4;
    let passes = |bench: &Bench, port| bench.arrives(&Packet::udp(f.at(1, 2, 4000), f.at(1, 1, port)));
    wait::until("the last file is enforced", Duration::from_secs(10), || passes(&bench, 136));
    assert!(!passes(&bench, 132), "the former one is not");
    assert_eq!(bench.cli().status()["state"], "ok", "{}", bench.cli().status());
}

#[test]
fn hangups_by_the_thousand_are_coalesced_and_cost_no_memory() {
    let Some(mut bench) = Bench::start(&arriving(&allow_port("a", "udp", 1))) else { return };
    for _ in 0..100 {
        bench.daemon.reload();
    }
    std::thread::sleep(Duration::from_secs(1));
    let before = memory_kib(bench.daemon.process());
    for _ in 0..2000 {
        bench.daemon.reload();
        std::thread::sleep(Duration::from_micros(500));
    }
    std::thread::sleep(Duration::from_secs(1));
    assert!(bench.daemon.lives());
    let after = memory_kib(bench.daemon.process());
    assert!(after < before + 8192, "{before} KiB before, {after} KiB after 2,000 hang-ups");
    bench.change(&arriving(&allow_port("b", "udp", 2)));
}

#[test]
fn files_touched_by_the_thousand_end_at_what_is_on_disk() {
    let Some(bench) = Bench::start(&arriving(&allow_port("a", "udp", 1))) else { return };
    for n in 0..3000 {
        let path = bench.net.policy_dir().join(format!("x{}.txt", n % 10));
        fs::write(path, "noise").expect("write");
        if n % 500 == 0 {
            bench.net.write("10-test.toml", &arriving(&allow_port("a", "udp", 1000 + n)));
        }
    }
    let f = Family::V4;
    wait::until("the last version is enforced", Duration::from_secs(10), || {
        bench.arrives(&Packet::udp(f.at(1, 2, 4000), f.at(1, 1, 3500)))
    });
}
