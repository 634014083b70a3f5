//! What the receiving stack makes of hostile packets is what was judged: the kernel puts fragments together, walks headers and takes
//! tags off for itself, and nothing that no rule allows may come out at any of its sockets.

use netpol_tests::delivered::{Delivered, Received};
use netpol_tests::net::LEFT_MAC;
use netpol_tests::policy::{arriving, settled};
use netpol_tests::wire::Sender;
use netpol_tests::{Bench, Family, Net, Packet, flags};

const RULES: &str = "[[rule]]\naction = \"allow\"\nprotocol = \"udp\"\ndestination = { ports = [53] }\n\
                     [[rule]]\naction = \"allow\"\nprotocol = \"tcp\"\ndestination = { ports = [80] }\n";
/// Frames of each family and XDP mode; the sockets are looked at after so many.
const FRAMES: usize = 12_000;
const LOOK: usize = 400;

/// Numbers that look random and come again from the same seed (xorshift64*).
struct Random(u64);

impl Random {
    fn below(&mut self, below: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        ((self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize) % below.max(1)
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }
}

/// What the rules do not allow: any protocol but UDP and TCP, and other ports of those. Errors about what was allowed, and what
/// neighbours say, are allowed by the definition.
fn is_forbidden(f: Family, received: &Received) -> bool {
    match (received.protocol, received.port()) {
        (17, Some(53)) | (6, Some(80)) => false,
        (protocol, _) if protocol == f.icmp() => {
            let kind = received.l4.first().copied().unwrap_or(0);
            !(match f {
                Family::V4 => [3, 4, 11, 12].contains(&kind),
                Family::V6 => kind < 128 || [130, 131, 132, 133, 135, 136, 143].contains(&kind),
            })
        }
        _ => true,
    }
}

fn whole(random: &mut Random, f: Family) -> Packet {
    let (from, port) = (f.at(1, 2, 4000), random.pick(&[53, 53, 54, 80, 81]));
    let to = f.at(1, 1, port);
    let packet = match random.below(12) {
        0..=4 => Packet::udp_with(from, to, &vec![port as u8; random.pick(&[0, 8, 16, 40, 64, 120])]),
        5..=7 => Packet::tcp_with(from, to, random.pick(&[flags::SYN, flags::SYN, flags::ACK, flags::RST, 0, 0xff]), 1, 0, &[1; 64]),
        8 => Packet::udplite(from, to),
        9 => Packet::dccp(from, to),
        10 => Packet::echo(from.ip(), to.ip(), f.echo().0, 1),
        _ => Packet::ip(from.ip(), to.ip(), random.pick(&[4, 41, 47, 50, 51, 89, 103, 112, 135, 139, 140, 253, 254, 59]), &[0x35; 40]),
    };
    packet.to_mac(LEFT_MAC)
}

/// Options or extension headers, whatever they may be.
fn dressed(random: &mut Random, f: Family, mut packet: Packet) -> Packet {
    if f == Family::V4 {
        return match random.below(6) {
            0 => packet.options(&vec![1; 4 * random.below(11)]),
            1 => packet.options(&[7, 7, 4, 0, 0, 53, 0, 53]),
            2 => packet.options(&[148, 4, 0, 0]),
            _ => packet,
        };
    }
    for _ in 0..random.pick(&[0, 0, 0, 1, 1, 2, 3]) {
        let kind = random.pick(&[0, 43, 60, 60, 44, 135, 139, 140]);
        let mut content = vec![0; 8 * random.pick(&[1, 1, 2])];
        content[1] = (content.len() / 8 - 1) as u8;
        // Pad1, or a routing type that nobody follows.
        content[2] = if kind == 43 { random.pick(&[2, 4, 253]) } else { 0 };
        if kind == 44 {
            content.truncate(8);
        }
        packet = packet.extension(kind, &content);
    }
    packet
}

/// Pieces of one datagram, or of two that pretend to be one, in any order.
fn pieces(random: &mut Random, f: Family) -> Vec<Packet> {
    let id = 1 + random.below(40) as u32;
    let one = whole(random, f);
    let other = whole(random, f);
    let mut pieces = Vec::new();
    let mut from = 0;
    while from < one.body().len() {
        let to = from + random.pick(&[8, 16, 24, 24, 40, 64]);
        let of = if random.below(8) == 0 && from < other.body().len() { &other } else { &one };
        pieces.push(of.piece(id, from, to));
        from = if random.below(10) == 0 { from + 8 } else { to };
    }
    for _ in 0..random.below(3) {
        let (a, b) = (random.below(pieces.len()), random.below(pieces.len()));
        pieces.swap(a, b);
        let again = pieces[a].clone();
        pieces.push(again);
    }
    if random.below(5) == 0 {
        pieces.push(other.piece(id, 0, 24));
    }
    pieces
}

/// Bytes that are not as they should be; the IPv4 header's checksum is put right again, or nobody would look at the rest.
fn torn(random: &mut Random, mut frame: Vec<u8>) -> Vec<u8> {
    for _ in 0..random.pick(&[0, 0, 1, 1, 2]) {
        let at = 14 + random.below(frame.len().min(90) - 14);
        frame[at] = random.pick(&[0, 1, 6, 17, 44, 53, 60, 0x45, 0x80, 0xff, frame[at] ^ 1, frame[at] ^ 0x20]);
    }
    match random.below(12) {
        0 => drop(frame.splice(12..12, [0x81, 0, 0, random.pick(&[0, 0, 7])])),
        1 => frame.extend([53; 30]),
        2 => frame.truncate(frame.len() - random.below(20)),
        _ => {}
    }
    let header = 14..(14 + usize::from(frame[14] & 15) * 4).min(frame.len());
    if frame[12..14] == [8, 0] && header.len() >= 20 && random.below(8) > 0 {
        frame[24..26].fill(0);
        let sum = netpol_tests::packet::checksum(&[&frame[header]]);
        frame[24..26].copy_from_slice(&sum.to_be_bytes());
    }
    frame
}

fn frames(random: &mut Random, f: Family) -> Vec<Vec<u8>> {
    let packets = if random.below(3) == 0 { pieces(random, f) } else { vec![whole(random, f)] };
    let mut frame = |packet| {
        let frame = dressed(random, f, packet).frame();
        torn(random, frame)
    };
    packets.into_iter().map(&mut frame).collect()
}

/// What of so many hostile frames came out at the sockets of the dut, and what of that was forbidden.
fn storm(net: &Net, f: Family, seed: u64) -> (usize, Vec<Received>) {
    let (sockets, sender) = (Delivered::open(&net.dut, f), Sender::open(&net.src, "eth0"));
    let mut random = Random(seed | 1);
    let (mut all, mut forbidden, mut sent) = (0, Vec::new(), 0);
    while sent < FRAMES {
        let mut since = 0;
        while since < LOOK {
            for frame in frames(&mut random, f) {
                sender.send(&frame);
                since += 1;
            }
        }
        sent += since;
        let came = sockets.drain();
        all += came.len();
        forbidden.extend(came.into_iter().filter(|received| is_forbidden(f, received)));
    }
    (all, forbidden)
}

fn prepared() -> Option<Net> {
    let net = Net::new()?;
    // Unfinished datagrams may not fill the memory that others need.
    net.dut.sysctl("ipv4/ipfrag_time", "1");
    net.dut.sysctl("ipv6/ip6frag_time", "1");
    Some(net)
}

fn seed() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a clock").as_nanos() as u64;
    std::env::var("NETPOL_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(now)
}

#[test]
fn nothing_forbidden_is_delivered_whatever_it_is_wrapped_in() {
    let seed = seed();
    println!("NETPOL_SEED={seed}");
    let Some(net) = prepared() else { return };
    for f in Family::BOTH {
        let (all, forbidden) = storm(&net, f, seed);
        assert!(forbidden.len() > FRAMES / 20, "{f:?}: without a firewall the storm gets through: {} of {all}", forbidden.len());
    }
    drop(net);
    for mode in ["off", "native", "generic"] {
        let Some(net) = prepared() else { return };
        let text = settled(&(arriving(RULES) + &format!("[policy.xdp]\nmode = \"{mode}\"\ndrop_malformed = true\n")));
        let Some(bench) = Bench::start_in(net, &text) else { return };
        for f in Family::BOTH {
            let (all, forbidden) = storm(&bench.net, f, seed);
            println!("{f:?}, XDP {mode}: {all} delivered");
            assert!(all > FRAMES / 50, "{f:?} {mode}: what is allowed gets through, {all}");
            let first: Vec<&Received> = forbidden.iter().take(5).collect();
            assert!(
                forbidden.is_empty(),
                "{f:?} {mode}: {} forbidden packets delivered, NETPOL_SEED={seed}: {first:02x?}",
                forbidden.len()
            );
        }
    }
}
