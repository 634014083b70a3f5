//! Tears at frames: every byte may be another, every header may be missing, doubled or a stranger's, every length may lie.
//!
//! Knows where headers stand in a frame that is more or less good. Knows nothing of what is thought of the result.

use crate::bench::LINKS;
use crate::frame::*;
use crate::random::Random;
use crate::scenario::Shot;

/// Values at which comparisons go wrong.
const EDGES: [u8; 12] = [0, 1, 2, 4, 7, 8, 20, 0x7F, 0x80, 0xF0, 0xFE, 0xFF];
/// Protocols and extension headers that mean something to somebody.
const PROTOCOLS: [u8; 22] = [0, 1, 2, 4, 6, 17, 33, 41, 43, 44, 47, 50, 51, 58, 59, 60, 132, 135, 136, 139, 140, 255];
const ETHERTYPES: [u16; 14] = [IPV4, IPV6, ARP, CTAG, STAG, 0x9100, 0x888E, 0x88CC, 0x8863, 0x8864, 0x0600, 0x05FF, 46, 0];
const TCIS: [u16; 8] = [0, 7, 8, 9, 4095, 0xE007, 0x1000, 0xF000];
/// IPv4 addresses that stand for something.
const SPECIAL4: [[u8; 4]; 9] =
    [[127, 0, 0, 1], [0; 4], [255; 4], [224, 0, 0, 1], [8, 0, 1, 1], [8, 0, 0, 1], [8, 0, 0, 77], [240, 0, 0, 1], [169, 254, 0, 7]];
/// Last and first bytes of IPv6 addresses that stand for something.
const SPECIAL6: [(u8, u8); 6] = [(0, 1), (0, 0), (0xFF, 1), (0xFE, 1), (0xFD, 1), (0, 2)];

/// Where headers stand. The offsets lie within the frame or at its end.
struct Layout {
    /// Ethernet's EtherType field, of the outermost tag if there is one; `None` on a device without.
    ethertype: Option<usize>,
    ip: usize,
    v6: bool,
    /// The first extension header of IPv6, L4 otherwise.
    behind_ip: usize,
    l4: usize,
    protocol: u8,
}

impl Layout {
    /// `None`: no IP in it.
    fn of(shot: &Shot) -> Option<Layout> {
        let bytes = &shot.bytes;
        let raw = LINKS[shot.link].starts_with('t');
        let mut ip = 0;
        if !raw {
            ip = 14;
            while matches!(bytes.get(ip - 2..ip)?, [0x81, 0x00] | [0x88, 0xA8]) {
                ip += 4;
            }
            if !matches!(bytes.get(ip - 2..ip)?, [0x08, 0x00] | [0x86, 0xDD]) {
                return None;
            }
        }
        let ethertype = (!raw).then_some(12);
        let first = *bytes.get(ip)?;
        if first >> 4 == 6 {
            let (mut next, mut at) = (*bytes.get(ip + 6)?, ip + 40);
            while matches!(next, 0 | 43 | 44 | 60 | 135 | 139 | 140) && at + 2 <= bytes.len() {
                let size = if next == 44 { 8 } else { (usize::from(bytes[at + 1]) + 1) * 8 };
                (next, at) = (bytes[at], at + size);
            }
            let end = bytes.len();
            return Some(Layout { ethertype, ip, v6: true, behind_ip: (ip + 40).min(end), l4: at.min(end), protocol: next });
        }
        let l4 = (ip + usize::from(first & 15) * 4).min(bytes.len());
        Some(Layout { ethertype, ip, v6: false, behind_ip: l4, l4, protocol: *bytes.get(ip + 9)? })
    }
}

/// Tears at one frame. `others` lend pieces.
pub fn mutate(random: &mut Random, shot: &mut Shot, others: &[Shot]) {
    for _ in 0..1 + random.below(3) {
        let layout = Layout::of(shot);
        match (random.below(16), layout) {
            (0 | 1, _) => flip(random, &mut shot.bytes),
            (2, _) => shot.bytes.truncate(random.below(shot.bytes.len() + 1)),
            (3, _) => shot.bytes.extend((0..random.below(64)).map(|at| at as u8)),
            (4, Some(layout)) => lie(random, &mut shot.bytes, &layout),
            (5, Some(layout)) => protocol(random, &mut shot.bytes, &layout),
            (6, Some(layout)) => l4(random, &mut shot.bytes, &layout),
            (7, Some(layout)) => addresses(random, &mut shot.bytes, &layout),
            (8, Some(layout)) => fragment(random, &mut shot.bytes, &layout),
            (9, Some(layout)) => headers(random, &mut shot.bytes, &layout),
            (10, Some(layout)) => wrap(random, &mut shot.bytes, &layout),
            (11, Some(layout)) => checksums(random, &mut shot.bytes, &layout),
            (12, Some(layout)) => without(random, &mut shot.bytes, &layout),
            (13, layout) => tags(random, &mut shot.bytes, layout.as_ref()),
            (14, _) => {
                let other = &others[random.below(others.len())];
                splice(random, &mut shot.bytes, &other.bytes);
            }
            _ => edges(random, &mut shot.bytes),
        }
    }
    if random.percent(50) {
        if let Some(layout) = Layout::of(shot) {
            mend_length(&mut shot.bytes, &layout);
        }
    }
    shot.gso = random.percent(2);
    if random.percent(3) {
        shot.hook = shot.hook.opposite();
    }
}

/// Somewhere in the headers, mostly.
fn place(random: &mut Random, bytes: &[u8]) -> Option<usize> {
    let end = if random.percent(80) { bytes.len().min(100) } else { bytes.len() };
    (end > 12).then(|| 12 + random.below(end - 12))
}

fn flip(random: &mut Random, bytes: &mut [u8]) {
    if let Some(at) = place(random, bytes) {
        bytes[at] ^= 1 << random.below(8);
    }
}

fn edges(random: &mut Random, bytes: &mut [u8]) {
    if let Some(at) = place(random, bytes) {
        bytes[at] = random.pick(&EDGES);
    }
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    if let Some(place) = bytes.get_mut(at..at + value.len()) {
        place.copy_from_slice(value);
    }
}

/// The length of the IP packet as it is.
fn mend_length(bytes: &mut [u8], layout: &Layout) {
    let there = bytes.len() - layout.ip.min(bytes.len());
    if layout.v6 {
        put(bytes, layout.ip + 4, &(there.saturating_sub(40) as u16).to_be_bytes());
    } else {
        put(bytes, layout.ip + 2, &(there as u16).to_be_bytes());
    }
}

/// Lengths: of the packet, of its headers, of what L4 says of itself.
fn lie(random: &mut Random, bytes: &mut [u8], layout: &Layout) {
    let near = |random: &mut Random, true_one: usize| match random.below(5) {
        0 => 0,
        1 => 0xFFFF,
        2 => true_one.wrapping_sub(1 + random.below(24)) as u16,
        _ => true_one.wrapping_add(random.below(24)) as u16,
    };
    let there = bytes.len() - layout.ip.min(bytes.len());
    match random.below(5) {
        0 | 1 if layout.v6 => {
            let length = near(random, there.saturating_sub(40));
            put(bytes, layout.ip + 4, &length.to_be_bytes());
        }
        0 | 1 => {
            let length = near(random, there);
            put(bytes, layout.ip + 2, &length.to_be_bytes());
        }
        2 if layout.v6 => put(bytes, layout.behind_ip + 1, &[random.pick(&[0, 1, 2, 7, 255])]),
        2 => put(bytes, layout.ip, &[0x40 | random.below(16) as u8]),
        3 if layout.protocol == TCP => put(bytes, layout.l4 + 12, &[(random.below(16) as u8) << 4]),
        _ => {
            let length = near(random, bytes.len() - layout.l4);
            put(bytes, layout.l4 + 4, &length.to_be_bytes());
        }
    }
}

fn protocol(random: &mut Random, bytes: &mut [u8], layout: &Layout) {
    let at = match (layout.v6, random.below(2)) {
        (false, _) => layout.ip + 9,
        (true, 0) => layout.ip + 6,
        (true, _) => layout.behind_ip,
    };
    let number = if random.percent(80) { random.pick(&PROTOCOLS) } else { random.byte() };
    put(bytes, at, &[number]);
}

/// Ports, flags, numbers, types.
fn l4(random: &mut Random, bytes: &mut [u8], layout: &Layout) {
    match random.below(5) {
        0 => put(bytes, layout.l4, &random.pick(&[22u16, 53, 54, 80, 0, 65535, 1000]).to_be_bytes()),
        1 => put(bytes, layout.l4 + 2, &random.pick(&[22u16, 53, 54, 80, 0, 65535, 67]).to_be_bytes()),
        2 if layout.protocol == TCP => put(bytes, layout.l4 + 13, &[random.byte()]),
        2 => put(bytes, layout.l4, &[random.pick(&[0, 3, 4, 5, 8, 11, 13, 128, 129, 133, 134, 135, 136, 137, 143])]),
        3 => put(bytes, layout.l4 + 4, &random.pick(&[100u32, 101, 102, 201, 0, u32::MAX]).to_be_bytes()),
        _ => put(bytes, layout.l4 + 8, &random.pick(&[100u32, 101, 102, 201, 0, u32::MAX]).to_be_bytes()),
    }
}

fn addresses(random: &mut Random, bytes: &mut [u8], layout: &Layout) {
    let size = if layout.v6 { 16 } else { 4 };
    let source = layout.ip + if layout.v6 { 8 } else { 12 };
    if bytes.len() < source + 2 * size {
        return;
    }
    let one = source + size * random.below(2);
    match (random.below(3), layout.v6) {
        (0, _) => bytes[source..source + 2 * size].rotate_left(size),
        (1, true) => {
            let (first, last) = random.pick(&SPECIAL6);
            bytes[one..one + 16].fill(0);
            (bytes[one], bytes[one + 1], bytes[one + 15]) = (first, if first == 0xFF { 2 } else { 0x80 * u8::from(first == 0xFE) }, last);
        }
        (1, false) => put(bytes, one, &random.pick(&SPECIAL4)),
        _ => bytes[one + random.below(size)] = random.byte(),
    }
}

/// Makes a fragment of it, or of a fragment another one.
fn fragment(random: &mut Random, bytes: &mut Vec<u8>, layout: &Layout) {
    let offset = random.pick(&[0u16, 0, 0, 8, 16, 24, 24, 32, 1400, 65528]);
    let more = random.percent(60);
    let id = random.pick(&[1u32, 1, 2, 3]);
    if layout.v6 && bytes.len() >= layout.ip + 40 {
        let next = std::mem::replace(&mut bytes[layout.ip + 6], 44);
        bytes.splice(layout.behind_ip..layout.behind_ip, fragment_header(next, id, offset, more));
        mend_length(bytes, layout);
    } else {
        put(bytes, layout.ip + 4, &(id as u16).to_be_bytes());
        put(bytes, layout.ip + 6, &((offset / 8) | (u16::from(more) << 13) | (u16::from(random.percent(10)) << 14)).to_be_bytes());
    }
}

/// One more extension header, or options.
fn headers(random: &mut Random, bytes: &mut Vec<u8>, layout: &Layout) {
    if bytes.len() < layout.ip + if layout.v6 { 40 } else { 20 } {
        return;
    }
    if layout.v6 {
        for _ in 0..random.pick(&[1, 1, 2, 7, 8]) {
            let kind = random.pick(&[0, 43, 60, 60, 135, 139, 140]);
            let next = std::mem::replace(&mut bytes[layout.ip + 6], kind);
            let header = extension(next, random.pick(&[0, 0, 0, 1, 2]), random.pick(&[0, 1, 2, 4]));
            bytes.splice(layout.behind_ip..layout.behind_ip, header);
        }
    } else {
        let words = 1 + random.below(3);
        let filling = random.pick(&[0u8, 1, 7, 130, 131, 137, 148]);
        let mut options = vec![filling; words * 4];
        options[1] = random.pick(&[2, 3, 4, 1, 0, 11, 255]);
        bytes[layout.ip] = bytes[layout.ip].wrapping_add(words as u8);
        bytes.splice(layout.ip + 20..layout.ip + 20, options);
    }
    mend_length(bytes, layout);
}

/// Takes a header out: a tag, an extension header, options, or the beginning of L4.
fn without(random: &mut Random, bytes: &mut Vec<u8>, layout: &Layout) {
    match random.below(3) {
        0 if layout.ip > 14 => drop(bytes.drain(12..16)),
        1 if layout.v6 && layout.l4 > layout.behind_ip => {
            bytes[layout.ip + 6] = bytes[layout.behind_ip];
            bytes.drain(layout.behind_ip..layout.l4.min(layout.behind_ip + 8));
        }
        1 if !layout.v6 && layout.l4 > layout.ip + 20 => {
            bytes[layout.ip] = 0x45;
            bytes.drain(layout.ip + 20..layout.l4);
        }
        _ => {
            let end = (layout.l4 + 1 + random.below(20)).min(bytes.len());
            bytes.drain(layout.l4..end);
        }
    }
}

/// Puts the packet into a tunnel, or into an error that quotes it.
fn wrap(random: &mut Random, bytes: &mut Vec<u8>, layout: &Layout) {
    let packet = bytes.split_off(layout.ip.min(bytes.len()));
    let size = if layout.v6 { 16 } else { 4 };
    let source = if layout.v6 { 8 } else { 12 };
    let Some(ends) = packet.get(source..source + 2 * size) else {
        bytes.extend(packet);
        return;
    };
    let (protocol, mut payload): (u8, Vec<u8>) = match random.below(6) {
        0 => (if layout.v6 { 41 } else { 4 }, Vec::new()),
        1 => (47, [&[0, 0][..], if layout.v6 { &[0x86, 0xDD] } else { &[8, 0] }].concat()),
        2 => (UDP, ports((1000, random.pick(&[53, 4789, 8472, 6081])), 16)),
        _ if layout.v6 => (ICMPV6, icmp(random.pick(&[1, 2, 3, 4]), 0, 0, b"")),
        _ => (ICMP, icmp(random.pick(&[3, 4, 11, 12]), 0, 0, b"")),
    };
    let is_error = protocol == ICMP || protocol == ICMPV6;
    // An error goes back to where the quoted packet came from.
    let (from, to) = if is_error { (&ends[size..], &ends[..size]) } else { (&ends[..size], &ends[size..]) };
    payload.extend(&packet);
    let mut header = if layout.v6 { vec![0x60, 0, 0, 0, 0, 0, protocol, 64] } else { vec![0x45, 0, 0, 0, 0, 0, 0, 0, 64, protocol, 0, 0] };
    header.extend(from);
    header.extend(to);
    bytes.extend(header);
    bytes.extend(payload);
    mend_length(bytes, layout);
}

fn checksums(random: &mut Random, bytes: &mut [u8], layout: &Layout) {
    let at = match (random.below(2), layout.protocol) {
        (0, _) if !layout.v6 => layout.ip + 10,
        (_, TCP) => layout.l4 + 16,
        (_, UDP) => layout.l4 + 6,
        _ => layout.l4 + 2,
    };
    put(bytes, at, &[random.byte(), random.byte()]);
}

/// Tags, EtherTypes, LLC.
fn tags(random: &mut Random, bytes: &mut Vec<u8>, layout: Option<&Layout>) {
    if layout.is_some_and(|layout| layout.ethertype.is_none()) || bytes.len() < 14 {
        return;
    }
    match random.below(4) {
        0 | 1 => {
            for _ in 0..random.pick(&[1, 1, 1, 2, 3, 4]) {
                let tag = [random.pick(&[CTAG, CTAG, STAG]).to_be_bytes(), random.pick(&TCIS).to_be_bytes()].concat();
                bytes.splice(12..12, tag);
            }
        }
        2 => put(bytes, 12, &random.pick(&ETHERTYPES).to_be_bytes()),
        _ => {
            let llc =
                random.pick(&[&[0xAA, 0xAA, 3, 0, 0, 0][..], &[0xAA, 0xAA, 3, 0, 0, 0xF8], &[6, 6, 3], &[0x42, 0x42, 3], &[0xAA, 0xAA]]);
            bytes.splice(12..12, [&(llc.len() as u16 + 60).to_be_bytes(), llc].concat());
        }
    }
}

/// Bytes of another frame in place of these.
fn splice(random: &mut Random, bytes: &mut Vec<u8>, other: &[u8]) {
    let shorter = bytes.len().min(other.len());
    if shorter <= 12 {
        return;
    }
    let from = 12 + random.below(shorter - 12);
    if random.percent(30) {
        bytes.truncate(from);
        bytes.extend(&other[from..]);
    } else {
        let to = (from + 1 + random.below(20)).min(shorter);
        bytes[from..to].copy_from_slice(&other[from..to]);
    }
}
