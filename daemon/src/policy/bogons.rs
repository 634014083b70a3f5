//! Addresses that are not of the public internet, as plain data: what `anti_spoof.bogons` refuses as a source.
//!
//! Knows what the IANA registries say of whole prefixes (IPv4 and IPv6 Special-Purpose Address Registries, RFC 6890 as updated by
//! RFC 8190; IPv4 and IPv6 Address Space Registries). Knows no policy. Read by the judge and the compiler.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// A prefix, what it is for, and who says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Special {
    pub net: IpNet,
    pub name: &'static str,
    pub source: &'static str,
}

/// What is not of the public internet, but for [`EXCEPTIONS`].
pub const BOGONS: &[Special] = &[
    v4([0, 0, 0, 0], 8, "this network", "RFC 791, section 3.2"),
    v4([10, 0, 0, 0], 8, "private use", "RFC 1918"),
    v4([100, 64, 0, 0], 10, "shared address space", "RFC 6598"),
    v4([127, 0, 0, 0], 8, "loopback", "RFC 1122, section 3.2.1.3"),
    v4([172, 16, 0, 0], 12, "private use", "RFC 1918"),
    v4([192, 0, 0, 0], 24, "IETF protocol assignments", "RFC 6890, section 2.1"),
    v4([192, 0, 2, 0], 24, "documentation", "RFC 5737"),
    v4([192, 168, 0, 0], 16, "private use", "RFC 1918"),
    v4([198, 18, 0, 0], 15, "benchmarking", "RFC 2544"),
    v4([198, 51, 100, 0], 24, "documentation", "RFC 5737"),
    v4([203, 0, 113, 0], 24, "documentation", "RFC 5737"),
    v4([224, 0, 0, 0], 4, "multicast", "RFC 5771"),
    v4([240, 0, 0, 0], 4, "reserved, and limited broadcast", "RFC 1112, section 4; RFC 8190"),
    v6([0, 0, 0, 0], 8, "reserved: unspecified, loopback, IPv4-mapped, local-use translation", "RFC 4291; RFC 8215"),
    v6([0x100, 0, 0, 0], 8, "reserved: discard-only, dummy", "RFC 4291; RFC 6666; RFC 9780"),
    v6([0x200, 0, 0, 0], 7, "reserved", "RFC 4048"),
    v6([0x400, 0, 0, 0], 6, "reserved", "RFC 4291"),
    v6([0x800, 0, 0, 0], 5, "reserved", "RFC 4291"),
    v6([0x1000, 0, 0, 0], 4, "reserved", "RFC 4291"),
    v6([0x2001, 0, 0, 0], 23, "IETF protocol assignments", "RFC 2928"),
    v6([0x2001, 0xdb8, 0, 0], 32, "documentation", "RFC 3849"),
    v6([0x3fff, 0, 0, 0], 20, "documentation", "RFC 9637"),
    v6([0x4000, 0, 0, 0], 3, "reserved: SRv6 segment identifiers", "RFC 4291; RFC 9602"),
    v6([0x6000, 0, 0, 0], 3, "reserved", "RFC 4291"),
    v6([0x8000, 0, 0, 0], 3, "reserved", "RFC 4291"),
    v6([0xa000, 0, 0, 0], 3, "reserved", "RFC 4291"),
    v6([0xc000, 0, 0, 0], 3, "reserved", "RFC 4291"),
    v6([0xe000, 0, 0, 0], 4, "reserved", "RFC 4291"),
    v6([0xf000, 0, 0, 0], 5, "reserved", "RFC 4291"),
    v6([0xf800, 0, 0, 0], 6, "reserved", "RFC 4291"),
    v6([0xfc00, 0, 0, 0], 7, "unique local", "RFC 4193"),
    v6([0xfe00, 0, 0, 0], 9, "reserved", "RFC 4291"),
    v6([0xfec0, 0, 0, 0], 10, "site-local, deprecated", "RFC 3879"),
    v6([0xff00, 0, 0, 0], 8, "multicast", "RFC 4291"),
];

/// What is reachable from everywhere although it lies in a prefix of [`BOGONS`].
pub const EXCEPTIONS: &[Special] = &[
    v4([192, 0, 0, 9], 32, "port control protocol anycast", "RFC 7723"),
    v4([192, 0, 0, 10], 32, "TURN anycast", "RFC 8155"),
    v6([0x64, 0xff9b, 0, 0], 96, "IPv4-IPv6 translation", "RFC 6052"),
    v6([0x2001, 0, 0, 0], 32, "Teredo", "RFC 4380"),
    v6([0x2001, 1, 0, 1], 128, "port control protocol anycast", "RFC 7723"),
    v6([0x2001, 1, 0, 2], 128, "TURN anycast", "RFC 8155"),
    v6([0x2001, 1, 0, 3], 128, "DNS-SD service registration anycast", "RFC 9665"),
    v6([0x2001, 3, 0, 0], 32, "AMT", "RFC 7450"),
    v6([0x2001, 4, 0x112, 0], 48, "AS112", "RFC 7535"),
    v6([0x2001, 0x20, 0, 0], 28, "ORCHIDv2", "RFC 7343"),
    v6([0x2001, 0x30, 0, 0], 28, "drone remote identification", "RFC 9374"),
];

/// Whether the address is not of the public internet. Link-local addresses are no bogons: they never come from farther than the wire.
pub fn is_bogon(address: IpAddr) -> bool {
    let within = |list: &[Special]| list.iter().any(|special| special.net.contains(&address));
    within(BOGONS) && !within(EXCEPTIONS)
}

const fn v4([a, b, c, d]: [u8; 4], length: u8, name: &'static str, source: &'static str) -> Special {
    Special { net: IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), length)), name, source }
}

/// The first three words and the last one.
const fn v6([a, b, c, last]: [u16; 4], length: u8, name: &'static str, source: &'static str) -> Special {
    Special { net: IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, 0, 0, 0, 0, last), length)), name, source }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // tests may fail loudly
mod tests {
    use super::*;

    fn bogon(address: &str) -> bool {
        is_bogon(address.parse().unwrap())
    }

    #[test]
    fn every_prefix_is_written_by_its_network() {
        for special in BOGONS.iter().chain(EXCEPTIONS) {
            assert_eq!(special.net, special.net.trunc(), "{}", special.name);
        }
    }

    #[test]
    fn private_reserved_and_documentation_addresses_are_bogons() {
        for address in ["10.0.0.1", "100.127.255.255", "172.31.0.1", "192.0.2.9", "240.0.0.1", "255.255.255.255"] {
            assert!(bogon(address), "{address}");
        }
        for address in
            ["fd00::1", "2001:db8::1", "3fff:fff::", "2001:2::1", "2001:1::4", "5f00::1", "fec0::1", "64:ff9b:1::1", "::ffff:8.8.8.8"]
        {
            assert!(bogon(address), "{address}");
        }
    }

    #[test]
    fn public_and_link_local_addresses_are_none() {
        for address in ["8.8.8.8", "100.128.0.0", "172.32.0.1", "192.0.0.9", "223.255.255.255", "169.254.1.1"] {
            assert!(!bogon(address), "{address}");
        }
        for address in
            ["2a00::1", "2001:200::1", "2001:0:1::1", "2001:1::3", "64:ff9b::808:808", "3fff:1000::", "2002::1", "fe80::1", "febf::1"]
        {
            assert!(!bogon(address), "{address}");
        }
    }
}
