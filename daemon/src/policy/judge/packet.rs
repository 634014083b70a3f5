//! A packet as the judge reads it: what stage 1 (parsing) hands to the later stages.
//!
//! Knows header fields. Knows no policy, no interface and no byte offsets (those are in `parse`).

use std::net::{IpAddr, Ipv4Addr};

use crate::policy::model::{Family, Hook};
use crate::policy::reason::Reason;

/// EtherType of IPv4.
pub const ETHERTYPE_IPV4: u16 = 0x0800;
/// EtherType of ARP.
pub const ETHERTYPE_ARP: u16 = 0x0806;
/// EtherType of IPv6.
pub const ETHERTYPE_IPV6: u16 = 0x86DD;
/// Protocol of a later fragment behind an IPv6 extension header: not known.
pub const PROTOCOL_UNKNOWN: u16 = 256;

/// ICMP over IPv4.
pub const ICMP: u16 = 1;
/// TCP.
pub const TCP: u16 = 6;
/// UDP.
pub const UDP: u16 = 17;
/// DCCP.
pub const DCCP: u16 = 33;
/// ICMP over IPv6.
pub const ICMPV6: u16 = 58;
/// SCTP.
pub const SCTP: u16 = 132;
/// UDP-Lite.
pub const UDPLITE: u16 = 136;

/// TCP flag bits.
pub const FIN: u8 = 0x01;
/// TCP flag bit.
pub const SYN: u8 = 0x02;
/// TCP flag bit.
pub const RST: u8 = 0x04;
/// TCP flag bit.
pub const ACK: u8 = 0x10;

/// A packet at a hook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    /// Where it is seen.
    pub hook: Hook,
    /// Outer and inner VID, priority tags left out; 0 = none.
    pub tags: [u16; 2],
    /// EtherType behind the tags; 0x0042 = spanning tree over LLC, 0 = other LLC.
    pub ethertype: u16,
    /// Bytes of the frame.
    pub length: u32,
    /// Who says to have sent it, and for which addresses it speaks.
    pub sender: Sender,
    /// What stage 1 objects to; the rest of the packet is then not to be trusted.
    pub refusal: Option<Reason>,
    /// IPv4 or IPv6; `None` for other EtherTypes and where parsing ended before the addresses were known.
    pub ip: Option<IpPacket>,
}

/// What a frame says of the station that sent it: what anti-spoof reads besides the IP header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sender {
    /// Source MAC address; `None` on a device without Ethernet header.
    pub mac: Option<[u8; 6]>,
    /// A whole ARP request or answer about IPv4 over Ethernet; `None` in any other frame.
    pub arp: Option<Arp>,
    /// Neighbour discovery (ICMPv6 133 to 136) that is no fragment.
    pub neighbour: Option<Neighbour>,
}

/// Sender of an ARP packet (RFC 826).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Arp {
    pub mac: [u8; 6],
    pub address: Ipv4Addr,
}

/// What neighbour discovery says of its sender (RFC 4861).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Neighbour {
    /// The target of a solicitation (135) or an advertisement (136); `None` in other messages, and where it is cut off.
    pub target: Option<IpAddr>,
    /// The first option.
    pub option: LinkLayerOption,
}

/// The first option of a neighbour discovery message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkLayerOption {
    /// There is none, or it is none of those that hold the address of a link layer.
    Absent,
    /// A source (1) or target (2) link-layer address.
    Mac([u8; 6]),
    /// One of these, but cut off.
    Unreadable,
}

/// The IP part of a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IpPacket {
    /// Source address.
    pub source: IpAddr,
    /// Destination address, of the same family.
    pub destination: IpAddr,
    /// IP protocol, or [`PROTOCOL_UNKNOWN`].
    pub protocol: u16,
    /// TTL or hop limit.
    pub hop_limit: u8,
    /// Set if the packet is a fragment; an IPv6 atomic fragment is none.
    pub fragment: Option<Fragment>,
    /// What was read of the L4 header: nothing in a later fragment.
    pub l4: L4,
}

impl IpPacket {
    /// IP version.
    pub fn family(&self) -> Family {
        family_of(self.source)
    }

    /// A fragment without L4 header.
    pub fn is_later_fragment(&self) -> bool {
        self.fragment.is_some_and(|fragment| fragment.offset > 0)
    }

    /// The fragment that brings the L4 header.
    pub fn is_first_fragment(&self) -> bool {
        self.fragment.is_some_and(|fragment| fragment.offset == 0)
    }

    /// Source and destination port, where the protocol has ports and they were read.
    pub fn ports(&self) -> Option<(u16, u16)> {
        match self.l4 {
            L4::Tcp(ref tcp) => Some((tcp.source_port, tcp.destination_port)),
            L4::Ports { source, destination } | L4::Sctp { source, destination, .. } => Some((source, destination)),
            L4::None | L4::Icmp(_) => None,
        }
    }
}

/// IP version of an address.
pub fn family_of(address: IpAddr) -> Family {
    match address {
        IpAddr::V4(_) => Family::V4,
        IpAddr::V6(_) => Family::V6,
    }
}

/// Place of a fragment in its datagram.
#[derive(Debug, Clone, PartialEq, Eq, Copy)]
pub struct Fragment {
    /// Identification.
    pub id: u32,
    /// IPv4: the protocol is part of the datagram's name; IPv6: 0, its later fragments may not tell it (RFC 8200, 4.5).
    pub protocol: u8,
    /// Offset in bytes.
    pub offset: u16,
    /// More fragments follow.
    pub more: bool,
    /// First bytes of the L4 header (first fragments only), by which a second first fragment is noticed.
    pub l4: [u8; 20],
    /// Valid bytes of `l4`.
    pub l4_length: u8,
}

/// What the judge reads of the L4 header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum L4 {
    /// Later fragment, or a protocol of which nothing is read.
    None,
    /// UDP, UDP-Lite, DCCP.
    #[allow(missing_docs)]
    Ports { source: u16, destination: u16 },
    /// TCP.
    Tcp(Tcp),
    /// SCTP, with the type of its first chunk where there is one.
    #[allow(missing_docs)]
    Sctp { source: u16, destination: u16, first_chunk: Option<u8> },
    /// ICMP over IPv4 or ICMPv6 over IPv6.
    Icmp(Icmp),
}

/// TCP header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(missing_docs)]
pub struct Tcp {
    pub source_port: u16,
    pub destination_port: u16,
    /// The flag byte.
    pub flags: u8,
    pub sequence: u32,
    pub acknowledgement: u32,
    /// Sequence numbers that the segment takes up: payload, SYN and FIN.
    pub sequence_length: u32,
}

/// ICMP header.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Icmp {
    pub icmp_type: u8,
    pub code: u8,
    /// Bytes 4 and 5: the identifier of requests and answers.
    pub identifier: u16,
    /// Errors: what they quote; `None` if it cannot be read or is a later fragment.
    pub quoted: Option<Quote>,
}

/// The packet that an ICMP error quotes. Its family is that of the error.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Quote {
    pub source: IpAddr,
    pub destination: IpAddr,
    pub protocol: u8,
    pub l4: QuotedL4,
}

/// The first bytes of the quoted L4 header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum QuotedL4 {
    /// A protocol without ports.
    None,
    Ports {
        source: u16,
        destination: u16,
    },
    Icmp {
        icmp_type: u8,
        identifier: u16,
    },
}
