//! kill -9 at any moment: no verdict changes.

use std::time::Duration;

use netpol_tests::flood::Flood;
use netpol_tests::{Bench, Daemon, Net, machine};

use crate::mixture::{Detector, Findings, policy, round};

/// Numbers between 0 and a limit, the same in every run.
pub struct Dice(pub u64);

impl Dice {
    /// The next number.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

#[test]
fn kills_at_random_moments_of_reloads_change_no_verdict() {
    let Some(mut bench) = Bench::start(&policy(0, "")) else { return };
    let round = round();
    let detector = Detector::new(&bench.net);
    let mut findings = Findings::none();
    let flood = Flood::start(&bench.net.src, "eth0", &round.packets);
    let mut dice = Dice(42);
    let kills = machine::times(20, 3);
    for n in 1..=kills as usize {
        bench.net.write("10-test.toml", &policy(n % 2, ""));
        std::thread::sleep(Duration::from_millis(dice.below(400)));
        bench.daemon.kill();
        detector.read(&mut findings);
        bench.daemon = Daemon::start(&bench.net);
    }
    let sent = flood.stop();
    let findings = detector.finish(&bench.net, findings);
    assert_eq!(findings.mixed, 0, "{findings:?}");
    assert!(findings.sometimes.iter().all(|seen| *seen > 0), "both policies were seen at work: {findings:?}");
    let lost = (2 * sent.rounds * round.always).checked_sub(findings.forwarded.iter().sum()).expect("no more packets than were sent");
    assert!(lost <= findings.lost_by_device, "{lost} always-allowed packets lost over {kills} kills");
}

#[test]
fn kill_during_the_first_start_leaves_a_start_that_works() {
    let Some(net) = Net::new() else { return };
    net.write("10-test.toml", &policy(0, ""));
    let mut dice = Dice(7);
    for _ in 0..machine::times(10, 3) {
        let mut command = net.dut.command(&netpol_tests::cli::binary().display().to_string());
        let mut child = command.arg("run").args(net.options()).stderr(std::process::Stdio::null()).spawn().expect("the binary");
        std::thread::sleep(Duration::from_millis(dice.below(150)));
        child.kill().expect("kill -9");
        child.wait().expect("its end");
    }
    let daemon = Daemon::start(&net);
    let bench = Bench::around(net, daemon);
    assert_eq!(bench.cli().status()["state"], "ok");
    let f = netpol_tests::Family::V4;
    assert!(bench.arrives(&netpol_tests::Packet::udp(f.at(1, 2, 1), f.at(1, 1, 1))), "allowed");
    assert!(!bench.arrives(&netpol_tests::Packet::udp(f.at(1, 2, 1), f.at(1, 1, 2))), "denied");
}
