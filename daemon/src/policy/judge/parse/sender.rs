//! Stage 1: what a frame says of the station that sent it.
//!
//! Reads MAC addresses, ARP and neighbour discovery. Refuses nothing: what is missing is for anti-spoof to judge.

use std::net::{IpAddr, Ipv4Addr};

use super::super::packet::{Arp, LinkLayerOption, Neighbour};
use super::{ETHERTYPE_IPV4, ip, word};

/// Hardware type, protocol type and address lengths of ARP for IPv4 over Ethernet (RFC 826).
const ARP_ETHERNET_IPV4: [u8; 6] = [0, 1, (ETHERTYPE_IPV4 >> 8) as u8, ETHERTYPE_IPV4 as u8, 6, 4];
/// Bytes of such a packet.
const ARP_LENGTH: usize = 28;

/// Source MAC address of a frame with an Ethernet header.
pub(super) fn mac(frame: &[u8]) -> Option<[u8; 6]> {
    frame.get(6..12)?.try_into().ok()
}

/// A whole ARP request or answer.
pub(super) fn arp(bytes: &[u8]) -> Option<Arp> {
    let packet = bytes.get(..ARP_LENGTH).filter(|packet| packet.starts_with(&ARP_ETHERNET_IPV4))?;
    let address: [u8; 4] = packet[14..18].try_into().ok()?;
    let asks_or_answers = matches!(word(packet, 6), Some(1 | 2));
    asks_or_answers.then_some(Arp { mac: packet[8..14].try_into().ok()?, address: Ipv4Addr::from(address) })
}

/// Neighbour discovery, from the ICMPv6 type on; `None` for other messages.
pub(super) fn neighbour(message: &[u8]) -> Option<Neighbour> {
    // Options begin where the fixed part ends (RFC 4861, 4.1 to 4.4).
    let options = match message.first()? {
        133 => 8,
        134 => 16,
        135 | 136 => 24,
        _ => return None,
    };
    let target = message.get(8..24).filter(|_| options == 24).map(|_| IpAddr::V6(ip::address6(message, 8)));
    Some(Neighbour { target, option: option(message.get(options..).unwrap_or_default()) })
}

/// An option has a type and a length; the length of an address is that of Ethernet here.
fn option(bytes: &[u8]) -> LinkLayerOption {
    match bytes {
        [1 | 2, _, mac @ ..] => mac.first_chunk().map_or(LinkLayerOption::Unreadable, |mac| LinkLayerOption::Mac(*mac)),
        _ => LinkLayerOption::Absent,
    }
}
