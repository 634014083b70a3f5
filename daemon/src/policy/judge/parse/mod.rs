//! Stage 1: the bytes of a frame become a packet, or a refusal with its reason.
//!
//! This file reads what stands before the IP header: tags, EtherType, LLC. `ip` and `l4` go on. Knows no policy: whether a
//! refusal drops anything is for the later stages to say.

mod extension;
mod ip;
mod l4;
mod quote;
mod sender;

pub use ip::address_refusal;
pub(super) use ip::icmpv6_without_source;

use super::packet::{ETHERTYPE_ARP, ETHERTYPE_IPV4, ETHERTYPE_IPV6, Packet, Sender};
use super::{DeviceKind, Reason};
use crate::policy::model::Hook;

/// TPIDs of tags: 802.1Q and 802.1ad.
const TPIDS: [u16; 2] = [0x8100, 0x88A8];
/// EtherTypes below are lengths of 802.3 frames with an LLC header.
const FIRST_ETHERTYPE: u16 = 0x600;
/// DSAP and SSAP of spanning tree (IEEE 802.1D); also what its frames are called in a list of EtherTypes.
const SPANNING_TREE: u8 = 0x42;
/// DSAP of IP directly in LLC.
const LLC_IP: u8 = 0x06;
/// LLC and SNAP header with the organisation code of EtherTypes.
const SNAP: [u8; 6] = [0xAA, 0xAA, 0x03, 0, 0, 0];
/// Tags, priority tags included.
const MAX_TAGS: usize = 4;

/// A frame as a program finds it.
#[derive(Debug, Clone, Copy)]
pub struct Frame<'a> {
    /// Where it is seen.
    pub hook: Hook,
    /// What `bytes` begins with.
    pub device: DeviceKind,
    /// The frame.
    pub bytes: &'a [u8],
    /// The outermost tag's TCI where the kernel has taken it out of the bytes into skb metadata.
    pub metadata_tag: Option<u16>,
    /// A GSO packet: an IP length of 0 means "as long as the skb".
    pub gso: bool,
}

/// Reads a frame. The packet says in `refusal` what is wrong with it.
pub fn parse(frame: &Frame<'_>) -> Packet {
    let mut packet = Packet {
        hook: frame.hook,
        tags: [0, 0],
        ethertype: 0,
        length: u32::try_from(frame.bytes.len()).unwrap_or(u32::MAX),
        sender: Sender::default(),
        refusal: None,
        ip: None,
    };
    if let Err(reason) = read(frame, &mut packet) {
        packet.refusal = Some(reason);
    }
    packet
}

fn read(frame: &Frame<'_>, packet: &mut Packet) -> Result<(), Reason> {
    let network = match frame.device {
        DeviceKind::Raw => raw(frame.bytes, packet)?,
        DeviceKind::Ethernet | DeviceKind::Loopback => ethernet(frame, packet)?,
    };
    if packet.ethertype == ETHERTYPE_ARP {
        packet.sender.arp = sender::arp(network);
    }
    let (ip, neighbour) = match packet.ethertype {
        ETHERTYPE_IPV4 => ip::version4(network, frame)?,
        ETHERTYPE_IPV6 => ip::version6(network, frame)?,
        _ => return Ok(()),
    };
    packet.ip = Some(ip);
    packet.sender.neighbour = neighbour;
    Ok(())
}

/// A device without link header: the version of the IP header says what follows.
fn raw<'a>(bytes: &'a [u8], packet: &mut Packet) -> Result<&'a [u8], Reason> {
    packet.ethertype = match bytes.first().map(|byte| byte >> 4) {
        Some(4) => ETHERTYPE_IPV4,
        Some(6) => ETHERTYPE_IPV6,
        _ => return Err(Reason::Malformed),
    };
    Ok(bytes)
}

/// Tags and EtherType; returns what follows them.
fn ethernet<'a>(frame: &Frame<'a>, packet: &mut Packet) -> Result<&'a [u8], Reason> {
    let mut rest = frame.bytes.get(12..).ok_or(Reason::Malformed)?;
    packet.sender.mac = sender::mac(frame.bytes);
    let mut tags = Tags::default();
    if let Some(tci) = frame.metadata_tag {
        tags.add(tci)?;
    }
    let mut ethertype = word(rest, 0).ok_or(Reason::Malformed)?;
    while TPIDS.contains(&ethertype) {
        tags.add(word(rest, 2).ok_or(Reason::Malformed)?)?;
        rest = &rest[4..];
        ethertype = word(rest, 0).ok_or(Reason::Malformed)?;
    }
    rest = &rest[2..];
    packet.tags = tags.named;
    packet.ethertype = if ethertype < FIRST_ETHERTYPE { llc(rest)? } else { ethertype };
    Ok(rest)
}

/// Tags seen so far: the two that count, and how many there were at all.
#[derive(Default)]
struct Tags {
    named: [u16; 2],
    all: usize,
}

impl Tags {
    /// Takes one tag; priority tags (VID 0) only count as "one more".
    fn add(&mut self, tci: u16) -> Result<(), Reason> {
        self.all += 1;
        let vid = tci & 0x0FFF;
        if self.all > MAX_TAGS {
            return Err(Reason::Malformed);
        }
        if vid != 0 {
            *self.named.iter_mut().find(|place| **place == 0).ok_or(Reason::Malformed)? = vid;
        }
        Ok(())
    }
}

/// What an 802.3 frame counts as: spanning tree or 0; IP inside is refused.
fn llc(rest: &[u8]) -> Result<u16, Reason> {
    let &[dsap, ssap, _control, ..] = rest else { return Err(Reason::Malformed) };
    if dsap == SPANNING_TREE && ssap == SPANNING_TREE {
        return Ok(u16::from(SPANNING_TREE));
    }
    if dsap == LLC_IP {
        return Err(Reason::LlcIp);
    }
    if !rest.starts_with(&SNAP[..3]) {
        return Ok(0);
    }
    let snap_type = word(rest, 6).ok_or(Reason::Malformed)?;
    let snap_ip = rest.starts_with(&SNAP) && matches!(snap_type, ETHERTYPE_IPV4 | ETHERTYPE_IPV6);
    if snap_ip { Err(Reason::LlcIp) } else { Ok(0) }
}

/// 16 bits in network order.
fn word(bytes: &[u8], at: usize) -> Option<u16> {
    let &[high, low] = bytes.get(at..at + 2)? else { return None };
    Some(u16::from_be_bytes([high, low]))
}

/// 32 bits in network order.
fn long(bytes: &[u8], at: usize) -> Option<u32> {
    let &[a, b, c, d] = bytes.get(at..at + 4)? else { return None };
    Some(u32::from_be_bytes([a, b, c, d]))
}
