//! ICMP errors that quote what never was (RFC 5927), and all that is ICMP and neither asks nor answers.

use super::*;
use crate::frame::*;

/// An error of a router, or of anybody, about what `quoted` is.
fn error(ends: (&str, &str), quoted: &[u8]) -> Vec<u8> {
    let (protocol, kind) = if ends.0 == PEER || ends.0 == HERE { (ICMP, 3) } else { (ICMPV6, 1) };
    plain(ends, protocol, &icmp(kind, 1, 0, quoted))
}

fn datagram(ends: (&str, &str), between: (u16, u16)) -> Vec<u8> {
    plain(ends, UDP, &ports(between, 16))
}

/// The flow is from the place's sender to port 53; so errors about what it sent go back, errors about answers go along with it.
fn quotes(ends: (&'static str, &'static str)) -> Vec<Row> {
    let answer_ends = turned(ends);
    let sent_one = datagram(ends, (1000, 53));
    let answer = datagram(answer_ends, (53, 1000));
    let (header, somebody) = if ends.0 == PEER { (20, "8.0.0.2") } else { (40, "2001:db8:86dd::2") };
    let changed = |at: usize, to: u8| {
        let mut bytes = sent_one.clone();
        bytes[at] = to;
        bytes
    };
    let piece = |offset| sent(ends, UDP, &Ip { fragment: Some((1, offset, true)), ..Ip::default() }, &ports((1000, 53), 16));
    let whole_error = error(answer_ends, &sent_one);
    let mut rows = vec![
        // Nothing to quote yet.
        back(error(answer_ends, &sent_one), "no_connection"),
        packet(sent_one.clone(), "ok"),
        back(error(answer_ends, &sent_one), "ok"),
        packet(error(ends, &answer), "ok"),
        // The wrong way round: what is quoted did not go the way that the error says it did.
        packet(error(ends, &sent_one), "no_connection"),
        back(error(answer_ends, &answer), "no_connection"),
        back(error((answer_ends.0, somebody), &sent_one), "no_connection"),
        back(error(answer_ends, &datagram(ends, (1000, 54))), "no_connection"),
        back(error(answer_ends, &datagram(ends, (1001, 53))), "no_connection"),
        back(error(answer_ends, &datagram(ends, (53, 1000))), "no_connection"),
        back(error(answer_ends, &plain(ends, TCP, &tcp((1000, 53), ACK, 1, 1, b""))), "no_connection"),
        back(error(answer_ends, &plain(ends, UDPLITE, &ports((1000, 53), 16))), "no_connection"),
        // Not enough of it, and just enough.
        back(error(answer_ends, &sent_one[..header + 7]), "no_connection"),
        back(error(answer_ends, &sent_one[..header + 8]), "ok"),
        back(error(answer_ends, &sent_one[..header]), "no_connection"),
        back(error(answer_ends, &sent_one[..header - 1]), "no_connection"),
        back(error(answer_ends, &[]), "no_connection"),
        // Lengths and checksums in the quote are what routers made of them.
        back(error(answer_ends, &changed(if header == 20 { 3 } else { 5 }, 0)), "ok"),
        back(error(answer_ends, &changed(0, 0x55)), "no_connection"),
        back(error(answer_ends, &piece(0)), "ok"),
        back(error(answer_ends, &piece(24)), "no_connection"),
        // An error about an error.
        back(error(answer_ends, &error(ends, &answer)), "no_connection"),
        // An error in pieces: its first one is judged by its quote, and the others follow it.
        back(sent(answer_ends, whole_error[if header == 20 { 9 } else { 6 }], &first(9), &whole_error[header..]), "ok"),
    ];
    if header == 40 {
        return rows;
    }
    // Quoted options, and a header length that lies.
    let with_options = sent(ends, UDP, &Ip { options: vec![1; 8], ..Ip::default() }, &ports((1000, 53), 16));
    rows.extend([
        back(error(answer_ends, &with_options), "ok"),
        back(error(answer_ends, &changed(0, 0x44)), "no_connection"),
        back(error(answer_ends, &changed(0, 0x46)), "no_connection"),
        back(error(answer_ends, &changed(0, 0x4F)), "no_connection"),
    ]);
    // The quoted ports stand behind the end of the packet.
    let mut short = whole_error;
    short[3] = 20 + 8 + 24;
    rows.push(back(short, "no_connection"));
    rows
}

fn first(id: u32) -> Ip {
    Ip { fragment: Some((id, 0, true)), ..Ip::default() }
}

/// Quotes behind extension headers: those that stage 1 would not let pass were never sent.
fn chains() -> Vec<Row> {
    let ends = FAMILIES[1];
    let behind = |kinds: &[(u8, u8)]| {
        let (mut next, mut bytes) = (UDP, ports((1000, 53), 16));
        for (kind, third) in kinds.iter().rev() {
            let mut header = extension(next, 0, *third);
            header.extend(bytes);
            (next, bytes) = (*kind, header);
        }
        error(turned(ends), &plain(ends, next, &bytes))
    };
    let mut too_long = behind(&[(60, 0)]);
    // The quoted header says that it goes on behind the quote.
    too_long[40 + 8 + 40 + 1] = 9;
    vec![
        packet(datagram(ends, (1000, 53)), "ok"),
        back(behind(&[(0, 0), (60, 0)]), "ok"),
        back(behind(&[(60, 0); 8]), "ok"),
        back(behind(&[(60, 0); 9]), "no_connection"),
        back(behind(&[(43, 2)]), "ok"),
        back(behind(&[(43, 0)]), "no_connection"),
        back(behind(&[(44, 0)]), "ok"),
        back(behind(&[(50, 0)]), "no_connection"),
        back(too_long, "no_connection"),
    ]
}

/// Every type with code 0 and 8 bytes, where no rule speaks of ICMP and there is no flow.
fn types() -> Vec<Row> {
    let mut rows = Vec::new();
    for kind in 0..=255u8 {
        let want4 = match kind {
            0 | 14 | 16 | 18 | 3 | 4 | 11 | 12 => "no_connection",
            5 => "icmp_redirect",
            _ => "default",
        };
        rows.push(packet(plain(FAMILIES[0], ICMP, &icmp(kind, 0, 1, &[0; 16])), want4));
        let want6 = match kind {
            0..=127 | 129 | 140 => "no_connection",
            137 => "icmp_redirect",
            _ => "default",
        };
        // From further away than a neighbour may be.
        rows.push(packet(plain(FAMILIES[1], ICMPV6, &icmp(kind, 0, 1, &[0; 32])), want6));
    }
    rows
}

pub fn rows() -> Vec<Row> {
    FAMILIES.iter().flat_map(|ends| quotes(*ends)).chain(chains()).chain(types()).collect()
}

pub fn all(bench: &mut Bench) -> usize {
    let mut asked = 0;
    for ends in FAMILIES {
        asked += ask(bench, "quotes", "", SERVICES, &quotes(ends));
    }
    asked + ask(bench, "quotes behind headers", "", SERVICES, &chains()) + ask(bench, "ICMP types", "", SERVICES, &types())
}
