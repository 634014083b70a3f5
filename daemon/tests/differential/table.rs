//! Sequences of frames aimed at every stage of the definition, each with the verdict that ARCHITECTURE.md wants: a third opinion
//! beside judge and programs.

mod fragments;
mod parsing;
mod stages;
mod state;

use std::net::IpAddr;

use netpol_ebpf::policy::model::Hook;
use netpol_ebpf::policy::reason::Reason;

use crate::bench::{Bench, LINKS};
use crate::frame::{IPV4, IPV6, Ip, ethernet, ip};
use crate::scenario::{Shot, Stage, Text, tell};

/// A peer beyond the wire, and this host, of either family.
pub const PEER: &str = "8.0.0.1";
pub const HERE: &str = "8.0.1.1";
pub const PEER6: &str = "2001:db8:86dd::1";
pub const HERE6: &str = "2001:db8:86dd:1::1";

/// `ok`, or the name of a reason.
pub type Step = (Shot, &'static str);

/// A frame at a hook.
pub fn at(link: &str, hook: Hook, bytes: Vec<u8>) -> Shot {
    Shot { link: LINKS.iter().position(|name| *name == link).unwrap(), hook, bytes, gso: false }
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

/// Plays steps under one policy file after another, flows being kept.
pub fn play(bench: &mut Bench, name: &str, stages: &[(&str, Vec<Step>)]) -> usize {
    let told: Vec<Stage> = stages
        .iter()
        .map(|(toml, steps)| {
            let head = toml.strip_prefix("version = 1\n").unwrap_or(toml).to_owned();
            Stage { text: Text { head, policies: Vec::new() }, shots: steps.iter().map(|(shot, _)| shot.clone()).collect() }
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
    parsing::all(bench) + stages::all(bench) + state::all(bench) + fragments::all(bench)
}
