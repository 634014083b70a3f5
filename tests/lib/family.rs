//! The two IP versions, and the addresses that tests use in both: every promise is tried twice.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// IP version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Both.
    pub const BOTH: [Family; 2] = [Family::V4, Family::V6];

    /// Host `n` of net `net`: 10.NET.0.N or fd00:NET::N. Net 1 lies between `src` and `dut`, net 2 between `dut` and `dst`;
    /// host 1 is the dut, host 2 the other end.
    pub fn host(self, net: u8, n: u8) -> IpAddr {
        match self {
            Family::V4 => Ipv4Addr::new(10, net, 0, n).into(),
            Family::V6 => Ipv6Addr::new(0xfd00, u16::from(net), 0, 0, 0, 0, 0, u16::from(n)).into(),
        }
    }

    /// [`Family::host`] with a port.
    pub fn at(self, net: u8, n: u8, port: u16) -> SocketAddr {
        SocketAddr::new(self.host(net, n), port)
    }

    /// The wildcard address.
    pub fn any(self, port: u16) -> SocketAddr {
        match self {
            Family::V4 => (Ipv4Addr::UNSPECIFIED, port).into(),
            Family::V6 => (Ipv6Addr::UNSPECIFIED, port).into(),
        }
    }

    /// Protocol number of ICMP in this family.
    pub fn icmp(self) -> u8 {
        match self {
            Family::V4 => 1,
            Family::V6 => 58,
        }
    }

    /// EtherType of this family.
    pub fn ethertype(self) -> u16 {
        match self {
            Family::V4 => 0x0800,
            Family::V6 => 0x86dd,
        }
    }

    /// Echo request and echo reply types.
    pub fn echo(self) -> (u8, u8) {
        match self {
            Family::V4 => (8, 0),
            Family::V6 => (128, 129),
        }
    }

    /// Type and code of "port unreachable".
    pub fn port_unreachable(self) -> (u8, u8) {
        match self {
            Family::V4 => (3, 3),
            Family::V6 => (1, 4),
        }
    }
}
