//! What the guard costs: it runs for every IP packet of the host, on every interface.

use std::fs;
use std::net::UdpSocket;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::time::{Duration, Instant};

use netpol_tests::flood::Flood;
use netpol_tests::net::{LEFT_MAC, RIGHT_MAC};
use netpol_tests::policy::VERSION;
use netpol_tests::{Bench, Family, Packet, residue, say, sys_bpf};

use crate::alone;

/// Global: the kernel measures every BPF program while this is 1.
const STATISTICS: &str = "/proc/sys/kernel/bpf_stats_enabled";
const DATAGRAMS: u32 = 200_000;

/// Switches the kernel's measuring on, and back at the end.
struct Measuring(String);

impl Measuring {
    fn start() -> Measuring {
        let before = fs::read_to_string(STATISTICS).expect(STATISTICS);
        fs::write(STATISTICS, "1").expect(STATISTICS);
        Measuring(before)
    }
}

impl Drop for Measuring {
    fn drop(&mut self) {
        fs::write(STATISTICS, self.0.trim()).expect(STATISTICS);
    }
}

fn field(fd: &impl AsRawFd, name: &str) -> u64 {
    let text = fs::read_to_string(format!("/proc/self/fdinfo/{}", fd.as_raw_fd())).expect("fdinfo");
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap_or_else(|| panic!("no {name} in {text}"));
    value.trim().parse().expect("a number")
}

/// Runs of the program at a link so far, and the time they took, ns.
fn runs(link: &Path) -> (u64, u64) {
    let link = sys_bpf::pinned(link).expect("a pinned link");
    let program = sys_bpf::program(u32::try_from(field(&link, "prog_id")).expect("an id")).expect("its program");
    (field(&program, "run_cnt"), field(&program, "run_time_ns"))
}

/// ns a datagram from a socket to another over the loopback device.
fn loopback(bench: &Bench) -> u64 {
    let f = Family::V4;
    let (from, to): (UdpSocket, UdpSocket) = bench.net.dut.run(|| {
        let bind = |port| UdpSocket::bind(("127.0.0.1", port)).expect("a socket");
        (bind(0), bind(f.at(1, 1, 9).port()))
    });
    let at = to.local_addr().expect("its address");
    let mut buffer = [0; 16];
    let round = |count: u32, buffer: &mut [u8]| {
        let begin = Instant::now();
        for _ in 0..count {
            from.send_to(&[0; 8], at).expect("send");
            to.recv(buffer).expect("receive");
        }
        begin.elapsed()
    };
    round(DATAGRAMS / 10, &mut buffer);
    // The best of some: what others do on this machine only adds.
    let best = (0..5).map(|_| round(DATAGRAMS / 5, &mut buffer)).min().unwrap_or_default();
    best.as_nanos() as u64 / u64::from(DATAGRAMS / 5)
}

#[test]
fn cost_of_the_guard() {
    let _alone = alone();
    let policy = format!(
        "{VERSION}[[policy]]\nname = \"p\"\ninterfaces = [\"left\", \"hot*\", \"veth[0-9]*\", \"!*x\", \"*-sel\"]\n\
         [[policy.ingress]]\naction = \"allow\"\nprotocol = \"udp\"\n"
    );
    let Some(bench) = Bench::start(&policy) else { return };
    let files = residue::files_below(&bench.net.bpffs());
    let Some(link) = files.iter().find(|path| path.ends_with("guard-in-4")) else {
        say::aloud("SKIPPED cost_of_the_guard: this kernel has no netfilter programs");
        return;
    };
    let f = Family::V4;
    let mut costs = Vec::new();
    {
        let _measuring = Measuring::start();
        let mut case = |what: &str, run: &dyn Fn()| {
            let before = runs(link);
            run();
            let after = runs(link);
            let packets = after.0 - before.0;
            assert!(packets > 1000, "{what}: {packets} packets");
            costs.push(format!("{what} {} ns", (after.1 - before.1) / packets));
        };
        case("the loopback device", &|| {
            loopback(&bench);
        });
        let flood = |from, to, mac, net| {
            let packet = Packet::udp(f.at(net, 2, 4000), f.at(net, 1, 9)).to_mac(mac);
            let flood = Flood::start(from, to, &[packet]);
            std::thread::sleep(Duration::from_secs(1));
            flood.stop();
        };
        case("an enforced interface", &|| flood(&bench.net.src, "eth0", LEFT_MAC, 1));
        case("an interface that no policy selects", &|| flood(&bench.net.dst, "eth0", RIGHT_MAC, 2));
        bench.net.dut.ip("link set right name not-chosen-abcd");
        case("one with the longest name", &|| flood(&bench.net.dst, "eth0", RIGHT_MAC, 2));
    }
    let with = loopback(&bench);
    bench.cli().run(&["detach"]).expect(0);
    let without = loopback(&bench);
    say::aloud(&format!(
        "the guard, ns a packet and hook as the kernel measures it (its clock included): {}; a datagram over the loopback device (two hooks): \
         {with} ns, without the guard {without} ns",
        costs.join(", ")
    ));
}
