//! Stage 1: IPv4 and IPv6 headers, addresses, fragments.
//!
//! Knows RFC 791, RFC 8200 and what is refused of them. Leaves extension headers to `extension` and ports to `l4`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::super::packet::{Fragment, ICMPV6, IpPacket, L4, Neighbour, TCP, UDP};
use super::{DeviceKind, Frame, Reason, extension, l4, long, sender, word};

/// Loose and strict source route (RFC 791).
const SOURCE_ROUTES: [u8; 2] = [131, 137];
/// Shortest TCP header: a later fragment may not begin inside it (RFC 1858).
const TCP_HEADER: u16 = 20;

/// An IP header that was read, and the bytes behind it that belong to the packet.
struct Header<'a> {
    source: IpAddr,
    destination: IpAddr,
    protocol: u16,
    hop_limit: u8,
    fragment: Option<Fragment>,
    payload: &'a [u8],
}

/// What was read of a packet.
pub(super) type Whole = (IpPacket, Option<Neighbour>);

/// An IPv4 packet.
pub(super) fn version4(bytes: &[u8], frame: &Frame<'_>) -> Result<Whole, Reason> {
    let header = bytes.get(..20).ok_or(Reason::Malformed)?;
    let header_length = usize::from(header[0] & 0x0F) * 4;
    let total = length(word(header, 2), frame.gso, bytes.len());
    if header[0] >> 4 != 4 || header_length < 20 || total < header_length || total > bytes.len() {
        return Err(Reason::Malformed);
    }
    options(&bytes[20..header_length])?;
    let flags = word(header, 6).unwrap_or_default();
    let (offset, more) = ((flags & 0x1FFF) * 8, flags & 0x2000 != 0);
    let id = u32::from(word(header, 4).unwrap_or_default());
    let fragment = Fragment { id, protocol: header[9], offset, more, l4: [0; 20], l4_length: 0 };
    finish(
        Header {
            source: IpAddr::V4(address4(header, 12)),
            destination: IpAddr::V4(address4(header, 16)),
            protocol: u16::from(header[9]),
            hop_limit: header[8],
            fragment: (more || offset > 0).then_some(fragment),
            payload: &bytes[header_length..total],
        },
        frame.device,
    )
}

/// An IPv6 packet.
pub(super) fn version6(bytes: &[u8], frame: &Frame<'_>) -> Result<Whole, Reason> {
    let header = bytes.get(..40).ok_or(Reason::Malformed)?;
    let stated = word(header, 4);
    let payload = length(stated, frame.gso, bytes.len() - 40);
    let empty_lie = payload == 0 && header[6] != extension::NO_NEXT_HEADER;
    if header[0] >> 4 != 6 || payload > bytes.len() - 40 || empty_lie {
        return Err(Reason::Malformed);
    }
    let end = extension::walk(header[6], &bytes[40..40 + payload])?;
    if end.fragment.is_none_or(|fragment| fragment.offset == 0) {
        extension::check_last(end.protocol, end.payload)?;
    }
    finish(
        Header {
            source: IpAddr::V6(address6(header, 8)),
            destination: IpAddr::V6(address6(header, 24)),
            protocol: end.protocol,
            hop_limit: header[7],
            fragment: end.fragment,
            payload: end.payload,
        },
        frame.device,
    )
}

/// A length as stated; 0 on a GSO packet means "all that is there".
fn length(stated: Option<u16>, gso: bool, available: usize) -> usize {
    match stated {
        Some(0) if gso => available,
        stated => usize::from(stated.unwrap_or_default()),
    }
}

/// Walks IPv4 options.
fn options(mut rest: &[u8]) -> Result<(), Reason> {
    while let Some(&kind) = rest.first() {
        let taken = match kind {
            0 => return Ok(()),
            1 => 1,
            kind if SOURCE_ROUTES.contains(&kind) => return Err(Reason::SourceRoute),
            _ => usize::from(rest.get(1).copied().filter(|length| *length >= 2).ok_or(Reason::Malformed)?),
        };
        rest = rest.get(taken..).ok_or(Reason::Malformed)?;
    }
    Ok(())
}

/// What both families have in common: addresses, fragments, L4.
fn finish(mut header: Header<'_>, device: DeviceKind) -> Result<Whole, Reason> {
    let later = header.fragment.is_some_and(|fragment| fragment.offset > 0);
    let excused = !later && may_be_unspecified(&header);
    if let Some(reason) = address_refusal(header.source, header.destination, excused, device) {
        return Err(reason);
    }
    let inside_tcp = |fragment: &Fragment| (1..TCP_HEADER).contains(&fragment.offset);
    if header.protocol == TCP && header.fragment.as_ref().is_some_and(inside_tcp) {
        return Err(Reason::Malformed);
    }
    let l4 = if later { L4::None } else { l4::read(header.source, header.protocol, header.payload)? };
    if let Some(fragment) = header.fragment.as_mut().filter(|_| !later) {
        let kept = header.payload.len().min(fragment.l4.len());
        fragment.l4[..kept].copy_from_slice(&header.payload[..kept]);
        fragment.l4_length = u8::try_from(kept).unwrap_or(u8::MAX);
    }
    let discovers = header.protocol == ICMPV6 && header.source.is_ipv6() && header.fragment.is_none();
    let neighbour = discovers.then(|| sender::neighbour(header.payload)).flatten();
    let Header { source, destination, protocol, hop_limit, fragment, .. } = header;
    Ok((IpPacket { source, destination, protocol, hop_limit, fragment, l4 }, neighbour))
}

/// Whether the packet is one of those that have no source address yet: DHCP, neighbour discovery, MLD. One whose header is cut short is
/// none of them.
fn may_be_unspecified(header: &Header<'_>) -> bool {
    match header.source {
        IpAddr::V4(_) => header.protocol == UDP && header.payload.len() >= 8 && long(header.payload, 0) == Some(68 << 16 | 67),
        IpAddr::V6(_) => header.protocol == ICMPV6 && header.payload.len() >= 4 && icmpv6_without_source(header.payload[0]),
    }
}

/// ICMPv6 types that may come from `::`: neighbour discovery without redirects, MLD.
pub(in super::super) fn icmpv6_without_source(icmp_type: u8) -> bool {
    matches!(icmp_type, 130 | 131 | 132 | 133..=136 | 143)
}

/// What is wrong with a pair of addresses. `excused`: the packet is one of those that may have no source address.
pub fn address_refusal(source: IpAddr, destination: IpAddr, excused: bool, device: DeviceKind) -> Option<Reason> {
    if device == DeviceKind::Loopback {
        return None;
    }
    let broadcast = source == IpAddr::V4(Ipv4Addr::BROADCAST);
    if source.is_loopback() || destination.is_loopback() {
        Some(Reason::LoopbackAddress)
    } else if source.is_multicast() || broadcast {
        Some(Reason::MulticastSource)
    } else if source.is_unspecified() && !excused {
        Some(Reason::UnspecifiedSource)
    } else {
        None
    }
}

pub(super) fn address4(bytes: &[u8], at: usize) -> Ipv4Addr {
    Ipv4Addr::from(long(bytes, at).unwrap_or_default())
}

pub(super) fn address6(bytes: &[u8], at: usize) -> Ipv6Addr {
    let mut octets = [0; 16];
    octets.iter_mut().zip(&bytes[at..]).for_each(|(to, from)| *to = *from);
    Ipv6Addr::from(octets)
}
