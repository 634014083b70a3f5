//! Segments of somebody who is no party to the connection, or who says what no stack says (RFC 5961, RFC 4953).
//!
//! That a connection has not ended is asked with a SYN and an answer to nothing: an ended flow begins anew with the SYN, and then only
//! the answer that fits is one.

use super::*;
use crate::frame::*;

const URG: u8 = 0x20;
const XMAS: u8 = FIN | PSH | URG;

struct Talk((&'static str, &'static str));

impl Talk {
    fn there(&self, flags: u8, sequence: u32, acknowledgement: u32, want: &'static str) -> Row {
        packet(plain(self.0, TCP, &tcp((1000, 80), flags, sequence, acknowledgement, b"")), want)
    }

    fn back(&self, flags: u8, sequence: u32, acknowledgement: u32, want: &'static str) -> Row {
        back(plain(turned(self.0), TCP, &tcp((80, 1000), flags, sequence, acknowledgement, b"")), want)
    }

    /// The client's next number is 101, the server's 501; both have been acknowledged.
    fn handshake(&self) -> Vec<Row> {
        vec![
            self.there(SYN, 100, 0, "ok"),
            self.back(SYN | ACK, 500, 101, "ok"),
            self.there(ACK, 101, 501, "ok"),
            self.back(ACK, 501, 101, "ok"),
        ]
    }

    fn stands(&self) -> Vec<Row> {
        vec![self.there(SYN, 900, 0, "ok"), self.back(SYN | ACK, 7, 7, "ok"), self.there(ACK, 101, 501, "ok")]
    }

    fn has_ended(&self) -> Vec<Row> {
        vec![self.there(SYN, 900, 0, "ok"), self.back(SYN | ACK, 7, 7, "no_connection"), self.back(SYN | ACK, 7, 901, "ok")]
    }
}

/// What is sent to nobody's connection.
fn strangers(talk: &Talk) -> Vec<Row> {
    let mut rows = Vec::new();
    for flags in 0..=255u8 {
        let opens = flags & (SYN | ACK | RST | FIN) == SYN;
        rows.push(talk.back(flags, 1, 1, if opens { "default" } else { "no_connection" }));
        // On a flow that a SYN has opened, any other segment of the same side passes; so each has a port of its own.
        let own = tcp((2000 + u16::from(flags), 80), flags, 1, 1, b"");
        rows.push(packet(plain(talk.0, TCP, &own), if opens { "ok" } else { "no_connection" }));
    }
    rows
}

/// Attacks on a standing connection: each with its segments, and whether the connection is over then.
fn attacks(talk: &Talk) -> Vec<(Vec<Row>, bool)> {
    let there = |flags, sequence, acknowledgement| talk.there(flags, sequence, acknowledgement, "ok");
    let back = |flags, sequence, acknowledgement| talk.back(flags, sequence, acknowledgement, "ok");
    vec![
        // Resets that are out of the window, in it, one beside, and exact.
        (vec![there(RST, 0x8000_0000, 0), there(RST, 5000, 0), there(RST, 102, 0), there(RST, 100, 0)], false),
        (vec![back(RST, 0x8000_0000, 0), back(RST, 900, 0), back(RST, 502, 0), back(RST, 500, 0)], false),
        (vec![there(RST, 101, 0)], true),
        (vec![back(RST, 501, 0)], true),
        // With an acknowledgement that the same stranger has sent before.
        (vec![there(ACK, 7777, 4242), there(RST | ACK, 8888, 4242)], false),
        (vec![there(ACK, 7777, 4242), there(RST | ACK, 401, 4242), there(RST | ACK, 401, 502)], false),
        (vec![there(RST | ACK, 0xF000_0000, 501)], false),
        (vec![back(ACK, 7777, 4242), back(RST | ACK, 8888, 4242)], false),
        // FINs that nobody acknowledges.
        (vec![there(FIN | ACK, 5000, 501), back(FIN | ACK, 9000, 101)], false),
        (vec![there(FIN, 101, 0), back(FIN, 501, 0)], false),
        (vec![there(XMAS, 101, 0), there(XMAS | ACK, 5000, 1), there(0, 101, 501)], false),
        // SYNs with everything.
        (vec![there(SYN | FIN, 101, 501), there(SYN | RST, 5000, 501), there(SYN | FIN | RST | ACK, 5000, 9)], false),
        (vec![talk.back(SYN, 9, 0, "default"), talk.there(SYN | ACK, 1, 1, "no_connection"), back(SYN | ACK, 1, 1)], false),
        (vec![there(SYN, 7777, 0), there(SYN | URG | PSH | 0xC0, 8888, 4)], false),
    ]
}

fn standing(bench: &mut Bench, talk: &Talk) -> usize {
    let mut asked = 0;
    for (number, (attack, ends)) in attacks(talk).into_iter().enumerate() {
        let after = if ends { talk.has_ended() } else { talk.stands() };
        let rows = [talk.handshake(), attack, after].concat();
        asked += ask(bench, &format!("attack {number} on a connection"), "", SERVICES, &rows);
    }
    asked
}

/// Answers to a SYN that are none, before the one that is.
fn half_open(talk: &Talk) -> Vec<Row> {
    vec![
        talk.back(SYN | ACK, 500, 101, "no_connection"),
        talk.there(SYN, 100, 0, "ok"),
        talk.back(SYN | ACK, 500, 100, "no_connection"),
        talk.back(SYN | ACK, 500, 102, "no_connection"),
        talk.back(SYN | ACK | FIN, 500, 0, "no_connection"),
        talk.there(SYN | ACK, 500, 101, "no_connection"),
        talk.back(SYN | ACK | RST, 500, 7, "ok"),
        // RFC 9293 section 3.5: the crossing SYN is judged for itself.
        talk.back(SYN, 500, 0, "default"),
        talk.back(SYN | ACK, 500, 101, "ok"),
        // The same answer again, and one of a stranger who has seen nothing of it.
        talk.back(SYN | ACK, 500, 101, "ok"),
        talk.there(ACK, 101, 501, "ok"),
        talk.back(SYN | ACK, 500, 101, "ok"),
    ]
}

pub fn rows() -> Vec<Row> {
    let talks = FAMILIES.map(Talk);
    let of = |talk: &Talk| [talk.handshake(), half_open(talk), attacks(talk).into_iter().flat_map(|(rows, _)| rows).collect()].concat();
    talks.iter().flat_map(of).collect()
}

pub fn all(bench: &mut Bench) -> usize {
    let mut asked = 0;
    for ends in FAMILIES {
        let talk = Talk(ends);
        asked += ask(bench, "segments of strangers", "", SERVICES, &strangers(&talk));
        asked += ask(bench, "answers to a SYN", "", SERVICES, &half_open(&talk));
        asked += standing(bench, &talk);
    }
    asked
}
