//! Addresses that no packet on a wire may have (CVE-2020-8558), and what only a neighbour may say (CVE-2020-10749, RFC 4861, 6980).

use super::*;
use crate::frame::*;

fn udp(source: &str, destination: &str, want: &'static str) -> Row {
    packet(between(source, destination), want)
}

fn between(source: &str, destination: &str) -> Vec<u8> {
    plain((source, destination), UDP, &ports((1000, 53), 8))
}

fn impossible() -> Vec<Row> {
    let mut rows = vec![
        udp("127.0.0.1", HERE, "loopback_address"),
        udp("127.255.255.255", HERE, "loopback_address"),
        udp(PEER, "127.0.0.1", "loopback_address"),
        udp(PEER, "127.0.0.53", "loopback_address"),
        udp("127.0.0.1", "127.0.0.1", "loopback_address"),
        udp("126.255.255.255", HERE, "ok"),
        udp("128.0.0.0", HERE, "ok"),
        udp("::1", HERE6, "loopback_address"),
        udp(PEER6, "::1", "loopback_address"),
        udp("::1", "::1", "loopback_address"),
        udp("::2", HERE6, "ok"),
        udp("224.0.0.1", HERE, "multicast_source"),
        udp("239.255.255.255", HERE, "multicast_source"),
        udp("255.255.255.255", HERE, "multicast_source"),
        udp("223.255.255.255", HERE, "ok"),
        udp("240.0.0.1", HERE, "ok"),
        udp("ff02::1", HERE6, "multicast_source"),
        udp("ff0e::1", HERE6, "multicast_source"),
        udp("0.0.0.0", HERE, "unspecified_source"),
        udp("0.0.0.1", HERE, "ok"),
        udp("::", HERE6, "unspecified_source"),
        // The loopback is named before anything else that is wrong.
        udp("224.0.0.1", "127.0.0.1", "loopback_address"),
        // What the own addresses, or the same twice, are is for `check_reverse_path` to say.
        udp(HERE, HERE, "ok"),
        udp(HERE6, HERE6, "ok"),
    ];
    // In pieces, with options, in a message that is short: the address is named first.
    let short = plain(("127.0.0.1", HERE), UDP, &[0; 3]);
    let later = sent(("224.0.0.1", HERE), UDP, &Ip { fragment: Some((1, 24, false)), ..Ip::default() }, &[0; 8]);
    let nowhere = sent(("0.0.0.0", HERE), UDP, &Ip { fragment: Some((1, 24, false)), ..Ip::default() }, &[0, 68, 0, 67, 0, 0, 0, 0]);
    rows.extend([packet(short, "loopback_address"), packet(later, "multicast_source"), packet(nowhere, "unspecified_source")]);
    // A header that is cut short excuses nobody.
    rows.extend(
        (4..8).map(|length| packet(plain(("0.0.0.0", "255.255.255.255"), UDP, &ports((68, 67), 16)[..length]), "unspecified_source")),
    );
    rows.extend((1..4).map(|length| packet(plain(("::", "ff02::2"), ICMPV6, &[135, 0, 0, 0][..length]), "unspecified_source")));
    // Who may have no address yet (RFC 2131, 4862, 3590), and who may not.
    rows.extend([
        packet(plain(("0.0.0.0", "255.255.255.255"), UDP, &ports((68, 67), 16)), "ok"),
        packet(plain(("0.0.0.0", "255.255.255.255"), UDP, &ports((68, 68), 16)), "unspecified_source"),
        packet(plain(("0.0.0.0", "255.255.255.255"), TCP, &tcp((68, 67), SYN, 1, 0, b"")), "unspecified_source"),
        packet(plain(("::", "ff02::1"), UDP, &ports((546, 547), 16)), "unspecified_source"),
        packet(plain(("::", "ff02::2"), ICMPV6, &icmp(135, 0, 0, &[0; 16])), "ok"),
        packet(plain(("::", "ff02::2"), ICMPV6, &icmp(128, 0, 0, &[0; 16])), "unspecified_source"),
    ]);
    rows
}

/// Neighbour discovery from neighbours, from further away, in pieces, behind headers.
fn discovered() -> Vec<Row> {
    let ends = ("fe80::9", "ff02::1");
    let message = |kind, code, hop_limit, fragment| {
        let mut message = discovery(kind, [0; 16].into(), &link_layer(1, MAC));
        message[1] = code;
        sent(ends, ICMPV6, &Ip { hop_limit, fragment, ..Ip::default() }, &message)
    };
    let mut rows = Vec::new();
    for (kind, want) in [(133, "ok"), (135, "ok"), (136, "ok"), (134, "default"), (137, "icmp_redirect"), (138, "default")] {
        let beyond = if kind == 137 { "icmp_redirect" } else { "default" };
        rows.extend([
            packet(message(kind, 0, 255, None), want),
            packet(message(kind, 0, 254, None), beyond),
            packet(message(kind, 0, 1, None), beyond),
            packet(message(kind, 1, 255, None), beyond),
            // RFC 6980: never in pieces.
            packet(message(kind, 0, 255, Some((u32::from(kind), 0, true))), beyond),
            packet(message(kind, 0, 255, Some((u32::from(kind), 24, false))), beyond),
        ]);
        // RFC 7113: hidden behind extension headers it is what it is.
        let mut behind = extension(ICMPV6, 0, 1);
        behind.extend(&message(kind, 0, 255, None)[40..]);
        rows.push(packet(sent(ends, 60, &Ip { hop_limit: 255, ..Ip::default() }, &behind), want));
        rows.push(packet(sent(ends, 60, &Ip { hop_limit: 254, ..Ip::default() }, &behind), beyond));
    }
    rows
}

/// Anti-spoof: own addresses, other sources and other stations from the wire.
fn forged() -> Vec<Row> {
    let from = |source: &str, want| {
        let destination = if source.contains(':') { HERE6 } else { HERE };
        udp(source, destination, want)
    };
    let stranger = |row: Row, want| {
        let Bytes::Packet(bytes) = row.bytes else { return row };
        whole(sent_by(OTHER_MAC, ethernet(&[], ethertype_of(&bytes), &bytes)), want)
    };
    vec![
        from(PEER, "ok"),
        // A prefix of documentation is a bogon, before it is asked whether it was allowed.
        from(PEER6, "bogon"),
        from("8.0.0.2", "allowed_sources"),
        from("2001:db8:86dd::2", "bogon"),
        from(HERE, "allowed_sources"),
        from(HERE6, "bogon"),
        from("10.0.0.1", "bogon"),
        from("192.168.1.1", "bogon"),
        from("240.0.0.1", "bogon"),
        from("fd00::1", "bogon"),
        from("::ffff:127.0.0.1", "bogon"),
        from("::2", "bogon"),
        stranger(from(PEER, "ok"), "allowed_macs"),
        stranger(from(PEER6, "ok"), "allowed_macs"),
        stranger(from("10.0.0.1", "ok"), "allowed_macs"),
        from("127.0.0.1", "loopback_address"),
    ]
}

pub fn rows() -> Vec<Row> {
    [impossible(), discovered(), forged()].concat()
}

pub fn all(bench: &mut Bench) -> usize {
    let forgeries = format!(
        "[policy.anti_spoof]\nallowed_sources = [\"{PEER}\", \"{PEER6}\"]\nbogons = true\n\
         allowed_macs = [\"02:00:00:00:00:02\"]\n"
    );
    let wired: Vec<Place> = ARRIVING.into_iter().filter(|place| !place.link.starts_with('t') && !place.xdp).collect();
    // h0 listens to router advertisements, h1 does not, and none comes from a workload.
    let deaf: Vec<Place> = ARRIVING.into_iter().filter(|place| ["h1", "w0"].contains(&place.link)).collect();
    ask_at(bench, &wired, "forged senders", &forgeries, ALL, &forged())
        + ask(bench, "impossible addresses", "", ALL, &impossible())
        + ask_at(bench, &deaf, "neighbour discovery", "", "", &discovered())
}
