//! Fragments: tiny, overlapping, out of order, alone, with forged identifications (RFC 1858, 3128, 5722, 6946, 7112; pf's
//! `frag_cut*` and `frag_drop*`). What is behind a judged beginning is never taken for another beginning.

use super::*;
use crate::frame::*;

/// A piece of a datagram.
fn part(ends: (&str, &str), id: u32, offset: u16, more: bool, protocol: u8, payload: &[u8]) -> Vec<u8> {
    sent(ends, protocol, &Ip { fragment: Some((id, offset, more)), ..Ip::default() }, payload)
}

fn datagram(port: u16) -> Vec<u8> {
    ports((1000, port), 24)
}

fn segment(port: u16, flags: u8) -> Vec<u8> {
    tcp((1000, port), flags, 1, 0, b"more")
}

fn alone(ends: (&str, &str)) -> Vec<Row> {
    let later = |protocol, offset| part(ends, 1, offset, false, protocol, &[0x35; 16]);
    vec![
        packet(later(UDP, 24), "fragment"),
        packet(later(UDP, 8), "fragment"),
        packet(later(TCP, 24), "fragment"),
        packet(later(TCP, 65528), "fragment"),
        // No rule speaks of these, whatever stood in their first piece.
        packet(later(47, 24), "default"),
        packet(later(SCTP, 24), "default"),
        // In the middle of nothing.
        packet(part(ends, 1, 24, true, UDP, &[0x35; 16]), "fragment"),
        packet(part(ends, 1, 24, true, UDP, &[]), "fragment"),
    ]
}

/// RFC 1858: a header in pieces, and a piece that would write over it. RFC 3128: the same with another order.
fn tiny(ends: (&str, &str)) -> Vec<Row> {
    let first = |length: usize, more| part(ends, 2, 0, more, TCP, &segment(80, SYN)[..length]);
    let later = |offset| part(ends, 2, offset, true, TCP, &segment(22, SYN)[usize::from(offset)..]);
    vec![
        packet(first(0, true), "malformed"),
        packet(first(8, true), "malformed"),
        packet(first(16, true), "malformed"),
        packet(first(19, true), "malformed"),
        packet(later(8), "malformed"),
        packet(later(16), "malformed"),
        packet(first(20, true), "ok"),
        packet(later(8), "malformed"),
        packet(later(16), "malformed"),
        packet(part(ends, 2, 24, false, TCP, b"data"), "ok"),
        // The options of the header in another piece.
        packet(
            part(ends, 3, 0, true, TCP, &{
                let mut segment = segment(80, SYN);
                segment[12] = 0x70;
                segment
            }),
            "malformed",
        ),
        packet(part(ends, 4, 0, true, UDP, &datagram(53)[..7]), "malformed"),
        packet(part(ends, 4, 0, true, UDP, &datagram(53)[..16]), "ok"),
        packet(part(ends, 4, 16, false, UDP, &datagram(54)), "ok"),
        // A mid-stream segment in pieces opens nothing, nor do its later pieces.
        packet(part(ends, 5, 0, true, TCP, &segment(443, ACK)), "no_connection"),
        packet(part(ends, 5, 24, false, TCP, b"data"), "no_connection"),
    ]
}

fn overlapping(ends: (&str, &str)) -> Vec<Row> {
    let first = |id, port| part(ends, id, 0, true, UDP, &datagram(port));
    let later = |id, offset| part(ends, id, offset, false, UDP, &datagram(54));
    let longer = [datagram(53), vec![9; 16]].concat();
    vec![
        // Another beginning of the same datagram, after and before the allowed one.
        packet(first(1, 53), "ok"),
        packet(first(1, 54), "fragment_conflict"),
        packet(later(1, 24), "fragment"),
        packet(first(2, 54), "default"),
        packet(first(2, 53), "fragment_conflict"),
        packet(later(2, 24), "fragment"),
        packet(first(2, 53), "ok"),
        // The same beginning again, with more behind it.
        packet(part(ends, 2, 0, true, UDP, &longer), "ok"),
        packet(later(2, 24), "ok"),
        packet(later(2, 40), "ok"),
        // Out of order: what came too early is lost, what comes again is not.
        packet(later(3, 24), "fragment"),
        packet(first(3, 53), "ok"),
        packet(later(3, 24), "ok"),
        // Forged identifications.
        packet(later(4, 24), "fragment"),
        packet(later(0x1_0003, 24), if ends.0 == PEER { "ok" } else { "fragment" }),
        packet(later(0xFFFF, 24), "fragment"),
        // Everything else of the key.
        packet(part((ends.1, ends.0), 3, 24, false, UDP, &[1; 8]), "fragment"),
        packet(part(ends, 3, 24, false, TCP, &[1; 8]), if ends.0 == PEER { "fragment" } else { "ok" }),
        whole(ethernet(&[(CTAG, 7)], ethertype_of(&later(3, 24)), &later(3, 24)), "default"),
    ]
}

/// IPv4: bits beside the offset.
fn flags() -> Vec<Row> {
    let bits = |field: u16| {
        let mut bytes = plain(FAMILIES[0], UDP, &datagram(53));
        bytes[6..8].copy_from_slice(&field.to_be_bytes());
        bytes
    };
    vec![
        packet(bits(0x4000), "ok"),
        packet(bits(0x8000), "ok"),
        packet(bits(0xE000), "ok"),
        packet(bits(0x6003), "ok"),
        packet(bits(0x4003), "ok"),
        packet(bits(0x1FFF), "ok"),
        packet(bits(0xC001), "ok"),
    ]
}

/// IPv6: headers before and behind the fragment header, fragments in fragments, whole packets that look like fragments.
fn chains() -> Vec<Row> {
    let ends = FAMILIES[1];
    let chain = |headers: &[(u8, Vec<u8>)], last: u8, payload: &[u8]| {
        let mut next = last;
        let mut bytes = payload.to_vec();
        for (kind, header) in headers.iter().rev() {
            let mut header = header.clone();
            header[0] = next;
            header.extend(bytes);
            (next, bytes) = (*kind, header);
        }
        plain(ends, next, &bytes)
    };
    let piece = |id, offset, more| (44, fragment_header(0, id, offset, more));
    let hop = || (0, extension(0, 0, 1));
    let options = || (60, extension(0, 0, 1));
    let routing = |kind| (43, extension(0, 2, kind));
    let syn = segment(80, SYN);
    vec![
        packet(chain(&[hop(), piece(1, 0, true)], TCP, &syn), "ok"),
        packet(chain(&[hop(), piece(1, 24, false)], TCP, b"data"), "ok"),
        packet(chain(&[piece(1, 24, false)], TCP, b"data"), "ok"),
        packet(chain(&[hop(), piece(1, 8, false)], TCP, &syn), "malformed"),
        packet(chain(&[piece(2, 0, true), options()], TCP, &syn), "ok"),
        packet(chain(&[piece(2, 0, true), options()], TCP, &segment(22, SYN)), "fragment_conflict"),
        packet(chain(&[piece(3, 0, true), options()], TCP, &segment(22, SYN)), "default"),
        packet(chain(&[piece(4, 24, false), options()], TCP, &syn), "fragment"),
        // RFC 7112: the whole chain must be in the first piece.
        packet(chain(&[piece(5, 0, true)], 60, &[]), "malformed"),
        packet(chain(&[piece(5, 0, true), options()], TCP, &[]), "malformed"),
        packet(chain(&[piece(5, 0, true), options()], TCP, &syn[..8]), "malformed"),
        packet(chain(&[piece(5, 0, true), routing(0)], TCP, &syn), "routing_header"),
        packet(chain(&[routing(0), piece(5, 24, false)], TCP, &syn), "routing_header"),
        // RFC 6946: offset 0 and nothing more is a whole packet.
        packet(chain(&[piece(6, 0, false)], UDP, &datagram(53)), "ok"),
        packet(chain(&[piece(6, 0, false)], UDP, &datagram(54)), "default"),
        packet(chain(&[piece(6, 24, false)], UDP, &datagram(53)), "fragment"),
        // Fragments in fragments: the innermost that is one counts, and the outer identification opens nothing.
        packet(chain(&[piece(7, 0, false), piece(8, 0, true)], UDP, &datagram(53)), "ok"),
        packet(chain(&[piece(7, 24, false)], UDP, &datagram(54)), "fragment"),
        packet(chain(&[piece(8, 24, false)], UDP, &datagram(54)), "ok"),
        packet(chain(&[piece(12, 0, true), piece(13, 0, false)], UDP, &datagram(53)), "ok"),
        packet(chain(&[piece(13, 24, false)], UDP, &datagram(54)), "fragment"),
        packet(chain(&[piece(12, 24, false)], UDP, &datagram(54)), "ok"),
        packet(chain(&[piece(9, 0, true), piece(10, 24, false)], UDP, &datagram(53)), "fragment"),
        packet(chain(&[piece(9, 24, false)], 44, &fragment_header(UDP, 8, 0, false)), "fragment"),
        packet(chain(&vec![piece(11, 0, false); 8], UDP, &datagram(53)), "ok"),
        packet(chain(&vec![piece(11, 0, false); 9], UDP, &datagram(53)), "extension_headers"),
        // Reserved bits of the header are not its offset.
        packet(chain(&[(44, vec![0, 0xFF, 0, 6, 0, 0, 0, 12])], UDP, &datagram(54)), "default"),
    ]
}

pub fn rows() -> Vec<Row> {
    let families = FAMILIES.iter().flat_map(|ends| [alone(*ends), tiny(*ends), overlapping(*ends)].concat());
    families.chain(chains()).chain(flags()).collect()
}

pub fn all(bench: &mut Bench) -> usize {
    let mut asked = 0;
    for ends in FAMILIES {
        asked += ask(bench, "fragments alone", "", SERVICES, &alone(ends));
        asked += ask(bench, "tiny fragments", "", SERVICES, &tiny(ends));
        asked += ask(bench, "overlapping fragments", "", SERVICES, &overlapping(ends));
    }
    asked + ask(bench, "fragments behind headers", "", SERVICES, &chains()) + ask(bench, "fragment bits", "", ALL, &flags())
}
