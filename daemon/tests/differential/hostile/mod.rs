//! Frames that nobody sends by mistake: what is known of attacks on packet filters, and a million frames that were made by tearing at
//! those and at good ones. Judge and programs must say the same of each, and of the table also what ARCHITECTURE.md says.
//!
//! The tables of this folder are asked at every place where a packet can be seen; `mutate` tears, `kept` replays what was found once.

mod addresses;
mod fragments;
mod icmp;
mod ipv4;
mod ipv6;
mod kept;
mod link;
mod mutate;
mod protocols;
mod tcp;
mod torn;
mod view;

use netpol_ebpf::policy::model::Hook;
use netpol_ebpf::policy::reason::Reason;

use crate::bench::{Bench, ROOM};
use crate::frame::{IPV4, IPV6, Ip, ethernet};
use crate::scenario::{Shot, Stage, Text, tell};
use crate::table::{HERE, HERE6, PEER, PEER6, Step, at, with};

/// Where a frame is seen, and by which of our programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    link: &'static str,
    hook: Hook,
    /// Our XDP program sees it first.
    xdp: bool,
}

/// tc alone, XDP before tc; a workload; a device that begins with the IP header.
const ARRIVING: [Place; 4] = [
    Place { link: "h0", hook: Hook::Ingress, xdp: false },
    Place { link: "h1", hook: Hook::Ingress, xdp: true },
    Place { link: "w0", hook: Hook::Ingress, xdp: false },
    Place { link: "t0", hook: Hook::Ingress, xdp: false },
];
const LEAVING: [Place; 3] = [
    Place { link: "h0", hook: Hook::Egress, xdp: false },
    Place { link: "w0", hook: Hook::Egress, xdp: false },
    Place { link: "t0", hook: Hook::Egress, xdp: false },
];

impl Place {
    /// A policy that isolates both directions and has these rules (`[[rule]]`) for what is seen here.
    fn policy(self, keys: &str, rules: &str) -> String {
        let (endpoint, direction) = match (self.link.starts_with('w'), self.hook) {
            (false, Hook::Ingress) => ("host", "ingress"),
            (false, Hook::Egress) => ("host", "egress"),
            (true, Hook::Ingress) => ("workload", "egress"),
            (true, Hook::Egress) => ("workload", "ingress"),
        };
        let xdp = if self.xdp { "[policy.xdp]\nmode = \"generic\"\ndrop_malformed = true\n" } else { "" };
        let rules = rules.replace("[[rule]]", &format!("[[policy.{direction}]]"));
        format!(
            "[[policy]]\nname = \"{0}\"\ninterfaces = [\"{0}\"]\nendpoint = \"{endpoint}\"\npolicy_types = [\"ingress\", \"egress\"]\n\
             {keys}{xdp}{rules}",
            self.link
        )
    }
}

/// What is sent.
#[derive(Debug, Clone)]
enum Bytes {
    /// From the IP header on.
    Packet(Vec<u8>),
    /// From the MAC addresses on.
    Frame(Vec<u8>),
}

/// A line of a table.
#[derive(Debug, Clone)]
struct Row {
    bytes: Bytes,
    /// It goes the other way than what the place is about.
    back: bool,
    gso: bool,
    want: &'static str,
}

/// An IP packet and what is to be said of it.
fn packet(bytes: Vec<u8>, want: &'static str) -> Row {
    Row { bytes: Bytes::Packet(bytes), back: false, gso: false, want }
}

/// A frame and what is to be said of it.
fn whole(bytes: Vec<u8>, want: &'static str) -> Row {
    Row { bytes: Bytes::Frame(bytes), back: false, gso: false, want }
}

/// A packet of the other side.
fn back(bytes: Vec<u8>, want: &'static str) -> Row {
    Row { back: true, ..packet(bytes, want) }
}

impl Row {
    /// Part of a larger packet that the kernel has not cut yet.
    fn gso(self) -> Row {
        Row { gso: true, ..self }
    }

    /// The step at a place; `None` where a frame of this kind cannot be.
    fn at(&self, place: Place) -> Option<Step> {
        if self.gso && place.xdp {
            // A test run of XDP has no such packets.
            return None;
        }
        let raw = place.link.starts_with('t');
        let bytes = match &self.bytes {
            Bytes::Packet(bytes) if raw => bytes.clone(),
            Bytes::Packet(bytes) => ethernet(&[], ethertype_of(bytes), bytes),
            Bytes::Frame(_) if raw => return None,
            Bytes::Frame(bytes) => bytes.clone(),
        };
        let hook = if self.back { place.hook.opposite() } else { place.hook };
        Some((Shot { gso: self.gso, ..at(place.link, hook, bytes) }, self.want))
    }
}

/// The EtherType of the family that the addresses of these tables say: the version nibble may lie.
fn ethertype_of(packet: &[u8]) -> u16 {
    let is_v6 = packet.get(8..12) == Some(&[0x20, 0x01, 0x0D, 0xB8]) || packet.first().is_some_and(|byte| byte >> 4 == 6);
    if is_v6 { IPV6 } else { IPV4 }
}

/// Asks a table at every place. Rows that cannot be at a place are left out there, and only there.
fn ask(bench: &mut Bench, name: &str, keys: &str, rules: &str, rows: &[Row]) -> usize {
    ask_at(bench, &ARRIVING, name, keys, rules, rows) + ask_at(bench, &LEAVING, name, keys, rules, rows)
}

/// Asks a table at places of different links.
fn ask_at(bench: &mut Bench, places: &[Place], name: &str, keys: &str, rules: &str, rows: &[Row]) -> usize {
    let mut steps: Vec<Step> = Vec::new();
    let mut told = Vec::new();
    for place in places {
        for (number, row) in rows.iter().enumerate() {
            let Some(step) = row.at(*place) else { continue };
            if bench.is_possible(&step.0) {
                steps.push(step);
                told.push((number, *place));
            } else {
                assert!(place.link.starts_with('t'), "{name}, row {number}: no test run can be made of {:?}", step.0);
            }
        }
    }
    let policies: String = places.iter().map(|place| place.policy(keys, rules)).collect();
    let head = format!("[daemon.conntrack]\nadopt_existing = false\n{policies}");
    let shots = steps.iter().map(|(shot, _)| shot.clone()).collect();
    let stages = [Stage { text: Text { head, policies: Vec::new() }, paths: Vec::new(), shots }];
    let said = bench.play(&stages).unwrap_or_else(|mismatch| panic!("{name}{}", tell(&stages, &mismatch)));
    let wrong: Vec<String> = said
        .iter()
        .map(|reason| reason.map_or("ok", Reason::name))
        .zip(steps.iter().zip(told))
        .filter(|(said, ((_, wanted), _))| said != wanted)
        .map(|(said, ((shot, wanted), (number, place)))| format!("row {number} at {place:?}: both say {said}, not {wanted}: {shot:?}"))
        .collect();
    assert!(wrong.is_empty(), "{name}\n{}", wrong.join("\n"));
    steps.len()
}

/// The two families: who sends, and to whom.
const FAMILIES: [(&str, &str); 2] = [(PEER, HERE), (PEER6, HERE6)];

/// A packet of the family of these ends, with more to say in its IP header.
fn sent((source, destination): (&str, &str), protocol: u8, header: &Ip, payload: &[u8]) -> Vec<u8> {
    with(source, destination, protocol, header, payload)
}

/// A plain packet of the family of these ends.
fn plain(ends: (&str, &str), protocol: u8, payload: &[u8]) -> Vec<u8> {
    sent(ends, protocol, &Ip::default(), payload)
}

/// The same ends, seen from the other side.
fn turned((source, destination): (&'static str, &'static str)) -> (&'static str, &'static str) {
    (destination, source)
}

/// Two services, and nothing else.
const SERVICES: &str = "[[rule]]\naction = \"allow\"\nprotocol = \"udp\"\ndestination = { ports = [53] }\n\
                        [[rule]]\naction = \"allow\"\nprotocol = \"tcp\"\ndestination = { ports = [80] }\n";
/// All that can be allowed.
const ALL: &str = "[[rule]]\naction = \"allow\"\n";

/// Every row of every table: what frames are torn from.
fn corpus() -> Vec<Row> {
    [fragments::rows(), ipv4::rows(), ipv6::rows(), link::rows(), protocols::rows(), icmp::rows(), tcp::rows(), addresses::rows()].concat()
}

#[test]
fn attacks_that_are_known() {
    if !crate::may_run() {
        return;
    }
    let mut bench = Bench::new("hostile", ROOM);
    let all = [
        fragments::all(&mut bench),
        ipv4::all(&mut bench),
        ipv6::all(&mut bench),
        link::all(&mut bench),
        protocols::all(&mut bench),
        icmp::all(&mut bench),
        tcp::all(&mut bench),
        addresses::all(&mut bench),
    ];
    println!("{} hostile frames of the tables judged as they should be", all.iter().sum::<usize>());
}
