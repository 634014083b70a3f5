//! Datagrams in pieces.

use super::*;
use crate::frame::*;

const RULES: &str = r#"
[[policy]]
name = "rules"
interfaces = ["h0"]
default_action = { ingress = "deny" }
[[policy.ingress]]
action = "deny"
source = { nets = ["8.0.0.77"] }
[[policy.ingress]]
action = "allow"
protocol = "gre"
[[policy.ingress]]
action = "allow"
protocol = "udp"
destination = { ports = [53] }
"#;

fn part(source: &str, id: u32, offset: u16, more: bool, protocol: u8, payload: &[u8]) -> Shot {
    let here = if source.contains(':') { HERE6 } else { HERE };
    arrives("h0", &with(source, here, protocol, &Ip { fragment: Some((id, offset, more)), ..Ip::default() }, payload))
}

fn datagram(port: u16) -> Vec<u8> {
    ports((1000, port), 24)
}

fn family(peer: &'static str) -> Vec<Step> {
    let first = |id, port| part(peer, id, 0, true, UDP, &datagram(port));
    let later = |id| part(peer, id, 24, false, UDP, &[1; 16]);
    let other = {
        let mut bytes = datagram(53);
        bytes[19] = 1;
        bytes
    };
    vec![
        (later(1), "fragment"),
        (first(1, 53), "ok"),
        (later(1), "ok"),
        (first(1, 53), "ok"),
        (first(2, 54), "default"),
        (later(2), "default"),
        // A second, different beginning: neither counts any more.
        (part(peer, 1, 0, true, UDP, &other), "fragment_conflict"),
        (later(1), "fragment"),
        // A first fragment without its whole header, a later one inside a TCP header.
        (part(peer, 3, 0, true, UDP, &datagram(53)[..7]), "malformed"),
        (part(peer, 3, 8, false, TCP, &[0; 16]), "malformed"),
        (part(peer, 3, 16, false, TCP, &[0; 16]), "malformed"),
        (part(peer, 3, 24, false, TCP, &[0; 16]), "default"),
        (part(peer, 3, 24, false, 47, &[0; 16]), "ok"),
        (part(peer, 4, 0, false, UDP, &datagram(53)), "ok"),
    ]
}

fn unknown_protocol_steps() -> Vec<Step> {
    let behind = |id, offset, more, payload: &[u8]| {
        let mut bytes = extension(UDP, 0, 0);
        bytes.extend(payload);
        part(PEER6, id, offset, more, 60, &bytes)
    };
    vec![
        // The rule that names GRE reads the protocol, which nobody knows.
        (behind(1, 24, false, &[1; 8]), "fragment"),
        (behind(1, 0, true, &datagram(53)), "ok"),
        (behind(1, 32, false, &[1; 8]), "ok"),
    ]
}

fn l3_steps() -> Vec<Step> {
    vec![(part("8.0.0.77", 1, 24, false, UDP, &[1; 8]), "rule"), (part(PEER, 1, 24, false, UDP, &[1; 8]), "fragment")]
}

pub fn all(bench: &mut Bench) -> usize {
    play(bench, "IPv4 fragments", &[(RULES, family(PEER))])
        + play(bench, "IPv6 fragments", &[(RULES, family(PEER6))])
        + play(bench, "fragments of unknown protocol", &[(RULES, unknown_protocol_steps())])
        + play(bench, "fragments that addresses decide", &[(RULES, l3_steps())])
        + play(
            bench,
            "a remembered verdict dies with its generation",
            &[
                (RULES, vec![(part(PEER, 1, 0, true, UDP, &datagram(53)), "ok")]),
                (&format!("{RULES}log = true\n"), vec![(part(PEER, 1, 24, false, UDP, &[1; 8]), "fragment")]),
            ],
        )
}
