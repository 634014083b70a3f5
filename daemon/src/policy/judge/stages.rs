//! Stages 2, 2b, 4 and 6: deny sets, rates of sources, failsafe, essentials.
//!
//! Each function answers one question about one packet; only rates remember that they were asked.

use std::net::IpAddr;

use super::clock::Moment;
use super::link::Link;
use super::matching;
use super::packet::{ACK, FIN, Icmp, IpPacket, L4, Packet, RST, SYN, UDP};
use super::rates::{Bucket, Rates, counted};
use super::spoof::is_link_local;
use crate::policy::model::{EndpointKind, Failsafe, Family, Hook};
use crate::policy::reason::Reason;

/// Hop limit that proves that a neighbour sent the packet (RFC 4861, RFC 5082).
const NEIGHBOUR_HOP_LIMIT: u8 = 255;

/// Stage 2: sources that are refused wherever the packet goes, and fragments where none are wanted.
pub(super) fn refused_arrival(link: &Link<'_>, packet: &Packet, at: Moment) -> Option<Reason> {
    let ip = packet.ip.as_ref().filter(|_| packet.hook == Hook::Ingress)?;
    let denied = link.deny_sets().any(|id| matching::holds(link.set, id, ip.source, at));
    let reason = if denied {
        Reason::DenySet
    } else if link.drops_fragments() && ip.fragment.is_some() {
        Reason::FragmentsRefused
    } else {
        return None;
    };
    (!failsafe_beats_refusal(link, ip)).then_some(reason)
}

/// Stage 2b: whether a source sends more than it may. What arrives is counted.
pub(super) fn exceeds_rate(link: &Link<'_>, packet: &Packet, rates: &mut Rates, at: Moment) -> bool {
    let Some(ip) = packet.ip.as_ref().filter(|ip| packet.hook == Hook::Ingress && !failsafe_beats_refusal(link, ip)) else { return false };
    let (ifindex, source) = (link.interface.ifindex, counted(ip.source));
    let packets = link.rate_limit(|limit| limit.packets);
    if packets.is_some_and(|rate| !rates.take(Bucket::Packets(ifindex, source), rate, at.now)) {
        return true;
    }
    let is_syn = matches!(&ip.l4, L4::Tcp(tcp) if tcp.flags & (SYN | ACK | RST | FIN) == SYN);
    let syns = link.rate_limit(|limit| limit.syns).filter(|_| is_syn);
    syns.is_some_and(|rate| !rates.take(Bucket::Syns(ifindex, source), rate, at.now))
}

/// Failsafe entries that name nets are stronger than a deny set and a rate: for what arrives, and for answers to what was opened.
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
        (Family::V6, 130 | 131 | 132 | 143) => ip.hop_limit == 1 && (is_link_local(ip.source) || ip.source.is_unspecified()),
        _ => false,
    }
}

/// The client is the protected thing: its packets are seen at the egress hook of a host endpoint, at the ingress hook of a workload.
pub(super) fn dhcp(link: &Link<'_>, packet: &Packet, ip: &IpPacket) -> bool {
    let client_hook = match link.kind {
        EndpointKind::Host => Hook::Egress,
        EndpointKind::Workload => Hook::Ingress,
    };
    let (client, server) = match ip.family() {
        Family::V4 => (68, 67),
        Family::V6 => (546, 547),
    };
    let from_client = packet.hook == client_hook;
    let wanted = if from_client { (client, server) } else { (server, client) };
    let own_link = ip.family() == Family::V4 || is_link_local(if from_client { ip.source } else { ip.destination });
    own_link && packet.tags == [0, 0] && ip.protocol == UDP && ip.ports() == Some(wanted)
}
