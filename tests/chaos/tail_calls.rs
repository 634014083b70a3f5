//! A program array that has lost a program: what would have needed it is dropped, counted, and put right by the next look.

use std::path::Path;
use std::time::Duration;

use netpol_tests::cli::DONE;
use netpol_tests::flood::Flood;
use netpol_tests::policy::{allow_port, arriving};
use netpol_tests::residue::files_below;
use netpol_tests::{Bench, Family, Hook, Packet, sys_bpf, wait};

/// Generations that can exist at once; behind their places stands the epilogue (abi.h).
const SLOTS: u32 = 4;

fn packet(f: Family, from: u16, port: u16) -> Packet {
    Packet::udp(f.at(1, 2, from), f.at(1, 1, port))
}

/// Empties a place under a flood of packets that are denied, and of new flows that are allowed.
fn emptied(name: &str, place: impl Fn(u64) -> u32) {
    let Some(bench) = Bench::start(&arriving(&allow_port("dns", "udp", 53))) else { return };
    let flood: Vec<Packet> = (0..40).flat_map(|n| Family::BOTH.map(|f| packet(f, 2000 + n, 54))).collect();
    let observed: Vec<Packet> = (0..20_000).flat_map(|n| Family::BOTH.map(|f| packet(f, 10_000 + n, 53))).collect();
    assert!(bench.arrives(&packet(Family::V4, 1, 53)), "allowed before");
    let generation = bench.cli().generation().as_u64().expect("a number");
    let running = Flood::start(&bench.net.src, "eth0", &flood);
    let pinned = files_below(&bench.net.bpffs()).into_iter().find(|pin| pin.ends_with(Path::new("maps").join(name)));
    let array = pinned.expect("the array is pinned");
    let before = bench.cli().reasons();
    sys_bpf::delete_from_map(&array, place(generation)).expect("the element is there");
    assert_eq!(bench.through(Hook::Ingress, &observed), 0, "new flows that the rules allow");
    assert_eq!(bench.through(Hook::Ingress, &flood), 0, "what they deny");
    let missed = bench.cli().reasons()["tail_call"] - before["tail_call"];
    assert!(missed > observed.len() as u64, "{missed} packets dropped for the missing program");
    bench.cli().run(&["apply"]).expect(DONE);
    wait::until("put right", Duration::from_secs(20), || bench.arrives(&packet(Family::V6, 2, 53)));
    let sent = running.stop();
    assert!(sent.frames > 0);
    for f in Family::BOTH {
        assert!(bench.arrives(&packet(f, 3, 53)), "{f:?}: allowed again");
        bench.refused(Hook::Ingress, "default", &packet(f, 3, 54), "what the rules deny");
    }
}

#[test]
fn missing_policy_program_drops_with_a_reason_and_is_put_back() {
    emptied("tc_programs", |generation| generation as u32 % SLOTS);
}

#[test]
fn missing_epilogue_drops_with_a_reason_and_is_put_back() {
    emptied("tc_programs", |_| SLOTS);
}
