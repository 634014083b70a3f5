//! One frame through the loaded programs, off every wire (`BPF_PROG_TEST_RUN`).

use std::os::fd::AsRawFd;
use std::time::Duration;

use super::error::Result;
use super::shared::Programs;
use super::{bpf, objects};
use crate::compile::ruleset::DeviceKind;
use crate::policy::model::Hook;

/// Where the frame is seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    /// A tc hook, by the device's program variant.
    Tc(DeviceKind, Hook),
    /// XDP.
    Xdp,
}

/// A frame and where it is seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shot<'a> {
    /// Where.
    pub entry: Entry,
    /// Of an interface of this network namespace.
    pub ifindex: u32,
    /// The frame, at least 14 bytes; for the raw variant of tc the IP packet.
    pub bytes: &'a [u8],
    /// tc: `gso_size` of the skb; 0 = an ordinary packet.
    pub gso_size: u32,
}

/// One packet's way through the loaded programs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TestRun {
    /// What the program returned (`TC_ACT_*`, `XDP_*`).
    pub verdict: u32,
    /// Kernel's own measurement of the run.
    pub duration: Duration,
}

/// Bytes of `struct __sk_buff` that are handed, and where `ifindex` and `gso_size` stand in it.
const SK_BUFF: (usize, usize, usize) = (192, 40, 176);
/// Bytes of `struct xdp_md`, and where `data_end` and `ingress_ifindex` stand in it.
const XDP_MD: (usize, usize, usize) = (24, 4, 12);

/// Runs it.
pub fn run(programs: &Programs, shot: Shot<'_>) -> Result<TestRun> {
    let name = match shot.entry {
        Entry::Tc(variant, hook) => objects::tc_main(variant, hook),
        Entry::Xdp => objects::XDP,
    };
    run_program(&programs.get(name)?, shot)
}

/// Runs a program of that entry, whoever loaded it.
pub fn run_program(program: &impl AsRawFd, shot: Shot<'_>) -> Result<TestRun> {
    let Shot { entry, ifindex, bytes, gso_size } = shot;
    let mut context;
    let framed = if let Entry::Tc(DeviceKind::Raw, _) = entry { framed(bytes) } else { Vec::new() };
    let bytes = if framed.is_empty() { bytes } else { &framed };
    match entry {
        Entry::Tc(..) => {
            context = vec![0u8; SK_BUFF.0];
            put(&mut context, SK_BUFF.1, ifindex);
            put(&mut context, SK_BUFF.2, gso_size);
        }
        Entry::Xdp => {
            context = vec![0u8; XDP_MD.0];
            put(&mut context, XDP_MD.1, bytes.len() as u32);
            put(&mut context, XDP_MD.2, ifindex);
        }
    }
    let run = bpf::test_run(program, bytes, &mut context, 1)?;
    Ok(TestRun { verdict: run.verdict, duration: Duration::from_nanos(u64::from(run.nanoseconds)) })
}

/// A test run takes the first 14 bytes for an Ethernet header, and the network header for what follows it, whatever the program: what
/// a packet of a device without link header looks like where something stands before its network header (see `parse_l2.h`).
fn framed(packet: &[u8]) -> Vec<u8> {
    let ethertype: [u8; 2] = if packet.first().is_some_and(|byte| byte >> 4 == 6) { [0x86, 0xdd] } else { [0x08, 0x00] };
    [&[0; 12][..], &ethertype, packet].concat()
}

fn put(context: &mut [u8], at: usize, number: u32) {
    if let Some(place) = context.get_mut(at..at + 4) {
        place.copy_from_slice(&number.to_ne_bytes());
    }
}
