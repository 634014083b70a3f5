//! Frames, byte by byte. Knows headers, and nothing of what is thought of them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

pub const FIN: u8 = 1;
pub const SYN: u8 = 2;
pub const RST: u8 = 4;
pub const PSH: u8 = 8;
pub const ACK: u8 = 16;

pub const ICMP: u8 = 1;
pub const TCP: u8 = 6;
pub const UDP: u8 = 17;
pub const DCCP: u8 = 33;
pub const ICMPV6: u8 = 58;
pub const SCTP: u8 = 132;
pub const UDPLITE: u8 = 136;

pub const IPV4: u16 = 0x0800;
pub const ARP: u16 = 0x0806;
pub const IPV6: u16 = 0x86DD;
pub const CTAG: u16 = 0x8100;
pub const STAG: u16 = 0x88A8;

/// Of every interface of the host.
pub const HOST_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
/// Who sends a frame, where nothing else is said, and somebody else.
pub const MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];
pub const OTHER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 3];

/// The same frame from another station.
pub fn sent_by(mac: [u8; 6], mut frame: Vec<u8>) -> Vec<u8> {
    frame[6..12].copy_from_slice(&mac);
    frame
}

/// An ARP packet of IPv4 over Ethernet; who is asked for is of no interest.
pub fn arp(operation: u16, mac: [u8; 6], address: Ipv4Addr) -> Vec<u8> {
    let mut bytes = vec![0, 1, 8, 0, 6, 4];
    bytes.extend(operation.to_be_bytes());
    bytes.extend(mac);
    bytes.extend(address.octets());
    bytes.extend([0; 10]);
    bytes
}

/// Neighbour discovery: type, target (solicitations and advertisements), and options.
pub fn discovery(icmp_type: u8, target: Ipv6Addr, options: &[u8]) -> Vec<u8> {
    let mut bytes = vec![icmp_type, 0, 0, 0, 0, 0, 0, 0];
    match icmp_type {
        133 => {}
        134 => bytes.extend([0; 8]),
        _ => bytes.extend(target.octets()),
    }
    bytes.extend(options);
    bytes
}

/// The option that holds a link-layer address: 1 = of the sender, 2 = of the target.
pub fn link_layer(kind: u8, mac: [u8; 6]) -> Vec<u8> {
    [&[kind, 1], &mac[..]].concat()
}

/// An Ethernet frame: tags as (TPID, TCI), EtherType (or 802.3 length), the rest.
pub fn ethernet(tags: &[(u16, u16)], ethertype: u16, payload: &[u8]) -> Vec<u8> {
    let mut bytes = HOST_MAC.to_vec();
    bytes.extend(MAC);
    for (tpid, tci) in tags {
        bytes.extend(tpid.to_be_bytes());
        bytes.extend(tci.to_be_bytes());
    }
    bytes.extend(ethertype.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// What an IP header says besides addresses and protocol.
#[derive(Debug, Clone, Default)]
pub struct Ip {
    /// TTL or hop limit; 0 = 64.
    pub hop_limit: u8,
    /// Identification and offset (bytes) and "more fragments".
    pub fragment: Option<(u32, u16, bool)>,
    /// IPv4 options, a multiple of 4 bytes.
    pub options: Vec<u8>,
}

/// An IP packet of the family of its addresses.
pub fn ip(source: IpAddr, destination: IpAddr, protocol: u8, header: &Ip, payload: &[u8]) -> Vec<u8> {
    let hop_limit = if header.hop_limit == 0 { 64 } else { header.hop_limit };
    match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let (id, offset, more) = header.fragment.unwrap_or_default();
            let words = 5 + header.options.len() / 4;
            let total = words * 4 + payload.len();
            let mut bytes = vec![0x40 | words as u8, 0];
            bytes.extend((total as u16).to_be_bytes());
            bytes.extend((id as u16).to_be_bytes());
            bytes.extend(((offset / 8) | (u16::from(more) << 13)).to_be_bytes());
            bytes.extend([hop_limit, protocol, 0, 0]);
            bytes.extend(source.octets());
            bytes.extend(destination.octets());
            bytes.extend(&header.options);
            bytes.extend(payload);
            bytes
        }
        (IpAddr::V6(_), IpAddr::V6(_)) => match header.fragment {
            None => ip6(source, destination, protocol, hop_limit, payload),
            Some((id, offset, more)) => {
                let mut behind = fragment_header(protocol, id, offset, more);
                behind.extend(payload);
                ip6(source, destination, 44, hop_limit, &behind)
            }
        },
        _ => panic!("{source} and {destination} are of two families"),
    }
}

fn ip6(source: IpAddr, destination: IpAddr, next: u8, hop_limit: u8, payload: &[u8]) -> Vec<u8> {
    let (IpAddr::V6(source), IpAddr::V6(destination)) = (source, destination) else { return Vec::new() };
    let mut bytes = vec![0x60, 0, 0, 0];
    bytes.extend((payload.len() as u16).to_be_bytes());
    bytes.extend([next, hop_limit]);
    bytes.extend(source.octets());
    bytes.extend(destination.octets());
    bytes.extend(payload);
    bytes
}

/// An IPv6 fragment header.
pub fn fragment_header(next: u8, id: u32, offset: u16, more: bool) -> Vec<u8> {
    let mut bytes = vec![next, 0];
    bytes.extend((offset & 0xFFF8 | u16::from(more)).to_be_bytes());
    bytes.extend(id.to_be_bytes());
    bytes
}

/// An IPv6 extension header of `units + 1` times 8 bytes; `third` is its third byte (routing: the type).
pub fn extension(next: u8, units: u8, third: u8) -> Vec<u8> {
    let mut bytes = vec![0; (usize::from(units) + 1) * 8];
    bytes[..3].copy_from_slice(&[next, units, third]);
    bytes
}

/// A TCP segment without options.
pub fn tcp(ports: (u16, u16), flags: u8, sequence: u32, acknowledgement: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend(ports.0.to_be_bytes());
    bytes.extend(ports.1.to_be_bytes());
    bytes.extend(sequence.to_be_bytes());
    bytes.extend(acknowledgement.to_be_bytes());
    bytes.extend([0x50, flags, 0xFF, 0xFF, 0, 0, 0, 0]);
    bytes.extend(payload);
    bytes
}

/// A header that begins with ports: UDP and UDP-Lite (8 bytes), DCCP and SCTP (12), padded to `length`.
pub fn ports(ports: (u16, u16), length: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend(ports.0.to_be_bytes());
    bytes.extend(ports.1.to_be_bytes());
    bytes.extend((length as u16).to_be_bytes());
    bytes.resize(length.max(4), 0);
    bytes
}

/// An SCTP packet whose first chunk is of that type.
pub fn sctp(between: (u16, u16), chunk: u8) -> Vec<u8> {
    let mut bytes = ports(between, 12);
    bytes.extend([chunk, 0, 0, 4]);
    bytes
}

/// An ICMP message of 8 bytes and what follows.
pub fn icmp(icmp_type: u8, code: u8, identifier: u16, rest: &[u8]) -> Vec<u8> {
    let mut bytes = vec![icmp_type, code, 0, 0];
    bytes.extend(identifier.to_be_bytes());
    bytes.extend([0, 1]);
    bytes.extend(rest);
    bytes
}
