//! Stages 2, 3, 4 and 6: deny sets, other EtherTypes, failsafe, essentials.
//!
//! Each function answers one question about one packet and changes nothing.

use std::net::IpAddr;

use super::link::Link;
use super::packet::{Icmp, IpPacket, L4, Packet, UDP};
use super::rules;
use crate::policy::model::{EndpointKind, Failsafe, Family, Hook};
use crate::policy::reason::Reason;

/// Hop limit that proves that a neighbour sent the packet (RFC 4861, RFC 5082).
const NEIGHBOUR_HOP_LIMIT: u8 = 255;

/// Stage 2: sources that are refused wherever the packet goes, and fragments where none are wanted.
pub(super) fn refused_arrival(link: &Link<'_>, packet: &Packet) -> Option<Reason> {
    let ip = packet.ip.as_ref().filter(|_| packet.hook == Hook::Ingress)?;
    let denied = link.deny_sets().any(|id| link.set.sets.get(id.0 as usize).is_some_and(|set| rules::holds(set, ip.source)));
    let reason = if denied {
        Reason::DenySet
    } else if link.drops_fragments() && ip.fragment.is_some() {
        Reason::FragmentsRefused
    } else {
        return None;
    };
    (!failsafe_beats_refusal(link, ip)).then_some(reason)
}

/// Failsafe entries that name nets are stronger than a deny set: for what arrives, and for answers to what was opened.
fn failsafe_beats_refusal(link: &Link<'_>, ip: &IpPacket) -> bool {
    let Some((source_port, destination_port)) = ip.ports().filter(|_| link.kind == EndpointKind::Host) else { return false };
    let daemon = &link.set.daemon;
    let named = |entry: &Failsafe, port| {
        u16::from(entry.protocol) == ip.protocol && entry.port == port && entry.nets.iter().any(|net| net.contains(&ip.source))
    };
    daemon.failsafe_inbound.iter().any(|entry| named(entry, destination_port))
        || daemon.failsafe_outbound.iter().any(|entry| named(entry, source_port))
}

/// Stage 4: what always reaches a host endpoint, and what it may always open.
pub(super) fn failsafe(link: &Link<'_>, packet: &Packet) -> bool {
    let Some(ip) = packet.ip.as_ref().filter(|_| link.kind == EndpointKind::Host) else { return false };
    let Some((_, destination_port)) = ip.ports() else { return false };
    let (entries, remote): (_, IpAddr) = match packet.hook {
        Hook::Ingress => (&link.set.daemon.failsafe_inbound, ip.source),
        Hook::Egress => (&link.set.daemon.failsafe_outbound, ip.destination),
    };
    entries.iter().any(|entry| {
        let here = entry.nets.is_empty() || entry.nets.iter().any(|net| net.contains(&remote));
        u16::from(entry.protocol) == ip.protocol && entry.port == destination_port && here
    })
}

/// Stage 6: what a link cannot work without. Says which.
pub(super) fn essential(link: &Link<'_>, packet: &Packet) -> Option<&'static str> {
    let ip = packet.ip.as_ref()?;
    if link.icmpv6_essential() && icmpv6(link, packet, ip) {
        return Some("icmpv6_essential");
    }
    (link.dhcp_client() && dhcp(link, packet, ip)).then_some("dhcp_client")
}

fn icmpv6(link: &Link<'_>, packet: &Packet, ip: &IpPacket) -> bool {
    let L4::Icmp(Icmp { icmp_type, code, .. }) = ip.l4 else { return false };
    let from_neighbour = ip.hop_limit == NEIGHBOUR_HOP_LIMIT && code == 0 && ip.fragment.is_none();
    let from_workload = link.kind == EndpointKind::Workload && packet.hook == Hook::Ingress;
    match (ip.family(), icmp_type) {
        (Family::V6, 133 | 135 | 136) => from_neighbour,
        (Family::V6, 134) => from_neighbour && link.interface.accepts_router_advertisements && !from_workload,
        (Family::V6, 130 | 131 | 132 | 143) => true,
        _ => false,
    }
}

/// The client is the protected thing: its packets are seen at the egress hook of a host endpoint, at the ingress hook of a workload.
fn dhcp(link: &Link<'_>, packet: &Packet, ip: &IpPacket) -> bool {
    let client_hook = match link.kind {
        EndpointKind::Host => Hook::Egress,
        EndpointKind::Workload => Hook::Ingress,
    };
    let (client, server) = match ip.family() {
        Family::V4 => (68, 67),
        Family::V6 => (546, 547),
    };
    let wanted = if packet.hook == client_hook { (client, server) } else { (server, client) };
    packet.tags == [0, 0] && ip.protocol == UDP && ip.ports() == Some(wanted)
}
