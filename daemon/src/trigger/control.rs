//! The control socket: one JSON line in, one JSON line out, both ways of it; where the work takes long, lines that say how far it
//! is come before.
//!
//! What is said on it stands here, with the client's side, which the commands use; [`serve`] is the daemon's side.

mod serve;

use std::io::{self, BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use serve::serve;

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
