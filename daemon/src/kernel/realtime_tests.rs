//! The form of the programs for PREEMPT_RT kernels, with the real kernel: a packet that interrupts another on the same CPU has a scratch
//! of its own. Packets that are being judged are played by scratches that somebody owns.

use std::os::fd::AsRawFd;

use super::lifecycle::{Bench, frame, index, reach, ruleset};
use super::maps::{Map, possible_cpus};
use super::tests::needs_root;
use super::*;
use crate::compile::ruleset::DeviceKind;
use crate::policy::model::Hook;

/// `NP_SCRATCHES`.
const SCRATCHES: u32 = 16;
const XDP_DROP: u32 = 1;
const XDP_PASS: u32 = 2;
const TC_DROP: u32 = 2;
const TC_NEXT: u32 = u32::MAX;
/// What the scratches of packets that are being judged are full of.
const OTHERS: u8 = 0xa5;

/// Bytes of all CPUs' scratches of an index.
fn scratches(map: &Map) -> Vec<u8> {
    vec![0; map.facts().value_size as usize * possible_cpus().unwrap()]
}

fn read(map: &Map, index: u32) -> Vec<u8> {
    let mut bytes = scratches(map);
    // SAFETY: the key is a u32, and there is room for the value of each CPU, a multiple of 8 bytes.
    let answer = unsafe { bpf_sys::bpf_map_lookup_elem(map.as_raw_fd(), (&raw const index).cast(), bytes.as_mut_ptr().cast()) };
    assert_eq!(answer, 0, "scratch {index}");
    bytes
}

/// So many packets are being judged on each CPU.
fn take(map: &Map, taken: u32) {
    for index in 0..SCRATCHES {
        let mut bytes = scratches(map);
        bytes.fill(if index < taken { OTHERS } else { 0 });
        // SAFETY: as in `read`.
        let answer = unsafe { bpf_sys::bpf_map_update_elem(map.as_raw_fd(), (&raw const index).cast(), bytes.as_ptr().cast(), 0) };
        assert_eq!(answer, 0, "scratch {index}");
    }
}

/// Nobody wrote into the scratches of others, and all others are free.
fn untouched(map: &Map, taken: u32) {
    for index in 0..SCRATCHES {
        let bytes = read(map, index);
        if index < taken {
            assert!(bytes.iter().all(|byte| *byte == OTHERS), "scratch {index} of {taken}");
        }
        let owners = bytes.chunks(map.facts().value_size as usize).map(|scratch| &scratch[..8]);
        assert!(owners.clone().all(|owner| owner == [if index < taken { OTHERS } else { 0 }; 8]), "scratch {index} of {taken}");
    }
}

#[test]
fn packet_that_interrupts_others_is_judged_without_them_and_dropped_where_there_are_too_many() {
    needs_root!();
    let bench = Bench::new("realtime");
    let ways = Ways { form: Some(Form::Realtime), ..Ways::default() };
    let mut kernel = Kernel::open_by(&bench.scratch.path, 1024, 512, ways).unwrap();
    let np0 = index(&kernel, "np0");
    let mut port = 1024;
    for (default, verdict, reason) in
        [(abi::NP_DENY, TC_DROP, abi::NP_R_DEFAULT), (abi::NP_ALLOW, TC_NEXT, abi::NP_ACCEPTED), (abi::NP_DENY, TC_DROP, abi::NP_R_DEFAULT)]
    {
        let wanted = ruleset(&kernel, default, &["np0"]);
        reach(&mut kernel, &wanted);
        for taken in [0, 1, SCRATCHES - 1, SCRATCHES, 0] {
            let is_full = taken == SCRATCHES;
            for (entry, map, hook, expected, refused) in [
                (Entry::Tc(DeviceKind::Ethernet, Hook::Ingress), "tc_scratch_rt", abi::NP_HOOK_INGRESS, (verdict, reason), TC_DROP),
                (Entry::Xdp, "xdp_scratch_rt", abi::NP_HOOK_XDP, (XDP_PASS, abi::NP_ACCEPTED), XDP_DROP),
            ] {
                let map = shared::need(&kernel.maps, map).unwrap();
                take(map, taken);
                let (verdict, reason) = if is_full { (refused, abi::NP_R_INTERNAL) } else { expected };
                port += 1;
                let (bytes, counted) = (frame(port), |kernel: &Kernel| kernel.reasons().unwrap()[hook as usize][reason as usize]);
                let before = counted(&kernel);
                let run = kernel.test_run(Shot { entry, ifindex: np0, bytes: &bytes, gso_size: 0 }).unwrap();
                assert_eq!(run.verdict, verdict, "{entry:?}, {taken} taken, default {default}");
                assert_eq!(counted(&kernel), before + 1, "{entry:?}, {taken} taken: reason {reason}");
                untouched(map, taken);
            }
        }
    }
}

#[test]
fn kernel_gets_the_form_that_it_needs_and_the_maps_of_no_other() {
    needs_root!();
    let bench = Bench::new("form");
    let kernel = bench.open();
    let is_realtime = std::fs::read_to_string("/proc/version").unwrap().contains("PREEMPT_RT");
    let names = pins::names(&kernel.pins.maps()).unwrap();
    let scratches: Vec<&str> = names.iter().map(String::as_str).filter(|name| name.contains("_scratch")).collect();
    let wanted: &[&str] = if is_realtime { &["tc_scratch_rt", "xdp_scratch_rt"] } else { &["answer_scratch", "tc_scratch", "xdp_scratch"] };
    assert_eq!(scratches, wanted);
}
