//! Policy files: whatever they say is either refused with places, or compiles, judges and means the same when it is read again.

use std::path::Path;

use netpol_ebpf::compile::compile;
use netpol_ebpf::compile::ruleset::LinkFacts;
use netpol_ebpf::policy::judge::{Conntrack, DeviceKind, Frame, Interface, judge, parse, run_tests};
use netpol_ebpf::policy::model::{Hook, PolicySet};
use netpol_ebpf::policy::{load_at, salvage_failsafe};
use netpol_ebpf::report::{diagnostic_line, failure_line};
use netpol_ebpf::schema::diagnose::Diagnostic;
use netpol_ebpf::schema::render;
use netpol_ebpf::source::Snapshot;

/// Parts two files of one directory.
const NEXT_FILE: &[u8] = b"\n#---\n";
/// The clock that rules expire by.
const NOW: i64 = 1_795_000_000;

/// Interfaces of every kind; names that policies like to use.
pub const LINKS: [(&str, DeviceKind); 7] = [
    ("lo", DeviceKind::Loopback),
    ("eth0", DeviceKind::Ethernet),
    ("enp1s0", DeviceKind::Ethernet),
    ("ve-web", DeviceKind::Ethernet),
    ("br0", DeviceKind::Ethernet),
    ("wg0", DeviceKind::Raw),
    ("tailscale0", DeviceKind::Raw),
];

/// The input as the files of a directory.
pub fn run(bytes: &[u8]) {
    let mut files: Vec<(String, Vec<u8>)> = Vec::new();
    let mut rest = bytes;
    while let Some(at) = rest.windows(NEXT_FILE.len()).position(|window| window == NEXT_FILE).filter(|_| files.len() < 3) {
        files.push((format!("{}.toml", files.len()), rest[..at].to_vec()));
        rest = &rest[at + NEXT_FILE.len()..];
    }
    files.push((format!("{}.toml", files.len()), rest.to_vec()));
    let mut snapshot = kept(&Snapshot::of(Path::new("/policies"), &files));
    salvage_failsafe(&snapshot);
    if let Some(policies) = accepted(&mut snapshot) {
        enforced(&policies);
    }
}

/// The snapshot as it comes back from the state directory: it answers from its record, and the disk is never asked.
pub fn kept(snapshot: &Snapshot) -> Snapshot {
    let bytes = serde_json::to_vec(snapshot).expect("a snapshot can be kept");
    let kept: Snapshot = serde_json::from_slice(&bytes).expect("a kept snapshot can be read");
    assert_eq!(kept.digest(), snapshot.digest());
    kept
}

/// What the files mean, twice the same; `None` = they are refused, and every error has its place.
pub fn accepted(snapshot: &mut Snapshot) -> Option<PolicySet> {
    let loaded = load_at(snapshot, NOW);
    told(&loaded.warnings, snapshot);
    match loaded.policies {
        Err(errors) => {
            assert!(!errors.is_empty());
            told(&errors, snapshot);
            None
        }
        Ok(policies) => {
            let again = load_at(&mut kept(snapshot), NOW).policies.expect("what was accepted is accepted again");
            assert_eq!(policies, again);
            Some(policies)
        }
    }
}

fn told(diagnostics: &[Diagnostic], snapshot: &Snapshot) {
    for diagnostic in diagnostics {
        let place = diagnostic.place.as_ref().expect("a place");
        assert!(place.line > 0 && place.column > 0 && !diagnostic_line(diagnostic).is_empty());
    }
    for color in [false, true] {
        let text = render(diagnostics, snapshot, color);
        assert_eq!(text.is_empty(), diagnostics.is_empty());
        let obeyed = |c: char| c.is_control() && !matches!(c, '\n' | '\t');
        assert!(color || !text.contains(obeyed), "{text:?}");
    }
}

/// Compiles for the links in two orders, runs the tests of the files, and judges a packet of each kind everywhere.
fn enforced(policies: &PolicySet) {
    let mut facts: Vec<LinkFacts> = (1u32..).zip(LINKS).map(facts).collect();
    let ruleset = compile(policies, &facts);
    facts.reverse();
    match (ruleset, compile(policies, &facts)) {
        (Ok(one), Ok(other)) => assert!(one == other, "the order of the links changes the ruleset"),
        (Err(one), Err(other)) => assert_eq!(one.to_string(), other.to_string()),
        (one, other) => panic!("the order of the links changes whether it compiles: {:?} {:?}", one.err(), other.err()),
    }
    for failure in run_tests(policies) {
        assert!(!failure_line(&failure).is_empty());
    }
    let mut conntrack = Conntrack::default();
    for (now, frame) in (1..).zip(frames()) {
        for (ifindex, (name, device)) in (1..).zip(LINKS) {
            let interface = Interface { ifindex, device, ..Interface::named(name) };
            let bytes = if device == DeviceKind::Raw { &frame[14..] } else { &frame };
            for hook in [Hook::Ingress, Hook::Egress] {
                let packet = parse(&Frame { hook, device, bytes, metadata_tag: None, gso: false });
                let judgement = judge(policies, &interface, &mut conntrack, &packet, now * 1_000_000_000);
                assert!(!judgement.steps.is_empty());
            }
        }
    }
}

fn facts((ifindex, (name, device)): (u32, (&str, DeviceKind))) -> LinkFacts {
    LinkFacts { ifindex, name: name.into(), device, accepts_router_advertisements: true, owners: Vec::new() }
}

/// A SYN, a datagram and a ping, of both families.
fn frames() -> Vec<Vec<u8>> {
    let tcp = [0x9c, 0x40, 0, 22, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 0xff, 0xff, 0, 0, 0, 0];
    let udp = [0x9c, 0x40, 0, 53, 0, 12, 0, 0, 1, 2, 3, 4];
    let mut frames = Vec::new();
    for (v4, v6, l4) in [(6, 6, &tcp[..]), (17, 17, &udp), (1, 58, &[8, 0, 0, 0, 0, 7, 0, 1])] {
        let mut four = vec![0x45, 0, 0, 20 + l4.len() as u8, 0, 1, 0, 0, 64, v4, 0, 0, 203, 0, 113, 9, 198, 51, 100, 1];
        four.extend(l4);
        let mut six = vec![0x60, 0, 0, 0, 0, l4.len() as u8, v6, 64];
        for last in [9, 1] {
            six.extend([0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last]);
        }
        six.extend(l4);
        if v6 == 58 {
            six[40] = 128;
        }
        for (ethertype, packet) in [([8, 0], four), ([0x86, 0xdd], six)] {
            frames.push([&[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2], &ethertype[..], &packet].concat());
        }
    }
    frames
}
