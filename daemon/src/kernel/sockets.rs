//! The sockets of this network namespace, as sock_diag tells them: TCP and UDP, both families.
//!
//! Reads addresses, ports and what decides the route. An IPv6 socket that speaks IPv4 is told as IPv4.

use std::net::{IpAddr, Ipv6Addr};

use netlink_sys::protocols::NETLINK_SOCK_DIAG;

use super::error::Result;
use super::netlink::{Netlink, attributes, u32_at};

/// `SOCK_DIAG_BY_FAMILY` of linux/sock_diag.h.
pub(super) const BY_FAMILY: u16 = 20;
/// `INET_DIAG_MARK` of linux/inet_diag.h.
const MARK: u16 = 15;
/// Bytes of `struct inet_diag_req_v2` and `struct inet_diag_msg`.
const REQUEST: usize = 56;
const ANSWER: usize = 72;
/// States of net/tcp_states.h. UDP has two: connected is `ESTABLISHED`, only bound is `CLOSE`.
const ESTABLISHED: u8 = 1;
const FIN_WAIT1: u8 = 4;
const FIN_WAIT2: u8 = 5;
const CLOSE: u8 = 7;
const CLOSE_WAIT: u8 = 8;
const LAST_ACK: u8 = 9;
const LISTEN: u8 = 10;
const CLOSING: u8 = 11;
/// States in which both sides know each other and something may still be sent.
const CONNECTED: [u8; 6] = [ESTABLISHED, FIN_WAIT1, FIN_WAIT2, CLOSE_WAIT, LAST_ACK, CLOSING];

/// A socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Socket {
    /// IP protocol number.
    pub protocol: u8,
    /// Its own address and port.
    pub local: (IpAddr, u16),
    /// The other side's; `None` = it listens, or is only bound.
    pub remote: Option<(IpAddr, u16)>,
    /// Interface that it is bound to; 0 = none.
    pub bound: u32,
    /// `SO_MARK`, for the rules of routing.
    pub mark: u32,
    /// Its owner, likewise.
    pub uid: u32,
}

/// Every TCP and UDP socket that is connected, listens or is bound.
pub fn list() -> Result<Vec<Socket>> {
    let mut netlink = Netlink::open(NETLINK_SOCK_DIAG, "sock_diag")?;
    let mut found = Vec::new();
    let tcp = CONNECTED.into_iter().chain([LISTEN]).fold(0, |states, state| states | 1u32 << state);
    let udp = 1u32 << ESTABLISHED | 1u32 << CLOSE;
    for (protocol, states) in [(libc::IPPROTO_TCP as u8, tcp), (libc::IPPROTO_UDP as u8, udp)] {
        for family in [libc::AF_INET as u8, libc::AF_INET6 as u8] {
            let mut request = [0; REQUEST];
            (request[0], request[1]) = (family, protocol);
            request[4..8].copy_from_slice(&states.to_ne_bytes());
            let told = |kind, body: &[u8]| if kind == BY_FAMILY { parse(protocol, body) } else { None };
            found.extend(netlink.dump(BY_FAMILY, &request, "sockets", told)?);
        }
    }
    Ok(found)
}

/// `struct inet_diag_msg`: family, state, timer, retransmissions, then `struct inet_diag_sockid` (ports and addresses in network
/// order, interface, cookie), expiry, queues, uid, inode; then attributes.
pub(super) fn parse(protocol: u8, body: &[u8]) -> Option<Socket> {
    let (family, state) = (*body.first()?, *body.get(1)?);
    let port = |at: usize| Some(u16::from_be_bytes([*body.get(at)?, *body.get(at + 1)?]));
    let remote = (address(family, body, 24)?, port(6)?);
    let mark = attributes(body.get(ANSWER..)?).find(|(kind, _)| *kind == MARK).and_then(|(_, value)| u32_at(value, 0));
    Some(Socket {
        protocol,
        local: (address(family, body, 8)?, port(4)?),
        remote: (CONNECTED.contains(&state) && remote.1 != 0).then_some(remote),
        bound: u32_at(body, 40)?,
        mark: mark.unwrap_or(0),
        uid: u32_at(body, 64)?,
    })
}

fn address(family: u8, body: &[u8], at: usize) -> Option<IpAddr> {
    if i32::from(family) == libc::AF_INET {
        return Some(<[u8; 4]>::try_from(body.get(at..at + 4)?).ok()?.into());
    }
    let address = Ipv6Addr::from(<[u8; 16]>::try_from(body.get(at..at + 16)?).ok()?);
    Some(address.to_ipv4_mapped().map_or(address.into(), IpAddr::from))
}

#[cfg(test)]
mod tests {
    use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};

    use super::super::tests::needs_root;
    use super::*;

    fn pair(address: SocketAddr) -> (IpAddr, u16) {
        (address.ip(), address.port())
    }

    fn has(sockets: &[Socket], protocol: i32, local: (IpAddr, u16), remote: Option<(IpAddr, u16)>) -> bool {
        sockets.iter().any(|socket| i32::from(socket.protocol) == protocol && socket.local == local && socket.remote == remote)
    }

    #[test]
    fn connected_and_listening_sockets_of_both_families_are_told() {
        needs_root!();
        for host in ["127.0.0.1", "::1"] {
            let listener = TcpListener::bind((host, 0)).unwrap();
            let server = listener.local_addr().unwrap();
            let client = TcpStream::connect(server).unwrap();
            let (accepted, _) = listener.accept().unwrap();
            let bound = UdpSocket::bind((host, 0)).unwrap();
            let connected = UdpSocket::bind((host, 0)).unwrap();
            connected.connect(bound.local_addr().unwrap()).unwrap();
            let sockets = list().unwrap();
            let (client, server) = (pair(client.local_addr().unwrap()), pair(server));
            assert!(has(&sockets, libc::IPPROTO_TCP, client, Some(server)));
            assert!(has(&sockets, libc::IPPROTO_TCP, server, Some(client)));
            assert!(has(&sockets, libc::IPPROTO_TCP, server, None));
            let (bound, connected) = (pair(bound.local_addr().unwrap()), pair(connected.local_addr().unwrap()));
            assert!(has(&sockets, libc::IPPROTO_UDP, bound, None));
            assert!(has(&sockets, libc::IPPROTO_UDP, connected, Some(bound)));
            drop(accepted);
        }
    }

    #[test]
    fn ipv4_on_an_ipv6_socket_is_told_as_ipv4() {
        needs_root!();
        let listener = TcpListener::bind("[::]:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let client = TcpStream::connect(("127.0.0.1", port)).unwrap();
        let (_accepted, _) = listener.accept().unwrap();
        let home: IpAddr = "127.0.0.1".parse().unwrap();
        assert!(has(&list().unwrap(), libc::IPPROTO_TCP, (home, port), Some(pair(client.local_addr().unwrap()))));
    }
}
