//! `syn_cookies`: SYNs to a flooded port are answered at XDP, nothing is remembered of them, and who comes back gets in.
//!
//! XDP is generic here: a veth sends back natively only to an end that has an XDP program itself.

use std::net::{IpAddr, TcpListener};
use std::time::Duration;

use netpol_tests::flood::Flood;
use netpol_tests::net::LEFT_MAC;
use netpol_tests::packet::{SENDER, checksum};
use netpol_tests::packet_l4::addr;
use netpol_tests::policy::{VERSION, allow_port, policy};
use netpol_tests::sock::{self, Connection};
use netpol_tests::wire::{Observer, Sender};
use netpol_tests::{Bench, Family, Hook, Net, Packet, flags, machine, say, wait};

/// Both directions isolated; only what `rules` say may be asked. No segment passes because it may be an old connection's.
fn text(conntrack: &str, xdp: &str, rules: &str) -> String {
    let keys = format!("policy_types = [\"ingress\", \"egress\"]\n[policy.xdp]\nmode = \"generic\"\n{xdp}\n");
    let daemon = format!("{VERSION}[daemon.conntrack]\nadopt_existing = false\n{conntrack}\n");
    policy("cookies", &keys).replacen(VERSION, &daemon, 1) + &rules.replace("[[rule]]", "[[policy.ingress]]")
}

fn start(always: bool, policy: &str) -> Option<Bench> {
    let net = Net::new()?;
    net.dut.sysctl("ipv4/tcp_syncookies", if always { "2" } else { "1" });
    Bench::start_in(net, policy)
}

fn cookies(bench: &Bench) -> u64 {
    bench.cli().reasons()["syn_cookie"]
}

fn listen(bench: &Bench, f: Family, port: u16) -> TcpListener {
    sock::listen(&bench.net.dut, f.any(port))
}

#[test]
fn connection_by_cookie_lives_and_is_judged_again_like_any_other() {
    let allowed = text("", "syn_cookies = [80, 81]", &allow_port("web", "tcp", 80));
    let Some(bench) = start(true, &allowed) else { return };
    for (n, f) in (1..).zip(Family::BOTH) {
        let listener = listen(&bench, f, 80);
        let mut connection = Connection::open(&bench.net.src, &listener, f.at(1, 1, 80)).expect("by cookie");
        assert_eq!(cookies(&bench), n, "{f:?}: the SYN was answered");
        assert!(connection.lives(), "{f:?}");
        bench.change(&allowed.replace("\"web\"", "\"www\""));
        assert!(connection.lives(), "{f:?}: still allowed");
        bench.change(&text("", "syn_cookies = [80, 81]", &allow_port("web", "tcp", 8080)));
        assert!(connection.is_cut(), "{f:?}: no longer");
        bench.change(&allowed);
    }
}

#[test]
fn cookie_opens_no_port_that_the_rules_close() {
    let Some(bench) = start(true, &text("", "syn_cookies = [80, 81]", &allow_port("web", "tcp", 80))) else { return };
    for f in Family::BOTH {
        let listener = listen(&bench, f, 81);
        listener.set_nonblocking(true).expect("non-blocking");
        let before = (cookies(&bench), bench.cli().reasons()["default"]);
        // The client believes the SYN-ACK; its acknowledgement is judged as the SYN.
        let client = sock::connect(&bench.net.src, f.at(1, 1, 81)).expect("answered");
        wait::until("the acknowledgement is refused", Duration::from_secs(5), || bench.cli().reasons()["default"] > before.1);
        assert_eq!(cookies(&bench) - before.0, 1, "{f:?}");
        assert!(listener.accept().is_err(), "{f:?}: nobody got in");
        drop(client);
    }
}

#[test]
fn syn_ack_is_right_to_the_bit_and_only_what_it_asks_for_gets_in() {
    let Some(bench) = start(true, &text("", "syn_cookies = [80]", &allow_port("web", "tcp", 80))) else { return };
    let (sender, observers) = (Sender::open(&bench.net.src, "eth0"), [0x0800, 0x86dd].map(|p| Observer::open(&bench.net.src, "eth0", p)));
    for (f, observer) in Family::BOTH.into_iter().zip(&observers) {
        let listener = listen(&bench, f, 80);
        listener.set_nonblocking(true).expect("non-blocking");
        let (from, to) = (f.at(1, 2, 4000), f.at(1, 1, 80));
        sender.send(&Packet::tcp(from, to, flags::SYN, 7000, 0).to_mac(LEFT_MAC).frame());
        let frame =
            wait::poll(Duration::from_secs(5), || observer.drain().into_iter().find(|frame| frame[..6] == SENDER)).expect("SYN-ACK");
        assert_eq!(frame[6..12], LEFT_MAC);
        let (ip, addresses) = if f == Family::V4 { (20, 12..20) } else { (40, 8..40) };
        let length = ip + 24;
        let tcp = &frame[14 + ip..14 + length];
        let mut pseudo = frame[14..][addresses].to_vec();
        pseudo.extend([0, 0, 0, 24, 0, 0, 0, 6]);
        assert_eq!(checksum(&[&pseudo, tcp]), 0, "{f:?}: checksum");
        if f == Family::V4 {
            assert_eq!(checksum(&[&frame[14..34]]), 0, "checksum of the IP header");
            assert_eq!(frame[16..18], (length as u16).to_be_bytes());
        } else {
            assert_eq!(frame[18..20], 24u16.to_be_bytes());
        }
        let word = |at: usize| u32::from_be_bytes(tcp[at..at + 4].try_into().expect("4 bytes"));
        assert_eq!((word(0), word(8), tcp[12], tcp[13]), ((80 << 16) | 4000, 7001, 0x60, flags::SYN | flags::ACK), "{f:?}");
        assert_eq!(tcp[20..22], [2, 4], "{f:?}: the MSS option");
        let cookie = word(4);
        let forged = Packet::tcp(from, to, flags::ACK, 7001, cookie.wrapping_add(0x1000)).to_mac(LEFT_MAC);
        bench.refused(Hook::Ingress, "no_connection", &forged, "another number");
        let elsewhere = Packet::tcp(f.at(1, 2, 4001), to, flags::ACK, 7001, cookie.wrapping_add(1)).to_mac(LEFT_MAC);
        bench.refused(Hook::Ingress, "no_connection", &elsewhere, "from another port");
        assert!(bench.arrives(&Packet::tcp(from, to, flags::ACK, 7001, cookie.wrapping_add(1)).to_mac(LEFT_MAC)), "{f:?}");
        wait::until("the connection is there", Duration::from_secs(5), || listener.accept().is_ok());
    }
}

#[test]
fn nobody_else_is_answered() {
    let refused = "[[set]]\nname = \"bad\"\nelements = [\"10.1.0.102\", \"fd00:1::66\"]\n";
    let rules = allow_port("web", "tcp", 80) + &allow_port("other", "tcp", 8080) + refused;
    let Some(bench) = start(true, &text("", "syn_cookies = [80]\ndeny_sets = [\"bad\"]", &rules)) else { return };
    let _listeners = [80, 8080].map(|port| listen(&bench, Family::V6, port));
    for f in Family::BOTH {
        let from = f.at(1, 2, 4000);
        bench.refused(Hook::Ingress, "deny_set", &Packet::syn(f.at(1, 0x66, 1), f.at(1, 1, 80)), "a source that is denied");
        assert!(bench.arrives(&Packet::syn(from, f.at(1, 1, 8080))), "{f:?}: a port that is not listed");
        assert!(bench.arrives(&Packet::syn(from, f.at(2, 2, 80))), "{f:?}: a host behind this one, although we listen on every address");
    }
    assert_eq!(cookies(&bench), 0);
}

/// SYNs from so many hosts that never come back.
fn strangers(f: Family) -> Vec<Packet> {
    let host = |n: u8| match f {
        Family::V4 => IpAddr::from([10, 1, 3, n]),
        Family::V6 => IpAddr::from([0xfd00, 1, 0, 0, 0, 0, 3, u16::from(n)]),
    };
    let syn = |n: u8, port: u16| Packet::syn((host(n), port).into(), f.at(1, 1, 80)).to_mac(LEFT_MAC);
    (1..=250).flat_map(|n| (1..=8).map(move |port| syn(n, port))).collect()
}

#[test]
fn flood_of_strangers_keeps_nobody_out_although_our_table_is_smaller_than_the_queue() {
    let small = |xdp: &str| text("max_half_open = 64", xdp, &allow_port("web", "tcp", 80));
    for f in Family::BOTH {
        // Who is kept out waits in vain each time.
        for (xdp, tries, gets_in) in [("drop_malformed = true", 10, false), ("syn_cookies = [80]", machine::times(50, 10), true)] {
            let Some(bench) = start(false, &small(xdp)) else { return };
            let listener = listen(&bench, f, 80);
            listener.set_nonblocking(true).expect("non-blocking");
            let served = || sock::connect(&bench.net.src, f.at(1, 1, 80)).is_ok() && accepts(&listener, f.host(1, 2));
            assert!(served(), "{f:?}: before the flood");
            assert_eq!(cookies(&bench), 0, "{f:?}: no cookies without need");
            let flood = Flood::start(&bench.net.src, "eth0", &strangers(f));
            wait::until("the flood has begun", Duration::from_secs(10), || flood.rounds() > 5);
            // Each in a round of its own: one after the other they would all be over in a single round.
            let count = (0..tries).filter(|_| another_round(&flood) && served()).count() as u32;
            let rate = flood.stop().rate();
            let cookies = cookies(&bench);
            say::aloud(&format!("{f:?}, {xdp}: {count} of {tries} clients served under {rate} SYNs/s, {cookies} cookies"));
            if gets_in {
                assert!(count * 10 >= tries * 9, "{f:?}: {count} of {tries} got in");
                assert!(cookies > 1000, "{f:?}: {cookies}");
            } else {
                assert_eq!(count, 0, "{f:?}: without cookies the table is full");
            }
        }
    }
}

/// Whether the server gets a connection of that client.
fn accepts(listener: &TcpListener, client: IpAddr) -> bool {
    wait::poll(sock::PATIENCE, || listener.accept().ok().filter(|(_, peer)| peer.ip() == client)).is_some()
}

fn another_round(flood: &Flood) -> bool {
    let round = flood.rounds();
    wait::poll(Duration::from_secs(10), || (flood.rounds() > round).then_some(())).is_some()
}

#[test]
fn host_that_gives_no_cookies_is_warned_of() {
    let Some(net) = Net::new() else { return };
    net.dut.sysctl("ipv4/tcp_syncookies", "0");
    let Some(bench) = Bench::start_in(net, &text("", "syn_cookies = [80]", &allow_port("web", "tcp", 80))) else { return };
    let warned = |word: &str| bench.cli().status()["warnings"].to_string().contains(word);
    assert!(warned("tcp_syncookies is 0"), "{}", bench.cli().status());
    bench.net.dut.sysctl("ipv4/tcp_syncookies", "1");
    assert!(!warned("tcp_syncookies"));
}

/// XDP does not see a tag that the device has taken off: no cookie where tagged clients may be.
#[test]
fn tagged_clients_are_served_where_cookies_are_sent() {
    let Some(net) = Net::new() else { return };
    if !net.dut.can_make("vlan", "link left type vlan id 7") {
        return;
    }
    for (namespace, link, address) in [(&net.dut, "left", "10.9.0.1/24"), (&net.src, "eth0", "10.9.0.2/24")] {
        namespace.ip(&format!("link add link {link} name tag7 type vlan id 7"));
        namespace.ip("link set tag7 up");
        namespace.ip(&format!("address add {address} dev tag7"));
    }
    net.dut.sysctl("ipv4/tcp_syncookies", "2");
    let to = addr("10.9.0.1:80");
    let listener = sock::listen(&net.dut, to);
    let keys = "policy_types = [\"ingress\"]\n[policy.xdp]\nmode = \"generic\"\nsyn_cookies = [80]\n";
    let rule = "[[policy.ingress]]\nid = \"web\"\naction = \"allow\"\nvlan = 7\nprotocol = \"tcp\"\ndestination = { ports = [80] }\n";
    let conntrack = format!("{VERSION}[daemon.conntrack]\nadopt_existing = false\n");
    let Some(bench) = Bench::start_in(net, &(policy("cookies", keys).replacen(VERSION, &conntrack, 1) + rule)) else { return };
    assert!(bench.cli().status()["warnings"].to_string().contains("a VLAN device stands on it"));
    let mut connection = Connection::open(&bench.net.src, &listener, to).expect("a connection");
    assert!(connection.lives());
}
