//! Connections that exist when a policy first covers their interface (`adopt_existing`).

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use netpol_tests::ns::Namespace;
use netpol_tests::policy::{VERSION, allow_port, arriving, both_ways};
use netpol_tests::sock::{self, Connection};
use netpol_tests::{Bench, Daemon, Family, Net, wait};

/// A policy with a word of `adopt_existing`.
fn adopting(word: &str, policy: &str) -> String {
    policy.replacen(VERSION, &format!("{VERSION}[daemon.conntrack]\nadopt_existing = {word}\n"), 1)
}

fn open(from: &Namespace, to: &Namespace, at: SocketAddr) -> Standing {
    let listener = sock::listen(to, at);
    // The links may have come up only now.
    let opened = wait::poll(Duration::from_secs(5), || Connection::open(from, &listener, at).ok());
    let mut connection = opened.unwrap_or_else(|| panic!("no way to {at}"));
    assert!(connection.lives(), "before there is a firewall");
    Standing { connection, _listener: listener }
}

/// A connection whose server goes on listening.
struct Standing {
    connection: Connection,
    _listener: std::net::TcpListener,
}

/// Two connected UDP sockets: one in the protected host, one beyond.
fn talk(net: &Net, f: Family) -> (UdpSocket, UdpSocket) {
    let (near, far) = (sock::udp(&net.dut, f.at(1, 1, 5000)), sock::udp(&net.src, f.at(1, 2, 5000)));
    near.connect(f.at(1, 2, 5000)).expect("connect");
    far.connect(f.at(1, 1, 5000)).expect("connect");
    (near, far)
}

fn speak(from: &UdpSocket, to: &UdpSocket) -> bool {
    let mut buffer = [0; 8];
    from.send(b"word").is_ok() && matches!(to.recv(&mut buffer), Ok(4))
}

/// Connections that the far side opened, and those that the host opened, in both families.
fn sockets_of_the_host(net: &Net) -> Vec<(String, Standing)> {
    let mut all = Vec::new();
    for f in Family::BOTH {
        all.push((format!("{f:?}, opened from outside"), open(&net.src, &net.dut, f.at(1, 1, 80))));
        all.push((format!("{f:?}, opened by the host"), open(&net.dut, &net.src, f.at(1, 2, 81))));
    }
    all
}

#[test]
fn connections_of_the_host_survive_the_start_of_a_closed_firewall() {
    for word in ["true", "\"sockets\""] {
        let Some(net) = Net::new() else { return };
        let mut standing = sockets_of_the_host(&net);
        let mapped = sock::listen(&net.dut, "[::]:82".parse().expect("an address"));
        let mut mapped = Connection::open(&net.src, &mapped, Family::V4.at(1, 1, 82)).expect("a connection");
        let talks = Family::BOTH.map(|f| talk(&net, f));
        let Some(bench) = Bench::start_in(net, &adopting(word, &both_ways(""))) else { return };
        for (what, standing) in &mut standing {
            assert!(standing.connection.lives(), "{what}, adopt_existing = {word}\n{}", bench.daemon.log());
        }
        assert!(mapped.lives(), "IPv4 on an IPv6 socket, {word}");
        for (near, far) in &talks {
            assert!(speak(near, far) && speak(far, near), "connected UDP, {word}");
        }
        for f in Family::BOTH {
            assert!(sock::connect(&bench.net.src, f.at(1, 1, 80)).is_err(), "{f:?}: but nothing new comes in");
            assert!(sock::connect(&bench.net.dut, f.at(1, 2, 81)).is_err(), "{f:?}: or goes out");
        }
    }
}

#[test]
fn without_adoption_every_connection_is_cut() {
    let Some(net) = Net::new() else { return };
    let mut standing = sockets_of_the_host(&net);
    let talks = Family::BOTH.map(|f| talk(&net, f));
    let Some(_bench) = Bench::start_in(net, &adopting("false", &both_ways(""))) else { return };
    for (what, standing) in &mut standing {
        assert!(standing.connection.is_cut(), "{what}");
    }
    for (near, far) in &talks {
        assert!(!speak(far, near) && !speak(near, far), "UDP");
    }
}

#[test]
fn adopted_connections_are_judged_again_when_the_policy_changes() {
    let Some(net) = Net::new() else { return };
    let mut from_outside = open(&net.src, &net.dut, Family::V4.at(1, 1, 80));
    let mut by_the_host = open(&net.dut, &net.src, Family::V4.at(1, 2, 81));
    let Some(bench) = Bench::start_in(net, &adopting("true", &both_ways(""))) else { return };
    assert!(from_outside.connection.lives() && by_the_host.connection.lives());
    let ingress = both_ways("") + &allow_port("web", "tcp", 80).replace("[[rule]]", "[[policy.ingress]]");
    bench.change(&adopting("true", &ingress));
    assert!(from_outside.connection.lives(), "allowed as what it is: opened by the far side");
    assert!(by_the_host.connection.is_cut(), "nobody allows what the host opened");
}

#[test]
fn forwarded_connection_goes_on_where_rules_allow_it_and_mid_stream_packets_may_open_flows() {
    let web = || arriving(&allow_port("web", "tcp", 80));
    for (word, policy, survives) in
        [("true", web(), true), ("true", arriving(""), false), ("\"sockets\"", web(), false), ("false", web(), false)]
    {
        let Some(net) = Net::new() else { return };
        let mut standing = Family::BOTH.map(|f| open(&net.src, &net.dst, f.at(2, 2, 80)));
        let Some(_bench) = Bench::start_in(net, &adopting(word, &policy)) else { return };
        for standing in &mut standing {
            let lives = if survives { standing.connection.lives() } else { !standing.connection.is_cut() };
            assert_eq!(lives, survives, "adopt_existing = {word}\n{policy}");
        }
    }
}

#[test]
fn restarted_daemon_adopts_nothing_and_a_newly_covered_interface_does() {
    let Some(net) = Net::new() else { return };
    let right = || both_ways("").replace("\"left\"", "\"right\"");
    net.write("10-test.toml", &adopting("true", &right()));
    let mut daemon = Daemon::start(&net);
    let mut standing = open(&net.src, &net.dut, Family::V4.at(1, 1, 80));
    daemon.kill();
    let daemon = Daemon::start(&net);
    let bench = Bench::around(net, daemon);
    let both = |names: &str| both_ways("").replace("[\"left\"]", names);
    bench.net.write("10-test.toml", &adopting("true", &both("[\"left\", \"right\"]")));
    let covered = || bench.cli().status()["interfaces"].as_array().map(Vec::len) == Some(2);
    wait::until("left is under policy", Duration::from_secs(10), covered);
    assert!(standing.connection.lives(), "left comes under policy now");
    let stranger = sock::listen(&bench.net.dst, Family::V4.at(2, 2, 90));
    assert!(Connection::open(&bench.net.dut, &stranger, Family::V4.at(2, 2, 90)).is_err(), "right is as closed as it was");
}

#[test]
fn connection_over_link_local_addresses_and_over_the_loopback_device_survives() {
    let Some(net) = Net::new() else { return };
    net.src.ip("address add fe80::2/64 dev eth0 nodad");
    net.dut.ip("address add fe80::1/64 dev left nodad");
    let here: SocketAddr = std::net::SocketAddrV6::new("fe80::1".parse().expect("an address"), 80, 0, net.dut.index("left")).into();
    let there: SocketAddr = std::net::SocketAddrV6::new("fe80::1".parse().expect("an address"), 80, 0, net.src.index("eth0")).into();
    let listener = sock::listen(&net.dut, here);
    let opened = wait::poll(Duration::from_secs(5), || Connection::open(&net.src, &listener, there).ok());
    let mut near = opened.expect("a connection over fe80::");
    let mut inside = open(&net.dut, &net.dut, "127.0.0.1:80".parse().expect("an address"));
    let policy = both_ways("").replace("[\"left\"]", "[\"left\", \"lo\"]");
    let Some(bench) = Bench::start_in(net, &adopting("\"sockets\"", &policy)) else { return };
    assert!(near.lives(), "link-local\n{}", bench.daemon.log());
    assert!(inside.connection.lives(), "loopback");
    assert!(sock::connect(&bench.net.dut, "127.0.0.1:80".parse().expect("an address")).is_err(), "nothing new on lo");
}

#[test]
fn connection_over_a_vlan_device_survives_on_the_device_and_on_its_parent() {
    let Some(net) = Net::new() else { return };
    if !net.src.can_make("vlan", "link eth0 type vlan id 9") {
        return;
    }
    for (namespace, parent, n) in [(&net.src, "eth0", 2), (&net.dut, "left", 1)] {
        namespace.ip(&format!("link add link {parent} name tagged type vlan id 5"));
        namespace.ip("link set tagged up");
        namespace.ip(&format!("address add 10.5.0.{n}/24 dev tagged"));
    }
    let at = SocketAddr::from(([10, 5, 0, 1], 80));
    let mut standing = open(&net.src, &net.dut, at);
    let policy = both_ways("").replace("[\"left\"]", "[\"left\", \"tagged\"]");
    let Some(bench) = Bench::start_in(net, &adopting("\"sockets\"", &policy)) else { return };
    assert!(standing.connection.lives(), "{}", bench.daemon.log());
    assert!(sock::connect(&bench.net.src, at).is_err(), "but nothing new comes in");
}
