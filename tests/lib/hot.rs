//! An interface that is plugged in while both sides already send: what passes it before it is under policy.
//!
//! The pair is made in `src`, and its host side is moved into the `dut` and raised there by one request, so packets run from the
//! first microsecond. Everything is UDP to one port: what of it comes out at sockets or at the other end has passed.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::family::Family;
use crate::flood::Flood;
use crate::net::Net;
use crate::packet::Packet;
use crate::wire::Observer;
use crate::{sock, sys};

/// MAC address of the host side.
pub const MAC: &str = "02:00:00:00:09:01";
const MAC_BYTES: [u8; 6] = [2, 0, 0, 0, 9, 1];
/// Port of all packets here.
pub const PORT: u16 = 7777;

/// Group of the ends that stay in `src`: all of a group are deleted at once.
const GROUP: u32 = 77;

/// Veth pairs whose host sides are about to be plugged in; deleted on drop.
#[derive(Debug)]
pub struct Hots<'a> {
    net: &'a Net,
    /// Each of them.
    pub each: Vec<Hot<'a>>,
}

impl<'a> Hots<'a> {
    /// Makes pairs in `src` whose host sides have that name, with a number behind it, and indexes from `first` on. The ends that stay
    /// there are up. No one resolves neighbours on them.
    pub fn new(net: &'a Net, name: &str, first: u32, count: u32) -> Hots<'a> {
        let each: Vec<Hot<'a>> = (first..first + count)
            .map(|index| Hot { net, name: format!("{name}{}", index - first), peer: format!("p{index}"), index })
            .collect();
        let lines = each.iter().map(|Hot { name, peer, index, .. }| {
            format!(
                "link add {name} index {index} address {MAC} arp off type veth peer name {peer} arp off group {GROUP}\n\
                 link set {peer} up\n"
            )
        });
        crate::net::batch(&net.src, &lines.collect::<String>());
        Hots { net, each }
    }
}

impl Drop for Hots<'_> {
    fn drop(&mut self) {
        self.net.src.ip(&format!("link del group {GROUP}"));
    }
}

/// One veth pair whose host side is about to be plugged in.
#[derive(Debug)]
pub struct Hot<'a> {
    net: &'a Net,
    /// Name of the host side when it is made.
    pub name: String,
    /// Name of the end in `src`.
    pub peer: String,
    /// Index of the host side, here and there.
    pub index: u32,
}

impl Hot<'_> {
    /// Moves the host side into the dut and raises it, in one request to the kernel.
    pub fn plug(&self) {
        self.net.src.ip(&format!("link set {} up netns {}", self.name, self.net.dut.name()));
    }

    /// Everything at once, from now on.
    pub fn traffic(&self) -> Traffic {
        let (watch, flood) = (self.watch(), self.flood());
        let leaving = Leaving::start(self.net, self.index);
        while flood.rounds() < 5 {
            thread::yield_now();
        }
        Traffic { watch, flood, _leaving: leaving }
    }

    /// Packets from the other end, in both families: to sockets of the dut, and through it to `dst`.
    pub fn flood(&self) -> Flood {
        let packets: Vec<Packet> = Family::BOTH
            .iter()
            .flat_map(|f| [f.at(1, 1, PORT), f.at(2, 2, PORT)].map(|to| Packet::udp(f.at(1, 2, PORT), to).to_mac(MAC_BYTES)))
            .collect();
        Flood::with_pauses(&self.net.src, &self.peer, &packets, Some(Duration::from_micros(5)))
    }

    /// What leaves the host side.
    pub fn watch(&self) -> Watch {
        Watch(Family::BOTH.map(|f| Observer::open(&self.net.src, &self.peer, f.ethertype())))
    }
}

/// Both sides send, and what comes out is counted.
#[derive(Debug)]
pub struct Traffic {
    watch: Watch,
    flood: Flood,
    _leaving: Leaving,
}

impl Traffic {
    /// What has passed since the last time.
    pub fn passed(&self, sinks: &Sinks) -> Passed {
        sinks.passed(Some(&self.watch))
    }

    /// What has passed in a while that begins now, when what is on its way has arrived.
    pub fn passes(&self, sinks: &Sinks) -> Passed {
        thread::sleep(Duration::from_millis(20));
        self.passed(sinks);
        thread::sleep(Duration::from_millis(100));
        self.passed(sinks)
    }

    /// Ends it: frames that were sent to the host side, and what has passed since the last time.
    pub fn end(self, sinks: &Sinks) -> (u64, Passed) {
        let Traffic { watch, flood, _leaving: leaving } = self;
        drop(leaving);
        let sent = flood.stop().frames;
        (sent, sinks.passed(Some(&watch)))
    }
}

/// Watches the other end.
#[derive(Debug)]
pub struct Watch([Observer; 2]);

impl Watch {
    /// Packets of ours that have come out, by family.
    pub fn left(&self) -> [usize; 2] {
        let ours = |frame: &Vec<u8>| {
            let at = if frame[12] == 0x08 { 14 + 20 } else { 14 + 40 };
            frame.get(at + 2..at + 4) == Some(&PORT.to_be_bytes())
        };
        self.0.each_ref().map(|observer| observer.drain().iter().filter(|frame| ours(frame)).count())
    }
}

/// Sockets that receive what has passed.
#[derive(Debug)]
pub struct Sinks {
    local: [UdpSocket; 2],
    beyond: [UdpSocket; 2],
}

/// What has passed, by family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Passed {
    /// To sockets of the dut.
    pub delivered: [usize; 2],
    /// Through it.
    pub forwarded: [usize; 2],
    /// Out of it.
    pub left: [usize; 2],
}

impl Passed {
    /// Nothing at all.
    pub const NOTHING: Passed = Passed { delivered: [0; 2], forwarded: [0; 2], left: [0; 2] };

    /// Some of everything.
    pub fn everything(&self) -> bool {
        self.arrived() && self.left.iter().all(|packets| *packets > 0)
    }

    /// Some of everything that arrives.
    pub fn arrived(&self) -> bool {
        self.delivered.iter().chain(&self.forwarded).all(|packets| *packets > 0)
    }
}

impl Sinks {
    /// In the dut and beyond it.
    pub fn new(net: &Net) -> Sinks {
        let open = |namespace, net, host| {
            Family::BOTH.map(|f| {
                let socket = sock::udp(namespace, f.at(net, host, PORT));
                sys::receive_buffer(&socket, 4 << 20).expect("a larger receive buffer");
                socket.set_nonblocking(true).expect("non-blocking");
                socket
            })
        };
        Sinks { local: open(&net.dut, 1, 1), beyond: open(&net.dst, 2, 2) }
    }

    /// What has come in since the last time; with what has left, where somebody watched.
    pub fn passed(&self, watch: Option<&Watch>) -> Passed {
        let all = |sockets: &[UdpSocket; 2]| sockets.each_ref().map(drained);
        Passed { delivered: all(&self.local), forwarded: all(&self.beyond), left: watch.map_or([0; 2], Watch::left) }
    }
}

fn drained(socket: &UdpSocket) -> usize {
    let mut buffer = [0; 64];
    std::iter::from_fn(|| socket.recv(&mut buffer).ok()).count()
}

/// Datagrams of the dut itself, to multicast groups of the link, from before there is an interface of that index.
#[derive(Debug)]
pub struct Leaving {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Leaving {
    /// Sends until dropped.
    pub fn start(net: &Net, index: u32) -> Leaving {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let [four, six] = Family::BOTH.map(|f| sock::udp(&net.dut, f.at(1, 1, 0)));
        let to_six: SocketAddr = format!("[ff02::1%{index}]:{PORT}").parse().expect("an address");
        let thread = thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                // Before the interface is there, and where the answer is no, these fail.
                if sys::send_multicast_from(&four, index).is_ok() {
                    four.send_to(&[0; 4], ("224.0.0.1", PORT)).unwrap_or_default();
                }
                six.send_to(&[0; 4], to_six).unwrap_or_default();
                // One CPU must be left to those who are tested.
                thread::sleep(Duration::from_micros(20));
            }
        });
        Leaving { stop, thread: Some(thread) }
    }
}

impl Drop for Leaving {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the sender");
        }
    }
}
