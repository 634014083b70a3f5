//! Tunnels: the outer packet is judged where it arrives, as the UDP or GRE that it is; the inner one on the tunnel's own device, and an
//! interface that no policy selects is named as such.

use std::net::SocketAddr;

use netpol_tests::net::LEFT_MAC;
use netpol_tests::policy::VERSION;
use netpol_tests::wire::Sender;
use netpol_tests::{Bench, Family, Hook, Net, Packet, sock};

const TUNNEL_MAC: [u8; 6] = [2, 0, 0, 0, 9, 1];
const VXLAN: u16 = 4789;

/// `vx0` at the dut: host 1 of net 9, its other end is host 2; outside both are host 1 and 2 of net 1.
fn tunnelled(outer: Family, inner: Family) -> Option<Net> {
    let net = Net::new()?;
    let vxlan = format!("type vxlan id 42 dstport {VXLAN} remote {} dev left", outer.host(1, 2));
    if !net.dut.can_make("vxlan", &vxlan) {
        return None;
    }
    net.dut.ip(&format!("link add vx0 address 02:00:00:00:09:01 {vxlan}"));
    net.dut.ip(&format!("address add {}/{} dev vx0", inner.host(9, 1), if inner == Family::V4 { "24" } else { "64 nodad" }));
    net.dut.ip("link set vx0 up");
    net.dut.ip(&format!("neighbour add {} lladdr 02:00:00:00:09:02 dev vx0", inner.host(9, 2)));
    Some(net)
}

/// A datagram to that port of the dut's end, in VXLAN from an outer source.
fn inside(outer: SocketAddr, inner: Family, port: u16, word: &[u8]) -> Packet {
    let datagram = Packet::udp_with(inner.at(9, 2, 4000), inner.at(9, 1, port), word).to_mac(TUNNEL_MAC);
    let payload = [&[8, 0, 0, 0, 0, 0, 42, 0], &datagram.frame()[..]].concat();
    let dut = if outer.is_ipv4() { Family::V4 } else { Family::V6 }.at(1, 1, VXLAN);
    Packet::udp_with(outer, dut, &payload).to_mac(LEFT_MAC)
}

fn policies(underlay: &str, overlay: &str) -> String {
    let on = |name: &str, rules: &str| {
        format!("[[policy]]\nname = \"{name}\"\ninterfaces = [\"{name}\"]\npolicy_types = [\"ingress\"]\n{rules}")
    };
    format!("{VERSION}{}{}", on("left", underlay), if overlay.is_empty() { String::new() } else { on("vx0", overlay) })
}

const DNS: &str = "[[policy.ingress]]\naction = \"allow\"\nprotocol = \"udp\"\ndestination = { ports = [53] }\n";

/// Lets in what the other end of the tunnel sends.
fn tunnel(outer: Family) -> String {
    let source = outer.host(1, 2);
    format!(
        "[[policy.ingress]]\naction = \"allow\"\nprotocol = \"udp\"\nsource = {{ nets = [\"{source}\"] }}\n\
         destination = {{ ports = [{VXLAN}] }}\n"
    )
}

#[test]
fn vxlan_is_judged_outside_and_inside() {
    for (outer, inner) in Family::BOTH.into_iter().flat_map(|outer| Family::BOTH.map(|inner| (outer, inner))) {
        judged_outside_and_inside(outer, inner);
    }
}

fn judged_outside_and_inside(outer: Family, inner: Family) {
    let case = format!("{inner:?} in {outer:?}");
    let Some(net) = tunnelled(outer, inner) else { return };
    let Some(bench) = Bench::start_in(net, &policies(DNS, "")) else { return };
    let sockets = [53, 54].map(|port| (port, sock::udp(&bench.net.dut, inner.at(9, 1, port))));
    let sender = Sender::open(&bench.net.src, "eth0");
    let (peer, other) = (outer.at(1, 2, 5000), outer.at(1, 3, 5000));
    let delivered = |from: SocketAddr| -> Vec<u16> {
        for (port, _) in &sockets {
            sender.send(&inside(from, inner, *port, b"word").frame());
        }
        let came = |socket: &std::net::UdpSocket| socket.recv(&mut [0; 16]).is_ok_and(|length| length == 4);
        sockets.iter().filter(|(_, socket)| came(socket)).map(|(port, _)| *port).collect()
    };
    let whole = |from: SocketAddr| inside(from, inner, 53, b"word");
    bench.refused(Hook::Ingress, "default", &whole(peer), &format!("{case}: a tunnel that no rule allows"));
    assert_eq!(delivered(peer), [0u16; 0], "{case}: an allowed port inside opens nothing outside");

    bench.change(&policies(&tunnel(outer), ""));
    let uncovered = bench.cli().status()["uncovered"].to_string();
    assert!(uncovered.contains("vx0"), "{case}: the tunnel's device is named: {uncovered}");
    assert_eq!(delivered(peer), [53, 54], "{case}: and untouched");
    bench.refused(Hook::Ingress, "default", &whole(other), &format!("{case}: another outer source (CVE-2020-10136)"));
    assert_eq!(delivered(other), [0u16; 0], "{case}");

    bench.change(&policies(&tunnel(outer), DNS));
    assert!(!bench.cli().status()["uncovered"].to_string().contains("vx0"), "{case}");
    let before = bench.cli().drops("default");
    assert_eq!(delivered(peer), [53], "{case}: the inner packet is judged on the tunnel's device");
    assert_eq!(bench.cli().drops("default"), before + 1, "{case}");
}
