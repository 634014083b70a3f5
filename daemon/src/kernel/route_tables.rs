//! The routing tables of this network namespace, all of them and both families, as rtnetlink tells them; and the kernel's own
//! answer to which interface a packet would leave through.
//!
//! Reads destinations, tables, types and interfaces (nexthop objects and multipath included); knows nothing of what they are for.

use std::collections::HashMap;
use std::net::IpAddr;

use ipnet::IpNet;
use netlink_sys::protocols::NETLINK_ROUTE;

use super::bpf::errno;
use super::error::Result;
use super::netlink::{Netlink, attributes, push_attribute, u16_at, u32_at};
use crate::compile::routes::{Goal, Route};

pub(super) const RTM_NEWROUTE: u16 = 24;
const RTM_GETROUTE: u16 = 26;
pub(super) const RTM_NEWNEXTHOP: u16 = 104;
const RTM_GETNEXTHOP: u16 = 106;
const RTA_DST: u16 = 1;
const RTA_SRC: u16 = 2;
const RTA_OIF: u16 = 4;
const RTA_MULTIPATH: u16 = 9;
const RTA_TABLE: u16 = 15;
const RTA_MARK: u16 = 16;
const RTA_UID: u16 = 25;
const RTA_IP_PROTO: u16 = 27;
const RTA_SPORT: u16 = 28;
const RTA_DPORT: u16 = 29;
const RTA_NH_ID: u16 = 30;
const NHA_ID: u16 = 1;
const NHA_GROUP: u16 = 2;
const NHA_OIF: u16 = 5;
/// Types of routes.
const UNICAST: u8 = 1;
const LOCAL: u8 = 2;
const BROADCAST: u8 = 3;
const ANYCAST: u8 = 4;
/// `RTM_F_CLONED`: an entry of a cache, no route.
const CLONED: u32 = 0x200;
/// Bytes of `struct rtmsg`, `struct nhmsg`, `struct nexthop_grp`, `struct rtnexthop`.
const RTMSG: usize = 12;
const NHMSG: usize = 8;
const GROUP_MEMBER: usize = 8;
const RTNEXTHOP: usize = 8;

/// A nexthop object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Nexthop {
    /// Out of this interface.
    Link(u32),
    /// One of these objects.
    Group(Vec<u32>),
    /// A blackhole.
    Nowhere,
}

/// A route before nexthop objects are looked up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Told {
    route: Route,
    object: Option<u32>,
}

/// Every route of every table.
pub fn list() -> Result<Vec<Route>> {
    let mut netlink = Netlink::open(NETLINK_ROUTE, "rtnetlink")?;
    let mut routes = Vec::new();
    for family in [libc::AF_INET, libc::AF_INET6] {
        let mut body = [0; RTMSG];
        body[0] = family as u8;
        let told = |kind, body: &[u8]| parse_route(body).filter(|_| kind == RTM_NEWROUTE);
        routes.extend(netlink.dump(RTM_GETROUTE, &body, "routes", told)?);
    }
    // After the routes: an object that a route names is there, or the route is gone with it and that is told.
    let objects = if routes.iter().any(|told| told.object.is_some()) { nexthops(&mut netlink)? } else { HashMap::new() };
    Ok(routes.into_iter().map(|told| resolved(told, &objects)).collect())
}

fn nexthops(netlink: &mut Netlink) -> Result<HashMap<u32, Nexthop>> {
    let told = |kind, body: &[u8]| parse_nexthop(body).filter(|_| kind == RTM_NEWNEXTHOP);
    match netlink.dump(RTM_GETNEXTHOP, &[0; NHMSG], "nexthops", told) {
        Ok(found) => Ok(found.into_iter().collect()),
        // Before 5.3 there are none.
        Err(error) if errno(&error) == libc::EOPNOTSUPP => Ok(HashMap::new()),
        Err(error) => Err(error),
    }
}

/// The kernel tells an object's interfaces with the route, unless `nexthop_compat_mode` is off.
pub(super) fn resolved(told: Told, objects: &HashMap<u32, Nexthop>) -> Route {
    let Told { mut route, object } = told;
    if let (Goal::Out(links), Some(object)) = (&mut route.goal, object) {
        match objects.get(&object) {
            Some(Nexthop::Link(link)) => links.push(*link),
            Some(Nexthop::Group(members)) => links.extend(members.iter().filter_map(|member| match objects.get(member) {
                Some(Nexthop::Link(link)) => Some(*link),
                _ => None,
            })),
            Some(Nexthop::Nowhere) | None => {}
        }
    }
    match &route.goal {
        Goal::Out(links) if links.is_empty() => Route { goal: Goal::Nowhere, ..route },
        _ => route,
    }
}

/// Body of RTM_NEWROUTE: `struct rtmsg` (family, dst_len, src_len, tos, table, protocol, scope, type, flags), then attributes.
pub(super) fn parse_route(body: &[u8]) -> Option<Told> {
    let (family, length, kind) = (*body.first()?, *body.get(1)?, *body.get(7)?);
    if u32_at(body, 8)? & CLONED != 0 {
        return None;
    }
    let mut table = u32::from(*body.get(4)?);
    let mut address: IpAddr = match i32::from(family) {
        libc::AF_INET => [0u8; 4].into(),
        libc::AF_INET6 => [0u8; 16].into(),
        _ => return None,
    };
    let (mut links, mut object) = (Vec::new(), None);
    for (kind, value) in attributes(body.get(RTMSG..)?) {
        match kind {
            RTA_TABLE => table = u32_at(value, 0)?,
            RTA_DST => address = parse_address(value)?,
            RTA_OIF => links.extend(u32_at(value, 0)),
            RTA_MULTIPATH => links.extend(parse_multipath(value)),
            RTA_NH_ID => object = u32_at(value, 0),
            _ => {}
        }
    }
    let goal = match kind {
        UNICAST => Goal::Out(links),
        LOCAL | BROADCAST | ANYCAST => Goal::Own,
        _ => Goal::Nowhere,
    };
    Some(Told { route: Route { table, net: IpNet::new(address, length).ok()?.trunc(), goal }, object })
}

fn parse_address(value: &[u8]) -> Option<IpAddr> {
    match value.len() {
        4 => Some(<[u8; 4]>::try_from(value).ok()?.into()),
        16 => Some(<[u8; 16]>::try_from(value).ok()?.into()),
        _ => None,
    }
}

/// A run of `struct rtnexthop` (length, flags, hops, ifindex), attributes after each.
fn parse_multipath(mut value: &[u8]) -> Vec<u32> {
    let mut links = Vec::new();
    while let (Some(length), Some(ifindex)) = (u16_at(value, 0), u32_at(value, 4)) {
        links.push(ifindex);
        value = value.get((length as usize).max(RTNEXTHOP).next_multiple_of(4)..).unwrap_or(&[]);
    }
    links
}

/// Body of RTM_NEWNEXTHOP: `struct nhmsg`, then attributes.
pub(super) fn parse_nexthop(body: &[u8]) -> Option<(u32, Nexthop)> {
    let (mut id, mut nexthop) = (None, Nexthop::Nowhere);
    for (kind, value) in attributes(body.get(NHMSG..)?) {
        match kind {
            NHA_ID => id = u32_at(value, 0),
            NHA_OIF => nexthop = Nexthop::Link(u32_at(value, 0)?),
            NHA_GROUP => nexthop = Nexthop::Group(value.chunks_exact(GROUP_MEMBER).filter_map(|member| u32_at(member, 0)).collect()),
            _ => {}
        }
    }
    Some((id?, nexthop))
}

/// A packet that a socket of this host would send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Departure {
    pub protocol: u8,
    pub source: (IpAddr, u16),
    pub destination: (IpAddr, u16),
    /// Interface that the socket is bound to; 0 = none.
    pub bound: u32,
    pub mark: u32,
    pub uid: u32,
}

/// A way to ask through which interface a packet would leave.
pub struct RouteQuery {
    netlink: Netlink,
}

impl RouteQuery {
    /// Connects.
    pub fn open() -> Result<RouteQuery> {
        Ok(RouteQuery { netlink: Netlink::open(NETLINK_ROUTE, "rtnetlink")? })
    }

    /// The interface, by the rules and tables as they are; `None` = the kernel would not send it.
    pub fn interface(&mut self, packet: &Departure) -> Result<Option<u32>> {
        let oif = |body: &[u8]| attributes(body.get(RTMSG..)?).find(|(kind, _)| *kind == RTA_OIF).and_then(|(_, value)| u32_at(value, 0));
        match self.netlink.get(RTM_GETROUTE, &question(packet), "route", oif) {
            Ok(found) => Ok(found),
            // No route, or a source that is not ours (a transparent proxy's).
            Err(error) if matches!(errno(&error), libc::ENETUNREACH | libc::EHOSTUNREACH | libc::EACCES | libc::EINVAL | libc::ENODEV) => {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

fn question(packet: &Departure) -> Vec<u8> {
    let (family, bits) = if packet.destination.0.is_ipv4() { (libc::AF_INET, 32) } else { (libc::AF_INET6, 128) };
    let mut body = vec![family as u8, bits, bits, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let mut put = |kind: u16, value: &[u8]| push_attribute(&mut body, kind, value);
    for (kind, address) in [(RTA_DST, packet.destination.0), (RTA_SRC, packet.source.0)] {
        match address {
            IpAddr::V4(address) => put(kind, &address.octets()),
            IpAddr::V6(address) => put(kind, &address.octets()),
        }
    }
    put(RTA_IP_PROTO, &[packet.protocol]);
    put(RTA_SPORT, &packet.source.1.to_be_bytes());
    put(RTA_DPORT, &packet.destination.1.to_be_bytes());
    put(RTA_UID, &packet.uid.to_ne_bytes());
    for (kind, number) in [(RTA_OIF, packet.bound), (RTA_MARK, packet.mark)] {
        if number != 0 {
            put(kind, &number.to_ne_bytes());
        }
    }
    body
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::super::tests::{Namespace, needs_root};
    use super::*;
    use crate::compile::routes::{LOCAL_TABLE, ReversePaths, Way};
    use crate::kernel::links;

    fn ip(line: &str) {
        assert!(Command::new("timeout").args(["5", "ip"]).args(line.split(' ')).status().unwrap().success(), "ip {line}");
    }

    /// Two links that are up, and their indexes.
    fn two() -> (Namespace, u32, u32) {
        let namespace = Namespace::enter();
        for line in ["link add a0 type veth peer name a1", "link add b0 type veth peer name b1"] {
            ip(line);
        }
        for link in ["lo", "a0", "a1", "b0", "b1"] {
            ip(&format!("link set {link} up"));
        }
        ip("addr add 10.1.0.1/24 dev a0");
        ip("addr add 10.2.0.1/24 dev b0");
        ip("addr add 2001:db8:1::1/64 dev a0 nodad");
        ip("addr add 2001:db8:2::1/64 dev b0 nodad");
        let links = links::list().unwrap();
        let index = |name: &str| links.values().find(|link| link.name == name).unwrap().ifindex;
        (namespace, index("a0"), index("b0"))
    }

    fn way(address: &str) -> Way {
        ReversePaths::of(&list().unwrap()).lookup(address.parse().unwrap())
    }

    fn out(links: &[u32]) -> Way {
        Way::Out(links.into())
    }

    #[test]
    fn tables_types_and_multipath_of_both_families_are_read() {
        needs_root!();
        let (_namespace, a, b) = two();
        for line in [
            "route add default via 10.1.0.9",
            "route add default via 10.2.0.9 table 100",
            "route add 192.0.2.0/24 table 7000 nexthop via 10.1.0.9 nexthop via 10.2.0.9",
            "route add blackhole 198.51.100.0/24",
            "route add unreachable 203.0.113.0/24 table 100",
            "-6 route add default via 2001:db8:1::9",
            "-6 route add 2001:db8:f::/48 nexthop via 2001:db8:1::9 nexthop via 2001:db8:2::9",
            "-6 route add prohibit 2001:db8:e::/48",
        ] {
            ip(line);
        }
        let both = out(&[a.min(b), a.max(b)]);
        for (address, expected) in [
            ("8.8.8.8", both.clone()),
            ("192.0.2.1", both.clone()),
            ("198.51.100.1", out(&[b])),
            ("203.0.113.1", out(&[a])),
            ("10.1.0.1", Way::Refused),
            ("10.1.0.255", Way::Refused),
            ("127.3.2.1", Way::Refused),
            ("2001:db8:1::1", Way::Refused),
            ("2001:db8:e::1", Way::Refused),
            ("2001:db8:f::1", both),
            ("2001:db8:9999::1", out(&[a])),
        ] {
            assert_eq!(way(address), expected, "{address}");
        }
        assert!(list().unwrap().iter().any(|route| route.table == LOCAL_TABLE && route.goal == Goal::Own));
    }

    #[test]
    fn nexthop_objects_and_their_groups_are_resolved() {
        needs_root!();
        let (_namespace, a, b) = two();
        for line in [
            "nexthop add id 1 via 10.1.0.9 dev a0",
            "nexthop add id 2 via 10.2.0.9 dev b0",
            "nexthop add id 3 group 1/2",
            "nexthop add id 4 blackhole",
            "route add 192.0.2.0/24 nhid 2",
            "route add 198.51.100.0/24 nhid 3",
            "route add 203.0.113.0/24 nhid 4",
        ] {
            ip(line);
        }
        for compatible in ["1", "0"] {
            std::fs::write("/proc/sys/net/ipv4/nexthop_compat_mode", compatible).unwrap();
            assert_eq!(way("192.0.2.1"), out(&[b]));
            assert_eq!(way("198.51.100.1"), out(&[a.min(b), a.max(b)]));
            assert_eq!(way("203.0.113.1"), Way::Refused);
        }
    }

    #[test]
    fn kernel_is_asked_by_rules_marks_and_bound_interfaces() {
        needs_root!();
        let (_namespace, a, b) = two();
        ip("route add default via 10.1.0.9");
        ip("route add default via 10.2.0.9 table 100");
        ip("rule add fwmark 7 lookup 100");
        let mut query = RouteQuery::open().unwrap();
        let plain = Departure {
            protocol: 6,
            source: ("10.1.0.1".parse().unwrap(), 40000),
            destination: ("192.0.2.1".parse().unwrap(), 443),
            bound: 0,
            mark: 0,
            uid: 0,
        };
        assert_eq!(query.interface(&plain).unwrap(), Some(a));
        assert_eq!(query.interface(&Departure { mark: 7, ..plain }).unwrap(), Some(b));
        let near = ("10.2.0.9".parse().unwrap(), 443);
        assert_eq!(query.interface(&Departure { destination: near, bound: b, ..plain }).unwrap(), Some(b));
        let strange = ("2001:db8:77::1".parse().unwrap(), 443);
        let unreachable = Departure { source: ("2001:db8:1::1".parse().unwrap(), 1), destination: strange, ..plain };
        assert_eq!(query.interface(&unreachable).unwrap(), None);
    }
}
