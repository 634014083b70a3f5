//! Before the IP header: stacks of tags, LLC and SNAP (CVE-2021-27853, -27854, -27861, -27862), EtherTypes that are no protocol of ours.

use super::*;
use crate::frame::*;

const TAGGED: &str = "[[rule]]\naction = \"allow\"\nprotocol = \"udp\"\ndestination = { ports = [53] }\n\
                      [[rule]]\naction = \"allow\"\nvlan = 7\nprotocol = \"udp\"\ndestination = { ports = [54] }\n\
                      [[rule]]\naction = \"allow\"\nvlan = [7, 8]\nprotocol = \"udp\"\ndestination = { ports = [55] }\n";

/// EtherTypes and numbers of tags, the outermost first.
type Tags = &'static [(u16, u16)];

/// For each stack of tags which port passes: 0 = none, and why not.
const STACKS: [(Tags, u16, &str); 22] = [
    (&[], 53, "default"),
    (&[(CTAG, 0)], 53, "default"),
    (&[(STAG, 0)], 53, "default"),
    (&[(CTAG, 0xE000)], 53, "default"),
    (&[(CTAG, 7)], 54, "default"),
    (&[(STAG, 7)], 54, "default"),
    (&[(CTAG, 0xF007)], 54, "default"),
    (&[(CTAG, 0), (CTAG, 7)], 54, "default"),
    (&[(CTAG, 7), (CTAG, 0)], 54, "default"),
    (&[(CTAG, 0), (STAG, 0), (CTAG, 0), (CTAG, 7)], 54, "default"),
    (&[(CTAG, 8)], 0, "default"),
    (&[(CTAG, 4095)], 0, "default"),
    (&[(CTAG, 7), (CTAG, 8)], 55, "default"),
    (&[(STAG, 7), (CTAG, 8)], 55, "default"),
    (&[(CTAG, 7), (STAG, 8)], 55, "default"),
    (&[(STAG, 8), (CTAG, 7)], 0, "default"),
    (&[(CTAG, 0), (CTAG, 7), (CTAG, 0), (CTAG, 8)], 55, "default"),
    (&[(CTAG, 7), (CTAG, 8), (CTAG, 9)], 0, "malformed"),
    (&[(CTAG, 0), (CTAG, 0), (CTAG, 0), (CTAG, 0)], 53, "default"),
    (&[(CTAG, 0), (CTAG, 0), (CTAG, 0), (CTAG, 0), (CTAG, 0)], 0, "malformed"),
    (&[(CTAG, 0), (CTAG, 0), (CTAG, 0), (CTAG, 0), (CTAG, 7)], 0, "malformed"),
    (&[(CTAG, 1), (CTAG, 2), (CTAG, 3), (CTAG, 4), (CTAG, 5), (CTAG, 6)], 0, "malformed"),
];

fn stacks() -> Vec<Row> {
    let mut rows = Vec::new();
    for ends in FAMILIES {
        for (tags, passes, why) in STACKS {
            for port in [53, 54, 55] {
                let bytes = plain(ends, UDP, &ports((1000, port), 8));
                rows.push(whole(ethernet(tags, ethertype_of(&bytes), &bytes), if port == passes { "ok" } else { why }));
            }
        }
        // Tags of other kinds are EtherTypes that nobody has listed.
        for kind in [0x9100, 0x9200, 0x9300, 0x88E7, 0x8847, 0x8848, 0x8864, 0x6558, 0x88BE, 0x22EB, 0x894F, 0x0600, 0x6003] {
            let bytes = plain(ends, UDP, &ports((1000, 53), 8));
            let behind = [&[0, 7][..], &ethertype_of(&bytes).to_be_bytes(), &bytes].concat();
            rows.push(whole(ethernet(&[], kind, &behind), "ethertype"));
            rows.push(whole(ethernet(&[(CTAG, 0)], kind, &behind), "ethertype"));
        }
    }
    // A tag without the rest of it.
    for cut in [1, 2, 3] {
        rows.push(whole(ethernet(&[(CTAG, 0)], CTAG, &[0, 7, 8, 0][..cut]), "malformed"));
    }
    rows
}

/// IPv4, IPv6 and a router advertisement in LLC: receivers take them for IP, switches and filters often do not.
fn llc() -> Vec<Row> {
    let snap = |oui: [u8; 3], ethertype: u16, payload: &[u8]| [&[0xAA, 0xAA, 3][..], &oui, &ethertype.to_be_bytes(), payload].concat();
    let advertisement = sent(("fe80::9", "ff02::1"), ICMPV6, &Ip { hop_limit: 255, ..Ip::default() }, &discovery(134, [0; 16].into(), &[]));
    let udp = |ends| plain(ends, UDP, &ports((1000, 53), 8));
    let inside = [(IPV4, udp(FAMILIES[0])), (IPV6, udp(FAMILIES[1])), (IPV6, advertisement)];
    let tags: [&[(u16, u16)]; 7] =
        [&[], &[(CTAG, 0)], &[(CTAG, 0), (CTAG, 0)], &[(CTAG, 7)], &[(STAG, 7), (CTAG, 0)], &[(STAG, 7), (CTAG, 8)], &[(CTAG, 0); 4]];
    let mut rows = Vec::new();
    for tags in tags {
        for (ethertype, packet) in &inside {
            let mut one = |payload: Vec<u8>, want| rows.push(whole(ethernet(tags, payload.len() as u16, &payload), want));
            one(snap([0; 3], *ethertype, packet), "llc_ip");
            // Cisco's and the bridge tunnel's organisation codes, and a tag inside SNAP: no IP to us, and listed by nobody.
            one(snap([0, 0, 0x0C], *ethertype, packet), "ethertype");
            one(snap([0, 0, 0xF8], *ethertype, packet), "ethertype");
            one(snap([0; 3], CTAG, &[&[0, 0][..], &ethertype.to_be_bytes(), packet].concat()), "ethertype");
            one([&[0x06, 0x06, 3], &packet[..]].concat(), "llc_ip");
            one([&[0x06, 0x00, 3], &packet[..]].concat(), "llc_ip");
            one([&[0xAA, 0xAA, 0xF3, 0, 0, 0][..], &ethertype.to_be_bytes(), &packet[..]].concat(), "ethertype");
            one([&[0xAA, 0xAB, 3, 0, 0, 0][..], &ethertype.to_be_bytes(), &packet[..]].concat(), "ethertype");
            one([&[0xE0, 0xE0, 3], &packet[..]].concat(), "ethertype");
            // A length that lies is a length all the same.
            for length in [0, 3, 0x05DC, 0x05FF] {
                rows.push(whole(ethernet(tags, length, &snap([0; 3], *ethertype, packet)), "llc_ip"));
            }
        }
    }
    rows.extend([
        whole(ethernet(&[], 7, &[0xAA, 0xAA, 3, 0, 0, 0, 8]), "malformed"),
        whole(ethernet(&[(CTAG, 0)], 2, &[0xAA, 0xAA]), "malformed"),
        whole(ethernet(&[], 2, &[0x06, 0x06]), "malformed"),
    ]);
    rows
}

pub fn rows() -> Vec<Row> {
    [stacks(), llc()].concat()
}

pub fn all(bench: &mut Bench) -> usize {
    ask(bench, "tags", "", TAGGED, &stacks()) + ask(bench, "LLC", "", ALL, &llc())
}
