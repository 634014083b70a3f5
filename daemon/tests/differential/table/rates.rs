//! Stage 2b, and the limits of rules.

use super::*;
use crate::frame::*;

const LIMITS: &str = r#"
[[policy]]
name = "host"
interfaces = ["h0"]
default_action = { ingress = "deny", egress = "allow" }
[[policy.ingress]]
action = "allow"
protocol = "tcp"
destination = { ports = [80] }
limit = { rate = "1/d", burst = 2 }
[[policy.ingress]]
action = "allow"
protocol = "tcp"
destination = { ports = [81] }
limit = { rate = "1/d", burst = 2, per = "source" }
[[policy.ingress]]
action = "allow"
protocol = "tcp"
destination = { ports = [82] }
limit = { rate = "1/d", burst = 2, per = "destination" }
[[policy.ingress]]
action = "reject"
protocol = "tcp"
destination = { ports = ["80-82"] }
"#;

fn syn(source: &str, port: u16, destination: &str, to: u16) -> Shot {
    arrives("h0", &between(source, destination, TCP, &tcp((port, to), SYN, 100, 0, b"")))
}

fn limit_steps() -> Vec<Step> {
    let (other, neighbour, stranger) = ("8.0.0.2", "2001:db8:86dd::2", "2001:db8:86de::1");
    vec![
        (syn(PEER, 1, HERE, 80), "ok"),
        (syn(other, 2, HERE, 80), "ok"),
        (syn(PEER, 3, HERE, 80), "reject"),
        (syn(PEER6, 4, HERE6, 80), "reject"),
        (arrives("h0", &between(PEER, HERE, TCP, &tcp((1, 80), ACK, 101, 1, b""))), "ok"),
        (syn(PEER, 1, HERE, 80), "reject"),
        (syn(PEER, 1, HERE, 81), "ok"),
        (syn(PEER, 2, HERE, 81), "ok"),
        (syn(PEER, 3, HERE, 81), "reject"),
        (syn(other, 3, HERE, 81), "ok"),
        (syn(PEER6, 1, HERE6, 81), "ok"),
        (syn(neighbour, 1, HERE6, 81), "ok"),
        (syn(PEER6, 2, HERE6, 81), "reject"),
        (syn(stranger, 2, HERE6, 81), "ok"),
        // The same 32 bits are nobody's neighbour in the other family.
        (syn("32.1.13.184", 1, HERE, 81), "ok"),
        (syn("32.1.13.184", 2, HERE, 81), "ok"),
        (syn("2001:db8::1", 1, HERE6, 81), "ok"),
        (syn(PEER, 1, HERE, 82), "ok"),
        (syn(other, 2, HERE, 82), "ok"),
        (syn(other, 3, HERE, 82), "reject"),
        (syn(other, 3, "8.0.1.2", 82), "ok"),
    ]
}

/// Running flows hold their limit in the next generation, and use nothing of it up.
fn held(bench: &mut Bench) -> usize {
    let segment = |port: u16| arrives("h0", &between(PEER, HERE, TCP, &tcp((port, 81), ACK, 101, 1, b"")));
    let opening = vec![(syn(PEER, 1, HERE, 81), "ok"), (syn(PEER, 2, HERE, 81), "ok"), (syn(PEER, 3, HERE, 81), "reject")];
    let later = vec![
        (segment(1), "ok"),
        (segment(2), "ok"),
        (segment(3), "no_connection"),
        (syn(PEER, 4, HERE, 81), "ok"),
        (syn(PEER, 5, HERE, 81), "ok"),
        (syn(PEER, 6, HERE, 81), "reject"),
    ];
    play(bench, "limits are held", &[(LIMITS, opening), (LIMITS, later)])
}

const SOURCES: &str = r#"
[[daemon.failsafe.inbound]]
protocol = "udp"
port = 53
nets = ["8.0.0.2"]
[[set]]
name = "bad"
elements = ["8.0.0.77"]
[[policy]]
name = "host"
interfaces = ["h0", "h1"]
default_action = { ingress = "DEFAULT" }
policy_types = ["DIRECTION"]
[policy.xdp]
mode = "MODE"
deny_sets = ["bad"]
rate_limit = { packets = "1/d", packets_burst = 4, syns = "1/d", syns_burst = 2 }
"#;

fn source_steps() -> Vec<Step> {
    let udp = |source: &str, here: &str, port: u16| arrives("h0", &between(source, here, UDP, &ports((port, 53), 8)));
    let fragment = Ip { fragment: Some((1, 24, true)), ..Ip::default() };
    vec![
        (syn(PEER, 1, HERE, 80), "ok"),
        (syn(PEER, 2, HERE, 80), "ok"),
        (syn(PEER, 3, HERE, 80), "rate_limit"),
        (udp(PEER, HERE, 1), "ok"),
        (udp(PEER, HERE, 1), "rate_limit"),
        (leaves("h0", &between(HERE, PEER, UDP, &ports((53, 1), 8))), "ok"),
        (arrives("h1", &between(PEER, HERE, UDP, &ports((1, 53), 8))), "ok"),
        // A deny set is asked first, and what a failsafe with nets excuses is not counted.
        (udp("8.0.0.77", HERE, 1), "deny_set"),
        (udp("8.0.0.2", HERE, 1), "ok"),
        (udp("8.0.0.2", HERE, 2), "ok"),
        (udp("8.0.0.2", HERE, 3), "ok"),
        (udp("8.0.0.2", HERE, 4), "ok"),
        (udp("8.0.0.2", HERE, 5), "ok"),
        (udp(PEER6, HERE6, 1), "ok"),
        (udp("2001:db8:86dd::2", HERE6, 1), "ok"),
        (udp(PEER6, HERE6, 2), "ok"),
        (arrives("h0", &with(PEER6, HERE6, UDP, &fragment, &[0; 24])), "ok"),
        (arrives("h0", &with(PEER6, HERE6, UDP, &fragment, &[0; 24])), "rate_limit"),
        (udp("2001:db8:86de::1", HERE6, 1), "ok"),
        // No IP.
        (at("h0", Hook::Ingress, ethernet(&[], 0x88CC, b"lldp")), "ok"),
    ]
}

pub fn all(bench: &mut Bench) -> usize {
    let mut done = play(bench, "limits", &[(LIMITS, limit_steps())]) + held(bench);
    for mode in ["generic", "off"] {
        let isolated = SOURCES.replace("MODE", mode).replace("DEFAULT", "allow").replace("DIRECTION", "ingress");
        let open = SOURCES.replace("MODE", mode).replace("default_action = { ingress = \"DEFAULT\" }\n", "").replace("DIRECTION", "egress");
        let open = open.replace("policy_types = [\"egress\"]", "default_action = { egress = \"allow\" }");
        done += play(bench, "rates of sources", &[(&isolated, source_steps())]);
        done += play(bench, "rates of sources where ingress is not isolated", &[(&open, source_steps())]);
    }
    done
}
