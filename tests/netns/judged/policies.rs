//! Random policy files for `left`, over the addresses of the bench.

use super::packets::OTHER_MAC;
use super::random::Random;

const NETS4: [&str; 5] = ["10.1.0.0/16", "10.1.0.2", "10.1.0.0/30", "10.2.0.0/16", "10.1.0.1"];
const NETS6: [&str; 5] = ["fd00:1::/64", "fd00:1::2", "fd00:1::/126", "fd00:2::/64", "fd00:1::1"];
const PORTS: [&str; 6] = ["22", "53", "80", "443", "\"22-80\"", "\"1000-65535\""];
const PROTOCOLS: [(&str, bool); 8] = [
    ("\"tcp\"", true),
    ("\"tcp\"", true),
    ("\"udp\"", true),
    ("\"udp\"", true),
    ("\"sctp\"", true),
    ("\"icmp\"", false),
    ("\"icmpv6\"", false),
    ("47", false),
];

fn list(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
    format!("[{}]", quoted.join(", "))
}

fn bare(words: &[&str]) -> String {
    format!("[{}]", words.join(", "))
}

/// Some prefixes of both families.
fn nets(random: &mut Random) -> String {
    list(&[random.some(&NETS4, 2), random.some(&NETS6, 2)].concat())
}

/// A whole file, for a host and for a workload in turn; no two of different numbers share the name of a policy, so none goes on with the rates of another.
pub fn text(random: &mut Random, number: usize) -> String {
    let mut text = String::from("version = 1\n[daemon.conntrack]\nadopt_existing = false\n");
    for timeout in ["tcp_syn", "tcp_established", "tcp_fin", "udp", "udp_stream", "icmp", "generic"] {
        text += &format!("{timeout} = \"1d\"\n");
    }
    for (line, percent) in [("established = \"keep\"\n", 15), ("loose = true\n", 20)] {
        text += if random.percent(percent) { line } else { "" };
    }
    for direction in ["inbound", "outbound"] {
        if random.percent(35) {
            let nets = if random.percent(50) { format!("nets = {}\n", nets(random)) } else { String::new() };
            let (protocol, port) = (random.pick(&["tcp", "udp"]), random.pick(&["22", "53"]));
            text += &format!("[[daemon.failsafe.{direction}]]\nprotocol = \"{protocol}\"\nport = {port}\n{nets}");
        }
    }
    text += &format!("[[set]]\nname = \"a\"\nelements = {}\n", nets(random));
    text += &format!("[[set]]\nname = \"x\"\ndynamic = true\nelements = {}\n", nets(random));
    let workload = number % 2 == 1;
    for part in 0..1 + random.below(3) {
        text += &policy(random, &format!("p{number}-{part}"), workload);
    }
    text
}

fn policy(random: &mut Random, name: &str, workload: bool) -> String {
    let endpoint = if workload { "endpoint = \"workload\"\n" } else { "" };
    let mut text = format!("[[policy]]\nname = \"{name}\"\ninterfaces = [\"left\"]\n{endpoint}order = {}\n", random.below(4));
    let isolated: &[&str] = random.pick(&[&["ingress"], &["egress"], &["ingress", "egress"], &["ingress", "egress"]]);
    text += &format!("policy_types = {}\n", list(isolated));
    let defaults: Vec<String> =
        isolated.iter().map(|direction| format!("{direction} = \"{}\"", random.pick(&["allow", "deny", "deny"]))).collect();
    text += &format!("default_action = {{ {} }}\n", defaults.join(", "));
    for (line, percent) in [("mode = \"audit\"\n", 15), ("icmpv6_essential = false\n", 20), ("ethertypes = [\"lldp\", 0x8863]\n", 30)] {
        text += if random.percent(percent) { line } else { "" };
    }
    if random.percent(35) {
        text += &format!("[policy.xdp]\nmode = \"{}\"\n", random.pick(&["auto", "auto", "off"]));
        for (line, percent) in [("drop_malformed = true\n", 50), ("drop_fragments = true\n", 30)] {
            text += if random.percent(percent) { line } else { "" };
        }
        if random.percent(50) {
            text += &format!("deny_sets = {}\n", list(&random.some(&["a", "x"], 2)));
        }
    }
    if random.percent(25) {
        text += &anti_spoof(random);
    }
    for direction in isolated {
        for _ in 0..1 + random.below(6) {
            text += &rule(random, direction);
        }
    }
    text
}

fn anti_spoof(random: &mut Random) -> String {
    let mut text = String::from("[policy.anti_spoof]\n");
    if random.percent(60) {
        text += &format!("check_reverse_path = \"{}\"\n", random.pick(&["strict", "loose"]));
    }
    if random.percent(40) {
        text += &format!("allowed_sources = {}\n", nets(random));
    }
    if random.percent(40) {
        // The bench's own frames must pass.
        let other = OTHER_MAC.map(|byte| format!("{byte:02x}")).join(":");
        text +=
            &format!("allowed_macs = {}\n", random.pick(&["[\"02:00:00:00:00:98\"]", &format!("[\"02:00:00:00:00:98\", \"{other}\"]")]));
    }
    text
}

fn rule(random: &mut Random, direction: &str) -> String {
    let action = random.pick(&["allow", "allow", "allow", "deny", "reject", "pass"]);
    let mut text = format!("[[policy.{direction}]]\naction = \"{action}\"\n");
    let protocol = random.percent(60).then(|| random.pick(&PROTOCOLS));
    text += &protocol.map_or_else(String::new, |(name, _)| format!("protocol = {name}\n"));
    let family = match protocol {
        Some(("\"icmp\"", _)) => Some(4),
        Some(("\"icmpv6\"", _)) => Some(6),
        _ => random.percent(40).then(|| random.pick(&[4, 6])),
    };
    text += &family.map_or_else(String::new, |family| format!("ip_version = {family}\n"));
    let with_ports = protocol.is_none_or(|(_, ports)| ports) && random.percent(60);
    for side in ["source", "destination"] {
        text += &peer(random, side, family, with_ports);
    }
    match protocol {
        Some(("\"icmp\"", _)) if random.percent(50) => text += "icmp = { type = 8 }\n",
        Some(("\"icmpv6\"", _)) if random.percent(50) => text += "icmp = { type = 128 }\n",
        Some(("\"tcp\"", _)) if random.percent(20) => text += random.pick(&["tcp_flags = \"syn\"\n", "tcp_flags = \"!psh,!ack\"\n"]),
        _ => {}
    }
    if random.percent(12) {
        text += random.pick(&["vlan = 7\n", "vlan = [7, 8]\n"]);
    }
    if random.percent(10) {
        text += &format!("limit = {{ rate = \"1/d\", burst = {}, per = \"{}\" }}\n", 1 + random.below(6), random.pick(&["rule", "source"]));
    }
    text
}

fn peer(random: &mut Random, side: &str, family: Option<i32>, with_ports: bool) -> String {
    let mut keys = Vec::new();
    let nets: &[&str] = match family {
        Some(4) => &NETS4,
        Some(_) => &NETS6,
        None => &[NETS4, NETS6].concat(),
    };
    for (key, percent) in [("nets", 30), ("not_nets", 8)] {
        if random.percent(percent) {
            keys.push(format!("{key} = {}", list(&random.some(nets, 2))));
        }
    }
    for (key, percent) in [("sets", 12), ("not_sets", 8)] {
        if random.percent(percent) {
            keys.push(format!("{key} = {}", list(&random.some(&["a", "x"], 2))));
        }
    }
    if with_ports && random.percent(if side == "source" { 20 } else { 70 }) {
        keys.push(format!("{} = {}", random.pick(&["ports", "ports", "not_ports"]), bare(&random.some(&PORTS, 2))));
    }
    if keys.is_empty() { String::new() } else { format!("{side} = {{ {} }}\n", keys.join(", ")) }
}
