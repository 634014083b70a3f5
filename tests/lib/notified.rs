//! What a daemon tells its service manager (sd_notify(3)), with the time of arrival: a thread reads the socket all the time.

use std::os::unix::net::UnixDatagram;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::wait;

/// One datagram: when it came, and its lines.
#[derive(Debug, Clone)]
pub struct Message {
    /// Arrival.
    pub at: Instant,
    /// `KEY=value`, in order.
    pub lines: Vec<String>,
}

impl Message {
    /// The value of a key.
    pub fn value(&self, key: &str) -> Option<&str> {
        self.lines.iter().find_map(|line| line.strip_prefix(key)?.strip_prefix('='))
    }
}

/// A service manager that only listens.
#[derive(Debug)]
pub struct Notified {
    heard: Arc<Mutex<Vec<Message>>>,
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Notified {
    /// Reads that socket from now on.
    pub fn listen(socket: UnixDatagram) -> Notified {
        socket.set_read_timeout(Some(Duration::from_millis(50))).expect("a read timeout");
        let (heard, ends) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let (writing, ending) = (Arc::clone(&heard), Arc::clone(&ends));
        let reader = move || {
            let mut buffer = [0; 4096];
            while !ending.load(Ordering::Relaxed) {
                let Ok(length) = socket.recv(&mut buffer) else { continue };
                let lines = String::from_utf8_lossy(&buffer[..length]).lines().map(str::to_owned).collect();
                writing.lock().expect("no reader fails").push(Message { at: Instant::now(), lines });
            }
        };
        Notified { heard, ends, thread: Some(thread::spawn(reader)) }
    }

    /// Everything so far, in order.
    pub fn all(&self) -> Vec<Message> {
        self.heard.lock().expect("the reader lives").clone()
    }

    /// Everything from a moment on that has this key.
    pub fn since(&self, begin: Instant, key: &str) -> Vec<Message> {
        self.all().into_iter().filter(|message| message.at >= begin && message.value(key).is_some()).collect()
    }

    /// Waits until a message with this key has come since a moment.
    pub fn wait(&self, begin: Instant, key: &str) -> Message {
        let found = wait::poll(Duration::from_secs(30), || self.since(begin, key).into_iter().next());
        found.unwrap_or_else(|| panic!("no {key} within 30 s; heard: {:?}", self.all()))
    }
}

impl Drop for Notified {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            assert!(thread.join().is_ok() || thread::panicking(), "the listener has failed");
        }
    }
}
