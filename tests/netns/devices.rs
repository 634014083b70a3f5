//! What a policy on each type of device covers, both ways: judged where it should be, and the limits as they are documented.
//!
//! A type that this kernel does not make is skipped, said aloud.

use std::collections::BTreeSet;
use std::fmt;
use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use netpol_tests::ns::Namespace;
use netpol_tests::policy::{VERSION, allow_port, both_ways};
use netpol_tests::wire::{Observer, Sender};
use netpol_tests::{Bench, Family, Net, Packet, say, sys, wait};

const EVERYBODY: [u8; 6] = [0xff; 6];

/// One end of a way.
enum End<'a> {
    /// A device that carries Ethernet.
    Ethernet(&'a Namespace, &'a str),
    /// A device that carries bare IP.
    Raw(&'a Namespace, &'a str),
    /// The file behind a tap device.
    Tap(&'a File),
    /// The file behind a tun device.
    Tun(&'a File),
}

impl fmt::Display for End<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            End::Ethernet(namespace, link) | End::Raw(namespace, link) => write!(f, "{link} of {}", namespace.name()),
            End::Tap(_) | End::Tun(_) => write!(f, "the file"),
        }
    }
}

impl End<'_> {
    fn send(&self, packet: &Packet) {
        let mut file = match self {
            End::Ethernet(namespace, link) => return Sender::open(namespace, link).send(&packet.frame()),
            End::Raw(namespace, link) => {
                let bytes = packet.l3();
                let family = if bytes[0] >> 4 == 4 { Family::V4 } else { Family::V6 };
                return Sender::of_packets(namespace, link, family.ethertype()).send(&bytes);
            }
            End::Tap(file) | End::Tun(file) => *file,
        };
        let bytes = if matches!(self, End::Tap(_)) { packet.frame() } else { packet.l3() };
        file.write_all(&bytes).expect("the file of a device");
    }

    fn observe(&self, family: Family) -> Option<Observer> {
        match self {
            End::Ethernet(namespace, link) | End::Raw(namespace, link) => Some(Observer::open(namespace, link, family.ethertype())),
            End::Tap(_) | End::Tun(_) => None,
        }
    }

    fn drain(&self, observer: Option<&Observer>) -> Vec<Vec<u8>> {
        match (self, observer) {
            (_, Some(observer)) => observer.drain(),
            (End::Tap(file) | End::Tun(file), None) => {
                let (mut file, mut buffer) = (*file, [0; 2048]);
                std::iter::from_fn(|| file.read(&mut buffer).ok().map(|length| buffer[..length].to_vec())).collect()
            }
            _ => unreachable!("every device has an observer"),
        }
    }
}

/// Whether a packet to port 54 gets from one end to the other; one to port 53, sent after it, must.
fn passes(from: &End<'_>, to: &End<'_>, family: Family, mac: [u8; 6]) -> bool {
    let packet = |port| Packet::udp(family.at(1, 2, 4000), family.at(1, 1, port)).to_mac(mac);
    gets_through(from, to, family, &packet(54), &packet(53))
}

/// Whether a packet gets from one end to the other; one that is allowed, sent after it, must.
fn gets_through(from: &End<'_>, to: &End<'_>, family: Family, questioned: &Packet, allowed: &Packet) -> bool {
    let observer = to.observe(family);
    from.send(questioned);
    from.send(allowed);
    let (mut seen, end) = (Vec::new(), Instant::now() + Duration::from_secs(5));
    while !seen.iter().any(|frame: &Vec<u8>| frame.ends_with(&allowed.l3())) {
        assert!(Instant::now() < end, "{family:?}: what is allowed did not get from {from} to {to}");
        seen.extend(to.drain(observer.as_ref()));
        std::thread::sleep(Duration::from_millis(1));
    }
    seen.iter().any(|frame| frame.ends_with(&questioned.l3()))
}

/// Port 54 is denied in both directions.
fn judged(near: &End<'_>, far: &End<'_>, families: &[Family]) {
    for family in families {
        assert!(!passes(far, near, *family, EVERYBODY), "{family:?} arrives");
        assert!(!passes(near, far, *family, EVERYBODY), "{family:?} leaves");
    }
}

/// A policy on some interfaces that allows UDP to port 53 both ways.
fn on(interfaces: &str) -> String {
    let text = both_ways(&allow_port("dns", "udp", 53)).replace("[\"left\"]", &format!("[{interfaces}]"));
    format!("{VERSION}[daemon]\nmetrics = {{ listen = \"127.0.0.1:9472\" }}\n{}", text.trim_start_matches(VERSION))
}

/// Puts a policy on these interfaces and no others, and waits until that is so.
fn move_policy(bench: &Bench, interfaces: &[&str]) {
    let list: Vec<String> = interfaces.iter().map(|name| format!("\"{name}\"")).collect();
    bench.net.write("10-test.toml", &on(&list.join(", ")));
    wait::until("the policy is on them", Duration::from_secs(10), || {
        let status = bench.cli().status();
        let covered: BTreeSet<_> =
            status["interfaces"].as_array().expect("interfaces").iter().filter_map(|link| link["name"].as_str()).collect();
        covered == interfaces.iter().copied().collect()
    });
}

/// A world whose dut bridges `left` and `right`.
fn bridged() -> Option<Net> {
    let net = Net::new()?;
    if !net.dut.can_make("bridge", "type bridge") {
        return None;
    }
    for line in ["link add br0 type bridge forward_delay 0", "link set left master br0", "link set right master br0", "link set br0 up"] {
        net.dut.ip(line);
    }
    Some(net)
}

#[test]
fn policy_on_a_bridge_port_judges_what_is_bridged() {
    for port in ["left", "right"] {
        let Some(net) = bridged() else { return };
        let Some(bench) = Bench::start_in(net, &on(&format!("\"{port}\""))) else { return };
        let (src, dst) = (End::Ethernet(&bench.net.src, "eth0"), End::Ethernet(&bench.net.dst, "eth0"));
        judged(&src, &dst, &Family::BOTH);
    }
}

#[test]
fn policy_on_a_bridge_judges_the_hosts_own_traffic_and_warns_of_its_ports() {
    let Some(net) = bridged() else { return };
    let Some(bench) = Bench::start_in(net, &on("\"br0\"")) else { return };
    let (src, dst, br0) =
        (End::Ethernet(&bench.net.src, "eth0"), End::Ethernet(&bench.net.dst, "eth0"), End::Ethernet(&bench.net.dut, "br0"));
    judged(&br0, &src, &Family::BOTH);
    for f in Family::BOTH {
        assert!(passes(&src, &dst, f, EVERYBODY), "{f:?}, the limit: from port to port nothing is judged");
    }
    let status = bench.cli().status();
    assert_eq!(status["interfaces"][0]["uncovered_ports"], serde_json::json!(["left", "right"]), "{status}");
    assert!(status["warnings"].to_string().contains("from port to port of this bridge is not judged"), "{status}");
    assert!(bench.cli().metrics(9472).contains("netpol_bridge_ports_uncovered{interface=\"br0\"} 2\n"));
    assert!(!bench.daemon.wait_lines(1, &["br0", "port to port"]).is_empty());
    move_policy(&bench, &["br0", "left", "right"]);
    assert!(!bench.cli().warnings().contains("port to port"), "{}", bench.cli().warnings());
    judged(&src, &dst, &Family::BOTH);
}

#[test]
fn policy_on_the_parent_of_a_macvlan_judges_its_children_but_no_broadcast_between_them() {
    let Some(net) = Net::new() else { return };
    if !net.dut.can_make("macvlan", "link left type macvlan") {
        return;
    }
    for (child, mac) in [("mv0", "02:00:00:00:07:01"), ("mv1", "02:00:00:00:07:02")] {
        net.dut.ip(&format!("link add link left name {child} address {mac} up type macvlan mode bridge"));
    }
    let Some(bench) = Bench::start_in(net, &on("\"left\"")) else { return };
    let (src, first, second) =
        (End::Ethernet(&bench.net.src, "eth0"), End::Ethernet(&bench.net.dut, "mv0"), End::Ethernet(&bench.net.dut, "mv1"));
    judged(&first, &src, &Family::BOTH);
    let to_second = [2, 0, 0, 0, 7, 2];
    for f in Family::BOTH {
        assert!(!passes(&first, &second, f, to_second), "{f:?}: from child to child a packet passes the parent's ingress hook");
        assert!(passes(&first, &second, f, EVERYBODY), "{f:?}, the limit: a broadcast between children does not");
    }
    move_policy(&bench, &["mv0"]);
    judged(&first, &src, &Family::BOTH);
    for f in Family::BOTH {
        assert!(!passes(&first, &second, f, to_second), "{f:?}: a policy on a child judges that too");
    }
}

#[test]
fn policy_on_the_parent_of_an_ipvlan_judges_its_children_but_nothing_between_them() {
    let Some(net) = Net::new() else { return };
    if !net.dut.can_make("ipvlan", "link left type ipvlan mode l2") {
        return;
    }
    for child in ["iv0", "iv1"] {
        net.dut.ip(&format!("link add link left name {child} up type ipvlan mode l2"));
    }
    let Some(bench) = Bench::start_in(net, &on("\"left\"")) else { return };
    let (src, first, second) =
        (End::Ethernet(&bench.net.src, "eth0"), End::Ethernet(&bench.net.dut, "iv0"), End::Ethernet(&bench.net.dut, "iv1"));
    judged(&first, &src, &Family::BOTH);
    for f in Family::BOTH {
        assert!(passes(&first, &second, f, EVERYBODY), "{f:?}, the limit: from child to child nothing passes the parent");
    }
    move_policy(&bench, &["iv0"]);
    judged(&first, &src, &Family::BOTH);
    for f in Family::BOTH {
        assert!(!passes(&first, &second, f, EVERYBODY), "{f:?}: a policy on a child judges that too");
    }
}

#[test]
fn policies_on_tun_and_tap_judge_what_the_program_behind_them_sends_and_gets() {
    for tap in [false, true] {
        let Some(net) = Net::new() else { return };
        let file = match net.dut.run(|| sys::tun("tun7", tap)) {
            Ok(file) => file,
            Err(error) => return say::aloud(&format!("SKIPPED tun and tap: this kernel makes no such device ({error})")),
        };
        net.dut.ip("link set tun7 up");
        let Some(bench) = Bench::start_in(net, &on("\"tun7\"")) else { return };
        if tap {
            judged(&End::Ethernet(&bench.net.dut, "tun7"), &End::Tap(&file), &Family::BOTH);
        } else {
            judged(&End::Raw(&bench.net.dut, "tun7"), &End::Tun(&file), &Family::BOTH);
        }
    }
}

#[test]
fn policy_on_a_vxlan_device_judges_what_is_inside_and_one_below_it_what_is_outside() {
    let Some(net) = Net::new() else { return };
    let vxlan = |remote: u8, below: &str| format!("type vxlan id 7 remote 10.1.0.{remote} dstport 4789 dev {below}");
    if !net.dut.can_make("vxlan", &vxlan(2, "left")) {
        return;
    }
    net.dut.ip(&format!("link add x0 up {}", vxlan(2, "left")));
    net.src.ip(&format!("link add x0 up {}", vxlan(1, "eth0")));
    let Some(bench) = Bench::start_in(net, &on("\"x0\"")) else { return };
    let (near, far) = (End::Ethernet(&bench.net.dut, "x0"), End::Ethernet(&bench.net.src, "x0"));
    judged(&near, &far, &Family::BOTH);
    bench.change(&on("\"left\"").replace("[53]", "[4789]"));
    for f in Family::BOTH {
        assert!(passes(&far, &near, f, EVERYBODY) && passes(&near, &far, f, EVERYBODY), "{f:?}: what is outside is allowed");
    }
}

/// Makes a private key for WireGuard; returns the public one. `None` = there is no `wg`.
fn wireguard_key(namespace: &Namespace, private: &Path) -> Option<String> {
    let made = namespace.command("sh").arg("-c").arg(format!("umask 077; wg genkey > {0} && wg pubkey < {0}", private.display())).output();
    let made = made.ok().filter(|made| made.status.success())?;
    Some(String::from_utf8_lossy(&made.stdout).trim().to_owned())
}

#[test]
fn policy_on_a_wireguard_device_judges_what_is_inside_and_one_below_it_what_is_outside() {
    let Some(net) = Net::new() else { return };
    if !net.dut.can_make("wireguard", "type wireguard") {
        return;
    }
    let hosts = [&net.dut, &net.src];
    let private = ["dut", "src"].map(|host| net.policy_dir().with_file_name(format!("wireguard-{host}")));
    let public: Option<Vec<String>> = hosts.iter().zip(&private).map(|(host, private)| wireguard_key(host, private)).collect();
    let Some(public) = public else { return say::aloud("SKIPPED WireGuard: the program `wg` is missing") };
    for (n, host) in hosts.into_iter().enumerate() {
        host.ip("link add x0 type wireguard");
        let (own, peer, remote) = (private[n].display(), &public[1 - n], Family::V4.at(1, 2 - n as u8, 51820));
        host.must("wg", &format!("set x0 listen-port 51820 private-key {own} peer {peer} endpoint {remote} allowed-ips 0.0.0.0/0,::/0"));
        host.ip("link set x0 up");
    }
    let Some(bench) = Bench::start_in(net, &on("\"x0\"")) else { return };
    let (near, far) = (End::Raw(&bench.net.dut, "x0"), End::Raw(&bench.net.src, "x0"));
    judged(&near, &far, &Family::BOTH);
    bench.change(&on("\"left\"").replace("[53]", "[51820]"));
    for f in Family::BOTH {
        assert!(passes(&far, &near, f, EVERYBODY) && passes(&near, &far, f, EVERYBODY), "{f:?}: what is outside is allowed");
    }
}

/// What arrives there begins, for a tc program, with the headers from outside.
#[test]
fn policy_on_a_multipoint_gre_device_judges_what_arrives_by_the_inner_headers() {
    let Some(net) = Net::new() else { return };
    if !net.dut.can_make("multipoint gre", "type gre local 10.1.0.9") {
        return;
    }
    net.dut.ip("link add x0 up type gre local 10.1.0.1");
    net.src.ip("link add x0 up type gre local 10.1.0.2 remote 10.1.0.1");
    let Some(bench) = Bench::start_in(net, &on("\"x0\"")) else { return };
    let (near, far) = (End::Raw(&bench.net.dut, "x0"), End::Raw(&bench.net.src, "x0"));
    for f in Family::BOTH {
        assert!(!passes(&far, &near, f, EVERYBODY), "{f:?} arrives");
    }
    // What the outer headers say is nobody's business here.
    bench.change(&on("\"x0\"").replace("protocol = \"udp\"", "protocol = \"gre\"").replace("destination = { ports = [53] }", ""));
    let allowed = bench.cli().status()["packets"]["accepted"].clone();
    far.send(&Packet::udp(Family::V4.at(1, 2, 4000), Family::V4.at(1, 1, 53)));
    wait::until("it is refused", Duration::from_secs(10), || bench.cli().drops("default") > 2);
    assert_eq!(bench.cli().status()["packets"]["accepted"], allowed);
}

/// The frame of the device below stands before what arrives there.
#[test]
fn policy_on_an_ipsec_interface_judges_what_is_inside() {
    let Some(net) = Net::new() else { return };
    if !net.dut.can_make("xfrm", "type xfrm dev left if_id 7") {
        return;
    }
    const KEYS: &str = "auth hmac(sha256) 0x000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f enc cbc(aes) 0x000102030405060708090a0b0c0d0e0f";
    for (host, below) in [(&net.dut, "left"), (&net.src, "eth0")] {
        host.ip(&format!("link add x0 up type xfrm dev {below} if_id 7"));
        for (from, to) in [("10.1.0.1", "10.1.0.2"), ("10.1.0.2", "10.1.0.1")] {
            host.ip(&format!("xfrm state add src {from} dst {to} proto esp spi 7 mode tunnel if_id 7 flag af-unspec {KEYS}"));
        }
        let (own, other) = if below == "left" { ("10.1.0.1", "10.1.0.2") } else { ("10.1.0.2", "10.1.0.1") };
        for any in ["0.0.0.0/0", "::/0"] {
            for (direction, from, to) in [("out", own, other), ("in", other, own), ("fwd", other, own)] {
                host.ip(&format!(
                    "xfrm policy add src {any} dst {any} dir {direction} if_id 7 tmpl src {from} dst {to} proto esp mode tunnel"
                ));
            }
        }
    }
    let Some(bench) = Bench::start_in(net, &on("\"x0\"")) else { return };
    judged(&End::Raw(&bench.net.dut, "x0"), &End::Raw(&bench.net.src, "x0"), &Family::BOTH);
}

/// A device `x0` of a type, how to make it at both ends, and what it carries.
struct Kind {
    name: &'static str,
    /// `TYPE …` for a trial.
    trial: &'static str,
    dut: &'static [&'static str],
    src: &'static [&'static str],
    far: &'static str,
    raw: bool,
    families: &'static [Family],
}

const KINDS: [Kind; 6] = [
    Kind {
        name: "vlan",
        trial: "link left type vlan id 5",
        dut: &["link add link left name x0 type vlan id 5"],
        src: &["link add link eth0 name x0 type vlan id 5"],
        far: "x0",
        raw: false,
        families: &Family::BOTH,
    },
    Kind {
        name: "bond",
        trial: "type bond mode active-backup",
        dut: &["link add x0 type bond mode active-backup", "link set left down", "link set left master x0", "link set left up"],
        src: &[],
        far: "eth0",
        raw: false,
        families: &Family::BOTH,
    },
    Kind {
        name: "ipip",
        trial: "type ipip local 10.1.0.1 remote 10.1.0.9",
        dut: &["link add x0 type ipip local 10.1.0.1 remote 10.1.0.2"],
        src: &["link add x0 type ipip local 10.1.0.2 remote 10.1.0.1"],
        far: "x0",
        raw: true,
        families: &[Family::V4],
    },
    Kind {
        name: "sit",
        trial: "type sit local 10.1.0.1 remote 10.1.0.9",
        dut: &["link add x0 type sit local 10.1.0.1 remote 10.1.0.2"],
        src: &["link add x0 type sit local 10.1.0.2 remote 10.1.0.1"],
        far: "x0",
        raw: true,
        families: &[Family::V6],
    },
    Kind {
        name: "gre",
        trial: "type gre local 10.1.0.1 remote 10.1.0.9",
        dut: &["link add x0 type gre local 10.1.0.1 remote 10.1.0.2"],
        src: &["link add x0 type gre local 10.1.0.2 remote 10.1.0.1"],
        far: "x0",
        raw: true,
        families: &Family::BOTH,
    },
    Kind {
        name: "gretap",
        trial: "type gretap local 10.1.0.1 remote 10.1.0.9",
        dut: &["link add x0 type gretap local 10.1.0.1 remote 10.1.0.2"],
        src: &["link add x0 type gretap local 10.1.0.2 remote 10.1.0.1"],
        far: "x0",
        raw: false,
        families: &Family::BOTH,
    },
];

/// A world whose dut has `left` in a bond `x0`.
fn bonded() -> Option<Net> {
    let net = Net::new()?;
    let bond = KINDS.iter().find(|kind| kind.name == "bond").expect("a kind");
    if !net.dut.can_make(bond.name, bond.trial) {
        return None;
    }
    bond.dut.iter().for_each(|line| net.dut.ip(line));
    net.dut.ip("link set x0 up");
    Some(net)
}

#[test]
fn policy_on_a_member_of_a_bond_judges_what_the_bond_carries() {
    let Some(net) = bonded() else { return };
    let Some(bench) = Bench::start_in(net, &on("\"left\"")) else { return };
    judged(&End::Ethernet(&bench.net.dut, "x0"), &End::Ethernet(&bench.net.src, "eth0"), &Family::BOTH);
}

#[test]
fn deny_set_on_a_bond_or_its_member_refuses_in_every_mode_of_xdp_that_it_takes() {
    for interface in ["x0", "left"] {
        for mode in ["native", "generic", "auto"] {
            let Some(net) = bonded() else { return };
            let policy = format!(
                "{VERSION}[[set]]\nname = \"bad\"\nelements = [\"10.1.0.3\", \"fd00:1::3\"]\n[[policy]]\nname = \"x\"\ninterfaces = [\"{interface}\"]\n\
                 default_action = {{ ingress = \"allow\" }}\n[policy.xdp]\nmode = \"{mode}\"\ndeny_sets = [\"bad\"]\n"
            );
            let Some(bench) = Bench::start_in(net, &policy) else { return };
            let status = bench.cli().status();
            let expected = if mode == "auto" { "native" } else { mode };
            assert_eq!(status["interfaces"][0]["xdp"], expected, "{mode} on {interface}: {}", bench.cli().warnings());
            let (near, far) = (End::Ethernet(&bench.net.dut, "x0"), End::Ethernet(&bench.net.src, "eth0"));
            for f in Family::BOTH {
                let from = |host| Packet::udp(f.at(1, host, 4000), f.at(1, 1, 53)).to_mac(EVERYBODY);
                assert!(!gets_through(&far, &near, f, &from(3), &from(2)), "{f:?}, {mode} on {interface}");
            }
        }
    }
}

#[test]
fn policies_on_devices_of_other_types_judge_both_ways_where_the_kernel_has_them() {
    for kind in KINDS {
        let Some(net) = Net::new() else { return };
        if !net.dut.can_make(kind.name, kind.trial) {
            continue;
        }
        eprintln!("{}", kind.name);
        kind.dut.iter().for_each(|line| net.dut.ip(line));
        net.dut.ip("link set x0 up");
        for line in kind.src {
            net.src.ip(line);
            net.src.ip("link set x0 up");
        }
        let Some(bench) = Bench::start_in(net, &on("\"x0\"")) else { return };
        if kind.raw {
            judged(&End::Raw(&bench.net.dut, "x0"), &End::Raw(&bench.net.src, kind.far), kind.families);
        } else {
            judged(&End::Ethernet(&bench.net.dut, "x0"), &End::Ethernet(&bench.net.src, kind.far), kind.families);
        }
    }
}
