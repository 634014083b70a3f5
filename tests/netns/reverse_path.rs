//! `anti_spoof.check_reverse_path`: a source is believed where an answer to it would leave.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use netpol_tests::policy::policy;
use netpol_tests::{Bench, Family, Hook, Net, Packet, wait};

/// Everything is allowed in, if its source is.
fn checking(mode: &str) -> String {
    let keys = format!(
        "policy_types = [\"ingress\"]\n[policy.anti_spoof]\ncheck_reverse_path = \"{mode}\"\n\
         [[policy.ingress]]\nid = \"in-{mode}\"\naction = \"allow\"\n"
    );
    policy("spoof", &keys)
}

fn from(source: IpAddr) -> Packet {
    let destination = if source.is_ipv4() { Family::V4 } else { Family::V6 }.host(1, 1);
    Packet::udp((source, 4000).into(), (destination, 5000).into())
}

fn at(source: &str) -> Packet {
    from(source.parse().expect("an address"))
}

/// Packets pass or are refused for this reason and no other.
fn judge(bench: &Bench, cases: &[(&str, Packet, bool)]) {
    for (what, packet, expected) in cases {
        let before = bench.cli().drops("reverse_path");
        assert_eq!(bench.passes(Hook::Ingress, packet), *expected, "{what}\n{}", bench.daemon.log());
        let rise = bench.cli().drops("reverse_path") - before;
        assert_eq!(rise, u64::from(!*expected), "{what}: the counter of the reason");
    }
}

/// Within a second the verdict is that.
fn becomes(bench: &Bench, source: &str, passes: bool, what: &str) {
    let started = Instant::now();
    wait::until(what, Duration::from_secs(2), || bench.arrives(&at(source)) == passes);
    println!("{what}: after {} ms", started.elapsed().as_millis());
}

#[test]
fn strict_asks_for_a_way_back_through_the_interface() {
    let Some(bench) = Bench::start(&checking("strict")) else { return };
    for f in Family::BOTH {
        judge(
            &bench,
            &[
                ("a neighbour", from(f.host(1, 2)), true),
                ("somebody of the other side", from(f.host(2, 2)), false),
                ("somebody without any route", from(f.host(9, 9)), false),
                ("our own address here", from(f.host(1, 1)), false),
                ("our own address there", from(f.host(2, 1)), false),
            ],
        );
    }
    judge(&bench, &[("a directed broadcast address", at("10.1.255.255"), false)]);
}

#[test]
fn loose_asks_for_any_way_back_and_off_for_none() {
    let Some(bench) = Bench::start(&checking("loose")) else { return };
    let cases = |f: Family, loose: bool| {
        [
            ("a neighbour", from(f.host(1, 2)), true),
            ("somebody of the other side", from(f.host(2, 2)), true),
            ("somebody without any route", from(f.host(9, 9)), !loose),
            ("our own address", from(f.host(2, 1)), !loose),
        ]
    };
    Family::BOTH.iter().for_each(|f| judge(&bench, &cases(*f, true)));
    bench.change(&checking("off"));
    Family::BOTH.iter().for_each(|f| judge(&bench, &cases(*f, false)));
}

#[test]
fn link_local_sources_and_dhcp_are_exempt() {
    let Some(bench) = Bench::start(&checking("strict")) else { return };
    let dhcp = Packet::udp("0.0.0.0:68".parse().expect("an address"), "255.255.255.255:67".parse().expect("an address"));
    let cases = [("fe80::", at("fe80::77"), true), ("169.254/16", at("169.254.7.7"), true), ("DHCP discover", dhcp, true)];
    judge(&bench, &cases);
}

#[test]
fn uplink_with_a_table_of_its_own_is_a_way_back() {
    let Some(net) = Net::new() else { return };
    for line in [
        "route add default via 10.2.0.2",
        "route add default via 10.1.0.2 table 100",
        "rule add from 10.1.0.1 lookup 100",
        "route add blackhole 192.0.2.0/24 table 100",
        "route add 198.51.100.0/24 nexthop via 10.1.0.2 nexthop via 10.2.0.2",
        "-6 route add default via fd00:2::2",
        "-6 route add default via fd00:1::2 table 100",
        "-6 rule add from fd00:1::1 lookup 100",
    ] {
        net.dut.ip(line);
    }
    let Some(bench) = Bench::start_in(net, &checking("strict")) else { return };
    judge(
        &bench,
        &[
            ("by the second table", at("203.0.113.5"), true),
            ("by the second table, IPv6", at("2001:db8::5"), true),
            ("that the second table refuses", at("192.0.2.5"), false),
            ("by one of two ways", at("198.51.100.5"), true),
            ("of the other link, by the second table", at("10.2.0.9"), true),
            ("our own address", at("10.2.0.1"), false),
        ],
    );
}

#[test]
fn routes_are_followed_while_the_daemon_runs() {
    let Some(bench) = Bench::start(&checking("strict")) else { return };
    let ip = |line: &str| bench.net.dut.ip(line);
    judge(&bench, &[("no route yet", at("203.0.113.5"), false), ("IPv6", at("2001:db8:7::5"), false)]);
    ip("route add 203.0.113.0/24 via 10.1.0.2");
    becomes(&bench, "203.0.113.5", true, "a route that was added");
    ip("-6 route add 2001:db8:7::/48 via fd00:1::2");
    becomes(&bench, "2001:db8:7::5", true, "an IPv6 route that was added");
    ip("route del 203.0.113.0/24 via 10.1.0.2");
    becomes(&bench, "203.0.113.5", false, "a route that was deleted");
    ip("address add 10.1.0.77/16 dev left");
    becomes(&bench, "10.1.0.77", false, "an address that is ours now");
    ip("address del 10.1.0.77/16 dev left");
    becomes(&bench, "10.1.0.77", true, "an address that was ours");
    judge(&bench, &[("a neighbour all the time", at("10.1.0.2"), true)]);
}

#[test]
fn routes_of_a_link_that_goes_down_are_gone() {
    let Some(bench) = Bench::start(&checking("loose")) else { return };
    judge(&bench, &[("the other side", at("10.2.0.2"), true)]);
    bench.net.dut.ip("link set right down");
    becomes(&bench, "10.2.0.2", false, "its link went down");
}

#[test]
fn nexthop_objects_are_followed() {
    let Some(net) = Net::new() else { return };
    for line in ["nexthop add id 1 via 10.2.0.2 dev right", "nexthop add id 2 via 10.1.0.2 dev left", "route add 203.0.113.0/24 nhid 1"] {
        net.dut.ip(line);
    }
    let Some(bench) = Bench::start_in(net, &checking("strict")) else { return };
    judge(&bench, &[("through the other link", at("203.0.113.5"), false)]);
    bench.net.dut.ip("nexthop replace id 1 via 10.1.0.2 dev left");
    becomes(&bench, "203.0.113.5", true, "the object leads here now");
}
