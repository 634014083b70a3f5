//! The host's own addresses and its routing, attacked from the wire: what the kernel itself would believe is refused before.

use std::net::IpAddr;
use std::time::Duration;

use netpol_tests::net::LEFT_MAC;
use netpol_tests::packet_l4::addr;
use netpol_tests::policy::policy;
use netpol_tests::wire::Sender;
use netpol_tests::{Bench, Hook, Net, Packet, sock, wait};

const ALLOW: &str = "[[policy.ingress]]\naction = \"allow\"\n";
/// The multicast MAC address of all nodes.
const ALL_NODES: [u8; 6] = [0x33, 0x33, 0, 0, 0, 1];

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap_or_else(|e| panic!("{text}: {e}"))
}

/// A host whose loopback services could be reached from the wire (CVE-2020-8558).
fn reachable() -> Option<Net> {
    let net = Net::new()?;
    net.dut.ip("link set lo up");
    net.dut.sysctl("ipv4/conf/left/route_localnet", "1");
    Some(net)
}

#[test]
fn loopback_services_are_out_of_reach_where_the_kernel_would_route_to_them() {
    let to_loopback = || Packet::udp_with(addr("10.1.0.2:4000"), addr("127.0.0.1:5300"), b"in").to_mac(LEFT_MAC);
    let Some(net) = reachable() else { return };
    let service = sock::udp(&net.dut, addr("127.0.0.1:5300"));
    let sender = Sender::open(&net.src, "eth0");
    let reached = wait::poll(Duration::from_secs(5), || {
        sender.send(&to_loopback().frame());
        service.recv(&mut [0; 8]).ok()
    });
    assert_eq!(reached, Some(2), "without a firewall it is delivered");
    drop((service, net));
    for mode in ["off", "generic", "native"] {
        let Some(net) = reachable() else { return };
        let xdp = format!("policy_types = [\"ingress\"]\n[policy.xdp]\nmode = \"{mode}\"\ndrop_malformed = true\n{ALLOW}");
        let Some(bench) = Bench::start_in(net, &policy("h", &xdp)) else { return };
        let service = sock::udp(&bench.net.dut, addr("127.0.0.1:5300"));
        bench.refused(Hook::Ingress, "loopback_address", &to_loopback(), mode);
        bench.refused(Hook::Ingress, "loopback_address", &to_loopback().vlan(0), "behind a priority tag");
        let from_loopback = Packet::udp(addr("127.0.0.1:4000"), addr("10.1.0.1:5300")).to_mac(LEFT_MAC);
        bench.refused(Hook::Ingress, "loopback_address", &from_loopback, "from the loopback");
        assert!(service.recv(&mut [0; 8]).is_err(), "{mode}: nothing is delivered");
        let own = sock::udp(&bench.net.dut, addr("127.0.0.1:0"));
        assert!(sock::datagram_passes(&own, &service, addr("127.0.0.1:5300")), "{mode}: the host talks to itself");
    }
}

/// A router advertisement that makes its sender the default router for half an hour.
fn advertisement() -> Packet {
    Packet::icmp(ip("fe80::9"), ip("ff02::1"), (134, 0), [64, 0, 7, 8], &[0; 8]).ttl(255).to_mac(ALL_NODES)
}

fn believes(net: &Net) -> bool {
    net.dut.must("ip", "-6 route show default").contains("fe80::9")
}

#[test]
fn forged_router_advertisement_moves_no_route() {
    let listening = || {
        let net = Net::new()?;
        net.dut.sysctl("ipv6/conf/left/accept_ra", "2");
        Some(net)
    };
    let Some(net) = listening() else { return };
    let sender = Sender::open(&net.src, "eth0");
    wait::until("without a firewall the kernel believes it", Duration::from_secs(5), || {
        sender.send(&advertisement().frame());
        believes(&net)
    });
    drop(net);
    // CVE-2020-10749: a workload is no router, whatever the kernel listens to.
    let Some(net) = listening() else { return };
    let workload = policy("w", "endpoint = \"workload\"\npolicy_types = [\"egress\"]\n");
    let Some(bench) = Bench::start_in(net, &workload) else { return };
    bench.refused(Hook::Ingress, "default", &advertisement(), "from a workload");
    bench.refused(Hook::Ingress, "default", &advertisement().extension(60, &[0, 0, 1, 4, 0, 0, 0, 0]), "behind a header (RFC 7113)");
    bench.refused(Hook::Ingress, "default", &advertisement().fragment(9, 0, true), "in pieces (RFC 6980)");
    bench.refused(Hook::Ingress, "default", &advertisement().ttl(64), "from beyond the link");
    assert!(!believes(&bench.net));
}

#[test]
fn forged_redirect_moves_no_route() {
    let Some(net) = Net::new() else { return };
    // As a host that does not forward, which is when the kernel listens to redirects.
    net.dut.sysctl("ipv4/ip_forward", "0");
    for key in ["accept_redirects", "secure_redirects", "shared_media"] {
        net.dut.sysctl(&format!("ipv4/conf/left/{key}"), if key == "secure_redirects" { "0" } else { "1" });
    }
    net.dut.ip("route add 192.0.2.0/24 via 10.1.0.2 dev left");
    // The kernel follows only to a neighbour that it knows, and asks the socket that the quoted packet came from.
    net.dut.ip("neighbour add 10.1.0.66 lladdr 02:00:00:00:00:66 dev left");
    let _asker = sock::udp(&net.dut, addr("10.1.0.1:53"));
    let redirect = || {
        let quoted = Packet::udp_with(addr("10.1.0.1:53"), addr("192.0.2.7:4000"), &[0; 64]);
        Packet::icmp(ip("10.1.0.2"), ip("10.1.0.1"), (5, 1), [10, 1, 0, 66], &quoted.l3()).to_mac(LEFT_MAC)
    };
    let moved = |net: &Net| net.dut.must("ip", "route get 192.0.2.7").contains("10.1.0.66");
    let Some(bench) = Bench::start_in(net, &policy("r", &format!("policy_types = [\"ingress\"]\n{ALLOW}"))) else { return };
    bench.refused(Hook::Ingress, "icmp_redirect", &redirect(), "a redirect");
    assert!(!moved(&bench.net));
    bench.cli().run(&["detach"]).expect(netpol_tests::cli::DONE);
    let sender = Sender::open(&bench.net.src, "eth0");
    wait::until("without a firewall the kernel believes it", Duration::from_secs(5), || {
        sender.send(&redirect().frame());
        moved(&bench.net)
    });
}
