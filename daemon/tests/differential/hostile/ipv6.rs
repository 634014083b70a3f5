//! IPv6: chains of extension headers that hide the ports, and lengths that lie.

use super::*;
use crate::frame::*;

const ENDS: (&str, &str) = FAMILIES[1];

fn udp(port: u16) -> Vec<u8> {
    ports((1000, port), 8)
}

/// A packet with these extension headers (kind, units, third byte) before UDP to a port.
fn chain(kinds: &[(u8, u8, u8)], port: u16) -> Vec<u8> {
    chain_to(kinds, UDP, &udp(port))
}

fn chain_to(kinds: &[(u8, u8, u8)], last: u8, payload: &[u8]) -> Vec<u8> {
    let (mut next, mut bytes) = (last, payload.to_vec());
    for (kind, units, third) in kinds.iter().rev() {
        let mut header = extension(next, *units, *third);
        header.extend(bytes);
        (next, bytes) = (*kind, header);
    }
    plain(ENDS, next, &bytes)
}

fn changed(mut bytes: Vec<u8>, at: usize, to: &[u8]) -> Vec<u8> {
    bytes[at..at + to.len()].copy_from_slice(to);
    bytes
}

const HOP: (u8, u8, u8) = (0, 0, 1);
const OPTIONS: (u8, u8, u8) = (60, 0, 1);

fn chains() -> Vec<Row> {
    let both = |kinds: &[(u8, u8, u8)]| [packet(chain(kinds, 53), "ok"), packet(chain(kinds, 54), "default")];
    let refused = |kinds: &[(u8, u8, u8)], want| packet(chain(kinds, 53), want);
    let mut rows = Vec::new();
    rows.extend(both(&[HOP]));
    rows.extend(both(&[HOP, OPTIONS]));
    rows.extend(both(&[HOP, (43, 2, 2)]));
    rows.extend(both(&[(43, 2, 3)]));
    rows.extend(both(&[(43, 2, 4)]));
    rows.extend(both(&[(43, 2, 253)]));
    rows.extend(both(&[OPTIONS; 8]));
    rows.extend(both(&[HOP; 8]));
    // The longest chain that there is: 8 headers of 2 KiB would be 16 KiB; a test run has room for a part.
    rows.extend(both(&[(60, 255, 1)]));
    rows.extend(both(&[HOP, OPTIONS, (43, 0, 4), OPTIONS, OPTIONS, OPTIONS, OPTIONS, (60, 30, 1)]));
    rows.extend([
        refused(&[OPTIONS; 9], "extension_headers"),
        refused(&[HOP, OPTIONS, OPTIONS, OPTIONS, OPTIONS, OPTIONS, OPTIONS, OPTIONS, (43, 0, 4)], "extension_headers"),
        refused(&[(43, 0, 0)], "routing_header"),
        refused(&[(43, 2, 0)], "routing_header"),
        refused(&[HOP, OPTIONS, OPTIONS, OPTIONS, OPTIONS, OPTIONS, OPTIONS, (43, 2, 0)], "routing_header"),
        refused(&[(43, 2, 2), (43, 2, 0)], "routing_header"),
    ]);
    // What stands for itself, whatever comes behind it.
    for protocol in [50, 51, 59, 4, 41, 253, 254, 255, 103, 47] {
        rows.push(packet(chain_to(&[HOP, OPTIONS], protocol, &udp(53)), "default"));
        rows.push(packet(chain_to(&[], protocol, &udp(53)), "default"));
    }
    // Protocols to those who receive them, whatever they say that follows.
    for protocol in [135, 139, 140] {
        let header = |next, units| extension(next, units, 1);
        let following = [header(UDP, 0), udp(53)].concat();
        rows.push(packet(chain_to(&[], protocol, &following), "extension_headers"));
        rows.push(packet(chain_to(&[HOP, OPTIONS], protocol, &following), "extension_headers"));
        rows.push(packet(chain_to(&[HOP], protocol, &[header(protocol, 0), following].concat()), "extension_headers"));
        rows.push(packet(chain_to(&[HOP], protocol, &header(60, 3)), "extension_headers"));
        rows.push(packet(chain_to(&[], protocol, &header(59, 0)), "default"));
        rows.push(packet(chain_to(&[OPTIONS], protocol, &[header(59, 3), udp(53)].concat()), "default"));
        rows.push(packet(chain_to(&[], protocol, &header(59, 0)[..7]), "malformed"));
    }
    // Options that look like ports; a header whose length takes the ports in.
    rows.push(packet(changed(chain(&[(60, 1, 1)], 54), 40 + 2, &[1, 12, 3, 232, 0, 53, 0, 8]), "default"));
    rows.push(packet(changed(chain(&[OPTIONS], 53), 41, &[1]), "malformed"));
    rows
}

fn lengths() -> Vec<Row> {
    let stated = |length: u16, bytes: Vec<u8>| changed(bytes, 4, &length.to_be_bytes());
    let good = || chain(&[], 53);
    let padded = |length: u16| stated(length, [good(), vec![0xEE; 20]].concat());
    // RFC 2675: a jumbo payload option, 4 bytes of length.
    let jumbo = |length: u16| stated(length, changed(chain(&[HOP], 53), 42, &[0xC2, 4, 0, 1, 0, 0]));
    vec![
        packet(stated(0, good()), "malformed"),
        packet(stated(1, good()), "malformed"),
        packet(stated(7, good()), "malformed"),
        packet(stated(8, good()), "ok"),
        packet(stated(9, good()), "malformed"),
        packet(stated(0x0800, good()), "malformed"),
        packet(stated(65535, good()), "malformed"),
        packet(padded(8), "ok"),
        packet(padded(28), "ok"),
        packet(padded(29), "malformed"),
        packet(padded(7), "malformed"),
        packet(padded(0), "malformed"),
        packet(stated(0, good()), "ok").gso(),
        packet(stated(9, good()), "malformed").gso(),
        packet(jumbo(16), "ok"),
        packet(jumbo(0), "malformed"),
        packet(jumbo(0), "ok").gso(),
        packet(jumbo(8), "malformed"),
        // A chain that ends with the packet, or goes on behind it.
        packet(chain_to(&[HOP], 60, &[]), "malformed"),
        packet(chain_to(&[HOP], 44, &[UDP, 0, 0, 0]), "malformed"),
        packet(chain_to(&[], 60, &[UDP, 0, 1, 4, 0, 0, 0]), "malformed"),
        packet(chain_to(&[], 60, &[UDP, 1, 1, 4, 0, 0, 0, 0]), "malformed"),
        packet(chain_to(&[], 60, &[UDP, 255, 1, 4, 0, 0, 0, 0]), "malformed"),
        packet(stated(8, chain(&[HOP], 53)), "malformed"),
        packet(changed(good(), 0, &[0x40]), "malformed"),
        packet(changed(good(), 0, &[0x70]), "malformed"),
        packet(changed(good(), 0, &[0x6F, 0xFF, 0xFF, 0xFF]), "ok"),
        packet(changed(good(), 7, &[0]), "ok"),
        packet(changed(good(), 44, &[0, 0]), "ok"),
        packet(changed(good(), 44, &[0xFF, 0xFF, 0xAA, 0xAA]), "ok"),
    ]
}

pub fn rows() -> Vec<Row> {
    [chains(), lengths()].concat()
}

pub fn all(bench: &mut Bench) -> usize {
    ask(bench, "IPv6 headers", "", SERVICES, &chains()) + ask(bench, "IPv6 lengths", "", SERVICES, &lengths())
}
