//! What somebody can do who knows the addresses and ports of others and sees none of their packets.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use netpol_tests::net::LEFT_MAC;
use netpol_tests::policy::{VERSION, allow_port, policy};
use netpol_tests::sock::{self, Connection};
use netpol_tests::wire::{Observer, Sender};
use netpol_tests::{Bench, Family, Net, Packet, say, wait};

/// Port 8080 of the host is published for a server behind it.
fn published(f: Family, server: SocketAddr) -> String {
    let table = if f == Family::V4 { "ip" } else { "ip6" };
    format!(
        "table {table} published {{\nchain prerouting {{\ntype nat hook prerouting priority dstnat;\n\
         iifname \"left\" tcp dport 8080 dnat to {server}\n}}\n}}\n"
    )
}

/// Where the server of all tests stands.
fn server(f: Family) -> SocketAddr {
    f.at(1, 1, 80)
}

/// Host `n` of net 3, which is nobody's.
fn forged(f: Family, n: u16) -> SocketAddr {
    let [high, low] = n.to_be_bytes();
    match f {
        Family::V4 => ([10, 3, high, low], 4000).into(),
        Family::V6 => ([0xfd00, 3, 0, 0, 0, 0, 0, n], 4000).into(),
    }
}

/// Whoever sends it with a wrong checksum is answered by nobody.
fn unanswered(packet: &Packet) -> Vec<u8> {
    packet.clone().edit(|body| body[16] ^= 0x55).to_mac(LEFT_MAC).frame()
}

fn web(conntrack: &str, port: u16) -> String {
    let keys = format!("{VERSION}[daemon.conntrack]\nadopt_existing = false\n{conntrack}\n");
    policy("web", "default_action = { ingress = \"deny\", egress = \"deny\" }").replacen(VERSION, &keys, 1)
        + &allow_port("web", "tcp", port).replace("[[rule]]", "[[policy.ingress]]")
}

/// A connection that is silent while a stranger tries to end it; flows that close are forgotten after a second.
struct Idle {
    bench: Bench,
    connection: Connection,
    from: SocketAddr,
    stranger: Sender,
}

impl Idle {
    fn open(net: Net, listener: &TcpListener, to: SocketAddr) -> Option<Idle> {
        let bench = Bench::start_in(net, &web("tcp_fin = \"1s\"", to.port()))?;
        let mut connection = Connection::open(&bench.net.src, listener, to).expect("a connection");
        assert!(connection.lives());
        let from = connection.client.local_addr().expect("an address");
        let stranger = Sender::open(&bench.net.src, "eth0");
        Some(Idle { bench, connection, from, stranger })
    }

    /// To a server of the firewall's own host.
    fn at_server(f: Family) -> Option<Idle> {
        let net = Net::new()?;
        let listener = sock::listen(&net.dut, server(f));
        Idle::open(net, &listener, server(f))
    }

    fn still_lives(&mut self) -> bool {
        std::thread::sleep(Duration::from_secs(3));
        self.connection.lives()
    }
}

/// Forged sources see no SYN-ACK, so they guess what it said.
#[test]
fn handshakes_of_forged_sources_fill_no_table_of_connections() {
    for f in Family::BOTH {
        let Some(net) = Net::new() else { return };
        net.dut.ip(&format!("route add {}/{} via {} dev left", f.host(3, 0), if f == Family::V4 { 16 } else { 64 }, f.host(1, 2)));
        net.dut.sysctl("ipv4/tcp_max_syn_backlog", "4096");
        let to = server(f);
        let listener = sock::listen(&net.dut, to);
        listener.set_nonblocking(true).expect("non-blocking");
        let text = web("max_entries = 1024\nmax_half_open = 4096", to.port());
        let Some(bench) = Bench::start_in(net, &text) else { return };
        let sender = Sender::open(&bench.net.src, "eth0");
        for from in (0..1500).map(|n| forged(f, n)) {
            sender.send(&Packet::tcp(from, to, 2, 7000, 0).to_mac(LEFT_MAC).frame());
            // The SYN-ACK is on its way.
            std::thread::sleep(Duration::from_micros(300));
            for quarter in 0..4_u32 {
                sender.send(&unanswered(&Packet::tcp(from, to, 0x10, 7001, quarter << 30)));
            }
        }
        assert_eq!(bench.cli().drops("conntrack_full"), 0, "{f:?}");
        let client = || bench.net.src.run(|| TcpStream::connect_timeout(&to, Duration::from_secs(3)));
        let _client = client().unwrap_or_else(|e| panic!("{f:?}: a client connects: {e}"));
        let accepted = || listener.accept().ok().filter(|(_, peer)| peer.ip() == f.host(1, 2));
        assert!(wait::poll(Duration::from_secs(10), accepted).is_some(), "{f:?}: and is served");
    }
}

/// Of 2^32 pairs of a sequence number and an acknowledgement that a window each covers, a stranger would have to send all.
#[test]
fn resets_for_all_places_of_the_sequence_end_no_idle_connection() {
    for f in Family::BOTH {
        let Some(mut idle) = Idle::at_server(f) else { return };
        let (from, to) = (idle.from, server(f));
        for place in 0..65_536_u32 {
            idle.stranger.send(&unanswered(&Packet::tcp(from, to, 4, place << 16, 0)));
        }
        for (place, acknowledged) in (0..256_u32).flat_map(|place| [(place << 24, 0), (place << 24, 1 << 31)]) {
            idle.stranger.send(&unanswered(&Packet::tcp(from, to, 0x14, place, acknowledged)));
        }
        assert!(idle.still_lives(), "{f:?}");
    }
}

/// The acknowledgement of the other side, and what it has sent, are all that a stranger cannot forge.
#[test]
fn resets_that_repeat_a_forged_acknowledgement_end_no_idle_connection() {
    for f in Family::BOTH {
        let Some(mut idle) = Idle::at_server(f) else { return };
        let (from, to) = (idle.from, server(f));
        for acknowledged in [7, 1 << 31] {
            idle.stranger.send(&unanswered(&Packet::tcp(from, to, 0x10, 99, acknowledged)));
            for place in 0..65_536_u32 {
                idle.stranger.send(&unanswered(&Packet::tcp(from, to, 0x14, place << 16, acknowledged)));
            }
            assert!(idle.still_lives(), "{f:?}, {acknowledged}");
        }
    }
}

/// What a translating host finds out of sequence it answers by itself, with a reset of the number that was forged. The client does not
/// mind that reset; neither may the firewall.
#[test]
fn reset_by_which_a_translating_host_answers_a_forged_acknowledgement_ends_no_connection() {
    for f in Family::BOTH {
        let Some(net) = Net::new() else { return };
        let behind = f.at(2, 2, 80);
        let rules = net.scratch("nat.nft");
        std::fs::write(&rules, published(f, behind)).expect("a file");
        let made = net.dut.command("nft").arg("-f").arg(&rules).output().expect("nft starts");
        if !made.status.success() {
            let why = String::from_utf8_lossy(&made.stderr);
            say::aloud(&format!("SKIPPED resets of a translating host, {f:?}: {}", why.trim()));
            continue;
        }
        let published = f.at(1, 1, 8080);
        let listener = sock::listen(&net.dst, behind);
        let Some(mut idle) = Idle::open(net, &listener, published) else { return };
        let observer = Observer::open(&idle.bench.net.src, "eth0", f.ethertype());
        // Well formed, out of every window, with a number of which the connection is far.
        for acknowledged in [7, 1 << 31] {
            idle.stranger.send(&Packet::tcp(idle.from, published, 0x10, 99, acknowledged).to_mac(LEFT_MAC).frame());
        }
        let (protocol, tcp) = if f == Family::V4 { (23, 34) } else { (20, 54) };
        let is_reset = |frame: &[u8]| frame.len() >= tcp + 20 && frame[protocol] == 6 && frame[tcp + 13] & 4 != 0;
        let answered = wait::poll(Duration::from_secs(5), || observer.drain().iter().any(|frame| is_reset(frame)).then_some(()));
        assert!(answered.is_some(), "{f:?}: the host answers with a reset");
        assert!(idle.still_lives(), "{f:?}");
    }
}
