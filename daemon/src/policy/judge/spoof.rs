//! Stage 2c: who may send from beyond the interface.
//!
//! Knows the checks of all policies of the interface and their order. Changes nothing.

use std::net::{IpAddr, Ipv6Addr};

use super::DeviceKind;
use super::clock::Moment;
use super::link::Link;
use super::matching::holds;
use super::packet::{ETHERTYPE_ARP, ICMPV6, IpPacket, L4, LinkLayerOption, Neighbour, Packet, Sender, UDP};
use super::stages;
use crate::policy::bogons::is_bogon;
use crate::policy::model::{ReversePath, SourceList};
use crate::policy::reason::Reason;

/// Whether a packet that arrives at an isolated hook is one that its sender may send.
pub(super) fn forged(link: &Link<'_>, packet: &Packet, at: Moment) -> Option<Reason> {
    let checks = Checks { link, at };
    if !checks.is_known_station(&packet.sender) {
        return Some(Reason::AllowedMacs);
    }
    if packet.ethertype == ETHERTYPE_ARP {
        return (checks.guards_arp() && !checks.is_own_arp(&packet.sender)).then_some(Reason::Arp);
    }
    let ip = packet.ip.as_ref()?;
    let stranger = if checks.is_exempt(packet, ip) { None } else { checks.source(ip) };
    if stranger.is_some() {
        return stranger;
    }
    let neighbour = packet.sender.neighbour.filter(|_| checks.guards_arp())?;
    (!checks.is_own_neighbour(&packet.sender, ip, neighbour)).then_some(Reason::Arp)
}

struct Checks<'a, 'p> {
    link: &'a Link<'p>,
    at: Moment,
}

impl Checks<'_, '_> {
    /// Listed in every list of MAC addresses. A device without Ethernet header has none.
    fn is_known_station(&self, sender: &Sender) -> bool {
        let mut lists = self.link.anti_spoof().map(|checks| &checks.allowed_macs).filter(|macs| !macs.is_empty());
        sender.mac.is_none_or(|mac| lists.all(|macs| macs.contains(&mac)))
    }

    fn guards_arp(&self) -> bool {
        self.link.anti_spoof().any(|checks| checks.arp)
    }

    /// An ARP packet that speaks for its own sender, and for an address that this one may have.
    fn is_own_arp(&self, sender: &Sender) -> bool {
        let Some(arp) = sender.arp else { return false };
        sender.mac == Some(arp.mac) && (arp.address.is_unspecified() || self.is_permitted(arp.address.into()))
    }

    /// Neighbour discovery likewise. Whom a solicitation asks for is of no interest, but one from `::` claims its target
    /// (duplicate address detection, RFC 4862).
    fn is_own_neighbour(&self, sender: &Sender, ip: &IpPacket, neighbour: Neighbour) -> bool {
        let icmp_type = icmpv6_type(ip);
        let claims = icmp_type == Some(136) || (icmp_type == Some(135) && ip.source.is_unspecified());
        if claims && !neighbour.target.is_some_and(|target| self.is_permitted(target)) {
            return false;
        }
        match (sender.mac, neighbour.option) {
            (_, LinkLayerOption::Absent) => true,
            (Some(mac), LinkLayerOption::Mac(said)) => said == mac,
            (None, LinkLayerOption::Mac(_)) | (_, LinkLayerOption::Unreadable) => false,
        }
    }

    /// An address that the sender may claim.
    fn is_permitted(&self, address: IpAddr) -> bool {
        let mut lists = self.lists().peekable();
        if matches!(address, IpAddr::V6(v6) if is_link_local6(v6)) {
            true
        } else if lists.peek().is_some() {
            lists.all(|list| self.lists_address(list, address))
        } else if self.link.reverse_path() == ReversePath::Strict {
            self.has_reverse_path(address)
        } else {
            true
        }
    }

    /// Packets of those that have no address yet, or are about to get one.
    fn is_exempt(&self, packet: &Packet, ip: &IpPacket) -> bool {
        ip.source.is_unspecified() || (self.link.dhcp_client() && stages::dhcp(self.link, packet, ip))
    }

    fn source(&self, ip: &IpPacket) -> Option<Reason> {
        if self.link.anti_spoof().any(|checks| checks.bogons) && is_bogon(ip.source) {
            return Some(Reason::Bogon);
        }
        if !is_link_business(ip) && !self.lists().all(|list| self.lists_address(list, ip.source)) {
            return Some(Reason::AllowedSources);
        }
        let stays_on_link = is_link_local(ip.source) || is_link_multicast(ip.destination);
        (!stays_on_link && !self.has_reverse_path(ip.source)).then_some(Reason::ReversePath)
    }

    fn lists(&self) -> impl Iterator<Item = &SourceList> {
        self.link.anti_spoof().filter_map(|checks| checks.allowed_sources.as_ref())
    }

    fn lists_address(&self, list: &SourceList, address: IpAddr) -> bool {
        list.nets.iter().any(|net| net.contains(&address)) || list.sets.iter().any(|id| holds(self.link.set, *id, address, self.at))
    }

    /// The route back, as strictly as it is asked for.
    fn has_reverse_path(&self, address: IpAddr) -> bool {
        let interface = self.link.interface;
        let Some(routes) = interface.routes.as_ref().filter(|_| interface.device != DeviceKind::Loopback) else { return true };
        match self.link.reverse_path() {
            ReversePath::Off => true,
            ReversePath::Loose => routes.leads_anywhere(address),
            ReversePath::Strict => routes.leads_through(address, interface.ifindex),
        }
    }
}

fn icmpv6_type(ip: &IpPacket) -> Option<u8> {
    match &ip.l4 {
        L4::Icmp(message) if ip.protocol == ICMPV6 => Some(message.icmp_type),
        _ => None,
    }
}

/// Neighbour discovery, MLD, node information and the like, and a DHCPv6 client's packets, from a link-local address: no list of
/// sources need name these.
fn is_link_business(ip: &IpPacket) -> bool {
    let IpAddr::V6(source) = ip.source else { return false };
    let asks_for_lease = ip.protocol == UDP && ip.ports() == Some((546, 547));
    is_link_local6(source) && (matches!(icmpv6_type(ip), Some(130..=137 | 143)) || asks_for_lease)
}

/// 169.254.0.0/16 (RFC 3927) and fe80::/10 (RFC 4291).
pub(super) fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => is_link_local6(v6),
    }
}

fn is_link_local6(address: Ipv6Addr) -> bool {
    address.segments()[0] & 0xFFC0 == 0xFE80
}

/// 224.0.0.0/24 (RFC 5771) and ff02::/16 (RFC 4291): never forwarded.
fn is_link_multicast(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.octets()[..3] == [224, 0, 0],
        IpAddr::V6(v6) => v6.segments()[0] == 0xFF02,
    }
}
