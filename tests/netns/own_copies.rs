//! Multicast of the host itself, which the kernel lets arrive at the interface that it leaves by, for listeners of its own. It has no
//! Ethernet header there.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

use netpol_tests::packet_l4::addr;
use netpol_tests::policy::{allow_port, arriving};
use netpol_tests::{Bench, Net, sock, sys};

const GROUP: Ipv4Addr = Ipv4Addr::new(239, 1, 1, 1);
const GROUP6: Ipv6Addr = Ipv6Addr::new(0xff05, 0, 0, 0, 0, 0, 0, 0x77);

struct Host {
    net: Net,
    left: u32,
}

impl Host {
    fn new() -> Option<Host> {
        let net = Net::new()?;
        let left = net.dut.index("left");
        Some(Host { net, left })
    }

    /// Whether what the host says to the group from this address is heard by itself on a port.
    fn hears_itself(bench: &Net, left: u32, from: &str, port: u16) -> bool {
        let sender = sock::udp(&bench.dut, addr(from));
        sys::send_multicast_from(&sender, left).expect("an interface");
        let (listener, to): (_, SocketAddr) = if sender.local_addr().expect("an address").is_ipv4() {
            let listener = sock::udp(&bench.dut, SocketAddr::from(([0, 0, 0, 0], port)));
            listener.join_multicast_v4(&GROUP, &Ipv4Addr::new(10, 1, 0, 1)).expect("a member");
            (listener, (GROUP, port).into())
        } else {
            let listener = sock::udp(&bench.dut, SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)));
            listener.join_multicast_v6(&GROUP6, left).expect("a member");
            (listener, SocketAddrV6::new(GROUP6, port, 0, left).into())
        };
        sock::datagram_passes(&sender, &listener, to)
    }
}

#[test]
fn multicast_of_the_host_is_judged_by_what_it_says_when_it_comes_back() {
    let Some(Host { net, left }) = Host::new() else { return };
    // 8.6: where the EtherType stands elsewhere, the source address has that of ARP; 8.0: that of IPv4.
    for address in ["8.6.0.1/16", "8.0.0.1/16"] {
        net.dut.ip(&format!("address add {address} dev left"));
    }
    let sources = ["10.1.0.1:5000", "8.6.0.1:5000", "8.0.0.1:5000", "[fd00:1::1]:5000"];
    for from in sources {
        assert!(Host::hears_itself(&net, left, from, 5353), "{from}: without a firewall");
    }
    for anti_spoof in ["", "[policy.anti_spoof]\ncheck_reverse_path = \"strict\"\n"] {
        let Some(Host { net, left }) = Host::new() else { return };
        for address in ["8.6.0.1/16", "8.0.0.1/16"] {
            net.dut.ip(&format!("address add {address} dev left"));
        }
        let Some(bench) = Bench::start_in(net, &(arriving(&allow_port("mdns", "udp", 5353)) + anti_spoof)) else { return };
        for from in sources {
            assert!(Host::hears_itself(&bench.net, left, from, 5353), "{from}: allowed {anti_spoof}");
            assert!(!Host::hears_itself(&bench.net, left, from, 6000), "{from}: denied {anti_spoof}");
        }
    }
}
