//! `reject`: what real programs are told at once, on this host, on a workload, behind a router, behind address translation.

use std::io::{self, Read, Write};
use std::time::{Duration, Instant};

use netpol_tests::policy::{VERSION, allow_port, arriving, both_ways, leaving, policy};
use netpol_tests::sock::{self, Connection};
use netpol_tests::{Bench, Family, Net, machine::patience, ns::Namespace};

const REJECT: &str = "[[rule]]\naction = \"reject\"\n";

/// Far longer than an answer takes, shorter than the timeouts of sockets.
const AT_ONCE: Duration = Duration::from_millis(300);

fn with(answer: &str) -> String {
    format!("{REJECT}reject_with = \"{answer}\"\n")
}

/// What connect(2) says within a time, and after how long.
fn connect(from: &Namespace, f: Family, host: (u8, u8), limit: Duration) -> (i32, Duration) {
    let begin = Instant::now();
    let to = f.at(host.0, host.1, 80);
    let error = from.run(|| std::net::TcpStream::connect_timeout(&to, patience(limit))).expect_err("rejected");
    (error.raw_os_error().unwrap_or(0), begin.elapsed())
}

/// What a connected UDP socket is told; 0 = nothing.
fn ask(from: &Namespace, f: Family, host: (u8, u8), size: usize) -> i32 {
    let socket = sock::udp(from, f.any(0));
    socket.connect(f.at(host.0, host.1, 53)).expect("connect");
    let answer = socket.send(&vec![7; size]).and_then(|_| socket.recv(&mut [0; 8]));
    match answer.expect_err("rejected") {
        told if told.kind() == io::ErrorKind::WouldBlock => 0,
        told => told.raw_os_error().unwrap_or(0),
    }
}

/// TCP is reset and UDP told at once, in both families.
fn refused_at_once(from: &Namespace, host: (u8, u8), what: &str) {
    for f in Family::BOTH {
        let (error, after) = connect(from, f, host, Duration::from_secs(2));
        assert_eq!(error, libc::ECONNREFUSED, "{what} {f:?}: connect");
        assert!(after < patience(AT_ONCE), "{what} {f:?}: {after:?}");
        for size in [1, 1400, 8000] {
            assert_eq!(ask(from, f, host, size), if size > 1400 { 0 } else { libc::ECONNREFUSED }, "{what} {f:?}: {size} bytes of UDP");
        }
    }
}

/// A policy for one interface and direction.
fn on(link: &str, endpoint: &str, direction: &str) -> String {
    format!("[[policy]]\nname = \"{link}\"\ninterfaces = [\"{link}\"]\nendpoint = \"{endpoint}\"\npolicy_types = [\"{direction}\"]\n")
        + &REJECT.replace("[[rule]]", &format!("[[policy.{direction}]]"))
}

#[test]
fn host_tells_those_who_ask_it() {
    let Some(bench) = Bench::start(&arriving(REJECT)) else { return };
    refused_at_once(&bench.net.src, (1, 1), "arriving");
}

#[test]
fn host_tells_its_own_programs() {
    let Some(bench) = Bench::start(&leaving(REJECT)) else { return };
    refused_at_once(&bench.net.dut, (1, 2), "leaving");
}

#[test]
fn both_directions_closed_do_not_hold_up_the_answers() {
    let Some(bench) = Bench::with_rules(REJECT) else { return };
    refused_at_once(&bench.net.src, (1, 1), "arriving");
    refused_at_once(&bench.net.dut, (1, 2), "leaving");
    refused_at_once(&bench.net.src, (2, 2), "through, at the interface where it arrives");
    refused_at_once(&bench.net.dst, (1, 2), "through, at the interface where it leaves");
}

#[test]
fn workload_is_told_and_so_is_who_asks_it() {
    let Some(bench) = Bench::start(&(VERSION.to_owned() + &on("left", "workload", "egress"))) else { return };
    refused_at_once(&bench.net.src, (1, 1), "the workload asks the host");
    refused_at_once(&bench.net.src, (2, 2), "the workload asks the world");
    bench.change(&(VERSION.to_owned() + &on("left", "workload", "ingress")));
    refused_at_once(&bench.net.dut, (1, 2), "the host asks the workload");
    refused_at_once(&bench.net.dst, (1, 2), "the world asks the workload");
}

#[test]
fn forwarded_sender_is_told_with_checksum_offload_and_without() {
    // With `on, off` the router has to fill in checksums that the sender left open: also those of the answer, if it still thinks so.
    for (sender, router) in [("on", "on"), ("on", "off"), ("off", "off")] {
        let Some(net) = Net::new() else { return };
        for (namespace, link, offload) in [(&net.src, "eth0", sender), (&net.dut, "left", router), (&net.dut, "right", router)] {
            namespace.must("ethtool", &format!("-K {link} tx {offload} rx {offload}"));
        }
        let offload = format!("{sender}, {router}");
        let Some(bench) = Bench::start_in(net, &(VERSION.to_owned() + &on("right", "host", "egress"))) else { return };
        refused_at_once(&bench.net.src, (2, 2), &format!("leaves right, offload {offload}"));
        bench.change(&(VERSION.to_owned() + &on("left", "host", "ingress")));
        refused_at_once(&bench.net.src, (2, 2), &format!("arrives at left, offload {offload}"));
        for counter in ["InCsumErrors", "InErrors"] {
            assert_eq!(bench.net.src.stack_counter("Icmp", counter), 0, "{counter}");
        }
        for (table, counter) in [("Tcp", "InCsumErrors"), ("", "Icmp6InCsumErrors"), ("", "Icmp6InErrors")] {
            assert_eq!(bench.net.src.stack_counter(table, counter), 0, "{counter}");
        }
    }
}

#[test]
fn masqueraded_sender_is_told() {
    let Some(net) = Net::new() else { return };
    for (f, link) in [("ip", "right"), ("ip6", "right")] {
        net.dut.must("nft", &format!("add table {f} nat"));
        net.dut.must("nft", &format!("add chain {f} nat out {{ type nat hook postrouting priority 100 ; }}"));
        net.dut.must("nft", &format!("add rule {f} nat out oifname {link} masquerade"));
    }
    let Some(bench) = Bench::start_in(net, &(VERSION.to_owned() + &on("right", "host", "egress"))) else { return };
    refused_at_once(&bench.net.src, (2, 2), "behind the router's address");
}

#[test]
fn each_answer_has_its_error() {
    let Some(bench) = Bench::start(&leaving(REJECT)) else { return };
    // As the kernel translates them: RFC 1122 section 4.2.3.9 for TCP; UDP is told of errors that are not soft.
    let table = [
        ("tcp-reset", [libc::ECONNREFUSED; 2], [libc::ECONNREFUSED; 2]),
        ("port-unreachable", [libc::ECONNREFUSED; 2], [libc::ECONNREFUSED; 2]),
        ("host-unreachable", [libc::EHOSTUNREACH; 2], [0; 2]),
        ("admin-prohibited", [libc::EHOSTUNREACH, libc::EACCES], [libc::EHOSTUNREACH, libc::EACCES]),
    ];
    for (answer, tcp, udp) in table {
        bench.change(&leaving(&with(answer)));
        for (f, (tcp, udp)) in Family::BOTH.into_iter().zip(tcp.into_iter().zip(udp)) {
            // An ICMPv6 error that comes while connect(2) still holds the socket is heeded with the next SYN, a second later.
            for (from, host) in [(&bench.net.dut, (1, 2)), (&bench.net.dst, (1, 2))] {
                let (error, after) = connect(from, f, host, Duration::from_secs(5));
                assert_eq!(error, tcp, "{answer} {f:?}: TCP");
                assert!(after < patience(Duration::from_secs(3)), "{answer} {f:?}: {after:?}");
                assert_eq!(ask(from, f, host, 1), udp, "{answer} {f:?}: UDP");
            }
        }
    }
}

#[test]
fn connection_that_a_new_policy_rejects_is_reset_in_the_midst_of_large_segments() {
    let open = |action: &str| VERSION.to_owned() + &on("right", "host", "egress").replace("\"reject\"", &format!("\"{action}\""));
    let Some(bench) = Bench::start(&open("allow")) else { return };
    for f in Family::BOTH {
        bench.change(&open("allow").replace("name = \"right\"", &format!("name = \"{f:?}\"")));
        let listener = sock::listen(&bench.net.dst, f.at(2, 2, 80));
        let mut connection = Connection::open(&bench.net.src, &listener, f.at(2, 2, 80)).expect("a connection");
        let mut sink = connection.server.try_clone().expect("a second handle");
        let reader = std::thread::spawn(move || while sink.read(&mut [0; 1 << 16]).is_ok_and(|read| read > 0) {});
        connection.client.set_write_timeout(Some(patience(Duration::from_secs(10)))).expect("a write timeout");
        let stream = |connection: &mut Connection| connection.client.write_all(&[1; 1 << 16]);
        for _ in 0..20 {
            stream(&mut connection).expect("allowed");
        }
        bench.change(&open("reject"));
        let error = (0..1000).find_map(|_| stream(&mut connection).err()).expect("rejected");
        assert_eq!(error.raw_os_error(), Some(libc::ECONNRESET), "{f:?}");
        connection.server.shutdown(std::net::Shutdown::Both).expect("shut down");
        reader.join().expect("the reader");
    }
}

#[test]
fn large_datagrams_that_a_device_cuts_are_told_once() {
    let Some(bench) = Bench::start(&leaving(REJECT)) else { return };
    for f in Family::BOTH {
        let socket = sock::udp(&bench.net.dut, f.any(0));
        netpol_tests::sys::cut_datagrams(&socket, 1000).expect("UDP_SEGMENT");
        socket.connect(f.at(1, 2, 53)).expect("connect");
        socket.send(&[7; 20_000]).expect("sent as one");
        let told = socket.recv(&mut [0; 8]).expect_err("rejected");
        assert_eq!(told.raw_os_error(), Some(libc::ECONNREFUSED), "{f:?}");
    }
}

#[test]
fn loopback_device_tells_too() {
    let text = VERSION.to_owned()
        + &on("lo", "host", "ingress").replace("[\"ingress\"]", "[\"ingress\", \"egress\"]")
        + "[[policy.egress]]\naction = \"allow\"\nprotocol = \"tcp\"\n[[policy.egress]]\naction = \"reject\"\n";
    let Some(bench) = Bench::start(&text) else { return };
    for to in ["127.0.0.1:80", "[::1]:80", "10.1.0.1:80"] {
        let begin = Instant::now();
        let error = sock::connect(&bench.net.dut, netpol_tests::packet_l4::addr(to)).expect_err("rejected where it arrives");
        assert_eq!(error.raw_os_error(), Some(libc::ECONNREFUSED), "{to}");
        assert!(begin.elapsed() < patience(AT_ONCE), "{to}: {:?}", begin.elapsed());
        let socket = sock::udp(&bench.net.dut, netpol_tests::packet_l4::addr(to.replace(":80", ":0").as_str()));
        socket.connect(netpol_tests::packet_l4::addr(to)).expect("connect");
        let told = socket.send(b"?").and_then(|_| socket.recv(&mut [0; 8])).expect_err("rejected where it leaves");
        assert_eq!(told.raw_os_error(), Some(libc::ECONNREFUSED), "{to}");
    }
}

#[test]
fn allowed_traffic_and_plain_denials_stay_as_they_are() {
    let rules = allow_port("web", "tcp", 80) + "[[rule]]\naction = \"deny\"\nprotocol = \"tcp\"\ndestination = { ports = [81] }\n" + REJECT;
    let Some(bench) = Bench::start(&policy("p", &rules.replace("[[rule]]", "[[policy.ingress]]"))) else { return };
    for f in Family::BOTH {
        let listener = sock::listen(&bench.net.dut, f.at(1, 1, 80));
        assert!(Connection::open(&bench.net.src, &listener, f.at(1, 1, 80)).expect("allowed").lives());
        let silent = sock::connect(&bench.net.src, f.at(1, 1, 81)).expect_err("denied");
        assert_eq!(silent.kind(), io::ErrorKind::TimedOut, "{f:?}: a denial says nothing");
        let told = sock::connect(&bench.net.src, f.at(1, 1, 82)).expect_err("rejected");
        assert_eq!(told.raw_os_error(), Some(libc::ECONNREFUSED), "{f:?}");
    }
}

#[test]
fn program_behind_a_vlan_device_is_told() {
    let Some(net) = Net::new() else { return };
    if !net.dut.can_make("vlan", "link left type vlan id 5") {
        return;
    }
    for (namespace, parent, n) in [(&net.dut, "left", 1), (&net.src, "eth0", 2)] {
        namespace.ip(&format!("link add link {parent} name tag7 type vlan id 7"));
        namespace.ip(&format!("address add 10.107.0.{n}/24 dev tag7"));
        namespace.ip("link set tag7 up");
    }
    let Some(bench) = Bench::start_in(net, &both_ways("[[rule]]\naction = \"reject\"\nvlan = 7\n")) else { return };
    for (from, to) in [(&bench.net.src, "10.107.0.1:80"), (&bench.net.dut, "10.107.0.2:80")] {
        let told = sock::connect(from, netpol_tests::packet_l4::addr(to)).expect_err("rejected");
        assert_eq!(told.raw_os_error(), Some(libc::ECONNREFUSED), "{to}");
    }
}
