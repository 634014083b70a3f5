//! Sequences of frames aimed at every stage of the definition, each with the verdict that ARCHITECTURE.md wants: a third opinion
//! beside judge and programs.

mod anti_spoof;
mod audit;
mod fragments;
mod parsing;
mod rates;
mod reject;
mod stages;
mod state;
mod time;

use std::net::IpAddr;

use netpol_ebpf::policy::model::Hook;
use netpol_ebpf::policy::reason::Reason;

use crate::bench::{Bench, LINKS};
use crate::frame::{IPV4, IPV6, Ip, ethernet, ip};
use crate::scenario::{Path, Shot, Stage, Text, tell};

/// A peer beyond the wire, and this host, of either family.
pub const PEER: &str = "8.0.0.1";
pub const HERE: &str = "8.0.1.1";
pub const PEER6: &str = "2001:db8:86dd::1";
pub const HERE6: &str = "2001:db8:86dd:1::1";

/// Where a table says nothing of it, running connections are not adopted: mid-stream packets would open flows.
const NO_ADOPTION: &str = "[daemon.conntrack]\nadopt_existing = false\n";

/// `ok`, or the name of a reason.
pub type Step = (Shot, &'static str);

/// A frame at a hook.
pub fn at(link: &str, hook: Hook, bytes: Vec<u8>) -> Shot {
    Shot { link: LINKS.iter().position(|name| *name == link).unwrap(), hook, bytes, gso: false, before: Vec::new() }
}

/// An untagged frame that arrives.
pub fn arrives(link: &str, packet: &[u8]) -> Shot {
    at(link, Hook::Ingress, frame(packet))
}

/// An untagged frame that leaves.
pub fn leaves(link: &str, packet: &[u8]) -> Shot {
    at(link, Hook::Egress, frame(packet))
}

/// An Ethernet frame around an IP packet.
pub fn frame(packet: &[u8]) -> Vec<u8> {
    ethernet(&[], if packet[0] >> 4 == 6 { IPV6 } else { IPV4 }, packet)
}

/// An IP packet between addresses given as text.
pub fn between(source: &str, destination: &str, protocol: u8, payload: &[u8]) -> Vec<u8> {
    with(source, destination, protocol, &Ip::default(), payload)
}

/// [`between`] with more to say in the IP header.
pub fn with(source: &str, destination: &str, protocol: u8, header: &Ip, payload: &[u8]) -> Vec<u8> {
    let address = |text: &str| text.parse::<IpAddr>().unwrap();
    ip(address(source), address(destination), protocol, header, payload)
}

fn without_adoption(head: &str) -> String {
    match head {
        _ if head.contains("adopt_existing") => head.to_owned(),
        _ if head.contains("[daemon.conntrack]\n") => head.replacen("[daemon.conntrack]\n", NO_ADOPTION, 1),
        _ => format!("{NO_ADOPTION}{head}"),
    }
}

/// Plays steps under one policy file after another, flows being kept.
pub fn play(bench: &mut Bench, name: &str, stages: &[(&str, Vec<Step>)]) -> usize {
    play_with(bench, name, &[], stages)
}

/// [`play`] on a host with these routes.
pub fn play_with(bench: &mut Bench, name: &str, paths: &[Path], stages: &[(&str, Vec<Step>)]) -> usize {
    let told: Vec<Stage> = stages
        .iter()
        .map(|(toml, steps)| {
            let head = toml.strip_prefix("version = 1\n").unwrap_or(toml).to_owned();
            let shots = steps.iter().map(|(shot, _)| shot.clone()).collect();
            Stage { text: Text { head: without_adoption(&head), policies: Vec::new() }, paths: paths.to_vec(), shots }
        })
        .collect();
    let steps: Vec<&Step> = stages.iter().flat_map(|(_, steps)| steps).collect();
    for (number, (shot, _)) in steps.iter().enumerate() {
        assert!(bench.is_possible(shot), "{name}: step {number} cannot be run: {shot:?}");
    }
    let said = bench.play(&told).unwrap_or_else(|mismatch| panic!("{name}{}", tell(&told, &mismatch)));
    for (number, ((shot, wanted), said)) in steps.iter().zip(&said).enumerate() {
        assert_eq!(said.map_or("ok", Reason::name), *wanted, "{name}: step {number}, which both judge alike: {shot:?}");
    }
    said.len()
}

/// All tables; returns the number of frames.
pub fn all(bench: &mut Bench) -> usize {
    parsing::all(bench)
        + stages::all(bench)
        + state::all(bench)
        + fragments::all(bench)
        + rates::all(bench)
        + reject::all(bench)
        + anti_spoof::all(bench)
        + audit::all(bench)
        + time::all(bench)
}
