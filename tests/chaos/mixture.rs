//! Two policies and packets that tell them apart.
//!
//! A lets net 10.1 to port 1, B lets net 10.2 to port 2 (and their IPv6 twins). 10.1 to port 2 and 10.2 to port 1 are denied by both:
//! one that passes was judged by parts of two generations. What both allow must never be lost.

use std::net::UdpSocket;

use netpol_tests::net::{LEFT_MAC, Net};
use netpol_tests::packet::Packet;
use netpol_tests::sys::receive_buffer;
use netpol_tests::{Family, sock};

const SOURCE_PORTS: u16 = 8;
/// Bytes of a socket's receive buffer: far more than a port gets between two reads.
const BUFFER: i32 = 128 << 20;

/// Policy A (0) or B (1), with more keys in `[daemon]`.
pub fn policy(which: usize, daemon: &str) -> String {
    let n = which + 1;
    format!(
        "version = 1\n[daemon]\n{daemon}\n[[policy]]\nname = \"mixture\"\ninterfaces = [\"left\"]\n\
         [[policy.ingress]]\nid = \"always\"\naction = \"allow\"\nprotocol = \"udp\"\ndestination = {{ nets = [\"10.2.0.2\", \"fd00:2::2\"], ports = [9] }}\n\
         [[policy.ingress]]\nid = \"sometimes\"\naction = \"allow\"\nprotocol = \"udp\"\n\
         source = {{ nets = [\"10.{n}.0.0/16\", \"fd00:{n}::/64\"] }}\ndestination = {{ ports = [{n}] }}\n"
    )
}

/// Frames of one round: always allowed (forwarded to `dst`), never allowed and sometimes allowed (to the dut itself).
pub struct Round {
    /// All frames.
    pub packets: Vec<Packet>,
    /// How many of them are always allowed, by family.
    pub always: u64,
}

/// A round of frames from several source ports.
pub fn round() -> Round {
    let mut packets = Vec::new();
    let mut always = 0;
    for family in Family::BOTH {
        for port in 0..SOURCE_PORTS {
            let from = |net| family.at(net, 2, 4000 + port);
            packets.push(Packet::udp(from(1), family.at(2, 2, 9)));
            always += 1;
            for (net, to) in [(1, 1), (2, 2), (1, 2), (2, 1)] {
                packets.push(Packet::udp(from(net), family.at(1, 1, to)));
            }
        }
    }
    let packets = packets.into_iter().map(|packet| packet.to_mac(LEFT_MAC)).collect();
    Round { packets, always: always / 2 }
}

/// Sockets of the dut that see what a mixture would let through, and the counters of what is always allowed.
pub struct Detector {
    sockets: Vec<UdpSocket>,
    // Bound and never read: without them `dst` would answer with ICMP errors, which the dut forwards and counts.
    _sinks: [UdpSocket; 2],
    forwarded: [u64; 2],
    lost: u64,
}

/// What passed and what did not.
#[derive(Debug, PartialEq, Eq)]
pub struct Findings {
    /// Datagrams from the net of one policy at the port of the other.
    pub mixed: u64,
    /// Datagrams that policy A and that policy B allows.
    pub sometimes: [u64; 2],
    /// Always-allowed packets that were forwarded, by family.
    pub forwarded: [u64; 2],
    /// Frames that the sending device itself dropped.
    pub lost_by_device: u64,
}

impl Detector {
    /// Begins to watch.
    pub fn new(net: &Net) -> Detector {
        let sockets: Vec<_> = Family::BOTH.iter().flat_map(|f| [1, 2].map(|port| sock::udp(&net.dut, f.at(1, 1, port)))).collect();
        // Around a change they hold what the former policy let in; a mixture that comes behind it must find room.
        sockets.iter().for_each(|socket| receive_buffer(socket, BUFFER).expect("a receive buffer"));
        let sinks = Family::BOTH.map(|f| sock::udp(&net.dst, f.at(2, 2, 9)));
        Detector { sockets, _sinks: sinks, forwarded: forwarded(net), lost: net.src.link_counter("eth0", "tx_dropped") }
    }

    /// Reads what has come so far; call it often enough that the sockets' buffers do not overflow with allowed datagrams.
    pub fn read(&self, findings: &mut Findings) {
        let mut buffer = [0; 64];
        for socket in &self.sockets {
            socket.set_nonblocking(true).expect("non-blocking");
            let port = socket.local_addr().expect("an address").port();
            while let Ok((_, from)) = socket.recv_from(&mut buffer) {
                if net_of(from.ip()) == port { findings.sometimes[usize::from(port) - 1] += 1 } else { findings.mixed += 1 }
            }
        }
    }

    /// The end: all counters.
    pub fn finish(self, net: &Net, mut findings: Findings) -> Findings {
        self.read(&mut findings);
        let now = forwarded(net);
        findings.forwarded = [now[0] - self.forwarded[0], now[1] - self.forwarded[1]];
        findings.lost_by_device = net.src.link_counter("eth0", "tx_dropped") - self.lost;
        findings
    }
}

impl Findings {
    /// Nothing yet.
    pub fn none() -> Findings {
        Findings { mixed: 0, sometimes: [0; 2], forwarded: [0; 2], lost_by_device: 0 }
    }
}

fn forwarded(net: &Net) -> [u64; 2] {
    [net.dut.stack_counter("Ip", "ForwDatagrams"), net.dut.stack_counter("", "Ip6OutForwDatagrams")]
}

fn net_of(address: std::net::IpAddr) -> u16 {
    match address {
        std::net::IpAddr::V4(address) => u16::from(address.octets()[1]),
        std::net::IpAddr::V6(address) => address.segments()[1],
    }
}
