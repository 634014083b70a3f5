//! Tests of the judge: one test a sentence of the definition.

mod audit;
mod fragments;
mod parsing;
mod rates;
mod selftests;
mod settled;
mod spoof;
mod stages;
mod tcp;
mod time;

use std::net::SocketAddr;

use super::fixture::{chain, policy, set_of};
use super::*;
use crate::policy::model::{DefaultAction, Hook, Policy, Rule};

pub const SECOND: u64 = 1_000_000_000;

/// An interface, its policies and its connections.
pub struct Bench {
    pub set: PolicySet,
    pub interface: Interface,
    pub conntrack: Conntrack,
    pub now: u64,
}

impl Bench {
    pub fn new(set: PolicySet) -> Bench {
        Bench { set, interface: Interface::named("eth0"), conntrack: Conntrack::default(), now: SECOND }
    }

    /// Host endpoint; ingress isolated.
    pub fn ingress(rules: Vec<Rule>) -> Bench {
        Bench::new(super::fixture::host(rules))
    }

    /// Host endpoint; both directions isolated, default deny.
    pub fn both(ingress: Vec<Rule>, egress: Vec<Rule>) -> Bench {
        let isolated = |rules| Some(chain(DefaultAction::Deny, rules));
        Bench::new(set_of(vec![Policy { ingress: isolated(ingress), egress: isolated(egress), ..policy("both", 100) }]))
    }

    pub fn judge(&mut self, packet: &Packet) -> Judgement {
        self.now += 1_000_000;
        judge(&self.set, &self.interface, &mut self.conntrack, packet, self.now)
    }

    /// The reason; `None` = let through.
    pub fn say(&mut self, packet: &Packet) -> Option<Reason> {
        self.judge(packet).reason
    }

    /// The policies change.
    pub fn reload(&mut self, set: PolicySet) {
        self.set = set;
        self.conntrack.generation += 1;
    }
}

pub fn ip(hook: Hook, source: &str, destination: &str, protocol: u16, l4: L4) -> Packet {
    let source: std::net::IpAddr = source.parse().unwrap();
    let ethertype = if source.is_ipv4() { ETHERTYPE_IPV4 } else { ETHERTYPE_IPV6 };
    let ip = IpPacket { source, destination: destination.parse().unwrap(), protocol, hop_limit: 64, fragment: None, l4 };
    Packet { hook, tags: [0, 0], ethertype, length: 60, sender: Sender::default(), refusal: None, ip: Some(ip) }
}

fn ends(source: &str, destination: &str) -> (SocketAddr, SocketAddr) {
    (source.parse().unwrap(), destination.parse().unwrap())
}

pub fn tcp(hook: Hook, source: &str, destination: &str, flags: u8, sequence: u32, acknowledgement: u32) -> Packet {
    let (source, destination) = ends(source, destination);
    let sequence_length = u32::from(flags & SYN != 0) + u32::from(flags & FIN != 0);
    let (source_port, destination_port) = (source.port(), destination.port());
    let segment = Tcp { source_port, destination_port, flags, sequence, acknowledgement, sequence_length };
    ip(hook, &source.ip().to_string(), &destination.ip().to_string(), TCP, L4::Tcp(segment))
}

pub fn udp(hook: Hook, source: &str, destination: &str) -> Packet {
    let (source, destination) = ends(source, destination);
    let l4 = L4::Ports { source: source.port(), destination: destination.port() };
    ip(hook, &source.ip().to_string(), &destination.ip().to_string(), UDP, l4)
}

pub fn icmp(hook: Hook, source: &str, destination: &str, icmp_type: u8, quoted: Option<Quote>) -> Packet {
    let protocol = if source.contains(':') { ICMPV6 } else { ICMP };
    ip(hook, source, destination, protocol, L4::Icmp(Icmp { icmp_type, code: 0, identifier: 7, quoted }))
}

/// What an error about this packet quotes.
pub fn quote(packet: &Packet) -> Option<Quote> {
    let ip = packet.ip.as_ref()?;
    let (source, destination) = ip.ports()?;
    let l4 = QuotedL4::Ports { source, destination };
    Some(Quote { source: ip.source, destination: ip.destination, protocol: ip.protocol as u8, l4 })
}

pub fn change(mut packet: Packet, change: impl FnOnce(&mut IpPacket)) -> Packet {
    change(packet.ip.as_mut().unwrap());
    packet
}
