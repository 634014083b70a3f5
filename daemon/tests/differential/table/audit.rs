//! Policies in audit mode refuse nothing; what they would have denied is compared by the bench.

use super::*;
use crate::frame::*;

const ALONE: &str = r#"
[[policy]]
name = "audit"
mode = "audit"
interfaces = ["h0"]
default_action = { ingress = "deny", egress = "deny" }
[policy.anti_spoof]
bogons = true
[[policy.ingress]]
action = "allow"
protocol = "tcp"
destination = { ports = [80] }
[[policy.ingress]]
action = "reject"
protocol = "tcp"
destination = { ports = [81] }
"#;

const BESIDE: &str = r#"
[[policy]]
name = "first"
order = 1
mode = "audit"
interfaces = ["h0"]
default_action = { ingress = "deny" }
[[policy.ingress]]
action = "pass"
protocol = "tcp"
destination = { ports = [80] }
[[policy.ingress]]
action = "deny"
protocol = "tcp"
destination = { ports = [81] }
limit = { rate = "1/d", burst = 1 }
[[policy]]
name = "second"
order = 2
interfaces = ["h0"]
default_action = { ingress = "deny" }
[[policy.ingress]]
action = "allow"
protocol = "tcp"
destination = { ports = ["80-81"] }
[[policy]]
name = "third"
order = 3
mode = "audit"
interfaces = ["h0"]
default_action = { ingress = "deny" }
"#;

fn syn(port: u16, to: u16) -> Shot {
    arrives("h0", &between(PEER, HERE, TCP, &tcp((port, to), SYN, 100, 0, b"")))
}

fn alone_steps() -> Vec<Step> {
    vec![
        (syn(1, 80), "ok"),
        (syn(1, 81), "ok"),
        (syn(1, 82), "ok"),
        (arrives("h0", &between(PEER, HERE, TCP, &tcp((9, 82), ACK, 1, 1, b""))), "ok"),
        (arrives("h0", &between("10.0.0.1", HERE, UDP, &ports((1, 2), 8))), "ok"),
        (arrives("h0", &between("10.0.0.1", HERE, UDP, &ports((1, 2), 8))), "ok"),
        (arrives("h0", &between(PEER6, HERE6, ICMPV6, &icmp(150, 0, 0, b""))), "ok"),
        (arrives("h0", &with(PEER, HERE, UDP, &Ip { fragment: Some((1, 24, true)), ..Ip::default() }, &[0; 24])), "ok"),
        (leaves("h0", &between(HERE, PEER, UDP, &ports((5, 6), 8))), "ok"),
        (arrives("h0", &between(PEER, HERE, UDP, &ports((6, 5), 8))), "ok"),
        (at("h0", Hook::Ingress, ethernet(&[], 0x8863, b"pppoe")), "ok"),
        (arrives("h0", &between("127.0.0.1", HERE, UDP, &ports((1, 2), 8))), "ok"),
    ]
}

fn beside_steps() -> Vec<Step> {
    let later = with(PEER, HERE, TCP, &Ip { fragment: Some((1, 24, true)), ..Ip::default() }, &[0; 24]);
    vec![
        (syn(1, 80), "ok"),
        (syn(1, 81), "ok"),
        (syn(2, 81), "ok"),
        (syn(1, 82), "default"),
        (arrives("h0", &later), "fragment"),
        (arrives("h0", &between(PEER, HERE, UDP, &ports((1, 2), 8))), "default"),
    ]
}

pub fn all(bench: &mut Bench) -> usize {
    play(bench, "audit alone", &[(ALONE, alone_steps())])
        + play(bench, "audit beside", &[(BESIDE, beside_steps())])
        + play(bench, "flows and audit", &[(BESIDE, vec![(syn(1, 81), "ok")]), (ALONE, vec![(syn(2, 81), "ok")]), (BESIDE, beside_steps())])
}
