//! `reject`, byte by byte: what answers are like, and what is never answered.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use netpol_tests::net::{LEFT_MAC, SRC_MAC};
use netpol_tests::packet::{SENDER, checksum};
use netpol_tests::policy::both_ways;
use netpol_tests::wire::{Observer, Sender};
use netpol_tests::{Bench, Family, Hook, Packet, flags, sys, wait};

const REJECT: &str = "[[rule]]\naction = \"reject\"\n";

/// Sends to one hook of `left` and sees the answers where they come in: beyond the wire, or behind our own program.
struct Asker<'a> {
    bench: &'a Bench,
    hook: Hook,
    sender: Sender,
    observers: [Observer; 3],
}

impl<'a> Asker<'a> {
    fn new(bench: &'a Bench, hook: Hook) -> Asker<'a> {
        let (src, dut) = (&bench.net.src, &bench.net.dut);
        let (end, link) = match hook {
            Hook::Ingress => (src, "eth0"),
            Hook::Egress => (dut, "left"),
        };
        let observers = [0x0800, 0x86dd, 0x8100].map(|protocol| Observer::open(end, link, protocol));
        Asker { bench, hook, sender: Sender::open(end, link), observers }
    }

    /// The frames that came back: the last one answers a packet that is known to be answered, so no more can come.
    fn ask(&self, packet: &Packet) -> Vec<Vec<u8>> {
        let f = Family::V4;
        let control = Packet::syn(f.at(1, 2, 9), f.at(1, 1, 9)).to_mac(self.mac());
        for observer in &self.observers {
            observer.drain();
        }
        let sender = &self.sender;
        std::thread::scope(|scope| {
            scope.spawn(|| {
                sys::stay_on_cpu(0).expect("a CPU to stay on");
                sender.send(&packet.frame());
                sender.send(&control.frame());
            });
        });
        let mut answers = Vec::new();
        let seq = u32::from_be_bytes(control.body()[4..8].try_into().expect("4 bytes")) + 1;
        wait::until("the answer to the last packet", Duration::from_secs(5), || {
            let frames = self.observers.iter().flat_map(Observer::drain);
            answers.extend(frames.filter(|frame| frame[..6] == SENDER));
            answers.iter().any(|frame| frame[12..14] == [8, 0] && frame[42..46] == seq.to_be_bytes())
        });
        answers.retain(|frame| !(frame[12..14] == [8, 0] && frame[42..46] == seq.to_be_bytes()));
        answers
    }

    /// The one answer there is.
    fn answer(&self, packet: &Packet, what: &str) -> Answer {
        let mut frames = self.ask(packet);
        assert_eq!(frames.len(), 1, "{what} at {:?}: answers", self.hook);
        Answer::read(&frames.remove(0), self.mac())
    }

    /// To whom frames must go at this hook to be meant for the next host.
    fn mac(&self) -> [u8; 6] {
        if self.hook == Hook::Ingress { LEFT_MAC } else { SRC_MAC }
    }

    /// A SYN-like packet of that family, from the sender's side of the hook.
    fn ends(&self, f: Family) -> (std::net::SocketAddr, std::net::SocketAddr) {
        (f.at(1, 2, 4000), f.at(1, 1, 80))
    }
}

/// An answer whose every length and checksum has been found right.
struct Answer {
    source: IpAddr,
    destination: IpAddr,
    protocol: u8,
    body: Vec<u8>,
}

impl Answer {
    fn read(frame: &[u8], from: [u8; 6]) -> Answer {
        assert_eq!(frame[..12], [SENDER, from].concat(), "addresses of the frame, exchanged");
        let ip = &frame[14..];
        let (source, destination, protocol, body): (IpAddr, IpAddr, u8, Vec<u8>) = if frame[12..14] == [8, 0] {
            assert_eq!(ip[0], 0x45);
            assert_eq!(u16::from_be_bytes([ip[2], ip[3]]) as usize, ip.len(), "total length");
            assert_eq!(ip[4..9], [0, 0, 0x40, 0, 64], "id, DF, TTL");
            assert_eq!(checksum(&[&ip[..20]]), 0, "checksum of the header");
            assert!(ip.len() <= 576);
            let at = |from: usize| <[u8; 4]>::try_from(&ip[from..from + 4]).expect("4 bytes");
            (Ipv4Addr::from(at(12)).into(), Ipv4Addr::from(at(16)).into(), ip[9], ip[20..].to_vec())
        } else {
            assert_eq!(frame[12..14], [0x86, 0xdd]);
            assert_eq!(ip[0], 0x60);
            assert_eq!(u16::from_be_bytes([ip[4], ip[5]]) as usize + 40, ip.len(), "payload length");
            assert_eq!(ip[7], 64, "hop limit");
            assert!(ip.len() <= 1280);
            let at = |from: usize| <[u8; 16]>::try_from(&ip[from..from + 16]).expect("16 bytes");
            (Ipv6Addr::from(at(8)).into(), Ipv6Addr::from(at(24)).into(), ip[6], ip[40..].to_vec())
        };
        let mut pseudo = Vec::new();
        if protocol != 1 {
            pseudo = if source.is_ipv4() { ip[12..20].to_vec() } else { ip[8..40].to_vec() };
            pseudo.extend((body.len() as u32).to_be_bytes());
            pseudo.extend([0, 0, 0, protocol]);
        }
        assert_eq!(checksum(&[&pseudo, &body]), 0, "checksum of protocol {protocol}");
        Answer { source, destination, protocol, body }
    }

    fn word(&self, at: usize) -> u32 {
        u32::from_be_bytes(self.body[at..at + 4].try_into().expect("4 bytes"))
    }

    /// It is a reset with these flags and numbers.
    fn is_reset(&self, flags: u8, seq: u32, ack: u32, what: &str) {
        assert_eq!((self.protocol, self.body.len()), (6, 20), "{what}");
        assert_eq!(self.word(0), (80 << 16) | 4000, "{what}: ports, exchanged");
        assert_eq!((self.body[12], self.body[13], self.word(4), self.word(8)), (0x50, flags, seq, ack), "{what}: flags, seq, ack");
        assert_eq!(self.word(14) >> 16, 0, "{what}: no window");
    }

    /// It is an ICMP error that quotes the beginning of that packet.
    fn is_error(&self, f: Family, kind: (u8, u8), quoted: &Packet, what: &str) {
        assert_eq!((self.protocol, self.body[0], self.body[1], self.word(4)), (f.icmp(), kind.0, kind.1, 0), "{what}");
        let quote = quoted.l3();
        assert_eq!(self.body[8..], quote[..quote.len().min(512)], "{what}: the quote");
    }
}

#[test]
fn resets_have_the_numbers_of_rfc_9293() {
    let Some(bench) = Bench::with_rules(REJECT) else { return };
    for hook in Hook::BOTH {
        let asker = Asker::new(&bench, hook);
        for f in Family::BOTH {
            let (from, to) = asker.ends(f);
            let cases = [
                ("SYN", flags::SYN, 1000, 0, 0, (flags::RST | flags::ACK, 0, 1001)),
                ("SYN with data, about to wrap", flags::SYN, u32::MAX, 0, 5, (flags::RST | flags::ACK, 0, 5)),
                ("SYN with data of an odd length", flags::SYN, 9, 0, 1333, (flags::RST | flags::ACK, 0, 1343)),
            ];
            for (what, set, seq, ack, data, (expected, expected_seq, expected_ack)) in cases {
                let packet = Packet::tcp_with(from, to, set, seq, ack, &vec![0x5a; data]).to_mac(asker.mac());
                let answer = asker.answer(&packet, what);
                assert_eq!((answer.source, answer.destination), (to.ip(), from.ip()), "{what}");
                answer.is_reset(expected, expected_seq, expected_ack, what);
            }
        }
    }
}

#[test]
fn loose_segments_are_reset_by_what_they_acknowledge() {
    let text = both_ways(REJECT).replacen("version = 1\n", "version = 1\n[daemon.conntrack]\nloose = true\n", 1);
    let Some(bench) = Bench::start(&text) else { return };
    let asker = Asker::new(&bench, Hook::Ingress);
    for f in Family::BOTH {
        let (from, to) = asker.ends(f);
        for (what, set, data) in [("ACK", flags::ACK, 0), ("data", flags::ACK | flags::PSH, 700), ("FIN", flags::FIN | flags::ACK, 0)] {
            let packet = Packet::tcp_with(from, to, set, 77, 4_000_000_000, &vec![1; data]).to_mac(asker.mac());
            asker.answer(&packet, what).is_reset(flags::RST, 4_000_000_000, 0, what);
        }
        let bare = Packet::tcp_with(from, to, flags::FIN, 77, 0, &[1; 3]).to_mac(asker.mac());
        asker.answer(&bare, "FIN without ACK").is_reset(flags::RST | flags::ACK, 0, 81, "FIN without ACK");
        let reset = Packet::tcp(from, to, flags::RST | flags::ACK, 77, 1).to_mac(asker.mac());
        assert!(asker.ask(&reset).is_empty(), "a RST");
    }
}

#[test]
fn errors_quote_the_packet_with_its_headers() {
    let Some(bench) = Bench::with_rules(REJECT) else { return };
    for (with, v4, v6) in [
        ("", (3, 3), (1, 4)),
        ("tcp-reset", (3, 3), (1, 4)),
        ("port-unreachable", (3, 3), (1, 4)),
        ("host-unreachable", (3, 1), (1, 3)),
        ("admin-prohibited", (3, 13), (1, 1)),
    ] {
        if !with.is_empty() {
            bench.change(&both_ways(&format!("[[rule]]\nip_version = 4\nprotocol = \"tcp\"\ndestination = {{ ports = [9] }}\naction = \"reject\"\n{REJECT}reject_with = \"{with}\"\n")));
        }
        for hook in Hook::BOTH {
            let asker = Asker::new(&bench, hook);
            for (f, kind) in Family::BOTH.into_iter().zip([v4, v6]) {
                for (what, packet) in errors(f, asker.ends(f), with) {
                    let packet = packet.to_mac(asker.mac());
                    asker.answer(&packet, what).is_error(f, kind, &packet, &format!("{with} {f:?} {what} {hook:?}"));
                }
            }
        }
    }
}

fn errors(f: Family, (from, to): (std::net::SocketAddr, std::net::SocketAddr), with: &str) -> Vec<(&'static str, Packet)> {
    let mut packets = vec![
        ("small UDP", Packet::udp(from, to)),
        ("UDP of an odd length", Packet::udp_with(from, to, &[0xab; 333])),
        ("UDP of 1,400 bytes", Packet::udp_with(from, to, &[0xab; 1400])),
        ("echo request", Packet::echo(from.ip(), to.ip(), f.echo().0, 7)),
        ("SCTP INIT", Packet::sctp(from, to, 1)),
        ("another protocol", Packet::ip(from.ip(), to.ip(), 47, &[1; 9])),
        ("a tag", Packet::udp(from, to).vlan(0)),
        ("two tags", Packet::udp(from, to).vlan(0).tag(0x88a8, 0)),
        ("four tags", Packet::udp(from, to).vlan(0).vlan(0).vlan(0).vlan(0)),
    ];
    if f == Family::V4 {
        packets.push(("options", Packet::udp_with(from, to, &[3; 600]).options(&[7, 4, 4, 0])));
        packets.push(("many options", Packet::udp(from, to).options(&[1; 40])));
    } else {
        packets.push(("extension headers", Packet::udp(from, to).extension(0, &[0; 8]).extension(60, &[0, 1].repeat(8))));
    }
    if !with.is_empty() && with != "tcp-reset" {
        packets.push(("TCP", Packet::syn(from, to)));
    }
    packets
}

#[test]
fn nobody_is_told_who_must_not_be() {
    let Some(bench) = Bench::with_rules(REJECT) else { return };
    for hook in Hook::BOTH {
        let asker = Asker::new(&bench, hook);
        for f in Family::BOTH {
            let (from, to) = asker.ends(f);
            let large = Packet::udp_with(from, to, &[5; 1200]);
            let echo = |kind: u8| Packet::echo(from.ip(), to.ip(), kind, 7);
            let mut cases = vec![
                ("first fragment", large.piece(7, 0, 800)),
                ("later fragment", large.piece(8, 800, 1208)),
                ("RST", Packet::tcp(from, to, flags::RST, 1, 0)),
                ("echo reply", echo(f.echo().1)),
                ("ICMP error", Packet::icmp_error(from.ip(), to.ip(), f.port_unreachable(), &Packet::udp(to, from))),
                ("ICMP of an unknown type", Packet::icmp(from.ip(), to.ip(), (200, 0), [0; 4], &[])),
                ("ICMP of the other family", Packet::ip(from.ip(), to.ip(), if f == Family::V4 { 58 } else { 1 }, &[8; 8])),
            ];
            if f == Family::V4 {
                let many = |host: [u8; 4]| Packet::udp(from, (host, 80).into());
                cases.push(("router solicitation", Packet::icmp(from.ip(), to.ip(), (10, 0), [0; 4], &[])));
                cases.push(("broadcast", many([255; 4])));
                cases.push(("multicast", many([224, 0, 0, 251])));
                cases.push(("to nobody", many([0; 4])));
                cases.push(("from nobody", Packet::udp(([0, 0, 0, 0], 68).into(), (to.ip(), 67).into())));
            } else {
                cases.push(("multicast", Packet::udp(from, netpol_tests::packet_l4::addr("[ff02::fb]:53"))));
                cases.push(("to nobody", Packet::udp(from, netpol_tests::packet_l4::addr("[::]:53"))));
            }
            for (what, packet) in cases {
                let answers = asker.ask(&packet.to_mac(asker.mac()));
                assert!(answers.is_empty(), "{what} {f:?} at {hook:?}: {answers:02x?}");
            }
            for (what, mac) in [("broadcast frame", [0xff; 6]), ("group frame", [1, 0, 0x5e, 0, 0, 1])] {
                assert!(asker.ask(&Packet::udp(from, to).to_mac(mac)).is_empty(), "{what} {f:?} at {hook:?}");
            }
        }
    }
}

#[test]
fn host_that_overhears_says_nothing_and_a_workload_is_told_all_the_same() {
    let Some(bench) = Bench::with_rules(REJECT) else { return };
    let (from, to) = (Family::V4.at(1, 2, 4000), Family::V4.at(1, 1, 80));
    let asker = Asker::new(&bench, Hook::Ingress);
    assert!(asker.ask(&Packet::syn(from, to)).is_empty(), "a frame for another host");
    bench.change(&both_ways(REJECT).replace("name = \"both\"", "name = \"both\"\nendpoint = \"workload\""));
    assert_eq!(asker.ask(&Packet::syn(from, to)).len(), 1, "a bridge port carries frames for others");
}

#[test]
fn tags_stay_on_the_answer() {
    let rules = format!("[[rule]]\naction = \"reject\"\nvlan = 7\n[[rule]]\naction = \"reject\"\nvlan = [7, 8]\n{REJECT}");
    let Some(bench) = Bench::start(&both_ways(&rules)) else { return };
    for (namespace, link) in [(&bench.net.src, "eth0"), (&bench.net.dut, "left")] {
        for line in [
            "add table netdev seen".to_owned(),
            format!("add chain netdev seen in {{ type filter hook ingress device {link} priority 0 ; }}"),
            "add rule netdev seen in vlan id 7 counter".to_owned(),
        ] {
            namespace.must("nft", &line);
        }
    }
    let seen = |hook: Hook| {
        let namespace = if hook == Hook::Ingress { &bench.net.src } else { &bench.net.dut };
        let listed = namespace.must("nft", "list chain netdev seen in");
        let packets = listed.split("packets ").nth(1).and_then(|rest| rest.split(' ').next());
        packets.and_then(|number| number.parse::<u64>().ok()).expect("a counter")
    };
    for hook in Hook::BOTH {
        let asker = Asker::new(&bench, hook);
        for f in Family::BOTH {
            let (from, to) = asker.ends(f);
            let before = seen(hook);
            assert_eq!(asker.ask(&Packet::udp(from, to).vlan(7).to_mac(asker.mac())).len(), 1, "{f:?} at {hook:?}");
            assert_eq!(seen(hook) - before, 1, "{f:?} at {hook:?}: with its tag");
            let double = asker.ask(&Packet::udp(from, to).vlan(7).vlan(8).to_mac(asker.mac()));
            assert_eq!(double.len(), 1, "{f:?} at {hook:?}: two tags");
            // The outer tag is kept beside the bytes.
            assert_eq!(double[0][12..18], [&[0x81, 0, 0, 8], &f.ethertype().to_be_bytes()[..]].concat(), "{f:?} at {hook:?}");
            assert_eq!(seen(hook) - before, 2, "{f:?} at {hook:?}: with the outer tag");
        }
    }
}

#[test]
fn answers_are_counted_as_rejects_and_limited_in_number() {
    let Some(bench) = Bench::with_rules(REJECT) else { return };
    let asker = Asker::new(&bench, Hook::Ingress);
    let (from, to) = asker.ends(Family::V4);
    let reasons = || netpol_tests::cli::reasons(&asker.bench.cli().status()).get("reject").copied().unwrap_or(0);
    let before = reasons();
    assert_eq!(asker.ask(&Packet::syn(from, to).to_mac(LEFT_MAC)).len(), 1);
    assert_eq!(reasons() - before, 2, "the packet and the one behind it");
    for observer in &asker.observers {
        observer.drain();
    }
    let flood = netpol_tests::flood::Flood::start(&bench.net.src, "eth0", &[Packet::syn(from, to).to_mac(LEFT_MAC)]);
    std::thread::sleep(Duration::from_secs(2));
    let sent = flood.stop();
    let answers = asker.observers.iter().flat_map(Observer::drain).filter(|frame| frame[..6] == SENDER).count() as f64;
    let seconds = sent.time.as_secs_f64();
    println!("{} packets a second are answered {} times a second", sent.rate(), answers / seconds);
    assert!(answers > 800.0 * seconds, "{answers} answers in {seconds} s");
    assert!(answers <= 1000.0 * seconds.ceil(), "{answers} answers in {seconds} s");
}
