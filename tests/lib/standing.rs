//! Many TCP connections that stand and carry data all the time.

use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::family::Family;
use crate::net::Net;
use crate::sock::{self, Connection};

/// How long one word may take there and back; only a connection that is cut takes as long.
const PATIENCE: Duration = Duration::from_secs(30);

/// Running connections. [`Standing::finish`] tells whether all of them still live.
#[derive(Debug)]
pub struct Standing {
    stop: Arc<AtomicBool>,
    words: Arc<AtomicU64>,
    thread: Option<JoinHandle<Result<Vec<Connection>, usize>>>,
    _listeners: Vec<TcpListener>,
}

impl Standing {
    /// So many connections from `src` to that port of the dut, both families in turn, a pause between two words.
    pub fn start(net: &Net, count: usize, port: u16, pause: Duration) -> Standing {
        let listeners = Family::BOTH.map(|f| sock::listen(&net.dut, f.at(1, 1, port)));
        let open = |n: usize| {
            let (f, listener) = (Family::BOTH[n % 2], &listeners[n % 2]);
            let connect = || TcpStream::connect_timeout(&f.at(1, 1, port), PATIENCE);
            let client = net.src.run(connect).unwrap_or_else(|e| panic!("connection {n}: {e}"));
            let (server, _) = listener.accept().unwrap_or_else(|e| panic!("connection {n}: {e}"));
            [&client, &server].into_iter().for_each(|end| end.set_nodelay(true).expect("no delay"));
            Connection { client, server }
        };
        let mut connections: Vec<Connection> = (0..count).map(open).collect();
        let (stop, words) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (stopped, counted) = (Arc::clone(&stop), Arc::clone(&words));
        let thread = thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                for (n, connection) in connections.iter_mut().enumerate() {
                    if !connection.exchange(PATIENCE) {
                        return Err(n);
                    }
                    counted.fetch_add(1, Ordering::Relaxed);
                    if stopped.load(Ordering::Relaxed) {
                        break;
                    }
                    thread::sleep(pause);
                }
            }
            Ok(connections)
        });
        Standing { stop, words, thread: Some(thread), _listeners: listeners.into() }
    }

    /// Words that went there and back so far.
    pub fn words(&self) -> u64 {
        self.words.load(Ordering::Relaxed)
    }

    /// Whether none has been cut so far.
    pub fn live(&self) -> bool {
        self.thread.as_ref().is_some_and(|thread| !thread.is_finished())
    }

    /// Fails the test unless each of them still carries a word.
    pub fn finish(mut self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        let ended = self.thread.take().expect("a thread").join().expect("the connections");
        let mut connections = ended.unwrap_or_else(|n| panic!("connection {n} was cut after {} words", self.words()));
        for (n, connection) in connections.iter_mut().enumerate() {
            assert!(connection.exchange(PATIENCE), "connection {n} is cut");
        }
        self.words()
    }
}

impl Drop for Standing {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}
