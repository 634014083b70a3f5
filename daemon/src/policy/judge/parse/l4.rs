//! Stage 1: the L4 header, always within the IP length.

use std::net::IpAddr;

use super::super::packet::{DCCP, FIN, ICMP, ICMPV6, Icmp, L4, SCTP, SYN, TCP, Tcp, UDP, UDPLITE};
use super::super::state::icmp::{Kind, kind};
use super::{Reason, long, quote, word};

/// Reads the L4 header of a packet that is no later fragment. Protocols that have no such header here are not read.
pub(super) fn read(source: IpAddr, protocol: u16, payload: &[u8]) -> Result<L4, Reason> {
    match (protocol, source) {
        (TCP, _) => tcp(payload),
        (UDP | UDPLITE, _) => ports(payload, 8),
        (DCCP, _) => ports(payload, 12),
        (SCTP, _) => sctp(payload),
        (ICMP, IpAddr::V4(_)) | (ICMPV6, IpAddr::V6(_)) => icmp(source, payload),
        _ => Ok(L4::None),
    }
}

fn tcp(payload: &[u8]) -> Result<L4, Reason> {
    let header = payload.get(..20).ok_or(Reason::Malformed)?;
    let length = usize::from(header[12] >> 4) * 4;
    if length < 20 || length > payload.len() {
        return Err(Reason::Malformed);
    }
    let flags = header[13];
    let data = u32::try_from(payload.len() - length).unwrap_or(u32::MAX);
    Ok(L4::Tcp(Tcp {
        source_port: word(header, 0).unwrap_or_default(),
        destination_port: word(header, 2).unwrap_or_default(),
        flags,
        sequence: long(header, 4).unwrap_or_default(),
        acknowledgement: long(header, 8).unwrap_or_default(),
        sequence_length: data + u32::from(flags & SYN != 0) + u32::from(flags & FIN != 0),
    }))
}

fn ports(payload: &[u8], header_length: usize) -> Result<L4, Reason> {
    let header = payload.get(..header_length).ok_or(Reason::Malformed)?;
    Ok(L4::Ports { source: word(header, 0).unwrap_or_default(), destination: word(header, 2).unwrap_or_default() })
}

fn sctp(payload: &[u8]) -> Result<L4, Reason> {
    let header = payload.get(..12).ok_or(Reason::Malformed)?;
    let first_chunk = payload.get(12..16).map(|chunk| chunk[0]);
    Ok(L4::Sctp { source: word(header, 0).unwrap_or_default(), destination: word(header, 2).unwrap_or_default(), first_chunk })
}

/// ICMP needs 8 bytes; ICMPv6 4, and 8 in echo messages and errors.
fn icmp(source: IpAddr, payload: &[u8]) -> Result<L4, Reason> {
    let &[icmp_type, code, _, _, ..] = payload else { return Err(Reason::Malformed) };
    let meaning = kind(super::super::family_of(source), icmp_type);
    let short_is_fine = source.is_ipv6() && icmp_type > 129;
    if payload.len() < 8 && !short_is_fine {
        return Err(Reason::Malformed);
    }
    let quoted = if meaning == Kind::Error { quote::read(source, &payload[8..]) } else { None };
    // What is shorter than its header has no identifier.
    let identifier = word(payload, 4).filter(|_| payload.len() >= 8).unwrap_or_default();
    Ok(L4::Icmp(Icmp { icmp_type, code, identifier, quoted }))
}
