//! Random policy files over the small world of the frames, so that they meet at each other's borders.

use crate::bench::LINKS;
use crate::random::Random;
use crate::scenario::{Goal, Path, PolicyText, Text};
use crate::traffic::DYNAMIC;

const NETS4: [&str; 6] = ["0.0.0.0/0", "8.0.0.0/24", "8.0.0.0/31", "8.0.0.1", "8.0.1.0/24", "8.0.1.1"];
const NETS6: [&str; 6] = ["::/0", "2001:db8:86dd::/64", "2001:db8:86dd::1", "2001:db8:86dd:1::/64", "fe80::/10", "ff02::/16"];
/// Prefixes of the host's routes.
const ROUTED: [&str; 10] = [
    "0.0.0.0/0",
    "8.0.0.0/24",
    "8.0.0.0/31",
    "8.0.0.2/32",
    "8.0.1.0/24",
    "::/0",
    "2001:db8:86dd::/64",
    "2001:db8:86dd::2/128",
    "2001:db8:86dd:1::/64",
    "2001:db8:86dd:1::1/128",
];
/// Slow enough that the time between two frames gives nothing back.
const RATES: [&str; 3] = ["1/d", "4/d", "1/h"];
const PORTS: [&str; 10] = ["22", "53", "80", "\"22-80\"", "443", "\"1000-65535\"", "67", "0", "\"0-65535\"", "\"54-1000\""];
/// Names of protocols, and whether they have ports.
const PROTOCOLS: [(&str, bool); 18] = [
    ("\"tcp\"", true),
    ("\"tcp\"", true),
    ("\"tcp\"", true),
    ("\"udp\"", true),
    ("\"udp\"", true),
    ("\"sctp\"", true),
    ("\"dccp\"", true),
    ("\"udplite\"", true),
    ("\"gre\"", false),
    ("\"icmp\"", false),
    ("\"icmpv6\"", false),
    ("50", false),
    ("\"ah\"", false),
    ("\"igmp\"", false),
    ("0", false),
    ("59", false),
    ("253", false),
    ("255", false),
];
/// Static sets, and dynamic ones.
const SETS: [&str; 6] = ["a", "b", "c", "x", "y", "z"];
const HOSTS: [&str; 4] = ["h0", "h1", "t0", "lo"];
const WORKLOADS: [&str; 2] = ["w0", "w1"];

/// `["a", "b"]`
fn list(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
    format!("[{}]", quoted.join(", "))
}

fn bare(words: &[&str]) -> String {
    format!("[{}]", words.join(", "))
}

/// A whole file. `room`: entries of each flow table.
pub fn text(random: &mut Random, room: u32) -> Text {
    let mut head = String::from("[daemon.conntrack]\n");
    head.push_str(&format!("max_entries = {room}\nmax_half_open = {room}\n"));
    for timeout in ["tcp_syn", "tcp_established", "tcp_fin", "udp", "udp_stream", "icmp", "generic"] {
        head.push_str(&format!("{timeout} = \"1d\"\n"));
    }
    if random.percent(20) {
        head.push_str("established = \"keep\"\n");
    }
    if random.percent(25) {
        head.push_str("loose = true\n");
    }
    for (direction, percent) in [("inbound", 50), ("outbound", 40)] {
        for _ in 0..2 {
            if random.percent(percent) {
                head.push_str(&failsafe(random, direction));
            }
        }
    }
    let adopt = if random.percent(10) { "true" } else { random.pick(&["false", "\"sockets\""]) };
    head.insert_str("[daemon.conntrack]\n".len(), &format!("adopt_existing = {adopt}\n"));
    for name in ["a", "b", "c", "x", "y", "z"] {
        let mut elements = random.some(&NETS4[1..], 2);
        elements.extend(random.some(&NETS6[1..], 2));
        head.push_str(&format!("[[set]]\nname = \"{name}\"\n"));
        let dynamic = DYNAMIC.contains(&name);
        if dynamic {
            head.push_str("dynamic = true\n");
        }
        if !dynamic || random.percent(40) {
            head.push_str(&format!("elements = {}\n", list(&elements)));
        }
    }
    let policies = 3 + random.below(6);
    // Policies of one interface may not contradict each other in this.
    let mode = random.pick(&["generic", "auto", "auto", "generic", "off"]);
    Text { head, policies: (0..policies).map(|number| policy(random, number, mode)).collect() }
}

fn failsafe(random: &mut Random, direction: &str) -> String {
    let (protocol, port) = (random.pick(&["tcp", "tcp", "udp", "sctp"]), random.pick(&["22", "53", "443"]));
    let nets = match random.below(3) {
        0 => String::new(),
        1 => format!("nets = {}\n", list(&random.some(&NETS4[1..], 2))),
        _ => format!("nets = {}\n", list(&random.some(&NETS6[1..], 2))),
    };
    format!("[[daemon.failsafe.{direction}]]\nprotocol = \"{protocol}\"\nport = {port}\n{nets}")
}

fn policy(random: &mut Random, number: usize, mode: &str) -> PolicyText {
    let workload = random.percent(35);
    let interfaces = match (workload, random.below(10)) {
        (true, 0) => vec!["w*"],
        (true, 1) => vec!["w[0-9]", "!w1"],
        (true, _) => random.some(&WORKLOADS, 2),
        (false, 0) => vec!["h*", "!h1"],
        (false, 1) => vec!["*", "!w*", "!n?"],
        (false, _) => random.some(&HOSTS, 4),
    };
    let mut head = format!("[[policy]]\nname = \"p{number}\"\n");
    if workload && random.percent(20) {
        head.push_str(random.pick(&["container = \"box\"\n", "machine = \"vm\"\n", "container = \"vm\"\n"]));
    } else {
        head.push_str(&format!("interfaces = {}\n", list(&interfaces)));
        head.push_str(if workload { "endpoint = \"workload\"\n" } else { "" });
    }
    if random.percent(80) {
        head.push_str(&format!("order = {}\n", random.below(6) as i32 - 2));
    }
    let isolated: &[&str] = random.pick(&[&["ingress"], &["egress"], &["ingress", "egress"], &["ingress", "egress"]]);
    head.push_str(&format!("policy_types = {}\n", list(isolated)));
    let defaults: Vec<String> =
        isolated.iter().map(|direction| format!("{direction} = \"{}\"", random.pick(&["allow", "deny", "deny"]))).collect();
    head.push_str(&format!("default_action = {{ {} }}\n", defaults.join(", ")));
    for (line, percent) in [("dhcp_client = true\n", 25), ("icmpv6_essential = false\n", 20), ("log_default_deny = true\n", 20)] {
        if random.percent(percent) {
            head.push_str(line);
        }
    }
    if random.percent(30) {
        head.push_str(&format!("ethertypes = {}\n", bare(&random.some(&["\"eapol\"", "\"stp\"", "0x8863"], 2))));
    }
    if random.percent(20) {
        head.push_str("mode = \"audit\"\n");
    }
    let mut tables = Vec::new();
    if random.percent(75) && interfaces != ["lo"] {
        tables.push(xdp(random, mode));
    }
    if random.percent(30) {
        tables.push(anti_spoof(random));
    }
    let rules = isolated.iter().flat_map(|direction| (0..random.below(9)).map(|_| rule(random, direction)).collect::<Vec<_>>()).collect();
    PolicyText { head, tables, rules }
}

fn xdp(random: &mut Random, mode: &str) -> String {
    let mut text = format!("[policy.xdp]\nmode = \"{mode}\"\n");
    if random.percent(60) {
        text.push_str(&format!("deny_sets = {}\n", list(&random.some(&SETS, 2))));
    }
    if random.percent(30) {
        let rates: Vec<String> = random.some(&["packets", "syns"], 2).into_iter().map(|what| bucket(random, what)).collect();
        text.push_str(&format!("rate_limit = {{ {} }}\n", rates.join(", ")));
    }
    for (line, percent) in [("drop_malformed = true\n", 50), ("drop_fragments = true\n", 25)] {
        if random.percent(percent) {
            text.push_str(line);
        }
    }
    text
}

fn rule(random: &mut Random, direction: &str) -> String {
    let action = random.pick(&["allow", "allow", "allow", "allow", "deny", "deny", "reject", "pass"]);
    let mut text = format!("[[policy.{direction}]]\naction = \"{}\"\n", action);
    let protocol = random.percent(60).then(|| random.pick(&PROTOCOLS));
    let family = match protocol.map(|(name, _)| name) {
        Some("\"icmp\"") => Some(4),
        Some("\"icmpv6\"") => Some(6),
        _ if random.percent(45) => Some(random.pick(&[4, 6])),
        _ => None,
    };
    if let Some((name, _)) = protocol {
        text.push_str(&format!("protocol = {name}\n"));
    }
    if let Some(family) = family {
        text.push_str(&format!("ip_version = {family}\n"));
    }
    let with_ports = protocol.is_none_or(|(_, ports)| ports) && random.percent(60);
    for (side, percent) in [("source", 30), ("destination", 60)] {
        if random.percent(percent) {
            text.push_str(&peer(random, side, family, with_ports));
        }
    }
    match protocol.map(|(name, _)| name) {
        Some("\"icmp\"") if random.percent(60) => {
            text.push_str(&icmp(random, &[8, 8, 13, 9, 10, 3]));
        }
        Some("\"icmpv6\"") if random.percent(60) => {
            text.push_str(&icmp(random, &[128, 128, 135, 150, 138, 1]));
        }
        Some("\"tcp\"") | None if random.percent(15) => {
            text.push_str(&tcp_flags(random));
        }
        _ => {}
    }
    if random.percent(15) {
        text.push_str(random.pick(&["vlan = 7\n", "vlan = 7\n", "vlan = [7, 8]\n", "vlan = 9\n", "vlan = [8, 7]\n"]));
    }
    if random.percent(10) {
        text.push_str("log = true\n");
    }
    if action == "reject" && random.percent(50) {
        let with = random.pick(&["tcp-reset", "port-unreachable", "host-unreachable", "admin-prohibited"]);
        text.push_str(&format!("reject_with = \"{with}\"\n"));
    }
    if random.percent(12) {
        let per = random.pick(&["rule", "source", "source", "destination"]);
        let (rate, burst) = (random.pick(&RATES), 1 + random.below(40));
        text.push_str(&format!("limit = {{ rate = \"{rate}\", burst = {burst}, per = \"{per}\" }}\n"));
    }
    if random.percent(10) {
        text.push_str(random.pick(&["expires = 2020-02-29T00:00:00Z\n", "expires = 2120-12-31T23:59:59+01:00\n"]));
    }
    text
}

/// `icmp = { type = 8, code = 0 }`
fn icmp(random: &mut Random, types: &[u8]) -> String {
    let code = if random.percent(40) { format!(", code = {}", random.below(2)) } else { String::new() };
    format!("icmp = {{ type = {}{code} }}\n", random.pick(types))
}

/// `tcp_flags = "syn,!ece"`
fn tcp_flags(random: &mut Random) -> String {
    let words: Vec<String> = random
        .some(&["syn", "ack", "fin", "rst", "psh", "urg", "ece", "cwr"], 3)
        .into_iter()
        .map(|word| if random.percent(40) { format!("!{word}") } else { word.to_owned() })
        .collect();
    format!("tcp_flags = \"{}\"\n", words.join(","))
}

/// `packets = "9/d", packets_burst = 9`
fn bucket(random: &mut Random, what: &str) -> String {
    format!("{what} = \"{}\", {what}_burst = {}", random.pick(&RATES), 1 + random.below(400))
}

fn anti_spoof(random: &mut Random) -> String {
    let mut text = String::from("[policy.anti_spoof]\n");
    if random.percent(60) {
        text.push_str(&format!("check_reverse_path = \"{}\"\n", random.pick(&["strict", "loose", "off"])));
    }
    if random.percent(35) {
        let mut sources = random.some(&[&NETS4[..], &NETS6[..]].concat(), 5);
        sources.extend(random.percent(50).then(|| random.pick(&["@a", "@b", "@x", "@y"])));
        text.push_str(&format!("allowed_sources = {}\n", list(&sources)));
    }
    if random.percent(30) {
        text.push_str(&format!(
            "allowed_macs = {}\n",
            list(&random.some(&["02:00:00:00:00:02", "02:00:00:00:00:03", "02:00:00:00:00:04"], 2))
        ));
    }
    for (line, percent) in [("arp = true\n", 60), ("bogons = true\n", 30)] {
        if random.percent(percent) {
            text.push_str(line);
        }
    }
    text
}

/// Routes of the host. Mostly they lead back to where the frames come from.
pub fn paths(random: &mut Random) -> Vec<Path> {
    let mut paths = Vec::new();
    for table in [100, 253, 254, 255] {
        for _ in 0..random.below(6) {
            let net = random.pick(&ROUTED);
            let mut links = Vec::new();
            (0..1 + random.below(4)).for_each(|_| links.push(random.below(LINKS.len())));
            let goal = match random.below(8) {
                _ if table == 255 => Goal::Own,
                0 => Goal::Nowhere,
                _ => Goal::Out(links),
            };
            if !paths.iter().any(|path: &Path| path.table == table && path.net == net) {
                paths.push(Path { table, net, goal });
            }
        }
    }
    paths
}

fn peer(random: &mut Random, side: &str, family: Option<i32>, with_ports: bool) -> String {
    let nets: Vec<&str> = match family {
        Some(4) => NETS4.to_vec(),
        Some(_) => NETS6.to_vec(),
        None => [NETS4, NETS6].concat(),
    };
    let mut keys = Vec::new();
    for (key, percent) in [("nets", 40), ("not_nets", 10)] {
        if random.percent(percent) {
            keys.push(format!("{key} = {}", list(&random.some(&nets[usize::from(key == "not_nets")..], 2))));
        }
    }
    for (key, percent) in [("sets", 15), ("not_sets", 10)] {
        if random.percent(percent) {
            keys.push(format!("{key} = {}", list(&random.some(&SETS, 2))));
        }
    }
    if with_ports {
        for (key, percent) in [("ports", 70), ("not_ports", 15)] {
            if random.percent(percent) {
                keys.push(format!("{key} = {}", bare(&random.some(&PORTS, 2))));
            }
        }
    }
    if keys.is_empty() { String::new() } else { format!("{side} = {{ {} }}\n", keys.join(", ")) }
}
