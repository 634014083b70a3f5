//! The interfaces of this network namespace, as rtnetlink tells them.
//!
//! Reads only the attributes it needs, byte by byte, so that a kernel with attributes of another shape is read as well.
//! `/sys/class/net` is not asked: it shows the namespace that mounted it.

use std::collections::BTreeMap;
use std::fs;

use netlink_packet_core::{NLM_F_DUMP, NLM_F_REQUEST};
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};

use super::error::{Error, Result};
use crate::compile::ruleset::{DeviceKind, LinkFacts};

/// One interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// Kernel's index.
    pub ifindex: u32,
    /// Current name.
    pub name: String,
    /// `ARPHRD_*` of linux/if_arp.h.
    pub hardware: u16,
    /// XDP program's id and whether it runs in the driver.
    pub xdp: Option<(u32, bool)>,
}

impl Interface {
    /// What its frames begin with; `None` = neither Ethernet nor IP, so no program of ours can judge there.
    pub fn device(&self) -> Option<DeviceKind> {
        device_kind(self.hardware)
    }
}

/// Program variant by hardware type.
fn device_kind(hardware: u16) -> Option<DeviceKind> {
    match hardware {
        libc::ARPHRD_ETHER => Some(DeviceKind::Ethernet),
        libc::ARPHRD_LOOPBACK => Some(DeviceKind::Loopback),
        // tun and WireGuard, PPP, IP tunnels, cellular modems: the packet begins with the IP header.
        ARPHRD_NONE | ARPHRD_RAWIP | libc::ARPHRD_PPP | libc::ARPHRD_TUNNEL | libc::ARPHRD_TUNNEL6 | libc::ARPHRD_SIT => {
            Some(DeviceKind::Raw)
        }
        libc::ARPHRD_IPGRE | ARPHRD_IP6GRE => Some(DeviceKind::Raw),
        _ => None,
    }
}

const ARPHRD_NONE: u16 = 0xfffe;
const ARPHRD_RAWIP: u16 = 519;
const ARPHRD_IP6GRE: u16 = 823;

const RTM_NEWLINK: u16 = 16;
const RTM_GETLINK: u16 = 18;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
/// `NLM_F_DUMP_INTR`: links changed while they were told.
const DUMP_INTERRUPTED: u16 = 0x10;
const IFLA_IFNAME: u16 = 3;
const IFLA_XDP: u16 = 43;
const IFLA_XDP_ATTACHED: u16 = 2;
const IFLA_XDP_PROG_ID: u16 = 4;
const XDP_ATTACHED_SKB: u8 = 2;
const NESTED: u16 = 0x8000;

/// Tries before a list that keeps changing is an error.
const ATTEMPTS: usize = 16;

/// Every interface of this namespace, by index.
pub fn list() -> Result<BTreeMap<u32, Interface>> {
    for _ in 0..ATTEMPTS {
        if let Some(found) = dump()? {
            return Ok(found);
        }
    }
    Err(Error::Inconsistent("rtnetlink: the interfaces change faster than they can be listed".into()))
}

/// The facts that the compiler needs.
pub fn facts(interfaces: &BTreeMap<u32, Interface>) -> Vec<LinkFacts> {
    let known = interfaces.values().filter_map(|link| Some((link, link.device()?)));
    known
        .map(|(link, device)| LinkFacts {
            ifindex: link.ifindex,
            name: link.name.clone(),
            device,
            accepts_router_advertisements: accepts_router_advertisements(&link.name),
        })
        .collect()
}

/// The kernel's `accept_ra` is not 0. An interface without IPv6 has none.
fn accepts_router_advertisements(name: &str) -> bool {
    fs::read_to_string(format!("/proc/sys/net/ipv6/conf/{name}/accept_ra")).is_ok_and(|value| value.trim() != "0")
}

fn failed(what: &str) -> impl FnOnce(std::io::Error) -> Error {
    let what = format!("rtnetlink: {what}");
    move |source| Error::System { what, source }
}

/// One dump; `None` = it was interrupted by a change.
fn dump() -> Result<Option<BTreeMap<u32, Interface>>> {
    let mut socket = Socket::new(NETLINK_ROUTE).map_err(failed("socket"))?;
    socket.bind_auto().map_err(failed("bind"))?;
    socket.connect(&SocketAddr::new(0, 0)).map_err(failed("connect"))?;
    socket.send(&request(), 0).map_err(failed("ask for the interfaces"))?;
    let mut found = BTreeMap::new();
    let mut whole = true;
    loop {
        let (datagram, _) = socket.recv_from_full().map_err(failed("read the interfaces"))?;
        let mut rest = datagram.as_slice();
        while let Some((kind, flags, body, after)) = message(rest) {
            whole &= flags & DUMP_INTERRUPTED == 0;
            match kind {
                NLMSG_DONE => return Ok(whole.then_some(found)),
                NLMSG_ERROR => return Err(Error::Inconsistent("rtnetlink refuses to list the interfaces".into())),
                RTM_NEWLINK => {
                    if let Some(link) = parse_link(body) {
                        found.insert(link.ifindex, link);
                    }
                }
                _ => {}
            }
            rest = after;
        }
    }
}

/// `struct nlmsghdr` and `struct ifinfomsg`: all interfaces, please.
fn request() -> Vec<u8> {
    let mut bytes = Vec::with_capacity(32);
    bytes.extend(32u32.to_ne_bytes());
    bytes.extend(RTM_GETLINK.to_ne_bytes());
    bytes.extend((NLM_F_REQUEST | NLM_F_DUMP).to_ne_bytes());
    bytes.extend(1u32.to_ne_bytes());
    bytes.extend([0u8; 20]);
    bytes
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// The first message of a datagram: (type, flags, body, rest).
fn message(bytes: &[u8]) -> Option<(u16, u16, &[u8], &[u8])> {
    let length = u32_at(bytes, 0)? as usize;
    let body = bytes.get(16..length)?;
    let after = bytes.get(length.next_multiple_of(4)..).unwrap_or(&[]);
    Some((u16_at(bytes, 4)?, u16_at(bytes, 6)?, body, after))
}

/// The first attribute: (type, value, rest).
fn attribute(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let length = u16_at(bytes, 0)? as usize;
    let value = bytes.get(4..length)?;
    let after = bytes.get(length.next_multiple_of(4)..).unwrap_or(&[]);
    Some((u16_at(bytes, 2)? & !NESTED, value, after))
}

/// Body of RTM_NEWLINK: `struct ifinfomsg` (family, pad, type, index, flags, change), then attributes.
fn parse_link(body: &[u8]) -> Option<Interface> {
    let mut link = Interface { ifindex: u32_at(body, 4)?, name: String::new(), hardware: u16_at(body, 2)?, xdp: None };
    let mut rest = body.get(16..)?;
    while let Some((kind, value, after)) = attribute(rest) {
        match kind {
            IFLA_IFNAME => link.name = String::from_utf8_lossy(value).trim_end_matches('\0').to_string(),
            IFLA_XDP => link.xdp = parse_xdp(value),
            _ => {}
        }
        rest = after;
    }
    Some(link)
}

fn parse_xdp(mut rest: &[u8]) -> Option<(u32, bool)> {
    let (mut program, mut mode) = (None, 0);
    while let Some((kind, value, after)) = attribute(rest) {
        match kind {
            IFLA_XDP_ATTACHED => mode = *value.first()?,
            IFLA_XDP_PROG_ID => program = u32_at(value, 0),
            _ => {}
        }
        rest = after;
    }
    Some((program?, mode != XDP_ATTACHED_SKB))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attribute_bytes(kind: u16, value: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend(((value.len() + 4) as u16).to_ne_bytes());
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    #[test]
    fn link_message_gives_name_type_and_xdp() {
        let mut body = vec![0u8, 0];
        body.extend(libc::ARPHRD_ETHER.to_ne_bytes());
        body.extend(7u32.to_ne_bytes());
        body.extend([0u8; 8]);
        body.extend(attribute_bytes(IFLA_IFNAME, b"eth0\0"));
        body.extend(attribute_bytes(200, b"unknown"));
        let xdp =
            [attribute_bytes(IFLA_XDP_ATTACHED, &[XDP_ATTACHED_SKB]), attribute_bytes(IFLA_XDP_PROG_ID, &9u32.to_ne_bytes())].concat();
        body.extend(attribute_bytes(IFLA_XDP | NESTED, &xdp));
        let link = parse_link(&body).unwrap();
        assert_eq!(link, Interface { ifindex: 7, name: "eth0".into(), hardware: libc::ARPHRD_ETHER, xdp: Some((9, false)) });
        assert_eq!(link.device(), Some(DeviceKind::Ethernet));
    }

    #[test]
    fn cut_messages_are_not_read_beyond_their_end() {
        assert_eq!(message(&[16, 0, 0]), None);
        assert_eq!(message(&[200, 0, 0, 0, 3, 0, 0, 0]), None);
        assert_eq!(attribute(&[2, 0, 1, 0]), None);
    }

    #[test]
    fn loopback_is_listed() {
        let links = list().unwrap();
        let lo = links.values().find(|l| l.name == "lo").unwrap();
        assert_eq!(lo.device(), Some(DeviceKind::Loopback));
        assert!(facts(&links).iter().any(|f| f.name == "lo"));
    }

    #[test]
    fn hardware_without_ethernet_or_ip_has_no_variant() {
        assert_eq!(device_kind(824), None); // nlmon
        assert_eq!(device_kind(ARPHRD_NONE), Some(DeviceKind::Raw));
    }
}
