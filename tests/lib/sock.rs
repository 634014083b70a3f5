//! Ordinary sockets in namespaces: what real programs see of a verdict.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use crate::machine;
use crate::ns::Namespace;

/// Long enough for any packet that is let through, short enough for many that are not.
pub const PATIENCE: Duration = Duration::from_millis(400);

/// A listening socket in a namespace.
pub fn listen(namespace: &Namespace, at: SocketAddr) -> TcpListener {
    namespace.run(|| bound(|| TcpListener::bind(at))).unwrap_or_else(|e| panic!("listen on {at}: {e}"))
}

/// A process that another test is just starting has our descriptors until it becomes another program: an address whose socket was
/// closed is taken for that moment.
fn bound<T>(bind: impl Fn() -> io::Result<T>) -> io::Result<T> {
    let end = Instant::now() + Duration::from_secs(1);
    loop {
        match bind() {
            Err(e) if e.kind() == ErrorKind::AddrInUse && Instant::now() < end => std::thread::sleep(Duration::from_millis(5)),
            answer => return answer,
        }
    }
}

/// A UDP socket in a namespace.
pub fn udp(namespace: &Namespace, at: SocketAddr) -> UdpSocket {
    let socket = namespace.run(|| bound(|| UdpSocket::bind(at))).unwrap_or_else(|e| panic!("bind {at}: {e}"));
    socket.set_read_timeout(Some(machine::patience(PATIENCE))).expect("a read timeout");
    socket
}

/// Connects from a namespace.
///
/// # Errors
/// `TimedOut` where the SYN or its answer was dropped.
pub fn connect(namespace: &Namespace, to: SocketAddr) -> io::Result<TcpStream> {
    namespace.run(|| TcpStream::connect_timeout(&to, machine::patience(PATIENCE)))
}

/// Whether a datagram from `from` comes out at `to`.
pub fn datagram_passes(from: &UdpSocket, to: &UdpSocket, address: SocketAddr) -> bool {
    let word = crate::packet_l4::unique().to_be_bytes();
    match from.send_to(&word, address) {
        Ok(_) => {}
        Err(e) if e.kind() == ErrorKind::PermissionDenied => return false,
        Err(e) => panic!("send to {address}: {e}"),
    }
    let mut buffer = [0; 64];
    loop {
        match to.recv_from(&mut buffer) {
            Ok((4, _)) if buffer[..4] == word => return true,
            Ok(_) => {}
            Err(e) if e.kind() == ErrorKind::WouldBlock => return false,
            // A receive with a timeout is not restarted by the kernel.
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => panic!("receive: {e}"),
        }
    }
}

/// Both ends of a TCP connection.
#[derive(Debug)]
pub struct Connection {
    /// The end that opened it.
    pub client: TcpStream,
    /// The other end.
    pub server: TcpStream,
}

impl Connection {
    /// Opens one from a namespace to a listener that stands at `to`.
    ///
    /// # Errors
    /// As [`connect`].
    pub fn open(from: &Namespace, listener: &TcpListener, to: SocketAddr) -> io::Result<Connection> {
        let client = connect(from, to)?;
        let (server, _) = listener.accept()?;
        for end in [&client, &server] {
            end.set_nodelay(true)?;
        }
        Ok(Connection { client, server })
    }

    /// Whether a word gets from client to server and back within a time (longer on an emulated machine).
    pub fn exchange(&mut self, limit: Duration) -> bool {
        let word = crate::packet_l4::unique().to_be_bytes();
        pass(&mut self.client, &mut self.server, word, limit) && pass(&mut self.server, &mut self.client, word, limit)
    }

    /// [`Connection::exchange`] within the usual time.
    pub fn lives(&mut self) -> bool {
        self.exchange(Duration::from_secs(2))
    }

    /// Whether nothing gets through any more.
    pub fn is_cut(&mut self) -> bool {
        !self.exchange(PATIENCE)
    }
}

fn pass(from: &mut TcpStream, to: &mut TcpStream, word: [u8; 4], limit: Duration) -> bool {
    to.set_read_timeout(Some(machine::patience(limit))).expect("a read timeout");
    let mut buffer = [0; 4];
    from.write_all(&word).is_ok() && to.read_exact(&mut buffer).is_ok()
}
