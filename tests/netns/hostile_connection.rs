//! Strangers and a connection of real sockets: forged segments and forged ICMP errors neither end it nor get anything in.

use std::io::Read;
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use netpol_tests::flags::{ACK, FIN, PSH, RST, SYN, URG};
use netpol_tests::net::{LEFT_MAC, SRC_MAC};
use netpol_tests::packet::SENDER;
use netpol_tests::policy::{VERSION, policy};
use netpol_tests::sock::{self, Connection};
use netpol_tests::wire::{ALL, Observer, Sender};
use netpol_tests::{Bench, Family, Hook, Packet, wait};

/// Longer than a flow lives that a segment has ended.
const END: Duration = Duration::from_millis(2500);

fn start(rules: &str) -> Option<Bench> {
    let conntrack = "[daemon.conntrack]\nadopt_existing = false\ntcp_fin = \"1s\"\n";
    let text = policy("c", &format!("policy_types = [\"ingress\", \"egress\"]\n{rules}"));
    Bench::start(&text.replacen(VERSION, &format!("{VERSION}{conntrack}"), 1))
}

const WEB: &str = "[[policy.ingress]]\naction = \"allow\"\nprotocol = \"tcp\"\ndestination = { ports = [80] }\n\
                   [[policy.ingress]]\naction = \"allow\"\nprotocol = \"udp\"\ndestination = { ports = [53] }\n";

/// A connection from `src` to the dut, and the numbers that its ends wait for.
struct Standing<'a> {
    bench: &'a Bench,
    connection: Connection,
    client: SocketAddr,
    server: SocketAddr,
    /// Next number of the client, and of the server.
    next: (u32, u32),
}

fn word(frame: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(frame[at..at + 4].try_into().expect("4 bytes"))
}

impl<'a> Standing<'a> {
    fn open(bench: &'a Bench, f: Family) -> Standing<'a> {
        let server = f.at(1, 1, 80);
        let listener = sock::listen(&bench.net.dut, server);
        let wire = Observer::open(&bench.net.src, "eth0", ALL);
        let mut connection = Connection::open(&bench.net.src, &listener, server).expect("a connection");
        assert!(connection.lives());
        let client = connection.client.local_addr().expect("an address");
        let mut next = (0, 0);
        let ports =
            |frame: &[u8], l4: usize| (u16::from_be_bytes([frame[l4], frame[l4 + 1]]), u16::from_be_bytes([frame[l4 + 2], frame[l4 + 3]]));
        let l4 = if f == Family::V4 { 34 } else { 54 };
        for frame in wire.drain().into_iter().filter(|frame| frame.len() >= l4 + 20) {
            let payload = frame.len() - l4 - usize::from(frame[l4 + 12] >> 4) * 4;
            let after = word(&frame, l4 + 4).wrapping_add(payload as u32);
            match ports(&frame, l4) {
                (from, 80) if from == client.port() && payload > 0 => next.0 = after,
                (80, to) if to == client.port() && payload > 0 => next.1 = after,
                _ => {}
            }
        }
        assert!(next.0 != 0 && next.1 != 0, "the numbers have been seen");
        Standing { bench, connection, client, server, next }
    }

    /// A segment that says it is from one of the ends. Numbers are counted from the right ones.
    fn forge(&self, hook: Hook, flags: u8, seq: u32, ack: u32) {
        let (client, server) = self.next;
        let packet = match hook {
            Hook::Ingress => Packet::tcp_with(self.client, self.server, flags, client.wrapping_add(seq), server.wrapping_add(ack), b"evil")
                .to_mac(LEFT_MAC),
            Hook::Egress => Packet::tcp_with(self.server, self.client, flags, server.wrapping_add(seq), client.wrapping_add(ack), b"evil")
                .to_mac(SRC_MAC),
        };
        match hook {
            Hook::Ingress => Sender::open(&self.bench.net.src, "eth0").send(&packet.frame()),
            Hook::Egress => Sender::open(&self.bench.net.dut, "left").send(&packet.frame()),
        }
    }

    /// All that a stranger may try who does not know the numbers, from either side.
    fn attack(&self) {
        const FAR: u32 = 0x8000_0000;
        const NEAR: u32 = 200;
        for hook in Hook::BOTH {
            for (flags, seq, ack) in [
                // Out of the window, and in it but not exact (RFC 5961).
                (RST, FAR, 0),
                (RST | ACK, FAR, 0),
                (RST, NEAR, 0),
                (RST, NEAR.wrapping_neg(), 0),
                (RST | ACK, NEAR, FAR),
                // A reset that repeats what the stranger has acknowledged before.
                (ACK, FAR, 4242),
                (RST | ACK, FAR, 4242),
                (RST | ACK, FAR + 77, 0),
                (FIN | ACK, FAR, 0),
                (FIN, NEAR, 0),
                (FIN | PSH | URG, FAR, 0),
                (SYN, FAR, 0),
                (SYN, NEAR, 0),
                (SYN | ACK, FAR, 0),
                (SYN | ACK, NEAR, NEAR),
                (SYN | FIN, FAR, 0),
                (SYN | RST, FAR, 0),
                (0, FAR, 0),
                (0xff, FAR, 0),
                (ACK, FAR, FAR),
                (ACK | PSH, FAR, 0),
            ] {
                self.forge(hook, flags, seq, ack);
            }
        }
    }
}

#[test]
fn connection_survives_segments_of_strangers_and_the_time_after_them() {
    let Some(bench) = start(WEB) else { return };
    let mut standing = Family::BOTH.map(|f| Standing::open(&bench, f));
    for one in &standing {
        one.attack();
    }
    thread::sleep(END);
    for one in &mut standing {
        assert!(one.connection.lives(), "{}: after the attack and a while of silence", one.server);
    }
    for one in &standing {
        one.attack();
    }
    for one in &mut standing {
        assert!(one.connection.lives(), "{}: right after the attack", one.server);
    }
}

#[test]
fn reset_of_the_peer_itself_ends_the_connection() {
    let Some(bench) = start(WEB) else { return };
    for f in Family::BOTH {
        let mut standing = Standing::open(&bench, f);
        standing.forge(Hook::Ingress, RST, 0, 0);
        standing.connection.server.set_read_timeout(Some(Duration::from_secs(5))).expect("a read timeout");
        let end = standing.connection.server.read(&mut [0; 8]).expect_err("the kernel believes it");
        assert_eq!(end.kind(), std::io::ErrorKind::ConnectionReset, "{f:?}");
        thread::sleep(END);
        let segment = Packet::tcp(standing.client, standing.server, ACK, standing.next.0, standing.next.1);
        bench.refused(Hook::Ingress, "no_connection", &segment, "after the reset");
    }
}

/// A socket of the dut that connects to port 4200 of somebody who is not there but for this test.
struct Crossing<'a> {
    bench: &'a Bench,
    here: SocketAddr,
    there: SocketAddr,
    wire: Observer,
}

impl<'a> Crossing<'a> {
    fn new(bench: &'a Bench, f: Family) -> Crossing<'a> {
        let (here, there) = (f.at(1, 1, 0), f.at(1, 77, 4200));
        let mac = SENDER.map(|byte| format!("{byte:02x}")).join(":");
        bench.net.dut.ip(&format!("neighbour replace {} lladdr {mac} dev left", there.ip()));
        Crossing { bench, here, there, wire: Observer::open(&bench.net.src, "eth0", f.ethertype()) }
    }

    /// The next segment of the dut: its port, flags and sequence number.
    fn heard(&self) -> Option<(u16, u8, u32)> {
        let l4 = if self.here.is_ipv4() { 34 } else { 54 };
        wait::poll(Duration::from_secs(3), || {
            let frames = self.wire.drain().into_iter();
            let mut ours =
                frames.filter(|frame| frame.len() >= l4 + 20 && frame[..6] == SENDER && frame[l4 + 2..l4 + 4] == 4200u16.to_be_bytes());
            ours.next().map(|frame| (u16::from_be_bytes([frame[l4], frame[l4 + 1]]), frame[l4 + 13], word(&frame, l4 + 4)))
        })
    }

    fn say(&self, port: u16, flags: u8, seq: u32, ack: u32) {
        let packet = Packet::tcp(self.there, SocketAddr::new(self.here.ip(), port), flags, seq, ack).to_mac(LEFT_MAC);
        Sender::open(&self.bench.net.src, "eth0").send(&packet.frame());
    }

    /// Both ends send a SYN before either has seen the other's. Whether the dut's socket is connected in the end.
    fn meets(&self) -> bool {
        let (dut, there) = (&self.bench.net.dut, self.there);
        thread::scope(|scope| {
            let connecting = scope.spawn(move || dut.run(|| TcpStream::connect_timeout(&there, Duration::from_millis(900))));
            let (port, flags, isn) = self.heard().expect("the SYN");
            assert_eq!(flags & (SYN | ACK), SYN);
            self.say(port, SYN, 9000, 0);
            // Where our SYN got in, the socket answers it; whether its answer gets out or not, ours does the same work.
            thread::sleep(Duration::from_millis(50));
            self.say(port, SYN | ACK, 9000, isn.wrapping_add(1));
            connecting.join().expect("the socket").is_ok()
        })
    }
}

#[test]
fn simultaneous_open_connects_where_both_directions_are_allowed() {
    let both = "[[policy.ingress]]\naction = \"allow\"\nprotocol = \"tcp\"\n[[policy.egress]]\naction = \"allow\"\nprotocol = \"tcp\"\n";
    let Some(bench) = start(both) else { return };
    for f in Family::BOTH {
        let before = bench.cli().drops("default");
        assert!(Crossing::new(&bench, f).meets(), "{f:?}");
        assert_eq!(bench.cli().drops("default"), before, "{f:?}: both SYNs passed");
    }
}

#[test]
fn crossing_syn_that_no_rule_allows_stays_outside() {
    let Some(bench) = start("[[policy.egress]]\naction = \"allow\"\nprotocol = \"tcp\"\n") else { return };
    for f in Family::BOTH {
        let before = bench.cli().drops("default");
        assert!(Crossing::new(&bench, f).meets(), "{f:?}: the answer to its own SYN gets in all the same");
        assert_eq!(bench.cli().drops("default"), before + 1, "{f:?}: the crossing SYN");
    }
}

/// The path MTU that the dut has learnt to host 2.
fn path_mtu(bench: &Bench, f: Family) -> Option<String> {
    let text = bench.net.dut.must("ip", &format!("route get {}", f.host(1, 2)));
    let mut words = text.split_whitespace();
    words.find(|word| *word == "mtu")?;
    words.next().map(str::to_owned)
}

#[test]
fn path_mtu_is_learnt_from_errors_about_what_was_sent_and_from_no_others() {
    let Some(bench) = start(WEB) else { return };
    let sender = Sender::open(&bench.net.src, "eth0");
    for f in Family::BOTH {
        let server = sock::udp(&bench.net.dut, f.at(1, 1, 53));
        let client = sock::udp(&bench.net.src, f.at(1, 2, 0));
        assert!(sock::datagram_passes(&client, &server, f.at(1, 1, 53)), "{f:?}: a question");
        let port = client.local_addr().expect("an address").port();
        assert!(sock::datagram_passes(&server, &client, f.at(1, 2, port)), "{f:?}: an answer");
        let too_big = |quoted: &Packet| {
            let (kind, mtu) = if f == Family::V4 { ((3, 4), 1000u32) } else { ((2, 0), 1300) };
            Packet::icmp(f.host(1, 2), f.host(1, 1), kind, mtu.to_be_bytes(), &quoted.l3()).to_mac(LEFT_MAC)
        };
        let answer = |port| Packet::udp_with(f.at(1, 1, 53), f.at(1, 2, port), &[0; 600]);
        let forged = [
            ("another port", answer(port ^ 1)),
            ("what came in", Packet::udp_with(f.at(1, 2, port), f.at(1, 1, 53), &[0; 600])),
            ("another protocol", Packet::tcp_with(f.at(1, 1, 53), f.at(1, 2, port), ACK, 1, 1, &[0; 600])),
            ("a later fragment", answer(port).piece(7, 64, 999)),
        ];
        for (what, quoted) in forged {
            bench.refused(Hook::Ingress, "no_connection", &too_big(&quoted), what);
            assert_eq!(path_mtu(&bench, f), None, "{f:?}: {what}");
        }
        sender.send(&too_big(&answer(port)).frame());
        let wanted = if f == Family::V4 { "1000" } else { "1300" };
        wait::until("the path MTU", Duration::from_secs(5), || path_mtu(&bench, f).as_deref() == Some(wanted));
    }
}
