//! Devices whose packets pass by the hooks that programs of ours hang on, and one that says of itself what it is not.

use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;
use std::time::Duration;

use netpol_tests::packet_l4::addr;
use netpol_tests::policy::policy;
use netpol_tests::{Bench, Net, Packet, contained, machine, sock};

/// Opens a tun device, calls it Ethernet (TUNSETLINK), and sends what it reads, in hexadecimal, a packet a line.
const TUN: &str = "import fcntl, os, struct, sys\n\
    tun = os.open('/dev/net/tun', os.O_RDWR)\n\
    fcntl.ioctl(tun, 0x400454ca, struct.pack('16sH22x', b'tun7', 0x1001))\n\
    fcntl.ioctl(tun, 0x400454cd, 1)\n\
    print('ready', flush=True)\n\
    for line in sys.stdin:\n  os.write(tun, bytes.fromhex(line.strip()))\n  print('sent', flush=True)\n";

fn denying(link: &str) -> String {
    policy("strict", "policy_types = [\"ingress\", \"egress\"]\n").replace("[\"left\"]", &format!("[\"{link}\"]"))
}

fn warned(bench: &Bench, words: &str) -> bool {
    bench.cli().status()["warnings"].to_string().contains(words)
}

#[test]
fn policy_on_a_vrf_device_closes_it_and_says_where_to_write_it() {
    let Some(net) = Net::new() else { return };
    if !net.dut.can_make("vrf", "type vrf table 100") {
        return;
    }
    net.dut.ip("link add vrf0 type vrf table 100");
    net.dut.ip("link set vrf0 up");
    net.dut.ip("link set left master vrf0");
    net.dut.sysctl("ipv4/udp_l3mdev_accept", "1");
    net.dut.ip("neighbour replace 10.1.0.2 lladdr 02:00:00:00:01:02 dev left");
    let (socket, sender) = (sock::udp(&net.dut, addr("0.0.0.0:54")), sock::udp(&net.src, addr("10.1.0.2:4000")));
    assert!(sock::datagram_passes(&sender, &socket, addr("10.1.0.1:54")), "without a firewall");
    let Some(bench) = Bench::start_in(net, &denying("vrf0")) else { return };
    assert!(warned(&bench, "write the policy for its members"));
    let guarded = !warned(&bench, "no guard");
    assert_eq!(sock::datagram_passes(&sender, &socket, addr("10.1.0.1:54")), !guarded, "closed where netfilter can");
    assert_eq!(bench.cli().status()["interfaces"], serde_json::json!([]), "nothing is said to be enforced");
    bench.change(&denying("left"));
    assert!(!sock::datagram_passes(&sender, &socket, addr("10.1.0.1:54")), "the member");
}

#[test]
fn policy_on_an_ipvlan_child_judges_it_in_the_modes_that_pass_its_hooks() {
    for mode in ["l2", "l3", "l3s"] {
        let Some(net) = Net::new() else { return };
        if !net.dut.can_make("ipvlan", &format!("link left type ipvlan mode {mode}")) {
            return;
        }
        net.dut.ip(&format!("link add link left name iv0 type ipvlan mode {mode}"));
        net.dut.ip("link set iv0 up");
        net.dut.ip("address add 10.1.0.77/32 dev iv0");
        net.src.ip("neighbour add 10.1.0.77 lladdr 02:00:00:00:01:01 dev eth0");
        let to = addr("10.1.0.77:54");
        let (socket, sender) = (sock::udp(&net.dut, to), sock::udp(&net.src, addr("10.1.0.2:4000")));
        assert!(sock::datagram_passes(&sender, &socket, to), "{mode}: without a firewall");
        let Some(bench) = Bench::start_in(net, &denying("iv0")) else { return };
        assert_eq!(warned(&bench, "mode l3s"), mode == "l3s", "{mode}");
        assert!(mode == "l3s" || !sock::datagram_passes(&sender, &socket, to), "{mode}: denied");
    }
}

#[test]
fn tun_device_that_calls_itself_ethernet_is_judged_as_what_it_carries() {
    if !contained::has("python3") {
        return;
    }
    let Some(net) = Net::new() else { return };
    let mut tun = net.dut.command("python3").args(["-c", TUN]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("python3");
    let mut said = BufReader::new(tun.stdout.take().expect("a pipe")).lines();
    assert_eq!(said.next().expect("a line").expect("text"), "ready");
    net.dut.ip("link set tun7 up");
    let socket = sock::udp(&net.dut, addr("10.1.0.1:54"));
    socket.set_read_timeout(Some(machine::patience(Duration::from_secs(1)))).expect("a read timeout");
    let bench = Bench::start_in(net, &denying("tun7")).expect("root, as before");
    // Where the EtherType stands in a frame, the source addresses have those of ARP and IPv4.
    for source in ["10.7.0.2:4000", "8.6.0.2:4000", "8.0.0.2:4000"] {
        let packet = Packet::udp(addr(source), addr("10.1.0.1:54")).l3();
        let hexadecimal: String = packet.iter().map(|byte| format!("{byte:02x}")).collect();
        let before = bench.cli().drops("default");
        writeln!(tun.stdin.as_mut().expect("a pipe"), "{hexadecimal}").expect("python reads");
        said.next();
        assert!(socket.recv_from(&mut [0; 64]).is_err(), "{source}");
        assert_eq!(bench.cli().drops("default"), before + 1, "{source} is refused by the default");
    }
    drop(tun.stdin.take());
    tun.wait().expect("python ends");
}
