//! `reject`. Whether it is answered is compared by the bench.

use super::*;
use crate::frame::*;

const REJECTS: &str = r#"
[daemon.conntrack]
adopt_existing = false
loose = true
[[policy]]
name = "host"
interfaces = ["h0"]
default_action = { ingress = "allow", egress = "allow" }
[[policy.ingress]]
action = "reject"
tcp_flags = "!psh"
protocol = "tcp"
[[policy.ingress]]
action = "reject"
protocol = "udp"
reject_with = "admin-prohibited"
[[policy.ingress]]
action = "reject"
protocol = "icmp"
[[policy.ingress]]
action = "reject"
protocol = "icmpv6"
reject_with = "host-unreachable"
[[policy.egress]]
action = "reject"
reject_with = "tcp-reset"
"#;

const WORKLOAD: &str = r#"
[[policy]]
name = "workload"
interfaces = ["w0"]
endpoint = "workload"
default_action = { ingress = "allow", egress = "allow" }
[[policy.egress]]
action = "reject"
"#;

const OPEN: &str = "[[policy]]\nname = \"host\"\ninterfaces = [\"h0\"]\ndefault_action = { ingress = \"allow\", egress = \"allow\" }\n";

fn steps() -> Vec<Step> {
    let segment = |flags| between(PEER, HERE, TCP, &tcp((1, 80), flags, 1, 1, b"data"));
    let message = |kind| arrives("h0", &between(PEER, HERE, ICMP, &icmp(kind, 0, 1, b"data")));
    let message6 = |kind| arrives("h0", &between(PEER6, HERE6, ICMPV6, &icmp(kind, 0, 1, b"data")));
    let datagram = |destination: &str| between(PEER, destination, UDP, &ports((1, 53), 8));
    let first = Ip { fragment: Some((1, 0, true)), ..Ip::default() };
    let later = Ip { fragment: Some((1, 24, false)), ..Ip::default() };
    let to_group = |mut shot: Shot| {
        shot.bytes[..6].fill(0xFF);
        shot
    };
    let to_others = |mut shot: Shot| {
        shot.bytes[5] = 9;
        shot
    };
    vec![
        (arrives("h0", &segment(SYN)), "reject"),
        (arrives("h0", &segment(ACK)), "reject"),
        (arrives("h0", &segment(RST)), "reject"),
        (arrives("h0", &between(PEER6, HERE6, TCP, &tcp((1, 80), SYN, 1, 1, b""))), "reject"),
        (arrives("h0", &datagram(HERE)), "reject"),
        (arrives("h0", &datagram("224.0.0.251")), "reject"),
        (arrives("h0", &datagram("255.255.255.255")), "reject"),
        (arrives("h0", &between(PEER6, "ff02::fb", UDP, &ports((1, 53), 8))), "reject"),
        (to_group(arrives("h0", &datagram(HERE))), "reject"),
        (to_others(arrives("h0", &datagram(HERE))), "reject"),
        (arrives("h0", &with(PEER, HERE, UDP, &first, &ports((1, 53), 24))), "reject"),
        (arrives("h0", &with(PEER, HERE, UDP, &later, &[0; 8])), "reject"),
        (message(8), "reject"),
        (message(13), "reject"),
        (message(9), "reject"),
        (message(3), "no_connection"),
        (message6(128), "reject"),
        (message6(150), "reject"),
        (arrives("h0", &between("0.0.0.0", "255.255.255.255", UDP, &ports((68, 67), 16))), "reject"),
        (at("h0", Hook::Egress, ethernet(&[], IPV4, &between(HERE, PEER, TCP, &tcp((9, 80), SYN, 1, 0, b"")))), "reject"),
        (to_others(leaves("h0", &between(HERE, PEER, UDP, &ports((9, 53), 8)))), "reject"),
        (leaves("h0", &between(HERE6, PEER6, 47, b"tunnelled")), "reject"),
    ]
}

/// A flow that is judged again and rejected is answered at either hook.
fn ended(bench: &mut Bench) -> usize {
    let there = |flags, sequence, acknowledgement| {
        arrives("h0", &between(PEER, HERE, TCP, &tcp((1000, 80), flags, sequence, acknowledgement, b"")))
    };
    let back =
        |flags, sequence, acknowledgement| leaves("h0", &between(HERE, PEER, TCP, &tcp((80, 1000), flags, sequence, acknowledgement, b"")));
    let opening = vec![(there(SYN, 100, 0), "ok"), (back(SYN | ACK, 500, 101), "ok"), (there(ACK, 101, 501), "ok")];
    play(bench, "a rejected flow", &[(OPEN, opening.clone()), (REJECTS, vec![(there(ACK, 101, 501), "reject")])])
        + play(bench, "a rejected flow, from here", &[(OPEN, opening), (REJECTS, vec![(back(ACK, 501, 101), "reject")])])
}

pub fn all(bench: &mut Bench) -> usize {
    let others = {
        let mut frame = frame(&between(PEER, HERE, UDP, &ports((1, 53), 8)));
        frame[5] = 9;
        vec![(at("w0", Hook::Ingress, frame), "reject")]
    };
    play(bench, "reject", &[(REJECTS, steps())]) + play(bench, "reject from a workload", &[(WORKLOAD, others)]) + ended(bench)
}
