//! Frames that are many in one (GSO), as a virtual machine or a program with `PACKET_VNET_HDR` hands them over.

use std::net::UdpSocket;

use crate::ns::Namespace;
use crate::packet::Packet;
use crate::{sys_packet, wire};

/// `gso_type` of `struct virtio_net_hdr`.
#[allow(missing_docs)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gso {
    None = 0,
    Tcp4 = 1,
    /// One datagram, to be sent in fragments.
    Fragments = 3,
    Tcp6 = 4,
    /// Many datagrams.
    Datagrams = 5,
}

/// `VIRTIO_NET_HDR_F_NEEDS_CSUM`.
const NEEDS_CHECKSUM: u8 = 1;
const ETHERNET: usize = 14;

/// Sends frames with a word about what they are.
#[derive(Debug)]
pub struct Offloader(UdpSocket);

impl Offloader {
    /// On an interface of a namespace.
    pub fn open(namespace: &Namespace, link: &str) -> Offloader {
        let socket = wire::socket(namespace, link, 0);
        sys_packet::announce_offloads(&socket).expect("PACKET_VNET_HDR");
        Offloader(socket)
    }

    /// Sends a packet without tags that is to be cut into such pieces. `l4` = bytes from the IP header to that of L4; only so much, the
    /// Ethernet header and `linear` bytes of L4 lie in one buffer. `false` where the kernel would not take it; that it was dropped
    /// on its way out is an answer like silence.
    pub fn send(&self, packet: &Packet, gso: Gso, size: u16, l4: usize, linear: usize) -> bool {
        let checksum: u16 = if matches!(gso, Gso::Tcp4 | Gso::Tcp6) { 16 } else { 6 };
        let start = (ETHERNET + l4) as u16;
        let header_length = start + linear as u16;
        let needs = if gso == Gso::None { 0 } else { NEEDS_CHECKSUM };
        let mut bytes = vec![needs, gso as u8];
        for word in [header_length, size, start, checksum] {
            bytes.extend(if gso == Gso::None && word != header_length { [0; 2] } else { word.to_ne_bytes() });
        }
        bytes.extend(packet.frame());
        match self.0.send(&bytes) {
            Ok(_) => true,
            Err(e) => e.raw_os_error() == Some(libc::ENOBUFS),
        }
    }
}
