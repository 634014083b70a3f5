//! Datagrams of rtnetlink and sock_diag: cut, nested wrongly or with lying lengths, they tell less, never something that is not there.

use std::net::IpAddr;

use netpol_ebpf::compile::routes::{Goal, ReversePaths};
use netpol_ebpf::kernel::Told;

/// The input as one datagram.
pub fn run(bytes: &[u8]) {
    let told = Told::of(bytes);
    // Every message has a header of 16 bytes, and what it tells takes some of its body.
    assert!(told.links.len() + told.routes.len() + told.sockets.len() <= bytes.len() / 24);
    for link in &told.links {
        assert!(link.name.len() <= 3 * bytes.len(), "a name longer than what it was read from");
        assert!(link.device().is_some() || link.hardware != 1);
    }
    for route in &told.routes {
        assert_eq!(route.net, route.net.trunc());
        if let Goal::Out(links) = &route.goal {
            assert!(!links.is_empty(), "a route that leads out leads somewhere");
        }
    }
    let paths = ReversePaths::of(&told.routes);
    for address in ["203.0.113.9", "2001:db8::9"] {
        paths.lookup(address.parse::<IpAddr>().expect("an address"));
    }
    assert_eq!(told, Told::of(bytes));
}
