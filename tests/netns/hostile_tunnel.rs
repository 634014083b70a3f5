//! Tunnels: the outer packet is judged where it arrives, as the UDP or GRE that it is; the inner one on the tunnel's own device, and an
//! interface that no policy selects is named as such.

use std::net::SocketAddr;

use netpol_tests::net::LEFT_MAC;
use netpol_tests::packet_l4::addr;
use netpol_tests::policy::VERSION;
use netpol_tests::wire::Sender;
use netpol_tests::{Bench, Hook, Net, Packet, sock};

const TUNNEL_MAC: [u8; 6] = [2, 0, 0, 0, 9, 1];
const VXLAN: u16 = 4789;

/// `vx0` at the dut: 10.9.0.1, its other end is host 2.
fn tunnelled() -> Option<Net> {
    let net = Net::new()?;
    if !net.dut.can_make("vxlan", "type vxlan id 42 dstport 4789 remote 10.1.0.2 dev left") {
        return None;
    }
    net.dut.ip("link add vx0 address 02:00:00:00:09:01 type vxlan id 42 dstport 4789 remote 10.1.0.2 dev left");
    net.dut.ip("address add 10.9.0.1/24 dev vx0");
    net.dut.ip("link set vx0 up");
    net.dut.ip("neighbour add 10.9.0.2 lladdr 02:00:00:00:09:02 dev vx0");
    Some(net)
}

/// A datagram to that port of 10.9.0.1, in VXLAN from an outer source.
fn inside(outer: SocketAddr, port: u16, word: &[u8]) -> Packet {
    let inner = Packet::udp_with(addr("10.9.0.2:4000"), SocketAddr::new([10, 9, 0, 1].into(), port), word).to_mac(TUNNEL_MAC);
    let payload = [&[8, 0, 0, 0, 0, 0, 42, 0], &inner.frame()[..]].concat();
    Packet::udp_with(outer, SocketAddr::new([10, 1, 0, 1].into(), VXLAN), &payload).to_mac(LEFT_MAC)
}

fn policies(underlay: &str, overlay: &str) -> String {
    let on = |name: &str, rules: &str| {
        format!("[[policy]]\nname = \"{name}\"\ninterfaces = [\"{name}\"]\npolicy_types = [\"ingress\"]\n{rules}")
    };
    format!("{VERSION}{}{}", on("left", underlay), if overlay.is_empty() { String::new() } else { on("vx0", overlay) })
}

const TUNNEL: &str =
    "[[policy.ingress]]\naction = \"allow\"\nprotocol = \"udp\"\nsource = { nets = [\"10.1.0.2\"] }\ndestination = { ports = [4789] }\n";
const DNS: &str = "[[policy.ingress]]\naction = \"allow\"\nprotocol = \"udp\"\ndestination = { ports = [53] }\n";

#[test]
fn vxlan_is_judged_outside_and_inside() {
    let Some(net) = tunnelled() else { return };
    let Some(bench) = Bench::start_in(net, &policies(DNS, "")) else { return };
    let sockets = [53, 54].map(|port| (port, sock::udp(&bench.net.dut, SocketAddr::new([10, 9, 0, 1].into(), port))));
    let sender = Sender::open(&bench.net.src, "eth0");
    let delivered = |outer: &str| -> Vec<u16> {
        for (port, _) in &sockets {
            sender.send(&inside(addr(outer), *port, b"word").frame());
        }
        let came = |socket: &std::net::UdpSocket| socket.recv(&mut [0; 16]).is_ok_and(|length| length == 4);
        sockets.iter().filter(|(_, socket)| came(socket)).map(|(port, _)| *port).collect()
    };
    bench.refused(Hook::Ingress, "default", &inside(addr("10.1.0.2:5000"), 53, b"word"), "a tunnel that no rule allows");
    assert_eq!(delivered("10.1.0.2:5000"), [0u16; 0], "an allowed port inside opens nothing outside");

    bench.change(&policies(TUNNEL, ""));
    let uncovered = bench.cli().status()["uncovered"].to_string();
    assert!(uncovered.contains("vx0"), "the tunnel's device is named: {uncovered}");
    assert_eq!(delivered("10.1.0.2:5000"), [53, 54], "and untouched");
    bench.refused(Hook::Ingress, "default", &inside(addr("10.1.0.3:5000"), 53, b"word"), "another outer source (CVE-2020-10136)");
    assert_eq!(delivered("10.1.0.3:5000"), [0u16; 0]);

    bench.change(&policies(TUNNEL, DNS));
    assert!(!bench.cli().status()["uncovered"].to_string().contains("vx0"));
    let before = bench.cli().drops("default");
    assert_eq!(delivered("10.1.0.2:5000"), [53], "the inner packet is judged on the tunnel's device");
    assert_eq!(bench.cli().drops("default"), before + 1);
}
