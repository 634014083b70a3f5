//! Beside netfilter we only narrow: both must let a packet pass. And what a privileged sender can do past both.

use std::io::Write;
use std::process::Stdio;

use netpol_tests::policy::{allow_port, both_ways};
use netpol_tests::sock::{datagram_passes, udp};
use netpol_tests::wire::{ALL, Observer, Sender, fence};
use netpol_tests::{Bench, Family, Net, Packet, say};

/// Rules of the dut's own netfilter; `false`, said aloud, where there is none.
fn netfilter(net: &Net, rules: &str) -> bool {
    let trial = net.dut.command("nft").args(["add", "table", "inet", "trial"]).output().expect("nsenter");
    if !trial.status.success() {
        let test = std::thread::current().name().unwrap_or("?").to_owned();
        say::aloud(&format!("SKIPPED {test}: no nftables here: {}", String::from_utf8_lossy(&trial.stderr).trim()));
        return false;
    }
    let mut nft = net.dut.command("nft");
    let mut child = nft.args(["-f", "-"]).stdin(Stdio::piped()).spawn().expect("nsenter");
    child.stdin.take().expect("a pipe").write_all(format!("table inet other {{\n{rules}\n}}\n").as_bytes()).expect("nft reads");
    assert!(child.wait().expect("its end").success(), "{rules}");
    true
}

#[test]
fn packet_passes_only_where_both_netfilter_and_the_policy_allow_it() {
    let Some(net) = Net::new() else { return };
    let chain = |name: &str, hook: &str| {
        let verdicts = "udp dport { 53, 54 } accept\nudp sport { 53, 54 } accept\nmeta l4proto udp drop";
        format!("chain {name} {{\ntype filter hook {hook} priority 0\n{verdicts}\n}}")
    };
    if !netfilter(&net, &(chain("arriving", "input") + "\n" + &chain("leaving", "output"))) {
        return;
    }
    // Allowed by netfilter: 53 and 54. Allowed by us: 53 and 55.
    let Some(bench) = Bench::start_in(net, &both_ways(&(allow_port("a", "udp", 53) + &allow_port("b", "udp", 55)))) else { return };
    for f in Family::BOTH {
        for (port, passes) in [(53, true), (54, false), (55, false)] {
            let (far, near) = (udp(&bench.net.src, f.any(0)), udp(&bench.net.dut, f.at(1, 1, port)));
            assert_eq!(datagram_passes(&far, &near, f.at(1, 1, port)), passes, "{f:?}: port {port} arrives");
            let (near, far) = (udp(&bench.net.dut, f.any(0)), udp(&bench.net.src, f.at(1, 2, port)));
            assert_eq!(datagram_passes(&near, &far, f.at(1, 2, port)), passes, "{f:?}: port {port} leaves");
        }
    }
    assert!(bench.cli().hits("b") >= 2, "what netfilter dropped had passed us: ours comes first where a packet arrives");
}

#[test]
fn limit_privileged_senders_can_leave_past_tc() {
    let Some(bench) = Bench::start(&both_ways(&allow_port("dns", "udp", 53))) else { return };
    let f = Family::V4;
    let denied = Packet::udp(f.at(1, 1, 4000), f.at(1, 2, 54));
    let far = Observer::open(&bench.net.src, "eth0", ALL);
    let leaves = |sender: &Sender| {
        let fence = fence();
        far.drain();
        sender.send(&denied.frame());
        sender.send(&fence.frame());
        let mut seen = Vec::new();
        let end = std::time::Instant::now() + std::time::Duration::from_secs(5);
        while !seen.iter().any(|frame: &Vec<u8>| frame.ends_with(&fence.l3())) {
            assert!(std::time::Instant::now() < end, "the fence");
            seen.extend(far.drain());
        }
        seen.iter().any(|frame| frame.ends_with(&denied.l3()))
    };
    assert!(!leaves(&Sender::open(&bench.net.dut, "left")), "an ordinary packet socket is judged");
    assert!(leaves(&Sender::bypassing_tc(&bench.net.dut, "left")), "PACKET_QDISC_BYPASS is not: egress binds no process with CAP_NET_RAW");
}
