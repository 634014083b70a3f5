//! What many tests share: every matcher is tried at both hooks and in both families; a saved change is waited for.

use std::time::{Duration, Instant};

use netpol_tests::{Bench, Family, Hook, Packet, wait};

/// What a packet is, the packet, and whether it must pass.
pub type Case = (&'static str, Packet, bool);

/// Judges the cases of both families at both hooks of `left`.
pub fn everywhere(bench: &Bench, cases: impl Fn(Family) -> Vec<Case>) {
    for family in Family::BOTH {
        for hook in Hook::BOTH {
            bench.judge(hook, &cases(family));
        }
    }
}

/// UDP between host 2 of net 1 (port 4000) and host 1 (that port).
pub fn udp_to(family: Family, port: u16) -> Packet {
    Packet::udp(family.at(1, 2, 4000), family.at(1, 1, port))
}

/// Waits until a UDP port is allowed in place of the one below it, and says how long that took.
pub fn followed(bench: &Bench, port: u16, limit: Duration, what: &str) -> Duration {
    let begin = Instant::now();
    wait::until(&format!("{what}: port {port} is allowed"), limit, || bench.arrives(&udp_to(Family::V4, port)));
    let time = begin.elapsed();
    assert!(!bench.arrives(&udp_to(Family::V4, port - 1)), "{what}: the former port is denied");
    time
}

/// UDP between two hosts of two nets, to port 53.
pub fn udp_between(family: Family, from: (u8, u8), to: (u8, u8)) -> Packet {
    Packet::udp(family.at(from.0, from.1, 4000), family.at(to.0, to.1, 53))
}

/// A well-formed opening packet of any protocol number that is not an extension header.
pub fn opener_of(family: Family, protocol: u8) -> Packet {
    let (source, destination) = (family.at(1, 2, 4000), family.at(1, 1, 5000));
    match protocol {
        6 => Packet::syn(source, destination),
        17 => Packet::udp(source, destination),
        33 => Packet::dccp(source, destination),
        132 => Packet::sctp(source, destination, 1),
        136 => Packet::udplite(source, destination),
        1 | 58 if protocol == family.icmp() => Packet::echo(source.ip(), destination.ip(), family.echo().0, 7),
        other => Packet::ip(source.ip(), destination.ip(), other, &[0x11; 40]),
    }
}
