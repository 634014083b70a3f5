//! Interfaces that are renamed under a flood, and interfaces that go to another network namespace and come back.

use std::net::UdpSocket;
use std::time::Duration;

use netpol_tests::bench::Way;
use netpol_tests::flood::Flood;
use netpol_tests::net::batch;
use netpol_tests::policy::VERSION;
use netpol_tests::{Bench, Family, Packet, say, sock, wait};

use crate::matrix::udp_to;

const PATIENCE: Duration = Duration::from_secs(10);
const HOT_MAC: [u8; 6] = [2, 0, 0, 0, 9, 1];

fn hot_policy() -> String {
    format!(
        "{VERSION}[[policy]]\nname = \"hot\"\ninterfaces = [\"hot*\"]\npolicy_types = [\"ingress\"]\n\
         [[policy.ingress]]\naction = \"allow\"\nprotocol = \"udp\"\ndestination = {{ ports = [53] }}\n"
    )
}

/// `name` in the dut with an address, `far0` in `src`.
fn plug(bench: &Bench, name: &str) {
    let src = bench.net.src.name();
    batch(
        &bench.net.dut,
        &format!(
            "link add {name} address 02:00:00:00:09:01 up type veth peer name far0 netns {src}\n\
             address add 10.9.0.1/24 dev {name}\naddress add fd00:9::1/64 dev {name} nodad\n"
        ),
    );
    bench.net.src.ip("link set far0 up");
}

fn covered(bench: &Bench, name: &str) -> bool {
    let status = bench.cli().status();
    status["interfaces"].as_array().expect("interfaces").iter().any(|interface| interface["name"] == name && interface["attach"] != "none")
}

fn waiting(socket: &UdpSocket) -> usize {
    socket.set_nonblocking(true).expect("non-blocking");
    let mut buffer = [0; 64];
    std::iter::from_fn(|| socket.recv(&mut buffer).ok()).count()
}

#[test]
fn renaming_under_a_flood_opens_nothing_while_a_policy_selects_the_name() {
    let Some(bench) = Bench::start(&hot_policy()) else { return };
    plug(&bench, "hot0");
    wait::until("hot0 is under policy", PATIENCE, || covered(&bench, "hot0"));
    let packets: Vec<Packet> = Family::BOTH
        .into_iter()
        .flat_map(|f| [53, 54].map(|port| Packet::udp(f.at(9, 2, 4000), f.at(9, 1, port)).to_mac(HOT_MAC)))
        .collect();
    let allowed = Family::BOTH.map(|f| sock::udp(&bench.net.dut, f.at(9, 1, 53)));
    let denied = Family::BOTH.map(|f| sock::udp(&bench.net.dut, f.at(9, 1, 54)));
    let _flood = Flood::start(&bench.net.src, "far0", &packets);
    wait::until("the flood arrives", PATIENCE, || allowed.iter().all(|socket| waiting(socket) > 0));
    let rename = |from: &str, to: &str| {
        let live = bench.net.dut.command("ip").args(["link", "set", from, "name", to]).stderr(std::process::Stdio::null()).status();
        if !live.expect("ip").success() {
            // Before 6.2 only an interface that is down can be renamed, and it loses its IPv6 addresses.
            batch(
                &bench.net.dut,
                &format!("link set {from} down\nlink set {from} name {to}\nlink set {to} up\naddress add fd00:9::1/64 dev {to} nodad\n"),
            );
        }
    };
    for n in 0..20 {
        rename(&format!("hot{n}"), &format!("hot{}", n + 1));
        if n % 5 == 0 {
            wait::until("it goes on under its new name", PATIENCE, || covered(&bench, &format!("hot{}", n + 1)));
        }
        assert!(denied.iter().all(|socket| waiting(socket) == 0), "rename {n}: a denied packet arrived");
    }
    wait::until("allowed packets arrive all the time", PATIENCE, || allowed.iter().all(|socket| waiting(socket) > 0));
    assert!(denied.iter().all(|socket| waiting(socket) == 0), "a denied packet arrived");

    rename("hot20", "cold0");
    wait::until("cold0 is free", PATIENCE, || denied.iter().all(|socket| waiting(socket) > 0));
    bench.daemon.wait_lines(1, &["hot20: now called cold0", "not under policy"]);
    rename("cold0", "hot0");
    wait::until("hot0 is under policy again", PATIENCE, || covered(&bench, "hot0"));
    denied.iter().for_each(|socket| {
        waiting(socket);
    });
    std::thread::sleep(Duration::from_millis(300));
    assert!(denied.iter().all(|socket| waiting(socket) == 0), "a denied packet arrived after the name is selected again");
}

#[test]
fn interface_that_goes_to_another_namespace_leaves_its_policy_and_finds_it_again() {
    let Some(bench) = Bench::start(&hot_policy()) else { return };
    plug(&bench, "hot0");
    wait::until("hot0 is under policy", PATIENCE, || covered(&bench, "hot0"));
    for round in 0..3 {
        bench.net.dut.ip(&format!("link set hot0 netns {}", bench.net.dst.name()));
        bench.net.dst.ip("link set hot0 up");
        wait::until("it is no longer covered", PATIENCE, || !covered(&bench, "hot0"));
        assert!(bench.cli().warnings().contains("policy `hot` selects no interface"), "round {round}: {}", bench.cli().warnings());
        let there = Way::new(&bench.net.src, "far0", &bench.net.dst, "hot0", &[0x0800]);
        // Attachments by TCX go along [measured]; the daemon takes them off when it sees that the interface has left.
        wait::until("it is free there", PATIENCE, || there.passes(&bench.net.dst, "hot0", &udp_to(Family::V4, 54)));
        assert_eq!(netpol_tests::foreign::programs_at(&bench.net.dst, "hot0", netpol_tests::Hook::Ingress).len(), 0);
        bench.daemon.wait_lines(round + 1, &["hot0: gone", "another network namespace"]);
        bench.net.dst.ip(&format!("link set hot0 netns {}", bench.net.dut.name()));
        bench.net.dut.ip("link set hot0 up");
        wait::until("it is covered again", PATIENCE, || covered(&bench, "hot0"));
        let here = Way::new(&bench.net.src, "far0", &bench.net.dut, "hot0", &[0x0800]);
        assert!(!here.passes(&bench.net.dut, "hot0", &udp_to(Family::V4, 54)), "round {round}");
        assert!(here.passes(&bench.net.dut, "hot0", &udp_to(Family::V4, 53)), "round {round}");
    }
}

#[test]
fn interface_that_goes_and_comes_back_without_a_daemon_is_not_open_afterwards() {
    let Some(mut bench) = Bench::start(&hot_policy()) else { return };
    plug(&bench, "hot0");
    wait::until("hot0 is under policy", PATIENCE, || covered(&bench, "hot0"));
    bench.daemon.kill();
    bench.net.dut.ip(&format!("link set hot0 netns {}", bench.net.dst.name()));
    let along = netpol_tests::foreign::programs_at(&bench.net.dst, "hot0", netpol_tests::Hook::Ingress).len();
    say::aloud(&format!("an interface that changes its namespace without a daemon takes {along} program(s) at ingress along"));
    bench.net.dst.ip(&format!("link set hot0 netns {}", bench.net.dut.name()));
    bench.net.dut.ip("link set hot0 up");
    bench.daemon = netpol_tests::Daemon::start(&bench.net);
    let here = Way::new(&bench.net.src, "far0", &bench.net.dut, "hot0", &[0x0800]);
    assert!(!here.passes(&bench.net.dut, "hot0", &udp_to(Family::V4, 54)));
    assert!(here.passes(&bench.net.dut, "hot0", &udp_to(Family::V4, 53)));
}
