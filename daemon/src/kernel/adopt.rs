//! The connections of this host's sockets that run over an interface, as established flows, before it comes under policy.
//!
//! What the sockets are and which way they go is asked once an execution. A flow that is there already is never touched.

use std::collections::HashSet;
use std::net::IpAddr;

use netpol_probes::abi;

use super::error::Result;
use super::maps::Map;
use super::route_tables::{self, Departure, RouteQuery};
use super::routes::words;
use super::sockets::{self, Socket};
use super::sys::boot_time;
use crate::compile::routes::{ReversePaths, Way};

/// Keys of one look-up and deletion.
const CHUNK: usize = 256;
/// TCP flags of an opening segment.
const SYN: u8 = 0x02;

/// What adopted flows are stamped with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// The generation that is about to be live.
    pub generation: u32,
    /// `np_word.set_epoch`.
    pub epoch: u32,
}

/// What came of an adoption.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Adopted {
    /// Flows that are there now and were not before.
    pub flows: usize,
    /// Connections for which the table had no room.
    pub left_out: usize,
}

/// Sockets and routes of one moment.
pub struct Standing {
    sockets: Vec<Socket>,
    listening: HashSet<(u8, u16)>,
    paths: ReversePaths,
    query: RouteQuery,
    loopback: Option<u32>,
}

impl Standing {
    /// Looks.
    pub fn look(loopback: Option<u32>) -> Result<Standing> {
        let paths = ReversePaths::of(&route_tables::list()?);
        let (sockets, others): (Vec<Socket>, Vec<Socket>) = sockets::list()?.into_iter().partition(|socket| socket.remote.is_some());
        let listening = others.iter().map(|socket| (socket.protocol, socket.local.1)).collect();
        Ok(Standing { sockets, listening, paths, query: RouteQuery::open()?, loopback })
    }

    /// Writes the flows of one interface.
    pub fn adopt(&mut self, connections: &Map, ifindex: u32, stamp: Stamp) -> Result<Adopted> {
        let mut adopted = Adopted::default();
        for position in 0..self.sockets.len() {
            let Some(socket) = self.sockets.get(position).copied() else { continue };
            let Some(remote) = socket.remote else { continue };
            if !self.leaves_through(&socket, remote, ifindex)? {
                continue;
            }
            let server = self.listening.contains(&(socket.protocol, socket.local.1));
            match connections.insert_new(&key(&socket, remote, ifindex), &flow(&socket, server, stamp))? {
                Some(true) => adopted.flows += 1,
                Some(false) => {}
                None => adopted.left_out += 1,
            }
        }
        Ok(adopted)
    }

    /// Whether what the socket sends leaves through the interface. The tables say it alone where they agree; else the kernel is asked.
    fn leaves_through(&mut self, socket: &Socket, remote: (IpAddr, u16), ifindex: u32) -> Result<bool> {
        if link_local(remote.0) {
            return Ok(socket.bound == ifindex);
        }
        match self.paths.lookup(remote.0) {
            Way::Out(links) if !links.contains(&ifindex) => return Ok(false),
            Way::Out(links) if links.len() == 1 && socket.bound == 0 => return Ok(true),
            Way::Out(_) => {}
            // An address of this host.
            Way::Refused if self.loopback != Some(ifindex) => return Ok(false),
            Way::Refused => {}
        }
        let Socket { protocol, local: source, bound, mark, uid, .. } = *socket;
        let leaving = Departure { protocol, source, destination: remote, bound, mark, uid };
        Ok(self.query.interface(&leaving)? == Some(ifindex))
    }
}

/// IPv6 addresses that mean something only together with an interface.
fn link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(address) if address.segments()[0] & 0xffc0 == 0xfe80)
}

fn key(socket: &Socket, remote: (IpAddr, u16), ifindex: u32) -> abi::np_flow_key {
    let (family, remote_address) = family_and_words(remote.0);
    abi::np_flow_key {
        ifindex,
        family,
        protocol: socket.protocol,
        remote_port: remote.1,
        local_port: socket.local.1,
        remote: remote_address,
        local: family_and_words(socket.local.0).1,
        ..Default::default()
    }
}

fn family_and_words(address: IpAddr) -> (u8, [u32; 4]) {
    match address {
        IpAddr::V4(address) => (4, [u32::from_ne_bytes(address.octets()), 0, 0, 0]),
        IpAddr::V6(address) => (6, words(address)),
    }
}

fn flow(socket: &Socket, server: bool, stamp: Stamp) -> abi::np_flow {
    let now = boot_time();
    let tcp = i32::from(socket.protocol) == libc::IPPROTO_TCP;
    abi::np_flow {
        seen: now,
        created: now,
        generation: stamp.generation,
        epoch: stamp.epoch,
        rule: abi::NP_NONE,
        state: if tcp { abi::NP_FLOW_ESTABLISHED } else { abi::NP_FLOW_ANSWERED } as u8,
        opener: if server { abi::NP_HOOK_INGRESS } else { abi::NP_HOOK_EGRESS } as u8,
        tcp_flags: if tcp { SYN } else { 0 },
        ..Default::default()
    }
}

/// Deletes every flow of an interface that is not under policy (an adoption is taken back).
pub fn forget(connections: &Map, ifindex: u32) -> Result<()> {
    connections.each_batch(&mut |keys: &[abi::np_flow_key], _flows: &[abi::np_flow]| {
        let of_link: Vec<abi::np_flow_key> = keys.iter().filter(|key| key.ifindex == ifindex).copied().collect();
        of_link.chunks(CHUNK).try_for_each(|chunk| connections.delete_all(chunk).map(|_count| ()))
    })
}
