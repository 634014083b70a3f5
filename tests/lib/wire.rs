//! Sending frames and seeing what comes out, by packet sockets.
//!
//! An [`Observer`] bound to one protocol on the protected link stands behind tc ingress; bound to "all" it would stand before it
//! and see what is dropped, so "all" is only for the far end of a link.

use std::io::ErrorKind;
use std::net::UdpSocket;
use std::sync::Mutex;
use std::time::Duration;

use crate::machine::patience;
use crate::ns::Namespace;
use crate::packet::{Packet, SENDER};
use crate::sys;
use crate::sys_packet::Ring;

/// ETH_P_ALL.
pub const ALL: u16 = 0x0003;
/// EtherType of ARP.
pub const ARP: u16 = 0x0806;

/// Sends raw frames out of one interface.
#[derive(Debug)]
pub struct Sender(Way);

/// How frames reach the kernel.
#[derive(Debug)]
enum Way {
    /// Copied into one buffer.
    Whole(UdpSocket),
    /// Left in the pages where they are.
    Pages(Mutex<Ring>),
}

impl Sender {
    /// On an interface of a namespace.
    pub fn open(namespace: &Namespace, link: &str) -> Sender {
        Sender(Way::Whole(socket(namespace, link, 0)))
    }

    /// On a device without link header, where nobody but the sender says what its packets are.
    pub fn of_packets(namespace: &Namespace, link: &str, ethertype: u16) -> Sender {
        Sender(Way::Whole(socket(namespace, link, ethertype)))
    }

    /// [`Sender::open`] past tc egress, as a privileged process can.
    pub fn bypassing_tc(namespace: &Namespace, link: &str) -> Sender {
        let socket = socket(namespace, link, 0);
        sys::bypass_tc(&socket).expect("PACKET_QDISC_BYPASS");
        Sender(Way::Whole(socket))
    }

    /// As [`Sender::open`]; but beyond its Ethernet header nothing of a frame lies in the linear part of the skb, as where a card splits headers
    /// from data.
    pub fn of_pages(namespace: &Namespace, link: &str) -> Sender {
        let open = || sys::interface_index(link).and_then(Ring::open);
        let ring = namespace.run(open).unwrap_or_else(|e| panic!("ring on {link} of {}: {e}", namespace.name()));
        Sender(Way::Pages(Mutex::new(ring)))
    }

    /// Sends one frame. That it was dropped on its way out (`ENOBUFS`) is an answer like silence.
    pub fn send(&self, frame: &[u8]) {
        let sent = match &self.0 {
            Way::Whole(socket) => socket.send(frame).map(drop),
            Way::Pages(ring) => ring.lock().expect("no sender has panicked").send(frame),
        };
        match sent {
            Ok(()) => {}
            Err(e) if e.raw_os_error() == Some(libc::ENOBUFS) => {}
            Err(e) => panic!("cannot send {} bytes: {e}", frame.len()),
        }
    }
}

/// Receives frames of one protocol from one interface.
#[derive(Debug)]
pub struct Observer(UdpSocket);

impl Observer {
    /// On an interface of a namespace. Only [`ALL`] also shows what the interface itself sends.
    pub fn open(namespace: &Namespace, link: &str, protocol: u16) -> Observer {
        let socket = socket(namespace, link, protocol);
        sys::receive_buffer(&socket, 8 << 20).expect("a larger receive buffer");
        Observer(socket)
    }

    /// Everything that waits to be read.
    pub fn drain(&self) -> Vec<Vec<u8>> {
        self.0.set_nonblocking(true).expect("non-blocking");
        let mut frames = Vec::new();
        let mut buffer = vec![0; 66_000];
        loop {
            match self.0.recv(&mut buffer) {
                Ok(length) => frames.push(buffer[..length].to_vec()),
                Err(e) if e.kind() == ErrorKind::WouldBlock => return frames,
                Err(e) if e.raw_os_error() == Some(libc::ENETDOWN) || e.kind() == ErrorKind::Interrupted => {}
                Err(e) => panic!("cannot receive: {e}"),
            }
        }
    }

    /// Waits until a frame ends with those bytes.
    pub fn wait_for(&self, end: &[u8], limit: Duration) -> bool {
        self.0.set_nonblocking(false).expect("blocking");
        self.0.set_read_timeout(Some(patience(limit))).expect("a read timeout");
        let mut buffer = vec![0; 66_000];
        loop {
            match self.0.recv(&mut buffer) {
                Ok(length) if buffer[..length].ends_with(end) => return true,
                Ok(_) => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => return false,
                Err(e) if e.raw_os_error() == Some(libc::ENETDOWN) || e.kind() == ErrorKind::Interrupted => {}
                Err(e) => panic!("cannot receive: {e}"),
            }
        }
    }
}

/// Whether a frame was sent by neither the bench's senders nor a stack that reports its multicast groups (MLD, which stands behind a
/// hop-by-hop header, RFC 3810): somebody has answered.
pub fn is_answer(frame: &[u8]) -> bool {
    frame[6..12] != SENDER && !(frame[12..14] == [0x86, 0xdd] && frame[20] == 0)
}

/// An ARP probe (RFC 5227) that no one answers. ARP that speaks for nobody else passes every policy, so when it has arrived, all
/// frames sent before it are judged.
pub fn fence() -> Packet {
    let mut content = vec![0, 1, 8, 0, 6, 4, 0, 1];
    content.extend(SENDER);
    content.extend([0; 10]);
    content.extend(crate::packet_l4::unique().to_be_bytes());
    Packet::other(ARP, &content)
}

/// A packet socket behaves as a datagram socket for send and receive, which is all that is used of the type.
pub(crate) fn socket(namespace: &Namespace, link: &str, protocol: u16) -> UdpSocket {
    let open = || sys::interface_index(link).and_then(|index| sys::packet_socket(index, protocol));
    let fd = namespace.run(open).unwrap_or_else(|e| panic!("packet socket on {link} of {}: {e}", namespace.name()));
    UdpSocket::from(fd)
}
