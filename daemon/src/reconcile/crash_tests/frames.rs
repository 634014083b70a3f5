//! The two policies of the scenarios, and frames that tell them apart: each gives other verdicts, in each family and direction.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::policy::model::Hook;

/// A UDP datagram between this host and another.
pub(super) struct Frame {
    /// Where this host sees it.
    pub(super) hook: Hook,
    /// The other host.
    pub(super) peer: IpAddr,
    /// Destination port.
    port: u16,
}

const fn v4(hook: Hook, second: u8, third: u8, last: u8, port: u16) -> Frame {
    Frame { hook, peer: IpAddr::V4(Ipv4Addr::new(10, second, third, last)), port }
}

const fn v6(hook: Hook, first: u16, fourth: u16, last: u16, port: u16) -> Frame {
    Frame { hook, peer: IpAddr::V6(Ipv6Addr::new(first, 0, 0, fourth, 0, 0, 0, last)), port }
}

use Hook::{Egress, Ingress};

/// By port, from a denied net (XDP), by dynamic set, by what always is in it, by net; and those that leave likewise.
pub(super) const FRAMES: [Frame; 28] = [
    v4(Ingress, 0, 0, 1, 53),
    v4(Ingress, 0, 0, 1, 54),
    v4(Ingress, 9, 0, 1, 53),
    v4(Ingress, 0, 0, 2, 99),
    v4(Ingress, 0, 0, 3, 99),
    v4(Ingress, 0, 0, 9, 99),
    v4(Ingress, 1, 0, 1, 99),
    v4(Ingress, 1, 1, 1, 99),
    v6(Ingress, 0xfd00, 0, 1, 53),
    v6(Ingress, 0xfd00, 0, 1, 54),
    v6(Ingress, 0xfd09, 0, 1, 53),
    v6(Ingress, 0xfd00, 0, 2, 99),
    v6(Ingress, 0xfd00, 0, 3, 99),
    v6(Ingress, 0xfd00, 0, 9, 99),
    v6(Ingress, 0xfd01, 0, 1, 99),
    v6(Ingress, 0xfd01, 1, 1, 99),
    v4(Egress, 0, 0, 1, 123),
    v4(Egress, 0, 0, 1, 124),
    v4(Egress, 0, 0, 2, 99),
    v4(Egress, 0, 0, 3, 99),
    v4(Egress, 1, 0, 1, 99),
    v4(Egress, 1, 1, 1, 99),
    v6(Egress, 0xfd00, 0, 1, 123),
    v6(Egress, 0xfd00, 0, 1, 124),
    v6(Egress, 0xfd00, 0, 2, 99),
    v6(Egress, 0xfd00, 0, 3, 99),
    v6(Egress, 0xfd01, 0, 1, 99),
    v6(Egress, 0xfd01, 1, 1, 99),
];

impl Frame {
    /// With that source port it opens a flow of its own: no two frames have the same peer, hook and destination port.
    pub(super) fn bytes(&self, source_port: u16) -> Vec<u8> {
        let ends = |here: &[u8], peer: &[u8]| match self.hook {
            Ingress => [peer, here].concat(),
            Egress => [here, peer].concat(),
        };
        let mut bytes = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
        match self.peer {
            IpAddr::V4(peer) => {
                bytes.extend([8, 0, 0x45, 0, 0, 36, 0, 0, 0, 0, 64, 17, 0, 0]);
                bytes.extend(ends(&[10, 0, 1, 1], &peer.octets()));
            }
            IpAddr::V6(peer) => {
                bytes.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0, 16, 17, 64]);
                bytes.extend(ends(&Ipv6Addr::new(0xfd00, 0, 0, 1, 0, 0, 0, 1).octets(), &peer.octets()));
            }
        }
        bytes.extend(source_port.to_be_bytes());
        bytes.extend(self.port.to_be_bytes());
        bytes.extend([0, 16, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8]);
        bytes
    }
}

/// What is seen of each kind of frame, by hook and whether it is IPv6.
pub(super) fn kinds(seen: &[bool]) -> [Vec<bool>; 4] {
    [(Ingress, false), (Ingress, true), (Egress, false), (Egress, true)].map(|(hook, six)| {
        let frames = seen.iter().zip(FRAMES.iter().cycle());
        frames.filter(|(_, frame)| frame.hook == hook && frame.peer.is_ipv6() == six).map(|(passes, _)| *passes).collect()
    })
}

/// One of two policies: they let one port and one net of each family in, and the same net and another port out; they share sets, deny
/// and allow, and differ in what they cover.
pub(super) fn policy(which: usize, xdp: &str) -> String {
    let (net, links) = if which % 2 == 0 { (0, "\"np0\", \"np2\"") } else { (1, "\"np0\", \"np1\", \"np2\"") };
    let (port, port_out) = (53 + net, 123 + net);
    format!(
        r#"version = 1
[daemon.conntrack]
max_entries = 4096
max_half_open = 65536

[[set]]
name = "bad"
elements = ["10.9.0.0/16", "fd09::/64"]

[[set]]
name = "friends"
elements = ["10.0.0.9", "fd00::9"]
dynamic = true
max_entries = 100

[[policy]]
name = "p"
interfaces = [{links}]

[policy.xdp]
mode = "{xdp}"
deny_sets = ["bad"]

[[policy.ingress]]
id = "late"
action = "deny"
protocol = "udp"
destination = {{ ports = [7] }}
expires = "2038-01-01T00:00:00Z"

[[policy.ingress]]
id = "slow"
action = "allow"
protocol = "tcp"
limit = {{ rate = "5/s", per = "source" }}

[[policy.ingress]]
id = "port"
action = "allow"
protocol = "udp"
destination = {{ ports = [{port}] }}

[[policy.ingress]]
id = "friends"
action = "allow"
source = {{ sets = ["friends"] }}

[[policy.ingress]]
id = "nets"
action = "allow"
source = {{ nets = ["10.1.{net}.0/24", "fd01:0:0:{net}::/64"] }}

[[policy.egress]]
id = "port-out"
action = "allow"
protocol = "udp"
destination = {{ ports = [{port_out}] }}

[[policy.egress]]
id = "friends-out"
action = "allow"
destination = {{ sets = ["friends"] }}

[[policy.egress]]
id = "nets-out"
action = "allow"
destination = {{ nets = ["10.1.{net}.0/24", "fd01:0:0:{net}::/64"] }}
"#
    )
}
