//! Another version takes over, and the former one again, under a flood: nothing gets in that is denied, nothing is lost that is
//! allowed, connections go on, and of the other version nothing is left.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use netpol_tests::cli::{binary, other_binary};
use netpol_tests::flood::{Flood, Sent};
use netpol_tests::sock::{self, Connection};
use netpol_tests::{Bench, Daemon, Family, Net, say, wait};

use crate::mixture::{Detector, Findings, policy, round};

/// Policy A, and TCP to port 80 of anybody; a set that XDP denies by, so that its programs change hands too.
fn text() -> String {
    let policy = policy(0, "").replacen("[[policy]]", "[[set]]\nname = \"bad\"\nelements = [\"10.1.66.0/24\"]\n\n[[policy]]", 1);
    let policy = policy.replacen("[[policy.ingress]]", "[policy.xdp]\ndeny_sets = [\"bad\"]\n[[policy.ingress]]", 1);
    policy + "[[policy.ingress]]\nid = \"web\"\naction = \"allow\"\nprotocol = \"tcp\"\ndestination = { ports = [80] }\n"
}

/// Connections to the dut itself and through it.
struct Standing {
    _listeners: Vec<TcpListener>,
    connections: Vec<Connection>,
}

impl Standing {
    fn open(net: &Net) -> Standing {
        let places = Family::BOTH.iter().flat_map(|f| [(&net.dut, f.at(1, 1, 80)), (&net.dst, f.at(2, 2, 80))]);
        let (mut listeners, mut connections) = (Vec::new(), Vec::new());
        for (namespace, at) in places {
            let listener = sock::listen(namespace, at);
            connections.push(Connection::open(&net.src, &listener, at).expect("a connection"));
            listeners.push(listener);
        }
        Standing { _listeners: listeners, connections }
    }

    fn go_on(&mut self, what: &str) {
        for (n, connection) in self.connections.iter_mut().enumerate() {
            assert!(connection.exchange(Duration::from_secs(20)), "{what}: connection {n} goes on");
        }
    }
}

/// TCP segments of the connections through the dut, which it counts as forwarded too.
fn segments(net: &Net) -> u64 {
    net.dst.stack_counter("Tcp", "InSegs") + net.dst.stack_counter("Tcp", "OutSegs")
}

/// Names of the trees of pins.
fn trees(net: &Net) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(net.bpffs())
        .expect("the pins")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .filter(|name| name.starts_with("abi"))
        .collect();
    names.sort();
    names
}

fn assert_nothing_lost(what: &str, findings: &Findings, sent: Sent, always: u64, segments: u64) {
    let wanted = 2 * sent.rounds * always;
    let forwarded = findings.forwarded.iter().sum::<u64>().checked_sub(segments).expect("every segment that arrived was forwarded");
    say::aloud(&format!(
        "{what} under {} packets/s ({} packets): {} mixed, {} of policy B let in, {forwarded} of {wanted} always-allowed packets forwarded, {} lost by the sender's device",
        sent.rate(),
        sent.frames,
        findings.mixed,
        findings.sometimes[1],
        findings.lost_by_device,
    ));
    assert_eq!((findings.mixed, findings.sometimes[1]), (0, 0), "denied packets that got in");
    assert!(findings.sometimes[0] > 0, "the detector sees what is allowed");
    let lost = wanted.checked_sub(forwarded).expect("no more packets than were sent");
    assert!(lost <= findings.lost_by_device, "{lost} always-allowed packets lost");
}

/// Hands the firewall from binary to binary, killed or stopped, under a flood.
fn take_over(what: &str, binaries: &[PathBuf], trees_of: impl Fn(usize) -> Option<Vec<String>>) {
    let Some(mut bench) = Bench::start(&text()) else { return };
    let mut standing = Standing::open(&bench.net);
    let round = round();
    let (detector, before) = (Detector::new(&bench.net), segments(&bench.net));
    let mut findings = Findings::none();
    let reasons = bench.cli().reasons();
    let flood = Flood::start(&bench.net.src, "eth0", &round.packets);
    for (n, binary) in binaries.iter().enumerate() {
        if n % 2 == 0 {
            bench.daemon.kill();
        } else {
            assert!(bench.daemon.terminate().success());
        }
        bench.daemon = Daemon::start_of(&bench.net, binary);
        let step = format!("{what}, step {n}, {}", binary.display());
        wait::until(&format!("{step}: nothing is left of the former one"), Duration::from_secs(30), || {
            detector.read(&mut findings);
            trees_of(n).is_none_or(|wanted| trees(&bench.net) == wanted)
        });
        standing.go_on(&step);
        let status = bench.cli().status();
        assert_eq!(status["state"], "ok", "{step}: {status}");
        wait::until(&format!("{step}: XDP is ours again"), Duration::from_secs(30), || {
            detector.read(&mut findings);
            !bench.cli().warnings().contains("XDP")
        });
    }
    let sent = flood.stop();
    let findings = detector.finish(&bench.net, findings);
    assert_nothing_lost(&format!("{what}: {} hand-overs", binaries.len()), &findings, sent, round.always, segments(&bench.net) - before);
    for reason in ["tail_call", "internal", "unreadable"] {
        assert_eq!(bench.cli().reasons()[reason], reasons[reason], "{reason}");
    }
    standing.go_on("at the end");
}

#[test]
fn another_layout_and_back_loses_nothing_and_lets_nothing_in() {
    let (own, other) = (binary(), other_binary());
    let names = ["abi1004", "abi4"].map(|name| vec![name.to_owned()]);
    take_over("another NP_ABI", &[other.clone(), own.clone(), other, own], |n| Some(names[n % 2].clone()));
}

#[test]
fn programs_of_other_bytes_and_back_lose_nothing_and_let_nothing_in() {
    let own = binary();
    let Some(net) = Net::new() else { return };
    let other = net.scratch("netpol-ebpf-other-bytes");
    with_other_bytes(&own, &other);
    take_over("other program bytes", &[other.clone(), own.clone(), other, own], |_| Some(vec!["abi4".to_owned()]));
}

/// A copy of the binary, one byte of the padding in the ELF header of each of its packet programs changed: the same programs, but
/// not the same bytes.
fn with_other_bytes(binary: &Path, copy: &Path) {
    const BPF: [u8; 2] = 247u16.to_le_bytes(); // EM_BPF
    let mut bytes = fs::read(binary).expect("the binary");
    let objects: Vec<usize> =
        (0..bytes.len() - 20).filter(|&at| bytes[at..].starts_with(b"\x7fELF") && bytes[at + 18..at + 20] == BPF).collect();
    // Five in each of two forms, and the guard.
    assert_eq!(objects.len(), 11, "packet programs in {}", binary.display());
    objects.iter().for_each(|at| bytes[at + 15] ^= 1);
    fs::copy(binary, copy).expect("a copy");
    fs::write(copy, bytes).expect("a copy");
}

#[test]
fn kills_in_the_middle_of_hand_overs_change_no_verdict() {
    let Some(mut bench) = Bench::start(&text()) else { return };
    let mut standing = Standing::open(&bench.net);
    let round = round();
    let (detector, before) = (Detector::new(&bench.net), segments(&bench.net));
    let mut findings = Findings::none();
    let flood = Flood::start(&bench.net.src, "eth0", &round.packets);
    let (own, other) = (binary(), other_binary());
    for n in 0..12u64 {
        bench.daemon.kill();
        let program = if n % 2 == 0 { &other } else { &own };
        let mut command = bench.net.dut.command(&program.display().to_string());
        let mut child = command.arg("run").args(bench.net.options()).stderr(std::process::Stdio::null()).spawn().expect("the binary");
        std::thread::sleep(Duration::from_millis(n * 7919 % 900));
        detector.read(&mut findings);
        child.kill().expect("kill -9");
        child.wait().expect("its end");
        bench.daemon = Daemon::start_of(&bench.net, if n % 3 == 0 { &other } else { &own });
        standing.go_on(&format!("kill {n}"));
        detector.read(&mut findings);
    }
    bench.daemon.kill();
    bench.daemon = Daemon::start(&bench.net);
    let sent = flood.stop();
    let findings = detector.finish(&bench.net, findings);
    assert_nothing_lost("12 kills in hand-overs to another NP_ABI", &findings, sent, round.always, segments(&bench.net) - before);
    wait::until("nothing is left of the other one", Duration::from_secs(30), || trees(&bench.net) == ["abi4"]);
}
