//! A flood of everything that is hostile, at a bounded rate: forged SYNs, datagrams, echo requests and fragments, broken packets, and
//! without end what every policy denies.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use netpol_tests::net::LEFT_MAC;
use netpol_tests::ns::Namespace;
use netpol_tests::wire::Sender;
use netpol_tests::{Family, Packet};

use crate::world::{LOGGED, NEVER, VARIANTS};

/// Between two handfuls.
const TICK: Duration = Duration::from_millis(5);

/// Running until dropped.
pub struct Flood {
    stop: Arc<AtomicBool>,
    rests: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Flood {
    /// So many packets a second, to `left`.
    pub fn start(from: &Namespace, rate: u32) -> Flood {
        let sender = Sender::open(from, "eth0");
        let frames: Vec<Vec<u8>> = packets().iter().map(Packet::frame).collect();
        let [stop, rests] = [(); 2].map(|()| Arc::new(AtomicBool::new(false)));
        let sent = Arc::new(AtomicU64::new(0));
        let (stopped, resting, counted) = (Arc::clone(&stop), Arc::clone(&rests), Arc::clone(&sent));
        let handful = (rate / 200).max(1) as usize;
        let thread = thread::spawn(move || {
            let mut frames = frames.iter().cycle();
            while !stopped.load(Ordering::Relaxed) {
                if !resting.load(Ordering::Relaxed) {
                    frames.by_ref().take(handful).for_each(|frame| sender.send(frame));
                    counted.fetch_add(handful as u64, Ordering::Relaxed);
                }
                thread::sleep(TICK);
            }
        });
        Flood { stop, rests, sent, thread: Some(thread) }
    }

    /// Nothing is sent for a while.
    pub fn rest(&self, rests: bool) {
        self.rests.store(rests, Ordering::Relaxed);
    }

    /// Packets so far.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic of the flood has been told already.
            drop(thread.join());
        }
    }
}

fn packets() -> Vec<Packet> {
    (0..20_000u32).flat_map(|n| Family::BOTH.map(|f| packet(f, n))).collect()
}

fn packet(f: Family, n: u32) -> Packet {
    let forged = f.at(20 + (n / 200 % 200) as u8, (n % 200) as u8, 1024 + (n % 50_000) as u16);
    let host = |port| f.at(1, 1, port);
    match n % 8 {
        0 => Packet::syn(forged, host(80)),
        1 => Packet::udp(forged, host(3000 + (n / 8) as u16 % VARIANTS)),
        2 => Packet::echo(forged.ip(), host(0).ip(), f.echo().0, n as u16),
        3 => Packet::udp_with(forged, host(NEVER), &[7; 120]).piece(n, 0, 64).to_mac(LEFT_MAC),
        4 => Packet::udp_with(forged, host(NEVER), &[7; 120]).piece(n - 1, 64, 999).to_mac(LEFT_MAC),
        5 => Packet::udp(forged, host(LOGGED)),
        6 => {
            let broken = Packet::udp(forged, host(NEVER));
            let length = broken.l3().len();
            broken.cut(1 + n as usize / 8 % length).to_mac(LEFT_MAC)
        }
        _ => Packet::udp(f.at(1, 2, 1024 + (n % 50_000) as u16), host(NEVER)).to_mac(LEFT_MAC),
    }
}
