//! A model as the file that means it: what a shrunken policy is written down as.
//!
//! Says only what is not the default, so that what is left of a policy is what matters. Knows every key but those that no model keeps
//! (`files`, `on_missing`) and `[[test]]` blocks. `printed` holds it against the reader.

use std::fmt::Write;

use ipnet::IpNet;
use netpol_ebpf::policy::model::*;

/// A file without its `version`.
pub fn toml(set: &PolicySet) -> String {
    let mut text = daemon(&set.daemon);
    set.sets.iter().for_each(|set| text.push_str(&self::set(set)));
    set.policies.iter().for_each(|policy| text.push_str(&self::policy(set, policy)));
    text
}

/// Lines `key = value`, those without a value left out.
fn lines(of: &[(&str, Option<String>)]) -> String {
    of.iter().filter_map(|(key, value)| Some(format!("{key} = {}\n", value.as_ref()?))).collect()
}

fn quoted<T: ToString + ?Sized>(text: &T) -> String {
    toml::Value::String(text.to_string()).to_string()
}

fn list<T>(items: &[T], show: impl Fn(&T) -> String) -> Option<String> {
    let items: Vec<String> = items.iter().map(show).collect();
    (!items.is_empty()).then(|| format!("[{}]", items.join(", ")))
}

fn nets(nets: &[IpNet]) -> Option<String> {
    list(nets, quoted)
}

fn flag(value: bool, unstated: bool) -> Option<String> {
    (value != unstated).then(|| value.to_string())
}

fn seconds(value: u64, unstated: u64) -> Option<String> {
    (value != unstated).then(|| format!("\"{value}s\""))
}

/// `"4/d"`
fn per_time(rate: &Rate) -> String {
    let units = [("s", 1), ("m", 60), ("h", 3600), ("d", 86_400)];
    let unit = units.iter().find(|(_, seconds)| seconds * 1_000_000_000 == rate.period).expect("a unit of the language");
    format!("\"{}/{}\"", rate.events, unit.0)
}

fn daemon(daemon: &Daemon) -> String {
    let unstated = Daemon::default();
    let entry = |entry: &Failsafe| {
        let nets = nets(&entry.nets).map_or_else(String::new, |nets| format!(", nets = {nets}"));
        format!("{{ protocol = {}, port = {}{nets} }}", protocol(entry.protocol), entry.port)
    };
    let body = lines(&[
        ("failsafe.inbound", list(&daemon.failsafe_inbound, entry)),
        ("failsafe.outbound", list(&daemon.failsafe_outbound, entry)),
        ("on_stop", (daemon.on_stop == OnStop::Detach).then(|| quoted("detach"))),
        ("reload", (daemon.reload == ReloadMode::Manual).then(|| quoted("manual"))),
        ("log", (daemon.log != unstated.log).then(|| format!("{{ rate = {}, burst = {} }}", per_time(&daemon.log), daemon.log.burst))),
        ("confirm_timeout", seconds(daemon.confirm_timeout, unstated.confirm_timeout)),
        ("live_session_guard", flag(daemon.live_session_guard, true)),
        ("metrics", daemon.metrics.map(|listen| format!("{{ listen = {} }}", quoted(&listen)))),
    ]);
    let conntrack = conntrack(&daemon.conntrack);
    let block = |head: &str, body: String| if body.is_empty() { body } else { format!("[{head}]\n{body}") };
    block("daemon", body) + &block("daemon.conntrack", conntrack)
}

fn conntrack(conntrack: &Conntrack) -> String {
    let unstated = Conntrack::default();
    let adopt = match conntrack.adopt_existing {
        Adopt::All => None,
        Adopt::Sockets => Some(quoted("sockets")),
        Adopt::None => Some("false".to_owned()),
    };
    let entries = |value: u32, unstated: u32| (value != unstated).then(|| value.to_string());
    lines(&[
        ("max_entries", entries(conntrack.max_entries, unstated.max_entries)),
        ("max_half_open", entries(conntrack.max_half_open, unstated.max_half_open)),
        ("established", conntrack.keep_established.then(|| quoted("keep"))),
        ("loose", flag(conntrack.loose, false)),
        ("adopt_existing", adopt),
        ("tcp_syn", seconds(conntrack.tcp_syn, unstated.tcp_syn)),
        ("tcp_established", seconds(conntrack.tcp_established, unstated.tcp_established)),
        ("tcp_fin", seconds(conntrack.tcp_fin, unstated.tcp_fin)),
        ("udp", seconds(conntrack.udp, unstated.udp)),
        ("udp_stream", seconds(conntrack.udp_stream, unstated.udp_stream)),
        ("icmp", seconds(conntrack.icmp, unstated.icmp)),
        ("generic", seconds(conntrack.generic, unstated.generic)),
    ])
}

fn set(set: &Set) -> String {
    let (timeout, most) = set.dynamic.map_or((None, None), |dynamic| (dynamic.timeout, Some(dynamic.max_entries)));
    let body = lines(&[
        ("name", Some(quoted(&set.name))),
        ("elements", nets(&set.nets)),
        ("dynamic", set.dynamic.map(|_| "true".to_owned())),
        ("timeout", timeout.map(|seconds| format!("\"{seconds}s\""))),
        ("max_entries", most.filter(|most| *most != 65_536).map(|most| most.to_string())),
    ]);
    format!("[[set]]\n{body}")
}

fn policy(set: &PolicySet, policy: &Policy) -> String {
    let Policy { interfaces, owner, .. } = policy;
    let globs = interfaces.include.iter().map(ToString::to_string).chain(interfaces.exclude.iter().map(|glob| format!("!{glob}")));
    let owner = |kind| owner.as_ref().filter(|owner| owner.kind == kind).map(|owner| quoted(&owner.name));
    let usual = if policy.owner.is_some() { EndpointKind::Workload } else { EndpointKind::Host };
    let endpoint = match policy.endpoint {
        kind if kind == usual => None,
        EndpointKind::Workload => Some(quoted("workload")),
        EndpointKind::Host => Some(quoted("host")),
    };
    let chains = [("ingress", &policy.ingress), ("egress", &policy.egress)];
    let isolated: Vec<&str> = chains.iter().filter(|(_, chain)| chain.is_some()).map(|(word, _)| *word).collect();
    let word = |action| if action == DefaultAction::Deny { "deny" } else { "allow" };
    let defaults =
        chains.iter().filter_map(|(direction, chain)| Some(format!("{direction} = \"{}\"", word(chain.as_ref()?.default_action))));
    let defaults = defaults.collect::<Vec<_>>().join(", ");
    let ethertype = |number: &u16| if *number == 0x0042 { quoted("stp") } else { format!("{number:#06x}") };
    let mut text = String::from("[[policy]]\n");
    text += &lines(&[
        ("name", Some(quoted(&policy.name))),
        ("description", policy.description.as_ref().map(quoted)),
        ("order", (policy.order != 100).then(|| policy.order.to_string())),
        ("interfaces", list(&globs.collect::<Vec<_>>(), quoted)),
        ("container", owner(OwnerKind::Container)),
        ("machine", owner(OwnerKind::Machine)),
        ("endpoint", endpoint),
        ("policy_types", list(&isolated, quoted)),
        ("default_action", (!defaults.is_empty()).then(|| format!("{{ {defaults} }}"))),
        ("mode", (policy.mode == Mode::Audit).then(|| quoted("audit"))),
        ("dhcp_client", flag(policy.dhcp_client, false)),
        ("icmpv6_essential", flag(policy.icmpv6_essential, true)),
        ("log_default_deny", flag(policy.log_default_deny, false)),
        ("ethertypes", policy.ethertypes.as_ref().and_then(|numbers| list(numbers, ethertype))),
    ]);
    text.extend(policy.anti_spoof.iter().map(|checks| anti_spoof(set, checks)));
    text.extend(policy.xdp.iter().map(|xdp| self::xdp(set, xdp)));
    for (direction, chain) in chains {
        text.extend(chain.iter().flat_map(|chain| &chain.rules).map(|one| rule(set, direction, one)));
    }
    text
}

fn name(set: &PolicySet, id: SetId) -> &str {
    &set.sets[id.0 as usize].name
}

fn anti_spoof(set: &PolicySet, checks: &AntiSpoof) -> String {
    let path = match checks.check_reverse_path {
        ReversePath::Off => None,
        ReversePath::Loose => Some(quoted("loose")),
        ReversePath::Strict => Some(quoted("strict")),
    };
    let sources = checks.allowed_sources.as_ref().and_then(|sources| {
        let sets = sources.sets.iter().map(|id| format!("@{}", name(set, *id)));
        list(&sources.nets.iter().map(ToString::to_string).chain(sets).collect::<Vec<_>>(), quoted)
    });
    let mac = |mac: &[u8; 6]| quoted(&mac.map(|byte| format!("{byte:02x}")).join(":"));
    let body = lines(&[
        ("check_reverse_path", path),
        ("allowed_sources", sources),
        ("allowed_macs", list(&checks.allowed_macs, mac)),
        ("arp", flag(checks.arp, false)),
        ("bogons", flag(checks.bogons, false)),
    ]);
    format!("[policy.anti_spoof]\n{body}")
}

fn xdp(set: &PolicySet, xdp: &Xdp) -> String {
    let mode = match xdp.mode {
        XdpMode::Auto => None,
        XdpMode::Native => Some(quoted("native")),
        XdpMode::Generic => Some(quoted("generic")),
        XdpMode::Off => Some(quoted("off")),
    };
    let rates = [("packets", &xdp.rate_limit.packets), ("syns", &xdp.rate_limit.syns)].into_iter();
    let rates = rates.filter_map(|(what, rate)| rate.as_ref().map(|rate| (what, rate)));
    let rates: Vec<String> = rates.map(|(what, rate)| format!("{what} = {}, {what}_burst = {}", per_time(rate), rate.burst)).collect();
    let body = lines(&[
        ("mode", mode),
        ("deny_sets", list(&xdp.deny_sets, |id| quoted(name(set, *id)))),
        ("rate_limit", (!rates.is_empty()).then(|| format!("{{ {} }}", rates.join(", ")))),
        ("drop_malformed", flag(xdp.drop_malformed, false)),
        ("drop_fragments", flag(xdp.drop_fragments, false)),
        ("syn_cookies", list(&xdp.syn_cookies, ports)),
    ]);
    format!("[policy.xdp]\n{body}")
}

fn rule(set: &PolicySet, direction: &str, rule: &Rule) -> String {
    let action = match rule.action {
        Action::Allow => "allow",
        Action::Deny => "deny",
        Action::Reject => "reject",
        Action::Pass => "pass",
    };
    let reject_with = rule.reject_with.map(|with| match with {
        RejectWith::TcpReset => "tcp-reset",
        RejectWith::PortUnreachable => "port-unreachable",
        RejectWith::HostUnreachable => "host-unreachable",
        RejectWith::AdminProhibited => "admin-prohibited",
    });
    let per = |per| match per {
        LimitPer::Rule => "rule",
        LimitPer::Source => "source",
        LimitPer::Destination => "destination",
    };
    let limit = rule.limit.as_ref().map(|limit| {
        let Limit { rate, per: by } = limit;
        format!("{{ rate = {}, burst = {}, per = \"{}\" }}", per_time(rate), rate.burst, per(*by))
    });
    let icmp = rule.icmp.as_ref().map(|icmp| {
        let code = icmp.code.map_or_else(String::new, |code| format!(", code = {code}"));
        format!("{{ type = {}{code} }}", icmp.icmp_type)
    });
    // What follows from the protocol need not be said.
    let follows = matches!(rule.protocol, Some(1 | 58));
    let family = rule.family.filter(|_| !follows).map(|family| if family == Family::V4 { "4" } else { "6" }.to_owned());
    let body = lines(&[
        ("id", Some(quoted(&rule.id))),
        ("action", Some(quoted(action))),
        ("ip_version", family),
        ("protocol", rule.protocol.map(protocol)),
        ("source", peer(set, &rule.source)),
        ("destination", peer(set, &rule.destination)),
        ("icmp", icmp),
        ("tcp_flags", rule.tcp_flags.map(tcp_flags)),
        ("vlan", rule.vlan.map(|vlan| if vlan.inner == 0 { vlan.outer.to_string() } else { format!("[{}, {}]", vlan.outer, vlan.inner) })),
        ("limit", limit),
        ("log", flag(rule.log, false)),
        ("reject_with", reject_with.map(quoted)),
        ("comment", rule.comment.as_ref().map(quoted)),
        ("expires", rule.expires.map(moment)),
    ]);
    format!("[[policy.{direction}]]\n{body}")
}

fn peer(set: &PolicySet, peer: &Peer) -> Option<String> {
    let names = |ids: &[SetId]| list(ids, |id| quoted(name(set, *id)));
    let keys = [
        ("nets", nets(&peer.nets)),
        ("not_nets", nets(&peer.not_nets)),
        ("sets", names(&peer.sets)),
        ("not_sets", names(&peer.not_sets)),
        ("ports", list(&peer.ports, ports)),
        ("not_ports", list(&peer.not_ports, ports)),
    ];
    let keys: Vec<String> = keys.into_iter().filter_map(|(key, value)| Some(format!("{key} = {}", value?))).collect();
    (!keys.is_empty()).then(|| format!("{{ {} }}", keys.join(", ")))
}

fn ports(range: &PortRange) -> String {
    if range.first == range.last { range.first.to_string() } else { format!("\"{}-{}\"", range.first, range.last) }
}

/// By its name, where people know one.
fn protocol(number: u8) -> String {
    let names = [(6, "tcp"), (17, "udp"), (132, "sctp"), (33, "dccp"), (136, "udplite"), (1, "icmp"), (58, "icmpv6"), (47, "gre")];
    names.iter().find(|(known, _)| *known == number).map_or_else(|| number.to_string(), |(_, name)| quoted(name))
}

fn tcp_flags(flags: TcpFlagsMatch) -> String {
    let names = ["fin", "syn", "rst", "psh", "ack", "urg", "ece", "cwr"];
    let named = |bits: u8, sign: &'static str| {
        names.iter().enumerate().filter(move |(bit, _)| bits >> bit & 1 == 1).map(move |(_, name)| format!("{sign}{name}"))
    };
    quoted(&named(flags.set, "").chain(named(flags.clear, "!")).collect::<Vec<_>>().join(","))
}

/// Unix time as RFC 3339 writes it. Years begin in March here, so that the leap day is their last.
pub fn moment(unix: i64) -> String {
    let (days, second) = (unix.div_euclid(86_400) + 719_468, unix.rem_euclid(86_400));
    let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let (day, month) = (day - (153 * month + 2) / 5 + 1, if month < 10 { month + 3 } else { month - 9 });
    let year = year + era * 400 + i64::from(month <= 2);
    let mut text = String::new();
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    write!(text, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z").unwrap();
    text
}
