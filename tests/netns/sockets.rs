//! What real programs see: bulk data, large datagrams, pings, in every XDP mode.

use std::io::{Read, Write};
use std::net::UdpSocket;
use std::thread;
use std::time::Duration;

use netpol_tests::policy::policy;
use netpol_tests::sock::{self, Connection};
use netpol_tests::{Bench, Family, wait};

fn start(mode: &str) -> Option<Bench> {
    let text = "[policy.xdp]\nmode = \"MODE\"\ndeny_sets = [\"bad\"]\n\
                [[policy.ingress]]\naction = \"allow\"\nprotocol = \"tcp\"\ndestination = { ports = [80] }\n\
                [[policy.ingress]]\naction = \"allow\"\nprotocol = \"udp\"\ndestination = { ports = [53] }\n\
                [[policy.ingress]]\naction = \"allow\"\nprotocol = \"icmp\"\n\
                [[policy.ingress]]\naction = \"allow\"\nprotocol = \"icmpv6\"\n\
                [[set]]\nname = \"bad\"\nelements = [\"192.0.2.0/24\"]\n";
    Bench::start(&policy("s", &format!("policy_types = [\"ingress\", \"egress\"]\n{}", text.replace("MODE", mode))))
}

#[test]
fn bulk_data_passes_whole_in_every_xdp_mode() {
    const SIZE: usize = 16 << 20;
    for mode in ["native", "generic", "off"] {
        let Some(bench) = start(mode) else { return };
        for f in Family::BOTH {
            let listener = sock::listen(&bench.net.dut, f.at(1, 1, 80));
            let Connection { mut client, mut server } = Connection::open(&bench.net.src, &listener, f.at(1, 1, 80)).expect("a connection");
            let sender = thread::spawn(move || {
                for _ in 0..SIZE / 65536 {
                    client.write_all(&[7; 65536]).expect("send");
                }
            });
            server.set_read_timeout(Some(netpol_tests::machine::patience(Duration::from_secs(10)))).expect("a read timeout");
            let mut all = Vec::with_capacity(SIZE);
            server.read_to_end(&mut all).expect("receive");
            sender.join().expect("the sender");
            assert_eq!(all.len(), SIZE, "{f:?} {mode}");
        }
    }
}

#[test]
fn large_datagrams_of_real_stacks_pass_in_fragments() {
    let Some(bench) = start("auto") else { return };
    for f in Family::BOTH {
        let server = sock::udp(&bench.net.dut, f.at(1, 1, 53));
        let client = sock::udp(&bench.net.src, f.at(1, 2, 4000));
        let large = |from: &UdpSocket, to: &UdpSocket, address| {
            from.send_to(&[9; 8000], address).expect("send");
            let mut buffer = vec![0; 9000];
            matches!(to.recv_from(&mut buffer), Ok((8000, _)))
        };
        assert!(large(&client, &server, f.at(1, 1, 53)), "{f:?}: question of 8,000 bytes");
        assert!(large(&server, &client, f.at(1, 2, 4000)), "{f:?}: answer of 8,000 bytes");
        let closed = sock::udp(&bench.net.dut, f.at(1, 1, 54));
        assert!(!large(&client, &closed, f.at(1, 1, 54)), "{f:?}: a denied port");
    }
}

#[test]
fn neighbours_are_found_and_hosts_answer_pings_through_a_closed_firewall() {
    let Some(bench) = start("auto") else { return };
    for (namespace, link) in [(&bench.net.src, "eth0"), (&bench.net.dut, "left")] {
        namespace.ip(&format!("neighbour flush dev {link} nud permanent"));
        namespace.ip(&format!("neighbour flush dev {link}"));
    }
    for f in Family::BOTH {
        let listener = sock::listen(&bench.net.dut, f.at(1, 1, 80));
        let connected = wait::poll(Duration::from_secs(5), || Connection::open(&bench.net.src, &listener, f.at(1, 1, 80)).ok());
        assert!(connected.is_some(), "{f:?}: ARP and neighbour discovery pass");
    }
}

#[test]
fn denied_connections_time_out_and_allowed_ones_do_not() {
    let Some(bench) = start("auto") else { return };
    for f in Family::BOTH {
        let open = sock::listen(&bench.net.dut, f.at(1, 1, 80));
        let shut = sock::listen(&bench.net.dut, f.at(1, 1, 81));
        assert!(Connection::open(&bench.net.src, &open, f.at(1, 1, 80)).is_ok(), "{f:?}: port 80");
        let error = Connection::open(&bench.net.src, &shut, f.at(1, 1, 81)).expect_err("port 81 is denied");
        assert_eq!(error.kind(), std::io::ErrorKind::TimedOut, "{f:?}: {error}");
        let outside = sock::listen(&bench.net.src, f.at(1, 2, 80));
        assert!(Connection::open(&bench.net.dut, &outside, f.at(1, 2, 80)).is_err(), "{f:?}: out is denied");
    }
}
