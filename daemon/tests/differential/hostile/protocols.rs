//! All 256 protocol numbers, and tunnels: what is inside is the tunnel's business, what is outside is judged as what it says it is.

use super::*;
use crate::frame::*;

/// What is said of 40 bytes of 0x11 under any protocol number, where only two services are allowed.
fn of_number(number: u8, v6: bool) -> &'static str {
    match number {
        // A data offset of one word.
        6 => "malformed",
        // A chunk that opens nothing.
        132 => "no_connection",
        // An extension header of 144 bytes, and a fragment at offset 4,368 of a UDP datagram.
        0 | 43 | 60 if v6 => "malformed",
        // Behind these nothing may follow.
        135 | 139 | 140 if v6 => "extension_headers",
        44 if v6 => "fragment",
        // An error that quotes nothing.
        58 if v6 => "no_connection",
        _ => "default",
    }
}

fn numbers() -> Vec<Row> {
    let of = |number: u8, v6: bool| packet(plain(FAMILIES[usize::from(v6)], number, &[0x11; 40]), of_number(number, v6));
    (0..=255).flat_map(|number| [of(number, false), of(number, true)]).collect()
}

/// Every header that a tunnel may have, around a packet that would be allowed.
fn tunnels() -> Vec<Row> {
    let mut rows = Vec::new();
    for outer in FAMILIES {
        for inner in FAMILIES {
            let allowed = plain(inner, UDP, &ports((1000, 53), 8));
            let frame = ethernet(&[], ethertype_of(&allowed), &allowed);
            let ethertype = ethertype_of(&allowed).to_be_bytes();
            let mut outside = |protocol, payload: Vec<u8>, want| rows.push(packet(plain(outer, protocol, &payload), want));
            outside(4, allowed.clone(), "default");
            outside(41, allowed.clone(), "default");
            outside(47, [&[0, 0][..], &ethertype, &allowed].concat(), "default");
            outside(47, [&[0x20, 0, 0x65, 0x58, 0, 0, 0, 1][..], &frame].concat(), "default");
            outside(94, allowed.clone(), "default");
            outside(97, [&[0x30, 0][..], &frame].concat(), "default");
            outside(137, allowed.clone(), "default");
            // VXLAN, its Linux port, Geneve, GUE, FOU, L2TP, GTP: UDP to a port that no rule names, or that one does.
            for port in [4789, 8472, 6081, 6080, 5555, 1701, 2152] {
                outside(UDP, [&ports((1000, port), 8)[..], &[8, 0, 0, 0, 0, 0, 1, 0], &frame].concat(), "default");
            }
            outside(UDP, [&ports((4789, 53), 8)[..], &[8, 0, 0, 0, 0, 0, 1, 0], &frame].concat(), "ok");
        }
    }
    rows
}

/// Where tunnels are allowed, they are flows like any other.
fn allowed_tunnels() -> Vec<Row> {
    let mut rows = Vec::new();
    for ends in FAMILIES {
        for protocol in [4, 41, 47] {
            rows.push(packet(plain(ends, protocol, &[0; 40]), if protocol == 47 { "ok" } else { "default" }));
            rows.push(back(plain(turned(ends), protocol, &[0; 40]), if protocol == 47 { "ok" } else { "default" }));
        }
        rows.push(packet(plain(ends, UDP, &ports((1000, 4789), 40)), "ok"));
        rows.push(packet(plain(ends, UDP, &ports((1000, 8472), 40)), "default"));
    }
    rows
}

pub fn rows() -> Vec<Row> {
    [numbers(), tunnels(), allowed_tunnels()].concat()
}

pub fn all(bench: &mut Bench) -> usize {
    let rules =
        "[[rule]]\naction = \"allow\"\nprotocol = 47\n[[rule]]\naction = \"allow\"\nprotocol = \"udp\"\ndestination = { ports = [4789] }\n";
    ask(bench, "protocol numbers", "", SERVICES, &numbers())
        + ask(bench, "tunnels", "", SERVICES, &tunnels())
        + ask(bench, "allowed tunnels", "", rules, &allowed_tunnels())
}
