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
use super::stacking::Stacking;
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

/// Routes, interfaces and sockets of one moment.
pub struct Standing {
    paths: ReversePaths,
    stacking: Stacking,
    query: RouteQuery,
    /// Asked for with the first interface that any route leads out of.
    sockets: Option<Sockets>,
}

/// Sockets by what they do.
struct Sockets {
    connected: Vec<(Socket, (IpAddr, u16))>,
    /// Protocols and ports at which somebody waits to be spoken to.
    listening: HashSet<(u8, u16)>,
}

impl Sockets {
    fn look() -> Result<Sockets> {
        let (mut connected, mut listening) = (Vec::new(), HashSet::new());
        for socket in sockets::list()? {
            match socket.remote {
                Some(remote) => connected.push((socket, remote)),
                None => {
                    listening.insert((socket.protocol, socket.local.1));
                }
            }
        }
        Ok(Sockets { connected, listening })
    }
}

impl Standing {
    /// Looks.
    pub fn look() -> Result<Standing> {
        let paths = ReversePaths::of(&route_tables::list()?);
        Ok(Standing { paths, stacking: Stacking::look()?, query: RouteQuery::open()?, sockets: None })
    }

    /// Writes the flows of one interface: of what leaves through it, and through what stands on it (VLAN devices, its bridge).
    pub fn adopt(&mut self, connections: &Map, ifindex: u32, stamp: Stamp) -> Result<Adopted> {
        let mut adopted = Adopted::default();
        let mut carried = self.stacking.carried_by(ifindex);
        carried.retain(|(upper, _)| self.paths.leads_out_of(*upper) || self.stacking.is_loopback(*upper));
        if carried.is_empty() {
            return Ok(adopted);
        }
        let sockets = match self.sockets.take() {
            Some(sockets) => sockets,
            None => Sockets::look()?,
        };
        for (upper, vlan) in carried {
            for (socket, remote) in &sockets.connected {
                if !self.leaves_through(socket, *remote, upper)? {
                    continue;
                }
                let server = sockets.listening.contains(&(socket.protocol, socket.local.1));
                let key = abi::np_flow_key { ifindex, vlan, ..key(socket, *remote) };
                match connections.insert_new(&key, &flow(socket, server, stamp))? {
                    Some(true) => adopted.flows += 1,
                    Some(false) => {}
                    None => adopted.left_out += 1,
                }
            }
        }
        self.sockets = Some(sockets);
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
            Way::Refused if !self.stacking.is_loopback(ifindex) => return Ok(false),
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

/// Without interface and tags.
fn key(socket: &Socket, remote: (IpAddr, u16)) -> abi::np_flow_key {
    let (family, remote_address) = family_and_words(remote.0);
    abi::np_flow_key {
        family,
        protocol: socket.protocol,
        remote_port: remote.1,
        local_port: socket.local.1,
        remote: remote_address,
        local: family_and_words(socket.local.0).1,
        ..Default::default()
    }
}

/// Family and address as flow keys hold them.
pub fn family_and_words(address: IpAddr) -> (u8, [u32; 4]) {
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

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::super::bpf::MapFacts;
    use super::super::lifecycle::{Bench, index, reach, ruleset};
    use super::super::tests::needs_root;
    use super::super::{Entry, Kernel, Shot, links};
    use super::*;
    use crate::compile::ruleset::DeviceKind;
    use crate::plan::Action;
    use crate::plan::action::Target;
    use crate::policy::model::{Adopt, Hook};

    const SECOND: u64 = 1_000_000_000;
    const STAMP: Stamp = Stamp { generation: 7, epoch: 3 };

    /// A map as `connections` is, with so much room.
    fn table(room: u32) -> Map {
        let value_size = size_of::<abi::np_flow>() as u32;
        Map::create("flows", MapFacts { kind: 1, key_size: 48, value_size, max_entries: room, flags: 0 }).unwrap()
    }

    /// Connections over the loopback device: each is two flows, one of each end.
    fn connections(count: usize) -> (TcpListener, Vec<(TcpStream, TcpStream)>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        let pairs = (0..count).map(|_| (TcpStream::connect(at).unwrap(), listener.accept().unwrap().0)).collect();
        (listener, pairs)
    }

    fn loopback() -> u32 {
        links::list().unwrap().values().find(|link| link.device() == Some(DeviceKind::Loopback)).unwrap().ifindex
    }

    #[test]
    fn both_ends_of_a_connection_over_the_loopback_device_become_flows_once() {
        needs_root!();
        let _bench = Bench::new("adopt-lo");
        assert!(std::process::Command::new("timeout").args(["5", "ip", "link", "set", "lo", "up"]).status().unwrap().success());
        let (listener, _pairs) = connections(3);
        let (table, lo) = (table(100), loopback());
        let mut standing = Standing::look().unwrap();
        assert_eq!(standing.adopt(&table, lo, STAMP).unwrap(), Adopted { flows: 6, left_out: 0 });
        let mut flows: Vec<(abi::np_flow_key, abi::np_flow)> = table.all().unwrap();
        let port = listener.local_addr().unwrap().port();
        for (key, flow) in &flows {
            let server = key.local_port == port;
            assert_eq!(u32::from(flow.opener), if server { abi::NP_HOOK_INGRESS } else { abi::NP_HOOK_EGRESS });
            assert_eq!((flow.generation, flow.epoch, flow.rule, u32::from(flow.state)), (7, 3, abi::NP_NONE, abi::NP_FLOW_ESTABLISHED));
        }
        // What is there is never touched, whoever made it.
        let (key, flow) = flows.remove(0);
        table.set(&key, &abi::np_flow { rule: 9, ..flow }).unwrap();
        let again = Stamp { generation: 8, epoch: 3 };
        assert_eq!(standing.adopt(&table, lo, again).unwrap(), Adopted::default());
        assert_eq!(table.get::<_, abi::np_flow>(&key).unwrap().map(|flow| (flow.rule, flow.generation)), Some((9, 7)));
        forget(&table, lo + 1).unwrap();
        assert_eq!(table.all::<abi::np_flow_key, abi::np_flow>().unwrap().len(), 6);
        forget(&table, lo).unwrap();
        assert!(table.all::<abi::np_flow_key, abi::np_flow>().unwrap().is_empty());
    }

    #[test]
    fn full_table_leaves_connections_out_and_says_how_many() {
        needs_root!();
        let _bench = Bench::new("adopt-full");
        assert!(std::process::Command::new("timeout").args(["5", "ip", "link", "set", "lo", "up"]).status().unwrap().success());
        let (_listener, _pairs) = connections(5);
        let (table, lo) = (table(4), loopback());
        let adopted = Standing::look().unwrap().adopt(&table, lo, STAMP).unwrap();
        assert_eq!((adopted.flows, adopted.left_out), (4, 6));
    }

    /// A segment in the middle of a connection (ACK).
    fn segment(kernel: &Kernel, port: u16) -> u32 {
        let mut bytes = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0];
        bytes.extend([0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6, 0, 0, 10, 0, 0, 2, 10, 0, 0, 1]);
        bytes.extend(port.to_be_bytes());
        bytes.extend([0, 80, 0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x10, 1, 0, 0, 0, 0, 0]);
        let entry = Entry::Tc(DeviceKind::Ethernet, Hook::Ingress);
        kernel.test_run(Shot { entry, ifindex: index(kernel, "np0"), bytes: &bytes, gso_size: 0 }).unwrap().verdict
    }

    #[test]
    fn mid_stream_segments_open_flows_for_a_minute_and_not_longer() {
        needs_root!();
        const SHOT: u32 = 2;
        let bench = Bench::new("adopt-window");
        let mut kernel = bench.open();
        let mut wanted = ruleset(&kernel, abi::NP_ALLOW, &["np0"]);
        wanted.core.adopt = Adopt::All;
        reach(&mut kernel, &wanted);
        let ifindex = index(&kernel, "np0");
        let record = kernel.observe().unwrap().records[&(1, ifindex)];
        let left = record.adopt_until.saturating_sub(boot_time());
        assert!((50 * SECOND..=60 * SECOND).contains(&left), "{left} ns");
        assert_ne!(segment(&kernel, 1), SHOT, "the rules allow it");

        // As if the minute were over.
        let link = Target { ifindex, name: "np0".into() };
        let past = abi::np_link { adopt_until: boot_time() - SECOND, ..record };
        let late = [Action::WriteRecord { generation: 1, link, record: past, xdp: false, before: Some(record) }];
        kernel.execute(&wanted, &Default::default(), &late).unwrap();
        assert_eq!(segment(&kernel, 2), SHOT, "no flow, and none may be opened any more");
        assert_ne!(segment(&kernel, 1), SHOT, "the one that was opened in time goes on");
        // The record is as it should be, and the next generation has no minute of its own.
        assert_eq!(crate::plan::plan(&wanted, &kernel.observe().unwrap()), []);
        wanted.core.slot.flags = abi::NP_SLOT_KEEP;
        reach(&mut kernel, &wanted);
        assert_eq!(segment(&kernel, 3), SHOT);
    }
}
