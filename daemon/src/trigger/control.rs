//! The control socket: one JSON line in, one JSON line out, both ways of it; where the work takes long, lines that say how far it
//! is come before.
//!
//! The server thread only carries: requests go to the daemon's loop, its answer goes back. The client side is used by the commands.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Sender};
use std::thread;
use std::time::Duration;

use log::debug;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Trigger;

/// Longest request line: `set replace` brings a whole list, in which each end of a line takes two bytes.
const LONGEST_REQUEST: u64 = 2 * crate::source::MAX_SET_FILE + 4096;
/// How long a silent client may hold its connection.
const CLIENT_PATIENCE: Duration = Duration::from_secs(5);
/// How long a command waits for the answer to a question; the daemon may be busy with a large ruleset.
const ANSWER_PATIENCE: Duration = Duration::from_secs(15);
/// The same where something has to be done.
const WORK_PATIENCE: Duration = Duration::from_secs(300);

/// What a command asks of the daemon.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case")]
pub enum Request {
    /// `status`
    Status,
    /// `rules`
    Rules,
    /// `apply`: read the directory and make it live now.
    Apply {
        /// On trial: without `confirm` in time the former ruleset returns.
        confirm: Option<Trial>,
        /// The SSH session of whoever asks.
        session: Option<Session>,
    },
    /// `confirm`
    Confirm,
    /// `rollback`
    Rollback,
    /// `detach`: take the programs off all interfaces and stay so until `apply`.
    Detach,
    /// A page of metrics; asked by the HTTP listener, not by a command.
    Metrics,
    /// `set list`
    SetList,
    /// `set show NAME`
    SetShow {
        /// The set's name.
        name: String,
    },
    /// `set add NAME ELEMENT…`
    SetAdd {
        /// The set's name.
        name: String,
        /// Addresses, CIDRs, ranges.
        elements: Vec<String>,
        /// How long they stay.
        lifetime: Lifetime,
    },
    /// `set del NAME ELEMENT…`
    SetDel {
        /// The set's name.
        name: String,
        /// Addresses, CIDRs, ranges.
        elements: Vec<String>,
    },
    /// `set flush NAME`
    SetFlush {
        /// The set's name.
        name: String,
    },
    /// `set replace NAME FILE`
    SetReplace {
        /// The set's name.
        name: String,
        /// As the user calls it.
        file: String,
        /// What it says.
        list: String,
        /// How long its elements stay.
        lifetime: Lifetime,
    },
}

/// How long an element stays in a dynamic set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Lifetime {
    /// As long as the set's `timeout` says.
    Usual,
    /// Until somebody takes it out.
    Forever,
    /// So many seconds.
    Seconds(u64),
}

impl Request {
    /// Understands a line.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(line: &[u8]) -> serde_json::Result<Request> {
        serde_json::from_slice(line)
    }

    /// The command, for the log.
    pub fn name(&self) -> &'static str {
        use Request::*;
        match self {
            Status => "status",
            Rules => "rules",
            Metrics => "metrics",
            Apply { .. } => "apply",
            Confirm => "confirm",
            Rollback => "rollback",
            Detach => "detach",
            SetList => "set list",
            SetShow { .. } => "set show",
            SetAdd { .. } => "set add",
            SetDel { .. } => "set del",
            SetFlush { .. } => "set flush",
            SetReplace { .. } => "set replace",
        }
    }

    /// Something has to be done, which may take its time.
    fn works(&self) -> bool {
        use Request::*;
        matches!(self, Apply { .. } | Confirm | Rollback | Detach | SetAdd { .. } | SetDel { .. } | SetFlush { .. } | SetReplace { .. })
    }
}

/// `--confirm` of `apply`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trial {
    /// How long; `None` = as `[daemon]` says.
    pub seconds: Option<u64>,
}

/// A TCP connection to this host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// Who connected.
    pub remote: SocketAddr,
    /// To what.
    pub local: SocketAddr,
}

/// What the daemon answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Response {
    /// Exit code of the command, by the table of the manual: 0 done, 1 refused, 2 bad policy, 3 kernel.
    pub exit: u8,
    /// For people; may be empty.
    pub text: String,
    /// For scripts.
    pub value: Value,
}

/// How far a piece of work is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// What is being done.
    pub what: String,
    /// So much of it.
    pub done: u64,
    /// Of so much.
    pub total: u64,
}

/// What comes back on the connection, a line each; the response is the last.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Reply {
    /// Not done yet.
    Progress {
        /// How far it is.
        progress: Progress,
    },
    /// Done.
    Response(Response),
}

/// The path of the socket in a runtime directory.
pub fn socket_path(runtime_dir: &Path) -> PathBuf {
    runtime_dir.join("control.sock")
}

/// Binds the socket (root only) and starts the thread that serves it.
///
/// # Errors
/// When the directory or the socket cannot be made.
pub fn serve(runtime_dir: &Path, send: Sender<Trigger>) -> io::Result<()> {
    std::fs::create_dir_all(runtime_dir)?;
    let path = socket_path(runtime_dir);
    // Only the holder of the bpffs lock comes here, so a socket that exists was left by a daemon that is gone; it is replaced.
    // The socket gets its name only when its mode is right: there is no moment in which others could connect.
    let unnamed = runtime_dir.join(format!(".control.{}", std::process::id()));
    let listener = UnixListener::bind(&unnamed)?;
    std::fs::set_permissions(&unnamed, std::fs::Permissions::from_mode(0o600))?;
    std::fs::rename(&unnamed, &path)?;
    thread::Builder::new().name("control".into()).spawn(move || {
        for client in listener.incoming() {
            let send = send.clone();
            let served = client.and_then(|client| {
                let name = "control-client".to_string();
                thread::Builder::new().name(name).spawn(move || {
                    if let Err(error) = serve_one(client, &send) {
                        debug!("control socket: {error}");
                    }
                })
            });
            if let Err(error) = served {
                debug!("control socket: {error}");
            }
        }
    })?;
    Ok(())
}

fn serve_one(client: UnixStream, send: &Sender<Trigger>) -> io::Result<()> {
    client.set_read_timeout(Some(CLIENT_PATIENCE))?;
    client.set_write_timeout(Some(CLIENT_PATIENCE))?;
    let mut line = Vec::new();
    BufReader::new(Read::take(&client, LONGEST_REQUEST)).read_until(b'\n', &mut line)?;
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

fn write_line(mut to: &UnixStream, line: &impl Serialize) -> io::Result<()> {
    let mut bytes = serde_json::to_vec(line)?;
    bytes.push(b'\n');
    to.write_all(&bytes)
}

/// Asks the daemon that serves `runtime_dir`; `tell` hears how far it is.
///
/// # Errors
/// When no daemon answers there, or not in time.
pub fn ask(runtime_dir: &Path, request: &Request, tell: &mut dyn FnMut(&Progress)) -> io::Result<Response> {
    let stream = UnixStream::connect(socket_path(runtime_dir))?;
    stream.set_read_timeout(Some(if request.works() { WORK_PATIENCE } else { ANSWER_PATIENCE }))?;
    write_line(&stream, request)?;
    let mut lines = BufReader::new(&stream);
    loop {
        let mut line = String::new();
        lines.read_line(&mut line)?;
        if line.is_empty() {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the daemon closed the connection without an answer"));
        }
        match serde_json::from_str(&line)? {
            Reply::Progress { progress } => tell(&progress),
            Reply::Response(response) => return Ok(response),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn request_reaches_the_loop_and_its_answer_comes_back() {
        let dir = tempfile::tempdir().unwrap();
        let (send, triggers) = mpsc::channel();
        serve(dir.path(), send).unwrap();
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
        serve(dir.path(), send).unwrap();
        let mut stream = UnixStream::connect(socket_path(dir.path())).unwrap();
        stream.write_all(b"hello\n").unwrap();
        let mut line = String::new();
        BufReader::new(&stream).read_line(&mut line).unwrap();
        assert_eq!(serde_json::from_str::<Response>(&line).unwrap().exit, 2);
    }
}
