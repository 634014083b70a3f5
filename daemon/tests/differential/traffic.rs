//! Random frames out of a small world, so that flows, answers, errors and fragments meet; and changes of dynamic sets between them.

mod disturb;
mod odd;

use std::net::IpAddr;

use netpol_ebpf::policy::model::Hook;

use crate::bench::LINKS;
use crate::frame::*;
use crate::random::Random;
use crate::scenario::{Event, Life, Shot};
use disturb::disturb;
use odd::{neighbours, odd_ethernet, odd_ip};

/// Bytes 12 and 13 of an IP packet from these addresses (2 to 5 of an IPv6 source) read as its EtherType, which is what a test run on
/// a device without link header needs.
const REMOTE4: [&str; 3] = ["8.0.0.1", "8.0.0.2", "8.0.0.77"];
const LOCAL4: [&str; 2] = ["8.0.1.1", "8.0.1.2"];
const REMOTE6: [&str; 3] = ["2001:db8:86dd::1", "2001:db8:86dd::2", "2001:db8:86dd::77"];
const LOCAL6: [&str; 2] = ["2001:db8:86dd:1::1", "fe80::1"];
/// Names of the dynamic sets, and what may be put into them.
pub const DYNAMIC: [&str; 3] = ["x", "y", "z"];
const MEMBERS: [&str; 9] = [
    "8.0.0.0/24",
    "8.0.0.1/32",
    "8.0.0.2/32",
    "8.0.1.0/31",
    "0.0.0.0/0",
    "2001:db8:86dd::/64",
    "2001:db8:86dd::1/128",
    "2001:db8:86dd:1::1/128",
    "fe80::/10",
];
const SERVICES: [u16; 4] = [22, 53, 80, 443];
const CLIENTS: [u16; 2] = [1000, 40000];
const VIDS: [&[(u16, u16)]; 9] = [
    &[(CTAG, 7)],
    &[(CTAG, 7)],
    &[(STAG, 7), (CTAG, 8)],
    &[(CTAG, 9)],
    &[(CTAG, 0x6000)],
    &[(CTAG, 0), (CTAG, 7)],
    &[(CTAG, 7), (CTAG, 0), (STAG, 8)],
    &[(CTAG, 7), (CTAG, 8), (CTAG, 9)],
    &[(CTAG, 0), (CTAG, 0), (CTAG, 0), (CTAG, 7)],
];
/// Sequence numbers that both ends may begin with.
const ISN: [u32; 2] = [100, 0xFFFF_FFFE];

/// Who talks to whom, over which interface.
#[derive(Clone)]
struct Talk {
    /// What the frames say who sent them.
    mac: [u8; 6],
    link: usize,
    tags: Vec<(u16, u16)>,
    /// The hook of what `here` sends.
    hook: Hook,
    here: (IpAddr, u16),
    there: (IpAddr, u16),
}

impl Talk {
    fn new(random: &mut Random) -> Talk {
        // Mostly where XDP can be.
        let link = if random.percent(40) { random.below(4) } else { random.below(LINKS.len()) };
        let tags = if random.percent(12) { random.pick(&VIDS).to_vec() } else { Vec::new() };
        let hook = random.pick(&[Hook::Ingress, Hook::Egress]);
        let (remote, local): (IpAddr, IpAddr) = if random.percent(60) {
            (random.pick(&REMOTE4).parse().unwrap(), random.pick(&LOCAL4).parse().unwrap())
        } else {
            (random.pick(&REMOTE6).parse().unwrap(), random.pick(&LOCAL6).parse().unwrap())
        };
        let (here, there) = if hook == Hook::Ingress { (remote, local) } else { (local, remote) };
        let there_port = random.pick(&SERVICES);
        let here_port = if random.percent(10) { there_port } else { random.pick(&CLIENTS) };
        let mac = random.pick(&[MAC, MAC, MAC, OTHER_MAC]);
        Talk { mac, link, tags, hook, here: (here, here_port), there: (there, there_port) }
    }

    fn is_v4(&self) -> bool {
        self.here.0.is_ipv4()
    }

    fn turned(&self) -> Talk {
        Talk { hook: self.hook.opposite(), here: self.there, there: self.here, ..self.clone() }
    }

    fn ports(&self) -> (u16, u16) {
        (self.here.1, self.there.1)
    }

    fn packet(&self, protocol: u8, header: &Ip, payload: &[u8]) -> Vec<u8> {
        ip(self.here.0, self.there.0, protocol, header, payload)
    }

    fn shot(&self, packet: Vec<u8>) -> Shot {
        let ethertype = if packet.first().is_some_and(|byte| byte >> 4 == 6) { IPV6 } else { IPV4 };
        let bytes = if LINKS[self.link].starts_with('t') { packet } else { sent_by(self.mac, ethernet(&self.tags, ethertype, &packet)) };
        Shot { link: self.link, hook: self.hook, bytes, gso: false, before: Vec::new() }
    }

    fn send(&self, protocol: u8, payload: &[u8]) -> Shot {
        self.shot(self.packet(protocol, &Ip::default(), payload))
    }
}

/// About that many frames.
pub fn shots(random: &mut Random, about: usize) -> Vec<Shot> {
    let mut shots: Vec<Shot> = Vec::new();
    while shots.len() < about {
        let talk = Talk::new(random);
        let mut new = match random.below(18) {
            0..=3 => conversation(random, &talk),
            4 | 5 => segments(random, &talk),
            6 | 7 => datagrams(random, &talk),
            8 => echo(random, &talk),
            9 => vec![message(random, &talk)],
            10 => essential(random, &talk),
            11 | 12 => fragments(random, &talk),
            13 => vec![odd_ip(random, &talk)],
            14 => vec![odd_ethernet(random, &talk)],
            15 => neighbours(random, &talk),
            16 => flood(random, &talk),
            _ => shots.get(random.below(shots.len())).cloned().into_iter().collect(),
        };
        disturb(random, &mut new);
        // What is said to an error is taken from what was said lately.
        let recent = shots.len().saturating_sub(20);
        if random.percent(25) {
            if let Some(quoted) = new.last().or(shots[recent..].first()).cloned() {
                new.extend(error(random, &quoted));
            }
        }
        if let Some(first) = new.first_mut().filter(|_| random.percent(3)) {
            first.before.push(change(random));
        }
        shots.extend(new);
    }
    shots
}

/// Another content of a dynamic set.
fn change(random: &mut Random) -> Event {
    let mut elements = random.some(&MEMBERS, 4);
    if random.percent(20) {
        elements.clear();
    }
    let lives = [Life::Forever, Life::Long, Life::Long, Life::Over];
    Event::Set(random.pick(&DYNAMIC), elements.into_iter().map(|net| (net, random.pick(&lives))).collect())
}

/// Openers in quick succession, from one host or from its neighbours in the same /64.
fn flood(random: &mut Random, talk: &Talk) -> Vec<Shot> {
    let protocol = random.pick(&[TCP, TCP, UDP]);
    let mut shots = Vec::new();
    for number in 0..2 + random.below(5) {
        let mut talk = talk.clone();
        talk.here.1 = 2000 + number as u16;
        if talk.hook == Hook::Ingress && random.percent(30) {
            talk.here.0 = if talk.is_v4() { random.pick(&REMOTE4) } else { random.pick(&REMOTE6) }.parse().unwrap();
        }
        let payload = if protocol == TCP { tcp(talk.ports(), SYN, 100, 0, b"") } else { ports(talk.ports(), 8) };
        shots.push(talk.send(protocol, &payload));
    }
    shots
}

/// A connection as it should be, more or less.
fn conversation(random: &mut Random, talk: &Talk) -> Vec<Shot> {
    let (back, isn, other) = (talk.turned(), random.pick(&ISN), 200u32);
    let (mine, theirs) = (isn.wrapping_add(1), other + 1);
    let from_here =
        |flags, sequence, acknowledgement, data: &[u8]| talk.send(TCP, &tcp(talk.ports(), flags, sequence, acknowledgement, data));
    let from_there =
        |flags, sequence, acknowledgement, data: &[u8]| back.send(TCP, &tcp(back.ports(), flags, sequence, acknowledgement, data));
    let mut shots = vec![from_here(SYN, isn, 0, b""), from_there(SYN | ACK, other, mine, b""), from_here(ACK, mine, theirs, b"")];
    if random.percent(60) {
        shots.push(from_here(ACK | PSH, mine, theirs, b"hello"));
        shots.push(from_there(ACK, theirs, mine.wrapping_add(5), b""));
    }
    let mine = if shots.len() == 5 { mine.wrapping_add(5) } else { mine };
    match random.below(6) {
        0 => {
            shots.push(from_here(FIN | ACK, mine, theirs, b""));
            shots.push(from_there(FIN | ACK, theirs, mine.wrapping_add(1), b""));
            shots.push(from_here(ACK, mine.wrapping_add(1), theirs + 1, b""));
        }
        1 => {
            shots.push(from_there(FIN | ACK, theirs, mine, b"bye"));
            shots.push(from_here(ACK, mine, theirs + 4, b""));
        }
        2 => shots.push(from_here(RST, mine, 0, b"")),
        // Near what the other side waits for and has sent.
        3 => {
            let (ahead, behind) = (random.pick(&[0, 1, 65_535, 65_536]), random.pick(&[0, 1, 65_535, 65_536, u32::MAX]));
            shots.push(from_there(RST | ACK, theirs.wrapping_add(ahead), mine.wrapping_sub(behind), b""));
        }
        _ => {}
    }
    shots
}

/// Segments with any flags and with numbers that might fit.
fn segments(random: &mut Random, talk: &Talk) -> Vec<Shot> {
    let mut shots = Vec::new();
    for _ in 0..1 + random.below(5) {
        let talk = if random.percent(50) { talk.clone() } else { talk.turned() };
        let usual = [SYN, SYN | ACK, ACK, ACK, FIN | ACK, RST, RST | ACK, SYN | FIN, SYN | ACK | RST, FIN, 0, SYN | RST, SYN | ACK | FIN];
        let flags = if random.percent(85) { random.pick(&usual) } else { random.byte() };
        let numbers = [100, 101, 102, 106, 107, 200, 201, 202, 0xFFFF_FFFF, 0];
        let data: &[u8] = random.pick(&[&b""[..], b"", b"data!"]);
        shots.push(talk.send(TCP, &tcp(talk.ports(), flags, random.pick(&numbers), random.pick(&numbers), data)));
    }
    shots
}

fn datagrams(random: &mut Random, talk: &Talk) -> Vec<Shot> {
    let protocol = random.pick(&[UDP, UDP, UDP, UDPLITE, DCCP, SCTP, SCTP, 47, 50, 51, 2, 0xFD]);
    let mut shots = Vec::new();
    for _ in 0..1 + random.below(4) {
        let talk = if random.percent(60) { talk.clone() } else { talk.turned() };
        let payload = match protocol {
            SCTP => sctp(talk.ports(), random.pick(&[1, 1, 2, 0, 10])),
            DCCP => ports(talk.ports(), 12),
            UDP | UDPLITE => ports(talk.ports(), 8 + random.below(5)),
            _ => vec![random.byte(); random.below(12)],
        };
        shots.push(talk.send(protocol, &payload));
    }
    shots
}

fn echo(random: &mut Random, talk: &Talk) -> Vec<Shot> {
    let (protocol, pairs): (u8, &[(u8, u8)]) = if talk.is_v4() {
        (ICMP, &[(8, 0), (8, 0), (13, 14), (15, 16), (17, 18)])
    } else {
        (ICMPV6, &[(128, 129), (128, 129), (139, 140)])
    };
    let ((request, answer), identifier) = (random.pick(pairs), random.pick(&[1, 2]));
    let mut shots = Vec::new();
    for _ in 0..1 + random.below(3) {
        let talk = if random.percent(70) { talk.clone() } else { talk.turned() };
        let (there, back) = (icmp(request, random.pick(&[0, 0, 1]), identifier, b"ping"), icmp(answer, 0, identifier, b"ping"));
        if random.percent(70) {
            shots.push(talk.send(protocol, &there));
        }
        if random.percent(70) {
            shots.push(talk.turned().send(protocol, &back));
        }
    }
    shots
}

/// Any ICMP message.
fn message(random: &mut Random, talk: &Talk) -> Shot {
    let protocol = if talk.is_v4() == random.percent(95) { ICMP } else { ICMPV6 };
    let types = [3, 4, 5, 9, 10, 11, 12, 30, 40, 0, 8, 1, 2, 127, 100, 129, 130, 133, 137, 138, 141, 150, 255];
    let header = Ip { hop_limit: random.pick(&[64, 255]), ..Ip::default() };
    let rest = vec![0x45; random.below(60)];
    talk.shot(talk.packet(protocol, &header, &icmp(random.pick(&types), random.below(3) as u8, 1, &rest)))
}

/// An error that quotes a packet, true or nearly so.
fn error(random: &mut Random, quoted: &Shot) -> Option<Shot> {
    let raw = LINKS[quoted.link].starts_with('t');
    let start = if raw { 0 } else { quoted.bytes.windows(2).position(|two| two == [8, 0] || two == [0x86, 0xDD])? + 2 };
    let tags: Vec<(u16, u16)> = if raw { Vec::new() } else { quoted.bytes.get(12..start - 2)?.chunks_exact(4).map(tag).collect() };
    let mut quote = quoted.bytes.get(start..)?.to_vec();
    if random.percent(20) {
        quote.truncate(random.below(quote.len() + 1));
    } else if random.percent(20) && !quote.is_empty() {
        let at = random.below(quote.len().min(60));
        quote[at] ^= 1 << random.below(8);
    }
    let v4 = quote.first()? >> 4 == 4;
    let address = |bytes: &[u8]| -> Option<IpAddr> {
        if v4 {
            Some(IpAddr::from(<[u8; 4]>::try_from(bytes.get(12..16)?).ok()?))
        } else {
            Some(IpAddr::from(<[u8; 16]>::try_from(bytes.get(8..24)?).ok()?))
        }
    };
    let (locals, remotes): (&[&str], &[&str]) = if v4 { (&LOCAL4, &REMOTE4) } else { (&LOCAL6, &REMOTE6) };
    let hook = if random.percent(90) { quoted.hook.opposite() } else { quoted.hook };
    let sender = random.pick(if hook == Hook::Ingress { remotes } else { locals }).parse().unwrap();
    let receiver = if random.percent(90) { address(&quote)? } else { random.pick(locals).parse().unwrap() };
    let (protocol, types): (u8, &[u8]) = if v4 { (ICMP, &[3, 3, 4, 11, 12]) } else { (ICMPV6, &[1, 2, 3, 4, 99]) };
    let packet = ip(sender, receiver, protocol, &Ip::default(), &icmp(random.pick(types), 1, 0, &quote));
    let ethertype = if v4 { IPV4 } else { IPV6 };
    let bytes = if raw { packet } else { ethernet(&tags, ethertype, &packet) };
    Some(Shot { link: quoted.link, hook, bytes, gso: false, before: Vec::new() })
}

fn tag(bytes: &[u8]) -> (u16, u16) {
    (u16::from_be_bytes([bytes[0], bytes[1]]), u16::from_be_bytes([bytes[2], bytes[3]]))
}

/// DHCP, neighbour discovery, router advertisements, MLD.
fn essential(random: &mut Random, talk: &Talk) -> Vec<Shot> {
    let mut talk = talk.clone();
    if random.percent(70) {
        talk.tags.clear();
    }
    if talk.is_v4() {
        if random.percent(40) {
            talk.here.0 = "0.0.0.0".parse().unwrap();
        }
        if random.percent(40) {
            talk.there.0 = "255.255.255.255".parse().unwrap();
        }
        let (client, server) = (68, 67);
        let between = random.pick(&[(client, server), (server, client), (client, client)]);
        return vec![talk.send(UDP, &ports(between, 16))];
    }
    if random.percent(40) {
        talk.here.0 = random.pick(&["::", "fe80::1", "fe80::2"]).parse().unwrap();
    }
    if random.percent(60) {
        talk.there.0 = random.pick(&["ff02::1", "ff02::16", "fe80::3"]).parse().unwrap();
    }
    if random.percent(25) {
        return vec![talk.send(UDP, &ports(random.pick(&[(546, 547), (547, 546), (546, 546)]), 16))];
    }
    let icmp_type = random.pick(&[130, 131, 132, 133, 134, 135, 136, 137, 143]);
    let fragment = random.percent(10).then(|| (7, 0, random.percent(50)));
    let header = Ip { hop_limit: random.pick(&[255, 255, 255, 64, 1, 1]), fragment, ..Ip::default() };
    vec![talk.shot(talk.packet(ICMPV6, &header, &icmp(icmp_type, random.pick(&[0, 0, 0, 1]), 0, &[0; 16])))]
}

/// A datagram in pieces, in any order, some of them twice, some of them contradicting each other.
fn fragments(random: &mut Random, talk: &Talk) -> Vec<Shot> {
    let protocol = if talk.is_v4() { random.pick(&[UDP, TCP, ICMP, 47]) } else { random.pick(&[UDP, TCP, ICMPV6, 47]) };
    let id = random.pick(&[1, 2, 0x1_0001]);
    let mut shots = Vec::new();
    for _ in 0..1 + random.below(4) {
        let talk = if random.percent(90) { talk.clone() } else { talk.turned() };
        let offset = random.pick(&[0, 0, 24, 24, 8, 16, 1400]);
        let more = random.percent(if offset == 0 { 90 } else { 40 });
        let whole = match protocol {
            TCP => tcp(talk.ports(), random.pick(&[SYN, SYN, ACK]), 100, 0, b"more"),
            UDP => ports(talk.ports(), 24),
            ICMP => icmp(8, 0, 1, &[0; 16]),
            ICMPV6 => icmp(128, 0, 1, &[0; 16]),
            _ => vec![0; 24],
        };
        let mut payload = if offset == 0 { whole } else { vec![1; random.below(24)] };
        if random.percent(15) {
            payload.truncate(random.below(24));
        } else if random.percent(15) && !payload.is_empty() {
            let at = random.below(payload.len().min(24));
            payload[at] ^= 1 << random.below(8);
        }
        let header = Ip { fragment: Some((id, offset, more)), ..Ip::default() };
        if !talk.is_v4() && random.percent(25) {
            // Another extension header behind the fragment header.
            let mut behind = extension(protocol, 0, 0);
            behind.extend(payload);
            shots.push(talk.shot(talk.packet(60, &header, &behind)));
        } else {
            shots.push(talk.shot(talk.packet(protocol, &header, &payload)));
        }
    }
    shots
}
