//! The server's side of the control socket: a thread for each client, and few of them at a time. It only carries: requests go to the
//! daemon's loop, its answer goes back.
//!
//! Only root can connect; but a script that hangs, a hundred times, must not keep the administrator out.

use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use log::debug;
use serde_json::Value;

use super::super::Trigger;
use super::{Reply, Request, Response, socket_path, write_line};

/// Longest request line: `set replace` brings a whole list, in which each end of a line takes two bytes.
const LONGEST_REQUEST: u64 = 2 * crate::source::MAX_SET_FILE + 4096;
/// How long a silent client may hold its connection, and how long where others wait for its place.
const CLIENT_PATIENCE: Duration = Duration::from_secs(5);
const CROWDED_PATIENCE: Duration = Duration::from_secs(1);
/// How often a silent client is looked at.
const LOOK: Duration = Duration::from_millis(250);
/// How long a client may take for its request in all, however it drips.
const REQUEST_PATIENCE: Duration = Duration::from_secs(30);
/// Clients at a time, and no more than a part of the open files that the daemon may have: others wait in the socket's own queue.
const CLIENTS: u64 = 256;
const SHARE_OF_FILES: u64 = 4;
/// After a connection that could not be accepted (no descriptor is free, no thread).
const REST: Duration = Duration::from_millis(200);
/// Binds the socket (root only) and starts the thread that serves it. `descriptors`: how many files the daemon may have open.
///
/// # Errors
/// When the directory or the socket cannot be made.
pub fn serve(runtime_dir: &Path, send: Sender<Trigger>, descriptors: u64) -> io::Result<()> {
    std::fs::create_dir_all(runtime_dir)?;
    let path = socket_path(runtime_dir);
    // Only the holder of the bpffs lock comes here, so a socket that exists was left by a daemon that is gone; it is replaced.
    // The socket gets its name only when its mode is right: there is no moment in which others could connect.
    let unnamed = runtime_dir.join(format!(".control.{}", std::process::id()));
    let listener = UnixListener::bind(&unnamed)?;
    std::fs::set_permissions(&unnamed, std::fs::Permissions::from_mode(0o600))?;
    std::fs::rename(&unnamed, &path)?;
    let places = Arc::new(Places::new((descriptors / SHARE_OF_FILES).clamp(1, CLIENTS)));
    thread::Builder::new().name("control".into()).spawn(move || {
        loop {
            places.wait();
            if let Err(error) = receive(&listener, &places, &send) {
                debug!("control socket: {error}");
                thread::sleep(REST);
            }
        }
    })?;
    Ok(())
}

/// Takes the next client and gives it a thread.
fn receive(listener: &UnixListener, places: &Arc<Places>, send: &Sender<Trigger>) -> io::Result<()> {
    let (client, _) = listener.accept()?;
    let place = places.take();
    let send = send.clone();
    let serve = move || {
        if let Err(error) = serve_one(client, &place.0, &send) {
            debug!("control socket: {error}");
        }
    };
    thread::Builder::new().name("control-client".into()).spawn(serve).map(drop)
}

/// Places for clients that are left.
struct Places {
    free: Mutex<u64>,
    given_back: Condvar,
}

/// One of them; given back when dropped.
struct Place(Arc<Places>);

impl Places {
    fn new(free: u64) -> Places {
        Places { free: Mutex::new(free), given_back: Condvar::new() }
    }

    fn free(&self) -> MutexGuard<'_, u64> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Until there is one.
    fn wait(&self) {
        let free = self.given_back.wait_while(self.free(), |free| *free == 0);
        drop(free.unwrap_or_else(PoisonError::into_inner));
    }

    fn take(self: &Arc<Places>) -> Place {
        let mut free = self.free();
        *free = free.saturating_sub(1);
        Place(Arc::clone(self))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        *self.0.free() += 1;
        self.0.given_back.notify_one();
    }
}

/// A client that is read from until a moment, and not for long where it says nothing.
struct Until<'a> {
    client: &'a UnixStream,
    places: &'a Places,
    end: Instant,
}

impl Read for Until<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let begin = Instant::now();
        self.client.set_read_timeout(Some(LOOK))?;
        loop {
            match self.client.read(buffer) {
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
                answered => return answered,
            }
            let patience = if *self.places.free() == 0 { CROWDED_PATIENCE } else { CLIENT_PATIENCE };
            if begin.elapsed() >= patience || Instant::now() >= self.end {
                return Err(io::ErrorKind::TimedOut.into());
            }
        }
    }
}

fn serve_one(client: UnixStream, places: &Places, send: &Sender<Trigger>) -> io::Result<()> {
    client.set_write_timeout(Some(CLIENT_PATIENCE))?;
    let mut line = Vec::new();
    let reader = Until { client: &client, places, end: Instant::now() + REQUEST_PATIENCE };
    BufReader::new(reader.take(LONGEST_REQUEST)).read_until(b'\n', &mut line)?;
    let request = match Request::read(&line) {
        Err(error) => {
            let text = format!("request not understood: {error}");
            return write_line(&client, &Reply::Response(Response { exit: 2, text, value: Value::Null }));
        }
        Ok(request) => request,
    };
    drop(line);
    let (reply, replies) = mpsc::channel();
    if send.send(Trigger::Control(request, reply)).is_ok() {
        for reply in replies {
            write_line(&client, &reply)?;
            if matches!(reply, Reply::Response(_)) {
                return Ok(());
            }
        }
    }
    write_line(&client, &Reply::Response(Response { exit: 3, text: "the daemon is stopping".into(), value: Value::Null }))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io::Write;

    use super::super::{Progress, Request, ask};
    use super::*;

    #[test]
    fn request_reaches_the_loop_and_its_answer_comes_back() {
        let dir = tempfile::tempdir().unwrap();
        let (send, triggers) = mpsc::channel();
        serve(dir.path(), send, 1024).unwrap();
        let server = thread::spawn(move || match triggers.recv().unwrap() {
            Trigger::Control(Request::SetShow { name }, reply) => {
                let progress = Progress { what: "looking".into(), done: 1, total: 2 };
                reply.send(Reply::Progress { progress }).unwrap();
                reply.send(Reply::Response(Response { exit: 0, text: name, value: Value::Null })).unwrap();
            }
            other => unreachable!("{other:?}"),
        });
        let mut heard = Vec::new();
        let answer = ask(dir.path(), &Request::SetShow { name: "admins".into() }, &mut |progress| heard.push(progress.done)).unwrap();
        assert_eq!((answer.exit, answer.text.as_str(), heard), (0, "admins", vec![1]));
        server.join().unwrap();
    }

    #[test]
    fn nonsense_is_answered_as_usage() {
        let dir = tempfile::tempdir().unwrap();
        let (send, _triggers) = mpsc::channel();
        serve(dir.path(), send, 1024).unwrap();
        let mut stream = UnixStream::connect(socket_path(dir.path())).unwrap();
        stream.write_all(b"hello\n").unwrap();
        let mut line = String::new();
        BufReader::new(&stream).read_line(&mut line).unwrap();
        assert_eq!(serde_json::from_str::<Response>(&line).unwrap().exit, 2);
    }

    #[test]
    fn silent_clients_hold_few_places_and_others_get_their_turn() {
        let dir = tempfile::tempdir().unwrap();
        let (send, triggers) = mpsc::channel();
        // Two places.
        serve(dir.path(), send, 2 * SHARE_OF_FILES).unwrap();
        thread::spawn(move || {
            for trigger in triggers {
                let Trigger::Control(Request::Status, reply) = trigger else { unreachable!("{trigger:?}") };
                reply.send(Reply::Response(Response { exit: 0, text: String::new(), value: Value::Null })).unwrap();
            }
        });
        let before = std::fs::read_dir("/proc/self/task").unwrap().count();
        let silent: Vec<UnixStream> = (0..6).map(|_| UnixStream::connect(socket_path(dir.path())).unwrap()).collect();
        let begin = Instant::now();
        // The first word of the last ones is heard when those before them have been silent for too long.
        (&silent[5]).write_all(b"{\"command\":\"status\"}\n").unwrap();
        let mut line = String::new();
        thread::sleep(Duration::from_millis(300));
        assert!(std::fs::read_dir("/proc/self/task").unwrap().count() <= before + 12, "threads of other tests, and two");
        BufReader::new(&silent[5]).read_line(&mut line).unwrap();
        assert!(line.contains("\"exit\":0"), "{line}");
        assert!(begin.elapsed() >= CROWDED_PATIENCE, "they had their time");
    }
}
