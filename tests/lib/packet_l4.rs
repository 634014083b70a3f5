//! What stands behind the IP header: TCP, UDP, SCTP, ICMP, with right checksums.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::packet::{Packet, checksum};

/// Bits of the TCP flag byte.
#[allow(missing_docs)]
pub mod flags {
    pub const FIN: u8 = 0x01;
    pub const SYN: u8 = 0x02;
    pub const RST: u8 = 0x04;
    pub const PSH: u8 = 0x08;
    pub const ACK: u8 = 0x10;
    pub const URG: u8 = 0x20;
    pub const ECE: u8 = 0x40;
    pub const CWR: u8 = 0x80;
}

/// A number that no other packet of this process carries.
pub fn unique() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// An address with a port, from the texts `10.1.0.2:80` and `[fd00:1::2]:80`.
pub fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap_or_else(|e| panic!("{text}: {e}"))
}

impl Packet {
    /// UDP with a unique payload.
    pub fn udp(source: SocketAddr, destination: SocketAddr) -> Packet {
        Packet::udp_with(source, destination, &unique().to_be_bytes())
    }

    /// UDP with that payload.
    pub fn udp_with(source: SocketAddr, destination: SocketAddr, payload: &[u8]) -> Packet {
        Packet::datagram(17, source, destination, payload)
    }

    /// UDP-Lite (136) covering everything.
    pub fn udplite(source: SocketAddr, destination: SocketAddr) -> Packet {
        Packet::datagram(136, source, destination, &unique().to_be_bytes())
    }

    fn datagram(protocol: u8, source: SocketAddr, destination: SocketAddr, payload: &[u8]) -> Packet {
        let mut body = ports(source, destination);
        body.extend((8 + payload.len() as u16).to_be_bytes());
        body.extend([0, 0]);
        body.extend(payload);
        summed(source.ip(), destination.ip(), protocol, body, 6)
    }

    /// TCP without payload: flags, sequence and acknowledgement numbers.
    pub fn tcp(source: SocketAddr, destination: SocketAddr, flags: u8, seq: u32, ack: u32) -> Packet {
        Packet::tcp_with(source, destination, flags, seq, ack, &[])
    }

    /// A SYN with a unique sequence number.
    pub fn syn(source: SocketAddr, destination: SocketAddr) -> Packet {
        Packet::tcp(source, destination, flags::SYN, unique() << 8, 0)
    }

    /// TCP with payload.
    pub fn tcp_with(source: SocketAddr, destination: SocketAddr, flags: u8, seq: u32, ack: u32, payload: &[u8]) -> Packet {
        let mut body = ports(source, destination);
        body.extend(seq.to_be_bytes());
        body.extend(ack.to_be_bytes());
        body.extend([0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
        body.extend(payload);
        summed(source.ip(), destination.ip(), 6, body, 16)
    }

    /// SCTP with one chunk of that type (1 = INIT). The CRC is left out: no receiver looks at it here.
    pub fn sctp(source: SocketAddr, destination: SocketAddr, chunk: u8) -> Packet {
        let mut body = ports(source, destination);
        body.extend(unique().to_be_bytes());
        body.extend([0, 0, 0, 0, chunk, 0, 0, 20]);
        body.extend([0; 16]);
        Packet::ip(source.ip(), destination.ip(), 132, &body)
    }

    /// DCCP: only the generic header (a request) is right.
    pub fn dccp(source: SocketAddr, destination: SocketAddr) -> Packet {
        let mut body = ports(source, destination);
        body.extend([5, 0, 0, 0, 0x01, 0, 0, 0]);
        body.extend(unique().to_be_bytes());
        body.extend([0; 4]);
        Packet::ip(source.ip(), destination.ip(), 33, &body)
    }

    /// ICMP (1) or ICMPv6 (58) by the family of the addresses: type, code, the four bytes after the checksum, the rest.
    pub fn icmp(source: IpAddr, destination: IpAddr, kind: (u8, u8), rest: [u8; 4], payload: &[u8]) -> Packet {
        let mut body = vec![kind.0, kind.1, 0, 0];
        body.extend(rest);
        body.extend(payload);
        if source.is_ipv6() {
            return summed(source, destination, 58, body, 2);
        }
        let sum = checksum(&[&body]);
        body[2..4].copy_from_slice(&sum.to_be_bytes());
        Packet::ip(source, destination, 1, &body)
    }

    /// Echo request or reply of an identifier.
    pub fn echo(source: IpAddr, destination: IpAddr, kind: u8, id: u16) -> Packet {
        let sequence = unique() as u16;
        let mut rest = [0; 4];
        rest[..2].copy_from_slice(&id.to_be_bytes());
        rest[2..].copy_from_slice(&sequence.to_be_bytes());
        Packet::icmp(source, destination, (kind, 0), rest, b"echo")
    }

    /// An ICMP error of `from` to `to` that quotes the beginning of a packet, as routers send it.
    pub fn icmp_error(from: IpAddr, to: IpAddr, kind: (u8, u8), quoted: &Packet) -> Packet {
        let quote = quoted.l3();
        let keep = quote.len().min(128);
        Packet::icmp(from, to, kind, [0; 4], &quote[..keep])
    }
}

fn ports(source: SocketAddr, destination: SocketAddr) -> Vec<u8> {
    [source.port().to_be_bytes(), destination.port().to_be_bytes()].concat()
}

/// Puts the checksum with pseudo header (RFC 793, RFC 8200 section 8.1) at `offset`.
fn summed(source: IpAddr, destination: IpAddr, protocol: u8, mut body: Vec<u8>, offset: usize) -> Packet {
    let mut pseudo = match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => [source.octets(), destination.octets()].concat(),
        (IpAddr::V6(source), IpAddr::V6(destination)) => [source.octets(), destination.octets()].concat(),
        _ => panic!("{source} and {destination} are of two families"),
    };
    pseudo.extend((body.len() as u32).to_be_bytes());
    pseudo.extend([0, 0, 0, protocol]);
    let sum = match checksum(&[&pseudo, &body]) {
        0 if protocol == 17 => 0xffff,
        sum => sum,
    };
    body[offset..offset + 2].copy_from_slice(&sum.to_be_bytes());
    Packet::ip(source, destination, protocol, &body)
}
