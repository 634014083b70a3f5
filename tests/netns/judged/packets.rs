//! Random packets out of a small world, so that flows, answers, errors and fragments meet. Every packet is like no other, so that it
//! is known again where it comes out.

use std::net::{IpAddr, SocketAddr};

use netpol_tests::packet_l4::unique;
use netpol_tests::{Family, Hook, Packet, flags};

use super::random::Random;

/// Packets of one batch, besides those of standing connections.
const BATCH: usize = 16;
const SERVICES: [u16; 4] = [22, 53, 80, 443];
const CLIENTS: [u16; 2] = [1000, 40000];
/// Another station than the bench's own sender.
pub const OTHER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0x97];

/// A TCP connection between two hosts, as it should be.
struct Connection {
    opener: Hook,
    client: SocketAddr,
    server: SocketAddr,
    /// Segments so far; even ones are the client's.
    step: u32,
}

impl Connection {
    /// The next segment, if it is for that hook.
    fn next(&mut self, hook: Hook) -> Option<Packet> {
        let from_client = self.step % 2 == 0;
        if (hook == self.opener) != from_client {
            return None;
        }
        let (from, to) = if from_client { (self.client, self.server) } else { (self.server, self.client) };
        let (own, other) = if from_client { (100, 200) } else { (200, 100) };
        let flags = match self.step {
            0 => flags::SYN,
            1 => flags::SYN | flags::ACK,
            _ => flags::ACK,
        };
        let ack = if self.step == 0 { 0 } else { other + 1 };
        let seq = if self.step < 2 { own } else { own + 1 };
        self.step += 1;
        Some(Packet::tcp_with(from, to, flags, seq, ack, &unique().to_be_bytes()))
    }
}

/// What goes on between the hosts.
pub struct Traffic {
    connections: Vec<Connection>,
    /// Lately sent to each hook.
    recent: [Vec<Packet>; 2],
}

/// Hosts beyond `left`, and hosts on this side of it.
fn ends(random: &mut Random, family: Family) -> (IpAddr, IpAddr) {
    let (net, host) = random.pick(&[(1, 2), (1, 2), (1, 3), (2, 2)]);
    (family.host(net, host), family.host(1, random.pick(&[1, 1, 4])))
}

impl Traffic {
    pub fn new(random: &mut Random) -> Traffic {
        let connection = |number: u16| {
            let family = random.pick(&Family::BOTH);
            let (remote, local) = ends(random, family);
            let opener = random.pick(&Hook::BOTH);
            let (client, server) = if opener == Hook::Ingress { (remote, local) } else { (local, remote) };
            let server = SocketAddr::new(server, random.pick(&SERVICES));
            Connection { opener, client: SocketAddr::new(client, 5000 + number), server, step: 0 }
        };
        Traffic { connections: (0..8).map(connection).collect(), recent: [Vec::new(), Vec::new()] }
    }

    /// Packets for one hook, in order.
    pub fn batch(&mut self, random: &mut Random, hook: Hook) -> Vec<Packet> {
        let mut packets: Vec<Packet> = self.connections.iter_mut().filter_map(|connection| connection.next(hook)).collect();
        while packets.len() < BATCH {
            let mut new = self.some(random, hook);
            if random.percent(8) {
                new = new.into_iter().map(|packet| tagged(random, packet)).collect();
            }
            if random.percent(10) {
                new = new.into_iter().map(|packet| packet.from_mac(OTHER_MAC)).collect();
            }
            packets.extend(new);
        }
        for connection in self.connections.iter_mut().filter(|connection| connection.step > 6) {
            connection.step = random.pick(&[0, connection.step]);
        }
        self.recent[index(hook)] = packets.clone();
        packets
    }

    fn some(&self, random: &mut Random, hook: Hook) -> Vec<Packet> {
        let family = random.pick(&Family::BOTH);
        let (remote, local) = ends(random, family);
        let (source, destination) = if hook == Hook::Ingress { (remote, local) } else { (local, remote) };
        let (client, service) = (random.pick(&CLIENTS), random.pick(&SERVICES));
        let (sport, dport) = if random.percent(60) { (client, service) } else { (service, client) };
        let (from, to) = (SocketAddr::new(source, sport), SocketAddr::new(destination, dport));
        match random.below(14) {
            0..=2 => vec![Packet::udp(from, to)],
            3 | 4 => vec![Packet::tcp_with(from, to, flags::SYN, 100, 0, &unique().to_be_bytes())],
            5 => {
                let set =
                    random.pick(&[flags::ACK, flags::SYN | flags::ACK, flags::RST, flags::FIN | flags::ACK, 0, flags::SYN | flags::FIN]);
                vec![Packet::tcp_with(from, to, set, 101, 201, &unique().to_be_bytes())]
            }
            6 => {
                let kind = random.pick(&[family.echo().0, family.echo().0, family.echo().1]);
                vec![Packet::echo(source, destination, kind, random.pick(&[1, 2]))]
            }
            7 => {
                let kinds: &[u8] = if family == Family::V4 { &[5, 9, 13, 14, 17, 30] } else { &[130, 137, 139, 140, 150, 100] };
                vec![Packet::icmp(source, destination, (random.pick(kinds), 0), unique().to_be_bytes(), &[0; 20])]
            }
            8 => self.error(random, hook, source).into_iter().collect(),
            9 => vec![Packet::sctp(from, to, random.pick(&[1, 1, 0, 10])), Packet::dccp(from, to), Packet::udplite(from, to)],
            10 => vec![Packet::ip(source, destination, random.pick(&[47, 50, 2, 253]), &unique().to_be_bytes().repeat(3))],
            11 => fragments(random, from, to),
            12 => vec![lying(random, Packet::udp(from, to))],
            _ => {
                let ethertype = random.pick(&[0x888E, 0x88CC, 0x8863, 0x9000]);
                vec![Packet::other(ethertype, &unique().to_be_bytes().repeat(12))]
            }
        }
    }

    /// An ICMP error about something that passed the other hook, or seemed to.
    fn error(&self, random: &mut Random, hook: Hook, from: IpAddr) -> Option<Packet> {
        let recent = &self.recent[1 - index(hook)];
        let quoted = recent.get(random.below(recent.len()))?;
        let l3 = quoted.l3();
        let (sender, kind): (IpAddr, _) = match (l3.first()? >> 4, quoted.protocol_on_wire()) {
            (4, 0x0800) => (<[u8; 4]>::try_from(l3.get(12..16)?).ok()?.into(), (3, 1)),
            (6, 0x86DD) => (<[u8; 16]>::try_from(l3.get(8..24)?).ok()?.into(), (1, 3)),
            _ => return None,
        };
        (sender.is_ipv4() == from.is_ipv4()).then(|| Packet::icmp_error(from, sender, kind, quoted))
    }
}

fn index(hook: Hook) -> usize {
    if hook == Hook::Ingress { 0 } else { 1 }
}

fn tagged(random: &mut Random, packet: Packet) -> Packet {
    match random.below(4) {
        0 => packet.vlan(9),
        1 => packet.tag(0x88A8, 7).vlan(8),
        2 => packet.vlan(0),
        _ => packet.vlan(7),
    }
}

/// A datagram in two pieces, whole or not, in order or not.
fn fragments(random: &mut Random, from: SocketAddr, to: SocketAddr) -> Vec<Packet> {
    let whole = Packet::udp_with(from, to, &unique().to_be_bytes().repeat(10));
    let id = unique();
    let mut pieces = vec![whole.piece(id, 0, 24), whole.piece(id, 24, 48)];
    if random.percent(30) {
        pieces.swap(0, 1);
    }
    if random.percent(30) {
        pieces.remove(random.below(2));
    }
    pieces
}

/// A header that is not as it should be.
fn lying(random: &mut Random, packet: Packet) -> Packet {
    match random.below(5) {
        0 => packet.version(5),
        1 => packet.length(3000),
        2 => packet.cut(24),
        3 => packet.ttl(1),
        _ => packet.options(&[131, 3, 4, 0]),
    }
}
