//! The interfaces of this network namespace, as rtnetlink tells them.
//!
//! Reads only the attributes it needs. `/sys/class/net` is not asked: it shows the namespace that mounted it.

use std::collections::BTreeMap;
use std::fs;

use netlink_sys::protocols::NETLINK_ROUTE;

use super::error::Result;
use super::managers;
use super::netlink::{Netlink, attributes, u16_at, u32_at};
use crate::compile::ruleset::{DeviceKind, LinkFacts};

/// One interface.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Interface {
    /// Kernel's index.
    pub ifindex: u32,
    /// Current name.
    pub name: String,
    /// `ARPHRD_*` of linux/if_arp.h.
    pub hardware: u16,
    /// Number of the network namespace that the other end is in, where that is another one.
    pub peer_namespace: Option<i32>,
    /// XDP program's id and whether it runs in the driver.
    pub xdp: Option<(u32, bool)>,
    /// `vlan`, `bridge`, …; empty = a device of its own.
    pub kind: String,
    /// The device that it is made of.
    pub on: Option<u32>,
    /// VLAN id of a `vlan` device.
    pub vid: Option<u16>,
    /// Mode of an `ipvlan` device.
    pub mode: Option<u16>,
    /// A `tun` device that carries IP packets, whatever hardware type whoever opened it has given it (TUNSETLINK).
    pub tun: bool,
    /// The bridge, bond or the like that it is a member of.
    pub master: Option<u32>,
}

impl Interface {
    /// What its frames begin with; `None` = no program of ours can judge there ([`Interface::unjudged`] says why).
    pub fn device(&self) -> Option<DeviceKind> {
        match self.unjudged() {
            Some(_) => None,
            None if self.tun => Some(DeviceKind::Raw),
            None => device_kind(self.hardware),
        }
    }

    /// Why no program of ours can judge there, if so: what it carries, or because packets reach it behind its tc hooks
    /// (drivers/net/vrf.c: `vrf_ip_rcv()`; drivers/net/ipvlan/ipvlan_l3s.c: `ipvlan_nf_input()`).
    pub fn unjudged(&self) -> Option<&'static str> {
        match (self.kind.as_str(), self.mode) {
            ("vrf", _) => Some("packets pass by the hooks of a VRF device: write the policy for its members"),
            ("ipvlan", Some(IPVLAN_MODE_L3S)) => Some("packets pass by the hooks of an ipvlan device in mode l3s: use mode l3 or l2"),
            _ if device_kind(self.hardware).is_none() && !self.tun => Some("it carries neither Ethernet nor IP frames"),
            _ => None,
        }
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

pub(super) const RTM_NEWLINK: u16 = 16;
const RTM_GETLINK: u16 = 18;
const IFLA_IFNAME: u16 = 3;
const IFLA_LINK: u16 = 5;
const IFLA_MASTER: u16 = 10;
const IFLA_LINKINFO: u16 = 18;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const IFLA_VLAN_ID: u16 = 1;
const IFLA_IPVLAN_MODE: u16 = 1;
const IPVLAN_MODE_L3S: u16 = 2;
const IFLA_TUN_TYPE: u16 = 3;
/// `IFF_TUN` of linux/if_tun.h.
const TUN: u8 = 1;
const IFLA_LINK_NETNSID: u16 = 37;
const IFLA_XDP: u16 = 43;
const IFLA_XDP_ATTACHED: u16 = 2;
const IFLA_XDP_PROG_ID: u16 = 4;
const XDP_ATTACHED_SKB: u8 = 2;

/// Every interface of this namespace, by index.
pub fn list() -> Result<BTreeMap<u32, Interface>> {
    // `struct ifinfomsg`: all of them.
    let told = |kind, body: &[u8]| parse_link(body).filter(|_| kind == RTM_NEWLINK);
    let found = Netlink::open(NETLINK_ROUTE, "rtnetlink")?.dump(RTM_GETLINK, &[0; 16], "interfaces", told)?;
    Ok(found.into_iter().map(|link| (link.ifindex, link)).collect())
}

/// The facts that the compiler needs.
pub fn facts(interfaces: &BTreeMap<u32, Interface>) -> Vec<LinkFacts> {
    let known = interfaces.values().filter_map(|link| Some((link, link.device()?)));
    known
        .map(|(link, device)| LinkFacts {
            ifindex: link.ifindex,
            name: link.name.clone(),
            device,
            accepts_router_advertisements: accepts_router_advertisements(&link.name) || managers::manage(link.ifindex),
            owners: Vec::new(),
        })
        .collect()
}

/// The kernel's `accept_ra` is not 0. An interface without IPv6 has none.
fn accepts_router_advertisements(name: &str) -> bool {
    fs::read_to_string(format!("/proc/sys/net/ipv6/conf/{name}/accept_ra")).is_ok_and(|value| value.trim() != "0")
}

/// Body of RTM_NEWLINK: `struct ifinfomsg` (family, pad, type, index, flags, change), then attributes.
pub(super) fn parse_link(body: &[u8]) -> Option<Interface> {
    let mut link = Interface { ifindex: u32_at(body, 4)?, hardware: u16_at(body, 2)?, ..Interface::default() };
    for (kind, value) in attributes(body.get(16..)?) {
        match kind {
            IFLA_IFNAME => link.name = String::from_utf8_lossy(value).trim_end_matches('\0').to_string(),
            IFLA_LINK_NETNSID => link.peer_namespace = value.try_into().ok().map(i32::from_ne_bytes),
            IFLA_XDP => link.xdp = parse_xdp(value),
            IFLA_LINK => link.on = u32_at(value, 0),
            IFLA_MASTER => link.master = u32_at(value, 0),
            IFLA_LINKINFO => parse_info(value, &mut link),
            _ => {}
        }
    }
    Some(link)
}

fn parse_info(nested: &[u8], link: &mut Interface) {
    for (kind, value) in attributes(nested) {
        match kind {
            IFLA_INFO_KIND => link.kind = String::from_utf8_lossy(value).trim_end_matches('\0').to_string(),
            IFLA_INFO_DATA => parse_data(value, link),
            _ => {}
        }
    }
}

fn parse_data(nested: &[u8], link: &mut Interface) {
    let of = |wanted: u16| attributes(nested).find(|(kind, _)| *kind == wanted).map(|(_, value)| value);
    match link.kind.as_str() {
        "vlan" => link.vid = of(IFLA_VLAN_ID).and_then(|value| u16_at(value, 0)),
        "ipvlan" => link.mode = of(IFLA_IPVLAN_MODE).and_then(|value| u16_at(value, 0)),
        "tun" => link.tun = of(IFLA_TUN_TYPE).is_some_and(|value| value.first() == Some(&TUN)),
        _ => {}
    }
}

fn parse_xdp(nested: &[u8]) -> Option<(u32, bool)> {
    let (mut program, mut mode) = (None, 0);
    for (kind, value) in attributes(nested) {
        match kind {
            IFLA_XDP_ATTACHED => mode = *value.first()?,
            IFLA_XDP_PROG_ID => program = u32_at(value, 0),
            _ => {}
        }
    }
    Some((program?, mode != XDP_ATTACHED_SKB))
}

#[cfg(test)]
mod tests {
    use super::super::netlink::push_attribute;
    use super::*;

    #[test]
    fn link_message_gives_name_type_and_xdp() {
        let mut body = vec![0u8, 0];
        body.extend(libc::ARPHRD_ETHER.to_ne_bytes());
        body.extend(7u32.to_ne_bytes());
        body.extend([0u8; 8]);
        push_attribute(&mut body, IFLA_IFNAME, b"eth0\0");
        push_attribute(&mut body, 200, b"unknown");
        let mut xdp = Vec::new();
        push_attribute(&mut xdp, IFLA_XDP_ATTACHED, &[XDP_ATTACHED_SKB]);
        push_attribute(&mut xdp, IFLA_XDP_PROG_ID, &9u32.to_ne_bytes());
        push_attribute(&mut body, IFLA_XDP | 0x8000, &xdp);
        let link = parse_link(&body).unwrap();
        assert_eq!(
            link,
            Interface { ifindex: 7, name: "eth0".into(), hardware: libc::ARPHRD_ETHER, xdp: Some((9, false)), ..Interface::default() }
        );
        assert_eq!(link.device(), Some(DeviceKind::Ethernet));
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
