//! Stage 5: connections, ICMP, other generations.

use super::*;
use crate::frame::*;

const WEB: &str = r#"
[[policy]]
name = "web"
interfaces = ["h0"]
default_action = { ingress = "deny", egress = "allow" }
[[policy.ingress]]
action = "allow"
protocol = "tcp"
destination = { ports = [80] }
[[policy.ingress]]
action = "allow"
protocol = "sctp"
[[policy.ingress]]
action = "allow"
protocol = "icmp"
icmp = { type = 8 }
"#;
const NOTHING: &str = r#"
[[policy]]
name = "nothing"
interfaces = ["h0"]
default_action = { ingress = "deny", egress = "deny" }
"#;

fn there(flags: u8, sequence: u32, acknowledgement: u32) -> Shot {
    arrives("h0", &between(PEER, HERE, TCP, &tcp((1000, 80), flags, sequence, acknowledgement, b"")))
}

fn back(flags: u8, sequence: u32, acknowledgement: u32) -> Shot {
    leaves("h0", &between(HERE, PEER, TCP, &tcp((80, 1000), flags, sequence, acknowledgement, b"")))
}

fn handshake() -> Vec<Step> {
    vec![(there(SYN, 100, 0), "ok"), (back(SYN | ACK, 500, 101), "ok"), (there(ACK, 101, 501), "ok")]
}

fn after_handshake(more: Vec<Step>) -> Vec<Step> {
    [handshake(), more].concat()
}

fn tcp_tables(bench: &mut Bench) -> usize {
    let mut play = |name: &str, steps: Vec<Step>| play(bench, name, &[(WEB, steps)]);
    let strangers = vec![
        (there(ACK, 1, 1), "no_connection"),
        (there(SYN | ACK, 1, 1), "no_connection"),
        (there(RST, 1, 1), "no_connection"),
        (there(SYN | FIN, 1, 1), "no_connection"),
        (there(SYN | RST, 1, 1), "no_connection"),
        (there(0, 1, 1), "no_connection"),
        (back(SYN | ACK, 1, 1), "no_connection"),
    ];
    let forged_answers = vec![
        (there(SYN, 100, 0), "ok"),
        (back(SYN | ACK, 500, 102), "no_connection"),
        (there(SYN | ACK, 500, 101), "no_connection"),
        (back(SYN | ACK | RST, 500, 102), "ok"),
        (back(SYN | ACK, 500, 101), "ok"),
    ];
    let simultaneous = vec![(there(SYN, 100, 0), "ok"), (back(SYN, 500, 0), "ok"), (there(SYN | ACK, 100, 501), "no_connection")];
    let resets = after_handshake(vec![
        (back(ACK, 501, 101), "ok"),
        (there(RST, 999, 0), "ok"),
        (there(ACK, 101, 501), "ok"),
        (there(RST, 101, 0), "ok"),
        // Closed: a SYN begins anew, and its answer must fit the new number.
        (there(SYN, 900, 0), "ok"),
        (back(SYN | ACK, 500, 101), "no_connection"),
        (back(SYN | ACK, 500, 901), "ok"),
    ]);
    let closing = after_handshake(vec![
        (there(FIN | ACK, 101, 501), "ok"),
        (back(ACK, 501, 102), "ok"),
        (back(FIN | ACK, 501, 102), "ok"),
        (there(ACK, 102, 502), "ok"),
        (there(ACK, 102, 502), "ok"),
    ]);
    let early_end = vec![
        (there(SYN, 100, 0), "ok"),
        (back(SYN | ACK, 500, 101), "ok"),
        (back(FIN | ACK, 501, 101), "ok"),
        (there(FIN | ACK, 101, 502), "ok"),
        (back(ACK, 502, 102), "ok"),
    ];
    let forged_syn = after_handshake(vec![(there(SYN, 7777, 0), "ok"), (there(ACK, 101, 501), "ok"), (back(SYN, 7777, 0), "ok")]);
    play("strangers", strangers)
        + play("forged SYN-ACKs", forged_answers)
        + play("simultaneous open", simultaneous)
        + play("resets", resets)
        + play("closing", closing)
        + play("FIN before the handshake has ended", early_end)
        + play("a SYN in a connection", forged_syn)
}

fn quote(quoted: &[u8]) -> Vec<u8> {
    icmp(3, 1, 0, quoted)
}

fn icmp_steps() -> Vec<Step> {
    let echo = |kind, identifier| icmp(kind, 0, identifier, b"");
    let sent = between(HERE, PEER, UDP, &ports((1000, 53), 8));
    let port = |number: u16| between(HERE, PEER, UDP, &ports((number, 53), 8));
    let later = with(HERE, PEER, UDP, &Ip { fragment: Some((1, 24, false)), ..Ip::default() }, &[0; 8]);
    let pinged = between(HERE, PEER, ICMP, &echo(8, 9));
    let error = |source: &str, destination: &str, quoted: &[u8]| arrives("h0", &between(source, destination, ICMP, &quote(quoted)));
    vec![
        (arrives("h0", &between(PEER, HERE, ICMP, &echo(0, 1))), "no_connection"),
        (arrives("h0", &between(PEER, HERE, ICMP, &echo(8, 1))), "ok"),
        (leaves("h0", &between(HERE, PEER, ICMP, &echo(0, 1))), "ok"),
        (arrives("h0", &between(PEER, HERE, ICMP, &echo(13, 1))), "default"),
        (error(PEER, HERE, &sent), "no_connection"),
        (leaves("h0", &sent), "ok"),
        (error(PEER, HERE, &sent), "ok"),
        (error("8.0.0.99", HERE, &sent), "ok"),
        (error(PEER, "8.0.1.2", &sent), "no_connection"),
        (error(PEER, HERE, &port(1001)), "no_connection"),
        (error(PEER, HERE, &sent[..27]), "no_connection"),
        (error(PEER, HERE, &later), "no_connection"),
        (leaves("h0", &between(HERE, PEER, ICMP, &quote(&sent))), "no_connection"),
        (leaves("h0", &pinged), "ok"),
        (error(PEER, HERE, &pinged), "ok"),
        (error(PEER, HERE, &between(HERE, PEER, ICMP, &echo(8, 10))), "no_connection"),
        (error(PEER, HERE, &between(HERE, PEER, ICMP, &quote(&sent))), "no_connection"),
    ]
}

fn sctp_steps() -> Vec<Step> {
    let there = |chunk| arrives("h0", &between(PEER, HERE, SCTP, &sctp((1000, 80), chunk)));
    let back = |chunk| leaves("h0", &between(HERE, PEER, SCTP, &sctp((80, 1000), chunk)));
    vec![(there(0), "no_connection"), (there(1), "ok"), (back(2), "ok"), (there(10), "ok"), (there(1), "ok"), (back(1), "ok")]
}

fn generations(bench: &mut Bench) -> usize {
    let keep = format!("[daemon.conntrack]\nestablished = \"keep\"\n{NOTHING}");
    let sent = between(HERE, PEER, UDP, &ports((1000, 53), 8));
    let error = arrives("h0", &between(PEER, HERE, ICMP, &quote(&sent)));
    play(
        bench,
        "a flow that is judged again ends",
        &[(WEB, handshake()), (NOTHING, vec![(there(ACK, 101, 501), "default"), (there(ACK, 101, 501), "no_connection")])],
    ) + play(
        bench,
        "both ways",
        &[(WEB, handshake()), (NOTHING, vec![(back(ACK, 501, 101), "default"), (there(ACK, 101, 501), "no_connection")])],
    ) + play(bench, "an error of it", &[(WEB, vec![(leaves("h0", &sent), "ok")]), (NOTHING, vec![(error, "default")])])
        + play(
            bench,
            "a flow that is kept",
            &[(WEB, handshake()), (&keep, vec![(there(ACK, 101, 501), "ok"), (there(SYN, 1, 0), "default")])],
        )
        + play(
            bench,
            "a SYN is judged itself",
            &[(WEB, handshake()), (NOTHING, vec![(there(SYN, 100, 0), "default")]), (WEB, vec![(there(ACK, 101, 501), "ok")])],
        )
        + play(
            bench,
            "a SYN-ACK that answers nothing ends nothing",
            &[
                (WEB, vec![(there(SYN, 100, 0), "ok")]),
                (NOTHING, vec![(back(SYN | ACK, 1, 1), "no_connection")]),
                (WEB, vec![(back(SYN | ACK, 1, 101), "ok")]),
            ],
        )
}

pub fn all(bench: &mut Bench) -> usize {
    tcp_tables(bench) + play(bench, "ICMP", &[(WEB, icmp_steps())]) + play(bench, "SCTP", &[(WEB, sctp_steps())]) + generations(bench)
}
