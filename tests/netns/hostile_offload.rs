//! What devices and drivers make of packets: many in one, frames larger than a page, tags beside the bytes, an MTU that changes.
//! None of it changes a verdict.

use std::time::Duration;

use netpol_tests::bench::Way;
use netpol_tests::cli::DONE;
use netpol_tests::flags::{ACK, PSH, SYN};
use netpol_tests::net::DST_MAC;
use netpol_tests::offload::{Gso, Offloader};
use netpol_tests::packet::SENDER;
use netpol_tests::policy::{VERSION, both_ways, policy, settled};
use netpol_tests::wire::{ALL, ARP, Observer, Sender, fence};
use netpol_tests::{Bench, Family, Hook, Net, Packet, say, sock};

const RULES: &str = "[[rule]]\naction = \"allow\"\nprotocol = \"udp\"\ndestination = { ports = [53] }\n\
                     [[rule]]\naction = \"allow\"\nprotocol = \"tcp\"\ndestination = { ports = [80] }\n";
const MODES: [&str; 3] = ["off", "generic", "native"];

fn with_xdp(rules: &str, mode: &str) -> String {
    settled(&(both_ways(rules) + &format!("[policy.xdp]\nmode = \"{mode}\"\ndrop_malformed = true\n")))
}

/// Sends packets that are many in one, and sees whether anything of them comes out behind the hook.
struct Uncut<'a> {
    bench: &'a Bench,
    hook: Hook,
    offloader: Offloader,
    behind: Sender,
    observer: Observer,
    fence: Observer,
}

impl<'a> Uncut<'a> {
    fn new(bench: &'a Bench, hook: Hook, f: Family) -> Uncut<'a> {
        let (src, dut) = ((&bench.net.src, "eth0"), (&bench.net.dut, "left"));
        let (from, to, protocol) = if hook == Hook::Ingress { (src, dut, f.ethertype()) } else { (dut, src, ALL) };
        Uncut {
            bench,
            hook,
            offloader: Offloader::open(from.0, from.1),
            behind: Sender::open(from.0, from.1),
            observer: Observer::open(to.0, to.1, protocol),
            fence: Observer::open(to.0, to.1, ARP),
        }
    }

    /// How this kernel takes many datagrams in one: from 6.2 on each of them whole, before as one for fragments.
    fn datagrams(&self, packet: &Packet) -> Gso {
        let l4 = packet.l3().len() - packet.body().len();
        if self.offloader.send(packet, Gso::Datagrams, 1000, l4, 8) {
            return Gso::Datagrams;
        }
        say::aloud("SKIPPED datagrams that are many in one: this kernel takes none from packet sockets");
        Gso::Fragments
    }

    fn passes(&self, packet: &Packet, gso: Gso, size: u16, linear: usize) -> bool {
        let l4 = packet.l3().len() - packet.body().len();
        let (fence, offloader, behind) = (fence(), &self.offloader, &self.behind);
        self.observer.drain();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                netpol_tests::sys::stay_on_cpu(0).expect("a CPU to stay on");
                assert!(offloader.send(packet, gso, size, l4, linear), "the kernel takes {gso:?}");
                behind.send(&fence.frame());
            });
        });
        assert!(self.fence.wait_for(&fence.l3(), Duration::from_secs(5)), "ARP passes");
        self.observer.drain().iter().any(|frame| frame[6..12] == SENDER && frame[12..14] != ARP.to_be_bytes())
    }

    /// It is refused, by that reason and no other.
    fn refused(&self, reason: &str, packet: &Packet, gso: Gso, size: u16, linear: usize) {
        let before = self.bench.cli().drops(reason);
        assert!(!self.passes(packet, gso, size, linear), "{reason} at {:?}: {gso:?}", self.hook);
        assert!(self.bench.cli().drops(reason) > before, "{reason} at {:?}: {gso:?}", self.hook);
    }
}

#[test]
fn packets_that_are_many_in_one_are_judged_by_their_headers() {
    for mode in MODES {
        let Some(bench) = Bench::start(&with_xdp(RULES, mode)) else { return };
        for (f, hook) in Family::BOTH.iter().flat_map(|f| Hook::BOTH.map(|hook| (*f, hook))) {
            let uncut = Uncut::new(&bench, hook, f);
            let (from, tcp_gso) = (f.at(1, 2, 4000), if f == Family::V4 { Gso::Tcp4 } else { Gso::Tcp6 });
            let udp = |port, size: usize| Packet::udp_with(from, f.at(1, 1, port), &vec![1; size]);
            // All headers in the linear part, and only that of Ethernet and IP.
            if let cut @ Gso::Datagrams = uncut.datagrams(&udp(54, 20_000)) {
                for linear in [8, 0] {
                    assert!(uncut.passes(&udp(53, 20_000), cut, 1000, linear), "{mode} {f:?} {hook:?}: datagrams");
                    uncut.refused("default", &udp(54, 20_000), cut, 1000, linear);
                }
            }
            // The kernel gives IPv6 fragments an identification of its own.
            let numbered = |packet: Packet, id| if f == Family::V4 { packet.fragment(id, 0, false) } else { packet };
            assert!(
                uncut.passes(&numbered(udp(53, 9000), 1), Gso::Fragments, 1400, 8),
                "{mode} {f:?} {hook:?}: one datagram for fragments"
            );
            uncut.refused("default", &numbered(udp(54, 9000), 2), Gso::Fragments, 1400, 8);

            let tcp = |port, flags, size: usize| Packet::tcp_with(from, f.at(1, 1, port), flags, 1001, 5001, &vec![1; size]);
            uncut.refused("no_connection", &tcp(80, ACK | PSH, 30_000), tcp_gso, 1400, 20);
            assert!(bench.passes(hook, &Packet::tcp(from, f.at(1, 1, 80), SYN, 1000, 0)));
            let other = if hook == Hook::Ingress { Hook::Egress } else { Hook::Ingress };
            assert!(bench.passes(other, &Packet::tcp(f.at(1, 1, 80), from, SYN | ACK, 5000, 1001)));
            assert!(bench.passes(hook, &Packet::tcp(from, f.at(1, 1, 80), ACK, 1001, 5001)));
            assert!(uncut.passes(&tcp(80, ACK | PSH, 30_000), tcp_gso, 1400, 20), "{mode} {f:?} {hook:?}: segments");
            assert!(uncut.passes(&tcp(80, ACK | PSH, 60_000), tcp_gso, 1400, 0), "{mode} {f:?} {hook:?}: in pages");
            uncut.refused("no_connection", &tcp(81, ACK | PSH, 30_000), tcp_gso, 1400, 20);
        }
    }
}

#[test]
fn length_that_lies_lies_in_a_large_packet_too() {
    let Some(bench) = Bench::start(&with_xdp(RULES, "off")) else { return };
    for (f, hook) in Family::BOTH.iter().flat_map(|f| Hook::BOTH.map(|hook| (*f, hook))) {
        let uncut = Uncut::new(&bench, hook, f);
        let udp = |port| Packet::udp_with(f.at(1, 2, 4000), f.at(1, 1, port), &[1; 20_000]);
        let header = if f == Family::V4 { 20 } else { 0 };
        // 0 is the kernel's word for "too long to say"; more than there is, or less than a header, is a lie.
        if let cut @ Gso::Datagrams = uncut.datagrams(&udp(54)) {
            uncut.refused("default", &udp(54).length(0), cut, 1000, 8);
            uncut.refused("malformed", &udp(53).length(header + 7), cut, 1000, 8);
            uncut.refused("malformed", &udp(53).length(header + 20_100), cut, 1000, 8);
        }
        let small = Packet::udp_with(f.at(1, 2, 4000), f.at(1, 1, 53), &[1; 500]).length(0);
        uncut.refused("malformed", &small, Gso::None, 0, 8);
    }
}

#[test]
fn datagrams_that_a_socket_sends_as_one_are_judged_as_they_are_cut() {
    for mode in MODES {
        let Some(bench) = Bench::start(&with_xdp(RULES, mode)) else { return };
        for f in Family::BOTH {
            for port in [53, 54] {
                let server = sock::udp(&bench.net.dut, f.at(1, 1, port));
                let client = sock::udp(&bench.net.src, f.at(1, 2, 0));
                netpol_tests::sys::cut_datagrams(&client, 1000).expect("UDP_SEGMENT");
                client.send_to(&[9; 20_000], f.at(1, 1, port)).expect("send");
                let mut buffer = [0; 2000];
                let came = std::iter::from_fn(|| server.recv(&mut buffer).ok()).take(20).sum::<usize>();
                assert_eq!(came, if port == 53 { 20_000 } else { 0 }, "{mode} {f:?} port {port}");
            }
        }
    }
}

/// Both ends of the left link with that MTU.
fn large(mtu: u32) -> Option<Net> {
    let net = Net::new()?;
    net.dut.ip(&format!("link set left mtu {mtu}"));
    net.src.ip(&format!("link set eth0 mtu {mtu}"));
    Some(net)
}

fn xdp_of_left(bench: &Bench) -> String {
    let status = bench.cli().status();
    let interfaces = status["interfaces"].as_array().expect("interfaces").clone();
    let left = interfaces.iter().find(|interface| interface["name"] == "left").expect("left");
    left["xdp"].as_str().expect("a mode").to_owned()
}

const BAD: &str = "[[set]]\nname = \"bad\"\nelements = [\"10.1.0.64/26\", \"fd00:1::40/122\"]\n";

/// Everything allowed but the deny set, which XDP is asked to look at.
fn denying(mode: &str) -> String {
    format!(
        "{VERSION}{BAD}[[policy]]\nname = \"x\"\ninterfaces = [\"left\"]\npolicy_types = [\"ingress\"]\n[policy.xdp]\nmode = \"{mode}\"\n\
         deny_sets = [\"bad\"]\n[[policy.ingress]]\naction = \"allow\"\nprotocol = \"udp\"\ndestination = {{ ports = [53] }}\n"
    )
}

fn jumbo(f: Family, host: u8, port: u16, size: usize) -> Packet {
    Packet::udp_with(f.at(1, host, 4000), f.at(1, 1, port), &vec![1; size])
}

fn judges_jumbo(bench: &Bench, size: usize, what: &str) {
    for f in Family::BOTH {
        assert!(bench.arrives(&jumbo(f, 2, 53, size)), "{what} {f:?}: an allowed port");
        bench.refused(Hook::Ingress, "default", &jumbo(f, 2, 54, size), what);
        bench.refused(Hook::Ingress, "deny_set", &jumbo(f, 64, 53, size), what);
        bench.refused(Hook::Ingress, "malformed", &jumbo(f, 2, 53, size).length(65_535), what);
    }
}

#[test]
fn jumbo_frames_are_judged_where_xdp_has_no_room_for_them() {
    let cases = [
        (9000, "off", "off"),
        (9000, "native", "off"),
        (9000, "auto", "generic"),
        (65_535, "native", "off"),
        (65_535, "generic", "generic"),
    ];
    for (mtu, mode, expected) in cases {
        let Some(net) = large(mtu) else { return };
        let Some(bench) = Bench::start_in(net, &denying(mode)) else { return };
        assert_eq!(xdp_of_left(&bench), expected, "XDP {mode} at an MTU of {mtu}");
        if mode == "native" {
            let warnings = bench.cli().warnings().to_lowercase();
            assert!(warnings.contains("left") && warnings.contains("mtu"), "the refusal is told: {warnings}");
        }
        judges_jumbo(&bench, mtu as usize - 600, &format!("MTU {mtu}, XDP {mode}"));
    }
}

#[test]
fn mtu_that_changes_later_opens_nothing() {
    for mode in MODES {
        let Some(bench) = Bench::start(&denying(mode)) else { return };
        judges_jumbo(&bench, 1000, mode);
        bench.net.dut.ip("link set left mtu 9000");
        // Where native XDP is, the kernel lets no larger frames onto the link: as it says so, they are not there.
        let grown = bench.net.src.command("ip").args(["link", "set", "eth0", "mtu", "9000"]).output().expect("ip").status.success();
        assert_eq!(grown, mode != "native", "{mode}: the far end's MTU");
        judges_jumbo(&bench, if grown { 8900 } else { 1000 }, mode);
        assert_eq!(xdp_of_left(&bench), mode);
        bench.net.dut.ip("link set left mtu 1500");
        judges_jumbo(&bench, 1000, mode);
    }
}

const TAGGED: &str = "[[rule]]\naction = \"allow\"\nprotocol = \"udp\"\ndestination = { ports = [53] }\n\
                      [[rule]]\naction = \"allow\"\nvlan = 7\ndestination = { ports = [54] }\n\
                      [[rule]]\naction = \"allow\"\nvlan = [7, 8]\ndestination = { ports = [55] }\n";

/// For each stack of tags which port passes.
fn tagged(f: Family) -> Vec<(&'static str, Packet, bool)> {
    let mut cases = Vec::new();
    for port in [53, 54, 55] {
        let udp = || Packet::udp(f.at(1, 2, 4000), f.at(1, 1, port));
        cases.extend([
            ("untagged", udp(), port == 53),
            ("VID 0", udp().vlan(0), port == 53),
            ("VID 7", udp().vlan(7), port == 54),
            ("VID 7 in 802.1ad", udp().tag(0x88a8, 7), port == 54),
            ("VID 9", udp().vlan(9), false),
            ("VID 0 over 7", udp().vlan(0).vlan(7), port == 54),
            ("QinQ", udp().tag(0x88a8, 7).vlan(8), port == 55),
            ("three tags", udp().vlan(7).vlan(8).vlan(9), false),
        ]);
    }
    cases
}

#[test]
fn tags_are_judged_alike_by_xdp_and_tc_with_offloads_and_without() {
    for mode in MODES {
        for offload in ["on", "off"] {
            let Some(net) = Net::new() else { return };
            for (namespace, link) in [(&net.dut, "left"), (&net.src, "eth0")] {
                namespace.must("ethtool", &format!("-K {link} rxvlan {offload} txvlan {offload}"));
            }
            println!("XDP {mode}, offloads {offload}");
            let Some(bench) = Bench::start_in(net, &with_xdp(TAGGED, mode)) else { return };
            for f in Family::BOTH {
                bench.judge(Hook::Ingress, &tagged(f));
                bench.refused(Hook::Ingress, "malformed", &Packet::udp(f.at(1, 2, 1), f.at(1, 1, 53)).vlan(7).vlan(8).vlan(9), mode);
            }
        }
    }
}

#[test]
fn tag_that_arrived_beside_the_bytes_is_judged_where_it_leaves() {
    for offload in ["on", "off"] {
        let Some(net) = Net::new() else { return };
        net.dut.must("ethtool", &format!("-K right rxvlan {offload} txvlan {offload}"));
        // Between the ports of a bridge a tag stays in the skb's metadata, where `left` has put it.
        net.dut.ip("link add br0 type bridge");
        for port in ["left", "right"] {
            net.dut.ip(&format!("link set {port} master br0"));
        }
        net.dut.ip("link set br0 up");
        let way = Way::new(&net.src, "eth0", &net.dst, "eth0", &[ALL]);
        let probe = Packet::udp(Family::V4.at(1, 2, 1), Family::V4.at(1, 1, 1)).to_mac(DST_MAC);
        netpol_tests::wait::until("the bridge forwards", Duration::from_secs(10), || way.passes(&net.dst, "eth0", &probe));
        let text = policy("bridged", "policy_types = [\"egress\"]").replace("\"left\"", "\"right\"")
            + &TAGGED.replace("[[rule]]", "[[policy.egress]]");
        let Some(bench) = Bench::start_in(net, &text) else { return };
        for f in Family::BOTH {
            for (what, packet, expected) in tagged(f) {
                assert_eq!(way.passes(&bench.net.dst, "eth0", &packet.to_mac(DST_MAC)), expected, "{what} {f:?}, offloads {offload}");
            }
        }
        bench.cli().run(&["detach"]).expect(DONE);
    }
}
