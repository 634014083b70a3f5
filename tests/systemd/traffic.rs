//! Datagrams and connections between the sender and the machine.

use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use netpol_tests::sock::{self, Connection};
use netpol_tests::{Family, machine};

use crate::machine::Machine;

/// A running stream of datagrams to a port that the policy denies, and the socket that must get none of them.
pub struct Denied {
    stop: Arc<AtomicBool>,
    sender: JoinHandle<u64>,
    receiver: UdpSocket,
}

impl Denied {
    /// Datagrams sent, and delivered.
    pub fn end(self) -> (u64, usize) {
        self.stop.store(true, Ordering::Relaxed);
        let sent = self.sender.join().expect("the sender");
        self.receiver.set_nonblocking(true).expect("a socket");
        let mut buffer = [0; 64];
        let mut got = 0;
        while self.receiver.recv_from(&mut buffer).is_ok() {
            got += 1;
        }
        (sent, got)
    }
}

impl Machine {
    fn udp(&self, at: SocketAddr) -> UdpSocket {
        let socket = self.inside(|| UdpSocket::bind(at)).unwrap_or_else(|e| panic!("bind {at}: {e}"));
        socket.set_read_timeout(Some(machine::patience(sock::PATIENCE))).expect("a read timeout");
        socket
    }

    /// Whether a datagram from the sender is delivered to a socket of the machine.
    pub fn arrives(&self, family: Family, port: u16) -> bool {
        let receiver = self.udp(family.at(1, 1, port));
        let sender = sock::udp(&self.src, family.at(1, 2, 0));
        sock::datagram_passes(&sender, &receiver, family.at(1, 1, port))
    }

    /// A standing TCP connection from the sender to a port of the machine.
    pub fn connect(&self, port: u16) -> Connection {
        let at = Family::V4.at(1, 1, port);
        let listener = self.inside(|| TcpListener::bind(at)).unwrap_or_else(|e| panic!("listen on {at}: {e}"));
        Connection::open(&self.src, &listener, at).expect("a connection")
    }

    /// Begins to send datagrams to a port, both families in turn, some thousand a second.
    pub fn flood_of_denied(&self, port: u16) -> Denied {
        let receiver = self.inside(|| UdpSocket::bind(("::", port))).expect("a receiver of both families");
        let senders = Family::BOTH.map(|f| (sock::udp(&self.src, f.at(1, 2, 0)), f.at(1, 1, port)));
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let sender = thread::spawn(move || {
            let mut sent = 0;
            while !stopped.load(Ordering::Relaxed) {
                for (socket, to) in &senders {
                    // Where the machine is going down its end of the link is gone.
                    sent += u64::from(socket.send_to(b"denied", to).is_ok());
                }
                thread::sleep(Duration::from_micros(200));
            }
            sent
        });
        Denied { stop, sender, receiver }
    }
}
