//! Packets out of the ordinary: options, extension headers, strange addresses, ARP and neighbour discovery, LLC, many tags.

use super::*;

const STRANGE4: [&str; 9] =
    ["10.0.0.1", "169.254.0.7", "0.0.0.0", "127.0.0.1", "224.0.0.1", "255.255.255.255", "239.1.2.3", "8.0.1.255", "240.0.0.1"];
const STRANGE6: [&str; 7] = ["fd00::1", "::", "::1", "ff02::1", "ff02::16", "fe80::2", "::ffff:127.0.0.1"];

/// ARP and neighbour discovery, honest and not.
pub fn neighbours(random: &mut Random, talk: &Talk) -> Vec<Shot> {
    let mut talk = Talk { hook: random.pick(&[Hook::Ingress, Hook::Ingress, Hook::Egress]), ..talk.clone() };
    let said = random.pick(&[talk.mac, talk.mac, talk.mac, OTHER_MAC]);
    if talk.is_v4() && !LINKS[talk.link].starts_with('t') {
        let address = random.pick(&[REMOTE4[0], REMOTE4[1], LOCAL4[0], "0.0.0.0", "10.0.0.1", "169.254.0.7"]).parse().unwrap();
        let packet = arp(random.pick(&[1, 1, 2, 2, 3, 0]), said, address);
        let bytes = sent_by(talk.mac, ethernet(&talk.tags, ARP, &packet));
        return vec![Shot { link: talk.link, hook: talk.hook, bytes, gso: false, before: Vec::new() }];
    }
    if talk.is_v4() {
        return Vec::new();
    }
    talk.here.0 = random.pick(&["::", "fe80::1", "fe80::2", REMOTE6[0]]).parse().unwrap();
    talk.there.0 = random.pick(&["ff02::1", LOCAL6[0]]).parse().unwrap();
    let target = random.pick(&[REMOTE6[0], REMOTE6[1], LOCAL6[0], "fe80::1", "fd00::1"]).parse().unwrap();
    let option = match random.below(6) {
        0 => Vec::new(),
        1 => vec![14, 1, 0, 0, 0, 0, 0, 0],
        2 => link_layer(1, said)[..random.below(8)].to_vec(),
        _ => link_layer(random.pick(&[1, 2]), said),
    };
    let mut message = discovery(random.pick(&[133, 134, 135, 135, 136, 136]), target, &option);
    if random.percent(15) {
        message.truncate(4 + random.below(message.len() - 3));
    }
    let header = Ip { hop_limit: random.pick(&[255, 255, 255, 64]), fragment: random.percent(5).then_some((7, 0, true)), ..Ip::default() };
    vec![talk.shot(talk.packet(ICMPV6, &header, &message))]
}

/// Options, extension headers, strange addresses.
pub fn odd_ip(random: &mut Random, talk: &Talk) -> Shot {
    let mut talk = talk.clone();
    let strange: &[&str] = if talk.is_v4() { &STRANGE4 } else { &STRANGE6 };
    if random.percent(40) {
        talk.here.0 = random.pick(strange).parse().unwrap();
    } else if random.percent(30) {
        talk.there.0 = random.pick(strange).parse().unwrap();
    }
    let protocol = random.pick(&[UDP, TCP]);
    let payload = if protocol == UDP { ports(talk.ports(), 8) } else { tcp(talk.ports(), SYN, 100, 0, b"") };
    if talk.is_v4() {
        let mut options = Vec::new();
        for _ in 0..random.below(4) {
            options.extend(random.pick(&[
                &[1u8][..],
                &[148, 4, 0, 0],
                &[131, 3, 4],
                &[137, 3, 4],
                &[7, 7, 4, 0, 0, 0, 0],
                &[0],
                &[5, 1],
                &[9, 60],
                &[130],
            ]));
        }
        options.resize(options.len().next_multiple_of(4).min(40), random.pick(&[0, 1]));
        return talk.shot(talk.packet(protocol, &Ip { options, ..Ip::default() }, &payload));
    }
    let kinds: Vec<u8> = (0..random.below(10)).map(|_| random.pick(&[0, 43, 60, 60, 135, 139, 140, 44])).collect();
    let (mut next, mut packet) = (random.pick(&[protocol, protocol, protocol, 59, 50, 51]), payload);
    for kind in kinds {
        let mut header = if kind == 44 {
            fragment_header(next, 9, random.pick(&[0, 0, 0, 24]), random.percent(20))
        } else {
            extension(next, random.pick(&[0, 0, 0, 1, 3]), random.pick(&[1, 2, 4, if kind == 43 { 0 } else { 1 }]))
        };
        header.extend(packet);
        (next, packet) = (kind, header);
    }
    talk.shot(talk.packet(next, &Ip::default(), &packet))
}

/// ARP, listed and unlisted EtherTypes, LLC, many tags.
pub fn odd_ethernet(random: &mut Random, talk: &Talk) -> Shot {
    let llc: &[&[u8]] = &[
        &[0x42, 0x42, 3, 0, 0, 0],
        &[0xAA, 0xAA, 3, 0, 0, 0, 8, 0, 0x45],
        &[0xAA, 0xAA, 3, 0, 0, 0, 0x86, 0xDD, 0x60],
        &[0xAA, 0xAA, 3, 0, 0, 1, 8, 0, 0x45],
        &[0xAA, 0xAA, 3, 0, 0, 0, 8, 6],
        &[0xAA, 0xAA, 3, 0, 0, 0],
        &[0xAA, 0xAA, 1, 0, 0],
        &[0x06, 0x06, 3, 0x45],
        &[0x42, 0x42],
        &[0xFE, 0xFE, 3, 1],
    ];
    let ethertype = random.pick(&[0x0806, 0x888E, 0x88CC, 0x8863, 0x8864, 0x9100, 0x05FF, 0x0600, 0x0004, 0x0000, 0x0026]);
    let payload = if ethertype < 0x600 { random.pick(llc).to_vec() } else { vec![0; random.below(30)] };
    let (hook, link) = (talk.hook, if LINKS[talk.link].starts_with('t') { 0 } else { talk.link });
    let tags = if random.percent(50) { talk.tags.clone() } else { random.pick(&VIDS).to_vec() };
    Shot { link, hook, bytes: ethernet(&tags, ethertype, &payload), gso: false, before: Vec::new() }
}
