//! The metrics listener: HTTP in, a request to the loop, its answer out. Runs only where `[daemon] metrics` names an address.
//!
//! Like the control socket it only carries; it answers nothing but `GET /metrics`, one request a connection. Whoever can reach the
//! address may connect: so connections are few, short in bytes and short in time, whatever their other ends do.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use log::{debug, warn};
use rustix::net::{Shutdown, shutdown};

use super::Trigger;
use super::control::{Reply, Request};
use crate::report::metrics::CONTENT_TYPE;

/// How long a page may take; the loop may be busy with a large ruleset.
const PATIENCE: Duration = Duration::from_secs(15);
/// How long a client may take for its request, and again for taking the page.
const CLIENT_PATIENCE: Duration = Duration::from_secs(3);
/// Longest request.
const LONGEST_REQUEST: usize = 8192;
/// Connections at a time; one more is closed unheard.
const CLIENTS: usize = 8;
/// After a connection that could not be accepted (no descriptor is free).
const REST: Duration = Duration::from_millis(200);

const PLAIN: &str = "text/plain; charset=utf-8";

/// A listener; it stops when dropped.
pub struct Listener {
    address: SocketAddr,
    socket: Arc<TcpListener>,
    stops: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Listener {
    /// Listens, and answers on threads of its own.
    ///
    /// # Errors
    /// When the address cannot be had, or no thread.
    pub fn start(address: SocketAddr, send: Sender<Trigger>) -> io::Result<Listener> {
        let socket = Arc::new(TcpListener::bind(address)?);
        let stops = Arc::new(AtomicBool::new(false));
        let (listening, stopping) = (Arc::clone(&socket), Arc::clone(&stops));
        let thread = thread::Builder::new().name("metrics".into()).spawn(move || listen(&listening, &stopping, &send))?;
        Ok(Listener { address, socket, stops, thread: Some(thread) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Listener {
    /// The address is free afterwards.
    fn drop(&mut self) {
        self.stops.store(true, Ordering::Release);
        if let Err(error) = shutdown(&*self.socket, Shutdown::Both) {
            warn!("metrics: the listener does not end: {error}");
            return;
        }
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            warn!("metrics: the listener has failed");
        }
    }
}

fn listen(socket: &TcpListener, stops: &AtomicBool, send: &Sender<Trigger>) {
    let clients = Arc::new(AtomicUsize::new(0));
    while !stops.load(Ordering::Acquire) {
        match socket.accept() {
            Ok((client, _)) => receive(client, &clients, send),
            Err(_) if stops.load(Ordering::Acquire) => return,
            Err(error) => {
                debug!("metrics: {error}");
                thread::sleep(REST);
            }
        }
    }
}

/// Gives a client a thread, where one is left.
fn receive(client: TcpStream, clients: &Arc<AtomicUsize>, send: &Sender<Trigger>) {
    if clients.fetch_add(1, Ordering::AcqRel) >= CLIENTS {
        clients.fetch_sub(1, Ordering::AcqRel);
        return;
    }
    let place = Place(Arc::clone(clients));
    let send = send.clone();
    let served = thread::Builder::new().name("metrics-client".into()).spawn(move || {
        let _place = place;
        if let Err(error) = serve(&client, &send) {
            debug!("metrics: {error}");
        }
    });
    if let Err(error) = served {
        debug!("metrics: {error}");
    }
}

/// One of the [`CLIENTS`]; given back when dropped.
struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

fn serve(client: &TcpStream, send: &Sender<Trigger>) -> io::Result<()> {
    let asked = read_request(client, Instant::now() + CLIENT_PATIENCE)?;
    let (status, media, text) = answer(&asked, send);
    let length = text.len();
    let page = format!("HTTP/1.1 {status}\r\nContent-Type: {media}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{text}");
    write_page(client, page.as_bytes(), Instant::now() + CLIENT_PATIENCE)
}

/// The first line of a request, when all of its head is there.
fn read_request(mut client: &TcpStream, end: Instant) -> io::Result<String> {
    let (mut head, mut part) = (Vec::new(), [0; 1024]);
    while !head.windows(4).any(|bytes| bytes == b"\r\n\r\n") {
        if head.len() > LONGEST_REQUEST {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a request that is too long"));
        }
        client.set_read_timeout(Some(left(end)?))?;
        match client.read(&mut part)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => head.extend_from_slice(&part[..read]),
        }
    }
    let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
    Ok(String::from_utf8_lossy(line).into_owned())
}

fn write_page(mut client: &TcpStream, mut page: &[u8], end: Instant) -> io::Result<()> {
    while !page.is_empty() {
        client.set_write_timeout(Some(left(end)?))?;
        match client.write(page)? {
            0 => return Err(io::ErrorKind::WriteZero.into()),
            written => page = &page[written..],
        }
    }
    Ok(())
}

/// Time until then; none left is an error.
fn left(end: Instant) -> io::Result<Duration> {
    let left = end.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
}

/// Status, media type and text.
fn answer(asked: &str, send: &Sender<Trigger>) -> (&'static str, &'static str, String) {
    let mut words = asked.split(' ');
    if (words.next(), words.next()) != (Some("GET"), Some("/metrics")) {
        return ("404 Not Found", PLAIN, "GET /metrics\n".into());
    }
    let (reply, answer) = mpsc::channel();
    let asked = send.send(Trigger::Control(Request::Metrics, reply)).is_ok();
    match answer.recv_timeout(PATIENCE) {
        Ok(Reply::Response(response)) if asked && response.exit == 0 => ("200 OK", CONTENT_TYPE, response.text),
        Ok(Reply::Response(response)) => ("503 Service Unavailable", PLAIN, response.text),
        Ok(Reply::Progress { .. }) | Err(_) => ("503 Service Unavailable", PLAIN, "the daemon does not answer\n".into()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::Value;

    use super::super::control::Response;
    use super::*;

    /// A listener on a port of the system's choice, and a loop that answers with a page of that many bytes.
    fn serving(bytes: usize) -> (Listener, SocketAddr) {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let (send, triggers) = mpsc::channel();
        thread::spawn(move || {
            for trigger in triggers {
                let Trigger::Control(Request::Metrics, reply) = trigger else { unreachable!("{trigger:?}") };
                reply.send(Reply::Response(Response { exit: 0, text: "x".repeat(bytes), value: Value::Null })).unwrap();
            }
        });
        (Listener::start(address, send).unwrap(), address)
    }

    fn get(address: SocketAddr, request: &str) -> io::Result<String> {
        let mut stream = TcpStream::connect(address)?;
        stream.write_all(request.as_bytes())?;
        let mut page = String::new();
        stream.read_to_string(&mut page).map(|_| page)
    }

    fn is_served(address: SocketAddr) -> bool {
        get(address, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").is_ok_and(|page| page.contains(" 200 OK"))
    }

    #[test]
    fn page_is_served_and_nothing_else() {
        let (listener, address) = serving(3);
        let page = get(address, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        assert!(page.starts_with("HTTP/1.1 200 OK\r\n") && page.ends_with("\r\n\r\nxxx"), "{page}");
        for other in ["GET / HTTP/1.1\r\n\r\n", "POST /metrics HTTP/1.1\r\n\r\n", "nonsense\r\n\r\n"] {
            assert!(get(address, other).unwrap().contains(" 404 "), "{other}");
        }
        drop(listener);
        assert!(TcpStream::connect(address).is_err());
        TcpListener::bind(address).unwrap();
    }

    #[test]
    fn silent_clients_and_those_that_take_nothing_hold_few_places_and_not_for_long() {
        let (_listener, address) = serving(32 << 20);
        let asking = || {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.write_all(b"GET /metrics HTTP/1.1\r\n\r\n").unwrap();
            stream
        };
        let before = thread_count();
        let clients: Vec<TcpStream> = (0..100).map(|n| if n < 4 { asking() } else { TcpStream::connect(address).unwrap() }).collect();
        thread::sleep(Duration::from_millis(300));
        assert!(thread_count() <= before + CLIENTS + 8, "{} threads", thread_count());
        thread::sleep(CLIENT_PATIENCE);
        let end = Instant::now() + Duration::from_secs(10);
        while !is_served(address) {
            assert!(Instant::now() < end, "places are not given back");
        }
        drop(clients);
    }

    fn thread_count() -> usize {
        std::fs::read_dir("/proc/self/task").unwrap().count()
    }
}
