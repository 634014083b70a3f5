//! What the bytes of a datagram tell, without a kernel: the parsers that the lists of links, routes and sockets are made with.
//!
//! Opens nothing and needs no root. For whoever has to know what those parsers make of bytes that no kernel would send.

use std::collections::HashMap;

use super::links::Interface;
use super::netlink::messages;
use super::sockets::Socket;
use super::{links, route_tables, sockets};
use crate::compile::routes::Route;

/// Everything that was understood of a datagram.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Told {
    /// Interfaces.
    pub links: Vec<Interface>,
    /// Routes; nexthop objects of the same datagram are looked up.
    pub routes: Vec<Route>,
    /// Sockets, read as those of TCP.
    pub sockets: Vec<Socket>,
}

impl Told {
    /// Reads a datagram of rtnetlink or sock_diag.
    pub fn of(datagram: &[u8]) -> Told {
        let (mut told, mut routes, mut objects) = (Told::default(), Vec::new(), HashMap::new());
        for message in messages(datagram) {
            match message.kind {
                links::RTM_NEWLINK => told.links.extend(links::parse_link(message.body)),
                route_tables::RTM_NEWROUTE => routes.extend(route_tables::parse_route(message.body)),
                route_tables::RTM_NEWNEXTHOP => objects.extend(route_tables::parse_nexthop(message.body)),
                sockets::BY_FAMILY => told.sockets.extend(sockets::parse(libc::IPPROTO_TCP as u8, message.body)),
                _ => {}
            }
        }
        told.routes = routes.into_iter().map(|route| route_tables::resolved(route, &objects)).collect();
        told
    }
}
