//! Interfaces that come and go while policies change and signals rain.

use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use netpol_tests::held::memory_kib;
use netpol_tests::net::batch;
use netpol_tests::policy::{VERSION, allow_port, arriving};
use netpol_tests::residue::files_below;
use netpol_tests::sys::{packet_socket, send_out, stay_on_cpu};
use netpol_tests::{Bench, Family, Packet, machine, say, sock, wait};

#[test]
fn links_that_come_and_go_during_reloads_leave_a_working_daemon() {
    let hot = format!("{VERSION}[[policy]]\nname = \"hot\"\ninterfaces = [\"hot*\"]\npolicy_types = [\"ingress\"]\n");
    let Some(mut bench) = Bench::start(&arriving(&allow_port("a", "udp", 1))) else { return };
    bench.net.write("20-hot.toml", &hot);
    let links = machine::times(40, 8) as u16;
    for n in 0..links {
        bench.net.dut.ip("link add hot0 type veth peer name peer0");
        bench.net.dut.ip("link set hot0 up");
        if n % 4 == 0 {
            bench.net.write("10-test.toml", &arriving(&allow_port("a", "udp", 100 + n)));
        }
        bench.net.dut.ip("link del hot0");
    }
    assert!(bench.daemon.lives(), "{}", bench.daemon.log());
    let f = Family::V4;
    let passes = |bench: &Bench, port| bench.arrives(&Packet::udp(f.at(1, 2, 4000), f.at(1, 1, port)));
    let last = 100 + (links - 1) / 4 * 4;
    wait::until("the last file is enforced", Duration::from_secs(10), || passes(&bench, last));
    assert!(!passes(&bench, last - 4), "the former one is not");
    assert_eq!(bench.cli().status()["state"], "ok", "{}", bench.cli().status());
}

/// How often an interface is made again: `NETPOL_RECREATIONS`; with `NETPOL_SOAK` 10,000; else 1,000, or as often as a busy machine can in
/// [`ENOUGH`].
fn recreations() -> Option<u32> {
    let soak = std::env::var_os("NETPOL_SOAK").map(|_| 10_000);
    std::env::var("NETPOL_RECREATIONS").ok().map(|times| times.parse().expect("NETPOL_RECREATIONS is a number")).or(soak)
}

/// See [`recreations`].
const ENOUGH: Duration = Duration::from_secs(30);

/// Interfaces of one round: they go together, for the kernel waits long after each deletion.
const AT_ONCE: u8 = 10;

/// Far beyond those that the kernel gives by itself.
const FIXED: u32 = 1_000_000;

/// Makes `hot0` and the like, with the far ends and their addresses.
fn plug_many(bench: &Bench, fixed: bool) {
    let lines = (0..AT_ONCE).map(|n| {
        // Every other time the index of one that is gone, else a fresh one.
        let index = if fixed { format!("index {}", FIXED + u32::from(n)) } else { String::new() };
        format!(
            "link add hot{n} group 7 up {index} address 02:00:00:00:09:01 type veth peer name far{n}\nlink set far{n} up\n\
             address add 10.9.{n}.1/24 dev hot{n}\n"
        )
    });
    batch(&bench.net.dut, &lines.collect::<String>());
}

/// Sends to port 54, then to port 53 of an interface's address; which of the two arrived.
fn arrived(bench: &Bench, sender: &OwnedFd, sockets: &[UdpSocket; 2], n: u8) -> [bool; 2] {
    let far = bench.net.dut.index(&format!("far{n}"));
    let at = |host, port| SocketAddr::from(([10, 9, n, host], port));
    let mut words = [[0; 4]; 2];
    for (word, port) in words.iter_mut().zip([54, 53]) {
        let packet = Packet::udp(at(2, 4000), at(1, port)).to_mac([2, 0, 0, 0, 9, 1]);
        *word = packet.l3()[28..32].try_into().expect("a word that no other packet has");
        send_out(sender, far, &packet.frame()).expect("a frame");
    }
    let mut buffer = [0; 64];
    let got = |socket: &UdpSocket, word: [u8; 4], buffer: &mut [u8]| {
        std::iter::from_fn(|| socket.recv(buffer).ok().map(|length| buffer[..length].starts_with(&word))).any(|ours| ours)
    };
    let allowed = got(&sockets[1], words[1], &mut buffer);
    sockets[0].set_nonblocking(true).expect("non-blocking");
    [got(&sockets[0], words[0], &mut buffer), allowed]
}

#[test]
fn interfaces_made_again_and_again_are_enforced_each_time_and_cost_no_memory() {
    let hot = format!("{VERSION}[[policy]]\nname = \"hot\"\ninterfaces = [\"left\", \"hot*\"]\npolicy_types = [\"ingress\"]\n");
    let Some(mut bench) = Bench::start(&(hot + &allow_port("dns", "udp", 53).replace("[[rule]]", "[[policy.ingress]]"))) else { return };
    stay_on_cpu(0).expect("a CPU to stay on");
    let sockets = [54, 53].map(|port| sock::udp(&bench.net.dut, Family::V4.any(port)));
    sockets[1].set_read_timeout(Some(Duration::from_millis(20))).expect("a read timeout");
    let guarded = !bench.cli().warnings().contains("no guard");
    let sender = bench.net.dut.run(|| packet_socket(0, 0)).expect("a packet socket");
    let descriptors = |process: u32| fs::read_dir(format!("/proc/{process}/fd")).expect("its descriptors").count();
    let state = |bench: &Bench| (descriptors(bench.daemon.process()), files_below(&bench.net.bpffs()).len());
    let empty = state(&bench);
    let (wanted, warm_up) = (recreations(), 5);
    let rounds = wanted.unwrap_or(1000) / u32::from(AT_ONCE);
    let (mut slowest, begin, mut before, mut done) = (Duration::ZERO, Instant::now(), 0, 0);
    for round in 0..warm_up + rounds {
        if wanted.is_none() && round > 2 * warm_up && begin.elapsed() > ENOUGH {
            break;
        }
        done += u32::from(AT_ONCE);
        plug_many(&bench, round % 2 == 0);
        let made = Instant::now();
        for n in 0..AT_ONCE {
            // Until it is enforced nothing passes; where the kernel has no place for a guard, everything does.
            loop {
                match arrived(&bench, &sender, &sockets, n) {
                    [false, true] => break,
                    [denied, _] => assert!(!(denied && guarded), "round {round}: hot{n} was open\n{}", bench.daemon.log()),
                }
                assert!(made.elapsed() < Duration::from_secs(20), "round {round}: not under policy\n{}", bench.daemon.log());
            }
        }
        slowest = slowest.max(made.elapsed());
        bench.net.dut.ip("link delete group 7");
        if round + 1 == warm_up {
            before = memory_kib(bench.daemon.process());
        }
    }
    let same = wait::poll(Duration::from_secs(20), || (state(&bench) == empty).then_some(()));
    assert!(same.is_some(), "descriptors and pins: {empty:?} before, {:?} after\n{}", state(&bench), bench.daemon.log());
    assert!(bench.daemon.lives(), "{}", bench.daemon.log());
    let after = memory_kib(bench.daemon.process());
    say::aloud(&format!(
        "interfaces made again {} times in {} s: enforced each time, all {AT_ONCE} of the slowest round after {} ms; {before} KiB of memory before, {after} after",
        done,
        begin.elapsed().as_secs(),
        slowest.as_millis(),
    ));
    assert!(after < before + 4096, "{before} KiB before, {after} KiB after");
}

#[test]
fn hangups_by_the_thousand_are_coalesced_and_cost_no_memory() {
    let Some(mut bench) = Bench::start(&arriving(&allow_port("a", "udp", 1))) else { return };
    for _ in 0..100 {
        bench.daemon.reload();
    }
    std::thread::sleep(Duration::from_secs(1));
    let before = memory_kib(bench.daemon.process());
    let hangups = machine::times(2000, 100);
    for _ in 0..hangups {
        bench.daemon.reload();
        std::thread::sleep(Duration::from_micros(500));
    }
    std::thread::sleep(Duration::from_secs(1));
    assert!(bench.daemon.lives());
    let after = memory_kib(bench.daemon.process());
    assert!(after < before + 8192, "{before} KiB before, {after} KiB after {hangups} hang-ups");
    bench.change(&arriving(&allow_port("b", "udp", 2)));
}

#[test]
fn files_touched_by_the_thousand_end_at_what_is_on_disk() {
    let Some(bench) = Bench::start(&arriving(&allow_port("a", "udp", 1))) else { return };
    let writes = machine::times(3000, 100) as u16;
    for n in 0..writes {
        let path = bench.net.policy_dir().join(format!("x{}.txt", n % 10));
        fs::write(path, "noise").expect("write");
        if n % (writes / 6) == 0 {
            bench.net.write("10-test.toml", &arriving(&allow_port("a", "udp", 1000 + n)));
        }
    }
    let f = Family::V4;
    wait::until("the last version is enforced", Duration::from_secs(10), || {
        bench.arrives(&Packet::udp(f.at(1, 2, 4000), f.at(1, 1, 1000 + (writes - 1) / (writes / 6) * (writes / 6))))
    });
}
