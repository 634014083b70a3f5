//! A hundred restarts, half of them by kill -9 at random moments: one attachment of ours a hook, no pile of pins, no broken connection.

use std::process::Stdio;
use std::time::Duration;

use netpol_tests::cli::binary;
use netpol_tests::foreign::programs_at;
use netpol_tests::policy::{allow_port, both_ways};
use netpol_tests::residue::files_below;
use netpol_tests::sock::{self, Connection};
use netpol_tests::{Bench, Daemon, Family, Hook, Net, Packet};

use crate::kills::Dice;

fn judged(bench: &Bench) -> bool {
    let f = Family::V4;
    let to = |port| Packet::udp(f.at(1, 2, 4000), f.at(1, 1, port));
    Hook::BOTH.iter().all(|hook| bench.passes(*hook, &to(53)) && !bench.passes(*hook, &to(54)))
}

/// Programs on both hooks, however they are attached: ours are the only ones.
fn attachments(bench: &Bench) -> [usize; 2] {
    let filters = |at: &str| bench.net.dut.must("tc", &format!("filter show dev left {at}")).matches("handle 0x6e70").count();
    [(Hook::Ingress, "ingress"), (Hook::Egress, "egress")].map(|(hook, at)| programs_at(&bench.net.dut, "left", hook).len() + filters(at))
}

fn restart(attach: &[&str], times: u32) {
    let Some(net) = Net::new() else { return };
    net.write("10-test.toml", &both_ways(&(allow_port("dns", "udp", 53) + &allow_port("web", "tcp", 80))));
    let daemon = Daemon::try_start_as(&net, attach).expect("a start");
    let mut bench = Bench::around(net, daemon);
    let web = Family::V4.at(1, 1, 80);
    let listener = sock::listen(&bench.net.dut, web);
    let mut connection = Connection::open(&bench.net.src, &listener, web).expect("a connection");
    let pins = files_below(&bench.net.bpffs());
    let mut dice = Dice(11);
    bench.daemon.kill();
    for n in 1..=times {
        let mut child = bench.net.dut.command(&binary().display().to_string());
        let child = child.arg("run").args(attach).args(bench.net.options()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = child.spawn().expect("the binary");
        std::thread::sleep(Duration::from_millis(dice.below(120)));
        if n % 2 == 0 {
            child.kill().expect("kill -9");
        } else {
            netpol_tests::sys::signal(child.id(), libc::SIGTERM).expect("SIGTERM");
        }
        child.wait().expect("its end");
        assert_eq!(attachments(&bench), [1, 1], "after {n} restarts");
        if n % 10 == 0 {
            assert!(judged(&bench) && connection.lives(), "after {n} restarts");
        }
    }
    bench.daemon = Daemon::try_start_as(&bench.net, attach).expect("a start");
    assert!(judged(&bench) && connection.lives());
    assert_eq!((attachments(&bench), files_below(&bench.net.bpffs())), ([1, 1], pins));
    assert_eq!(bench.cli().status()["state"], "ok");
}

#[test]
fn hundred_restarts_leave_one_attachment_of_ours_a_hook() {
    restart(&[], 100);
}

#[test]
fn restarts_leave_one_filter_of_ours_a_hook_where_there_is_no_tcx() {
    restart(&["--attach", "clsact"], 20);
}
