//! A stream of frames as fast as one thread can send, each kind counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::ns::Namespace;
use crate::packet::Packet;
use crate::sys;
use crate::wire::Sender;

/// A running flood.
#[derive(Debug)]
pub struct Flood {
    stop: Arc<AtomicBool>,
    rounds: Arc<AtomicU64>,
    frames: usize,
    begin: Instant,
    thread: Option<JoinHandle<()>>,
}

/// What a flood has sent.
#[derive(Debug, Clone, Copy)]
pub struct Sent {
    /// How often each frame was sent.
    pub rounds: u64,
    /// All frames.
    pub frames: u64,
    /// How long it took.
    pub time: Duration,
}

impl Sent {
    /// Frames in a second.
    pub fn rate(&self) -> u64 {
        (self.frames as f64 / self.time.as_secs_f64()) as u64
    }
}

impl Flood {
    /// Sends the packets in turn, round after round, until stopped. Rounds are whole.
    pub fn start(from: &Namespace, link: &str, packets: &[Packet]) -> Flood {
        Flood::with_pauses(from, link, packets, None)
    }

    /// The same, with a pause after each round: a CPU that does nothing but send keeps the kernel from everything else.
    pub fn with_pauses(from: &Namespace, link: &str, packets: &[Packet], pause: Option<Duration>) -> Flood {
        let sender = Sender::open(from, link);
        let frames: Vec<Vec<u8>> = packets.iter().map(Packet::frame).collect();
        let stop = Arc::new(AtomicBool::new(false));
        let rounds = Arc::new(AtomicU64::new(0));
        let (stopped, counted, count) = (Arc::clone(&stop), Arc::clone(&rounds), frames.len());
        let thread = thread::spawn(move || {
            sys::stay_on_cpu(0).expect("a CPU to stay on");
            while !stopped.load(Ordering::Relaxed) {
                for frame in &frames {
                    sender.send(frame);
                }
                counted.fetch_add(1, Ordering::Relaxed);
                if let Some(pause) = pause {
                    thread::sleep(pause);
                }
            }
        });
        Flood { stop, rounds, frames: count, begin: Instant::now(), thread: Some(thread) }
    }

    /// Rounds sent so far.
    pub fn rounds(&self) -> u64 {
        self.rounds.load(Ordering::Relaxed)
    }

    /// Ends it.
    pub fn stop(mut self) -> Sent {
        self.halt();
        let rounds = self.rounds();
        Sent { rounds, frames: rounds * self.frames as u64, time: self.begin.elapsed() }
    }

    fn halt(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the flood");
        }
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        if self.thread.is_some() {
            self.stop.store(true, Ordering::Relaxed);
        }
    }
}
