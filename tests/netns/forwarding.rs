//! A forwarded packet passes two policed interfaces; each judges for itself.

use netpol_tests::policy::{VERSION, allow_port};
use netpol_tests::sock::{self, Connection};
use netpol_tests::{Bench, Family};

fn on(interface: &str, direction: &str, port: u16) -> String {
    format!("[[policy]]\nname = \"{interface}\"\ninterfaces = [\"{interface}\"]\npolicy_types = [\"ingress\", \"egress\"]\n")
        + &allow_port("web", "tcp", port).replace("[[rule]]", &format!("[[policy.{direction}]]"))
}

#[test]
fn forwarded_connection_needs_both_interfaces() {
    let both = VERSION.to_owned() + &on("left", "ingress", 80) + &on("right", "egress", 80);
    let Some(bench) = Bench::start(&both) else { return };
    for f in Family::BOTH {
        let listener = sock::listen(&bench.net.dst, f.at(2, 2, 80));
        let mut connection = Connection::open(&bench.net.src, &listener, f.at(2, 2, 80)).expect("both allow");
        assert!(connection.lives(), "{f:?}: answers need no rule on either interface");
        let backwards = sock::listen(&bench.net.src, f.at(1, 2, 80));
        assert!(Connection::open(&bench.net.dst, &backwards, f.at(1, 2, 80)).is_err(), "{f:?}: from the other side");
    }
    bench.change(&(VERSION.to_owned() + &on("left", "ingress", 80) + &on("right", "egress", 81)));
    for f in Family::BOTH {
        let listener = sock::listen(&bench.net.dst, f.at(2, 2, 80));
        assert!(Connection::open(&bench.net.src, &listener, f.at(2, 2, 80)).is_err(), "{f:?}: the second interface refuses");
    }
}

#[test]
fn forwarded_datagrams_and_pings_are_judged_at_both_interfaces() {
    let text = VERSION.to_owned()
        + "[[policy]]\nname = \"in\"\ninterfaces = [\"left\"]\n[[policy.ingress]]\naction = \"allow\"\nprotocol = \"udp\"\n"
        + "[[policy]]\nname = \"out\"\ninterfaces = [\"right\"]\n[[policy.egress]]\naction = \"allow\"\nprotocol = \"udp\"\ndestination = { ports = [53] }\n";
    let Some(bench) = Bench::start(&text) else { return };
    for f in Family::BOTH {
        let client = sock::udp(&bench.net.src, f.any(0));
        for (port, expected) in [(53, true), (54, false)] {
            let server = sock::udp(&bench.net.dst, f.at(2, 2, port));
            assert_eq!(sock::datagram_passes(&client, &server, f.at(2, 2, port)), expected, "{f:?} port {port}");
        }
    }
}

#[test]
fn unreachable_port_behind_the_firewall_is_told_to_the_asker() {
    let both = VERSION.to_owned()
        + &on("left", "ingress", 80).replace("\"tcp\"", "\"udp\"")
        + &on("right", "egress", 80).replace("\"tcp\"", "\"udp\"");
    let Some(bench) = Bench::start(&both) else { return };
    for f in Family::BOTH {
        let client = sock::udp(&bench.net.src, f.any(0));
        client.connect(f.at(2, 2, 80)).expect("connect");
        client.send(b"anyone?").expect("send");
        let error = client.recv(&mut [0; 8]).expect_err("nobody listens");
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused, "{f:?}: the ICMP error came through both interfaces");
    }
}
