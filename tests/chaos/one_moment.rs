//! Four links and both families change at one moment, sets of 65,536 entries with them.
//!
//! Every packet carries a number, and one CPU sends and judges all of them in that order. Content A of the set has the even addresses,
//! content B the odd ones. So whatever gets in tells by which of the two it was judged, and in the order of their numbers they change
//! from A to B and back exactly as often as somebody asked for it: an interface, a family or a set that came earlier or later than
//! the rest would show as changes that nobody asked for.

use std::fs;
use std::io::Write;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use netpol_tests::cli::DONE;
use netpol_tests::net::LEFT_MAC;
use netpol_tests::wire::Sender;
use netpol_tests::{Bench, Cli, Family, Net, Packet, say, sock, sys, wait};

const ENTRIES: u32 = 65_536;
/// Interfaces of `src`, each the other end of an interface of the dut.
const LINKS: [&str; 4] = ["eth0", "eth1", "eth2", "eth3"];

/// A busy machine changes less often in its time, but so often at least.
const ENOUGH: Duration = Duration::from_secs(20);
const FEWEST: u32 = 6;

/// Whether the long form is wanted.
fn soak() -> bool {
    std::env::var_os("NETPOL_SOAK").is_some()
}

/// The n-th of the addresses that both contents share among them: 10.16.0.0/15, fd77::/111.
fn address(family: Family, n: u32) -> IpAddr {
    match family {
        Family::V4 => IpAddr::from((0x0a10_0000 + n).to_be_bytes()),
        Family::V6 => Ipv6Addr::from((0xfd77_u128 << 112) + u128::from(n)).into(),
    }
}

/// All even addresses (0), or all odd ones (1), of both families.
fn content(which: u32) -> String {
    let mut text = String::new();
    for family in Family::BOTH {
        (0..ENTRIES).for_each(|n| text += &format!("{}\n", address(family, 2 * n + which)));
    }
    text
}

/// Three more links between `src` and the dut.
fn more_links(net: &Net) {
    let mac: Vec<String> = LEFT_MAC.iter().map(|byte| format!("{byte:02x}")).collect();
    for link in &LINKS[1..] {
        let (mac, dut) = (mac.join(":"), net.dut.name());
        net.src.ip(&format!("link add {link} type veth peer name left{} address {mac} netns {dut}", &link[3..]));
        net.src.ip(&format!("link set {link} up"));
        net.dut.ip(&format!("link set left{} up", &link[3..]));
    }
}

/// Frames of one round for each link, and the places of those that tell A from B.
struct Round {
    frames: Vec<Vec<u8>>,
    always: u64,
}

fn round() -> Round {
    let mut packets = Vec::new();
    for family in Family::BOTH {
        for (pair, port) in [(0, 1), (0, 2), (30_011, 1), (65_535, 2)] {
            for which in [0, 1] {
                let from = SocketAddr::new(address(family, 2 * pair + which), 4000);
                packets.push(Packet::udp_with(from, family.at(1, 1, port), &[0; 8]));
            }
        }
        packets.push(Packet::udp_with(family.at(1, 2, 4000), family.at(2, 2, 9), &[0; 8]));
    }
    let frames: Vec<Vec<u8>> = packets.into_iter().map(|packet| packet.to_mac(LEFT_MAC).frame()).collect();
    Round { frames, always: 1 }
}

/// Sends rounds over all links until told to stop; returns how many. Each frame ends with its number and the complement of it,
/// which leaves checksums as they are.
fn flood(net: &Net, round: &Round, stop: &AtomicBool, sent: &AtomicU64) -> u64 {
    let senders: Vec<Sender> = LINKS.iter().map(|link| Sender::open(&net.src, link)).collect();
    let mut frames = round.frames.clone();
    let (mut rounds, mut number) = (0, 0u32);
    sys::stay_on_cpu(0).expect("a CPU to stay on");
    while !stop.load(Ordering::Relaxed) {
        for sender in &senders {
            for frame in &mut frames {
                let at = frame.len() - 8;
                frame[at..at + 4].copy_from_slice(&number.to_be_bytes());
                frame[at + 4..].copy_from_slice(&(!number).to_be_bytes());
                sender.send(frame);
                number = number.checked_add(1).expect("no more packets than numbers");
            }
        }
        rounds += 1;
        sent.store(rounds * (frames.len() * senders.len()) as u64, Ordering::Relaxed);
    }
    rounds
}

/// What got in: its number, and whether A, B or none of them lets it in.
type Seen = Vec<(u32, Option<u8>)>;

/// Reads until told to stop, and what is left then.
fn watch(sockets: &[UdpSocket], judge: fn(u32, u16) -> Option<u8>, stop: &AtomicBool) -> Seen {
    let mut seen = Seen::new();
    let mut buffer = [0; 64];
    loop {
        let last = stop.load(Ordering::Relaxed);
        for socket in sockets {
            let port = socket.local_addr().expect("an address").port();
            while let Ok((8, from)) = socket.recv_from(&mut buffer) {
                let number = u32::from_be_bytes(buffer[..4].try_into().expect("four bytes"));
                seen.push((number, judge(parity(from.ip()), port)));
            }
        }
        if last {
            return seen;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn parity(address: IpAddr) -> u32 {
    match address {
        IpAddr::V4(address) => u32::from(address.octets()[3]) % 2,
        IpAddr::V6(address) => u32::from(address.octets()[15]) % 2,
    }
}

/// Changes from A to B and back, at most so many `times`, under the flood, and judges what was seen.
fn changes_at_one_moment(net: &Net, what: &str, times: u32, judge: fn(u32, u16) -> Option<u8>, change: impl Fn(u32) + Sync) {
    let round = round();
    let sockets: Vec<UdpSocket> = Family::BOTH.iter().flat_map(|f| [1, 2].map(|port| sock::udp(&net.dut, f.at(1, 1, port)))).collect();
    for socket in &sockets {
        socket.set_nonblocking(true).expect("non-blocking");
        sys::receive_buffer(socket, 32 << 20).expect("a larger receive buffer");
    }
    let _sinks = Family::BOTH.map(|f| sock::udp(&net.dst, f.at(2, 2, 9)));
    let (forwarded, lost) = (counted(net), lost_by_devices(net));
    let (stop, stop_watching, sent) = (AtomicBool::new(false), AtomicBool::new(false), AtomicU64::new(0));
    let begin = Instant::now();
    let (rounds, mut seen, time, times) = std::thread::scope(|scope| {
        let flood = scope.spawn(|| flood(net, &round, &stop, &sent));
        let watcher = scope.spawn(|| watch(&sockets, judge, &stop_watching));
        let changes = scope.spawn(|| {
            // Every content is met by packets.
            let some_packets = || {
                let enough = sent.load(Ordering::Relaxed) + 500;
                wait::until("the flood goes on", Duration::from_secs(60), || sent.load(Ordering::Relaxed) >= enough);
            };
            some_packets();
            let mut done = 0;
            while done < times && (soak() || done < FEWEST || begin.elapsed() < ENOUGH) {
                done += 1;
                change(done % 2);
                some_packets();
            }
            done
        });
        let changed = changes.join();
        stop.store(true, Ordering::Relaxed);
        let rounds = flood.join().expect("the flood");
        let time = begin.elapsed();
        std::thread::sleep(Duration::from_millis(300));
        stop_watching.store(true, Ordering::Relaxed);
        let seen = watcher.join().expect("the watcher");
        (rounds, seen, time, changed.expect("the changes"))
    });
    seen.sort_unstable();
    let mixed = seen.iter().filter(|(_, policy)| policy.is_none()).count();
    let switches = seen.windows(2).filter(|pair| pair[0].1 != pair[1].1).count();
    let always = rounds * 2 * round.always * LINKS.len() as u64;
    let (arrived, lost) = (counted(net) - forwarded, lost_by_devices(net) - lost);
    let frames = sent.load(Ordering::Relaxed);
    say::aloud(&format!(
        "{what}: {times} changes of {} entries on {} links in {:.1} s under {} packets/s ({frames} packets): {mixed} mixed, {switches} switches in the order of {} packets that got in, \
         {arrived} of {always} always-allowed packets forwarded, {lost} lost by the sender's devices",
        2 * ENTRIES,
        LINKS.len(),
        time.as_secs_f64(),
        (frames as f64 / time.as_secs_f64()) as u64,
        seen.len(),
    ));
    assert_eq!(mixed, 0, "packets judged by parts of two generations");
    assert_eq!(switches, times as usize, "all links and families change together, once a change");
    assert!(always.checked_sub(arrived).expect("no more packets than were sent") <= lost, "always-allowed packets wrongly dropped");
}

fn counted(net: &Net) -> u64 {
    net.dut.stack_counter("Ip", "ForwDatagrams") + net.dut.stack_counter("", "Ip6OutForwDatagrams")
}

fn lost_by_devices(net: &Net) -> u64 {
    LINKS.iter().map(|link| net.src.link_counter(link, "tx_dropped")).sum()
}

/// A (0) lets the even addresses to port 1, B (1) the odd ones to port 2.
fn policy(which: u32) -> String {
    format!(
        "version = 1\n[daemon]\nreload = \"manual\"\n[[set]]\nname = \"who\"\nfiles = [\"lists/who.txt\"]\n\
         [[policy]]\nname = \"mixture\"\ninterfaces = [\"left*\"]\n\
         [[policy.ingress]]\nid = \"always\"\naction = \"allow\"\nprotocol = \"udp\"\ndestination = {{ nets = [\"10.2.0.2\", \"fd00:2::2\"], ports = [9] }}\n\
         [[policy.ingress]]\nid = \"sometimes\"\naction = \"allow\"\nprotocol = \"udp\"\nsource = {{ sets = [\"who\"] }}\ndestination = {{ ports = [{}] }}\n",
        which + 1
    )
}

#[test]
fn static_sets_rules_links_and_families_change_together() {
    let Some(net) = Net::new() else { return };
    more_links(&net);
    let lists = net.policy_dir().join("lists");
    fs::create_dir(&lists).expect("a directory");
    let contents = [content(0), content(1)];
    let save = |which: u32| {
        let mut file = fs::File::create(lists.join("who.txt")).expect("the list");
        file.write_all(contents[which as usize].as_bytes()).expect("the list");
    };
    save(0);
    let Some(bench) = Bench::start_in(net, &policy(0)) else { return };
    let judge = |parity, port| match (parity, port) {
        (0, 1) => Some(0),
        (1, 2) => Some(1),
        _ => None,
    };
    let net = &bench.net;
    changes_at_one_moment(net, "static sets", if soak() { 1000 } else { 24 }, judge, |which| {
        save(which);
        net.write("10-test.toml", &policy(which));
        Cli(net).run(&["apply"]).expect(DONE);
    });
}

#[test]
fn content_of_a_dynamic_set_changes_on_all_links_together() {
    let Some(net) = Net::new() else { return };
    more_links(&net);
    let files = [0, 1].map(|which| {
        let path = net.scratch(&format!("who-{which}.txt"));
        fs::write(&path, content(which)).expect("the list");
        path.display().to_string()
    });
    // Asked of every packet, whatever flow it belongs to: what is in the set does not get in.
    let text = format!(
        "version = 1\n[[set]]\nname = \"who\"\nelements = []\ndynamic = true\nmax_entries = {}\n\
         [[policy]]\nname = \"mixture\"\ninterfaces = [\"left*\"]\ndefault_action = {{ ingress = \"allow\" }}\n\
         [policy.xdp]\nmode = \"off\"\ndeny_sets = [\"who\"]\n",
        4 * ENTRIES
    );
    let Some(bench) = Bench::start_in(net, &text) else { return };
    bench.cli().run(&["set", "replace", "who", &files[0]]).expect(DONE);
    let net = &bench.net;
    changes_at_one_moment(
        net,
        "set replace",
        if soak() { 1000 } else { 40 },
        |parity, _| Some(1 - parity as u8),
        |which| {
            Cli(net).run(&["set", "replace", "who", &files[which as usize]]).expect(DONE);
        },
    );
}
