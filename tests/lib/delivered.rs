//! All that a host's own stack takes for its own: a raw socket for each protocol. What is there was put together from its fragments and
//! walked through its headers by the kernel, and by nobody of ours.

use std::io::ErrorKind;
use std::net::UdpSocket;

use crate::family::Family;
use crate::ns::Namespace;
use crate::sys;

/// Raw sockets of every protocol of a family.
#[derive(Debug)]
pub struct Delivered {
    family: Family,
    sockets: Vec<(u8, UdpSocket)>,
}

/// One packet as it was delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// Protocol of the socket.
    pub protocol: u8,
    /// From the L4 header on.
    pub l4: Vec<u8>,
}

impl Received {
    /// Destination port, of protocols that have one there.
    pub fn port(&self) -> Option<u16> {
        let has_ports = [6, 17, 33, 132, 136].contains(&self.protocol);
        let bytes = self.l4.get(2..4).filter(|_| has_ports)?;
        Some(u16::from_be_bytes([bytes[0], bytes[1]]))
    }
}

impl Delivered {
    /// In a namespace. IPv6 shows a packet also to the sockets of its extension headers: those are left out.
    pub fn open(namespace: &Namespace, family: Family) -> Delivered {
        let is_header = |protocol: &u8| family == Family::V6 && [43, 44, 60].contains(protocol);
        let open = |protocol: u8| {
            let fd = sys::raw_ip_socket(family == Family::V6, protocol).unwrap_or_else(|e| panic!("raw socket of {protocol}: {e}"));
            sys::receive_buffer(&fd, 1 << 20).expect("a larger receive buffer");
            let socket = UdpSocket::from(fd);
            socket.set_nonblocking(true).expect("non-blocking");
            (protocol, socket)
        };
        let sockets = namespace.run(|| (1..=254).filter(|protocol| !is_header(protocol)).map(open).collect());
        Delivered { family, sockets }
    }

    /// Everything that came since the last call.
    pub fn drain(&self) -> Vec<Received> {
        let mut all = Vec::new();
        let mut buffer = vec![0; 66_000];
        for (protocol, socket) in &self.sockets {
            loop {
                match socket.recv(&mut buffer) {
                    Ok(length) => {
                        // IPv4 shows its header, too.
                        let header = if self.family == Family::V4 { usize::from(buffer[0] & 15) * 4 } else { 0 };
                        all.push(Received { protocol: *protocol, l4: buffer[header.min(length)..length].to_vec() });
                    }
                    Err(e) if e.kind() == ErrorKind::WouldBlock => break,
                    Err(e) => panic!("cannot receive: {e}"),
                }
            }
        }
        all
    }
}
