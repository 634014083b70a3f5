//! The daemon under test, in the dut namespace, with its own notification socket.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, ExitStatus};
use std::time::{Duration, Instant};

use crate::cli::binary;
use crate::machine::patience;
use crate::net::Net;
use crate::notified::Notified;
use crate::{sys, wait};

/// How long a start may take, on a busy machine.
const START: Duration = Duration::from_secs(120);

/// A running daemon; killed on drop. What it attached is removed with the namespace.
#[derive(Debug)]
pub struct Daemon {
    child: Child,
    log: PathBuf,
    /// From the start of the process to `READY=1`.
    pub ready_after: Duration,
}

impl Daemon {
    /// Starts it and waits for `READY=1`.
    pub fn start(net: &Net) -> Daemon {
        Daemon::try_start(net).unwrap_or_else(|why| panic!("the daemon did not become ready: {why}"))
    }

    /// Starts it; an error tells how it ended, with what it wrote.
    ///
    /// # Errors
    /// Its exit status, or the timeout, with its log.
    pub fn try_start(net: &Net) -> Result<Daemon, String> {
        Daemon::try_start_by(net, &binary(), &[], |_| ())
    }

    /// [`Daemon::try_start`] with more options.
    ///
    /// # Errors
    /// The same.
    pub fn try_start_as(net: &Net, options: &[&str]) -> Result<Daemon, String> {
        Daemon::try_start_under(net, &[], |command| {
            command.args(options);
        })
    }

    /// [`Daemon::start`] of another binary.
    pub fn start_of(net: &Net, binary: &Path) -> Daemon {
        Daemon::try_start_of(net, binary).unwrap_or_else(|why| panic!("{} did not become ready: {why}", binary.display()))
    }

    /// [`Daemon::try_start`] of another binary.
    ///
    /// # Errors
    /// The same.
    pub fn try_start_of(net: &Net, binary: &Path) -> Result<Daemon, String> {
        Daemon::try_start_by(net, binary, &[], |_| ())
    }

    /// Starts it by other programs (`prlimit …`), each of which must become the next, in surroundings that `prepare` changes.
    pub fn start_under(net: &Net, by: &[&str], prepare: impl FnOnce(&mut Command)) -> Daemon {
        Daemon::try_start_under(net, by, prepare).unwrap_or_else(|why| panic!("the daemon did not become ready under {by:?}: {why}"))
    }

    /// The same; an error tells how it ended, with what it wrote.
    ///
    /// # Errors
    /// As [`Daemon::try_start`].
    pub fn try_start_under(net: &Net, by: &[&str], prepare: impl FnOnce(&mut Command)) -> Result<Daemon, String> {
        Daemon::try_start_by(net, &binary(), by, prepare)
    }

    fn try_start_by(net: &Net, binary: &Path, by: &[&str], prepare: impl FnOnce(&mut Command)) -> Result<Daemon, String> {
        let (notify, path) = socket(net)?;
        notify.set_read_timeout(Some(Duration::from_millis(20))).expect("a read timeout");
        let begin = Instant::now();
        let mut daemon = Daemon::spawn(net, binary, by, |command| prepare(command.env("NOTIFY_SOCKET", path)))?;
        daemon.wait_ready(&notify, begin)?;
        Ok(daemon)
    }

    /// Starts it under a service manager that listens to all it says, for as long as the answer lives; does not wait.
    /// `wrapper` and its arguments stand before the binary, `variables` in its environment.
    pub fn heard(net: &Net, wrapper: &[&str], variables: &[(&str, &str)]) -> (Daemon, Notified) {
        let (notify, path) = socket(net).unwrap_or_else(|why| panic!("{why}"));
        let notified = Notified::listen(notify);
        let spawned = Daemon::spawn(net, &binary(), wrapper, |command| {
            command.env("NOTIFY_SOCKET", path).envs(variables.iter().copied());
        });
        (spawned.unwrap_or_else(|why| panic!("{why}")), notified)
    }

    fn spawn(net: &Net, binary: &Path, by: &[&str], prepare: impl FnOnce(&mut Command)) -> Result<Daemon, String> {
        let log = net.scratch("daemon.log");
        let file = File::options().create(true).append(true).open(&log).map_err(|e| format!("{}: {e}", log.display()))?;
        let binary = binary.display().to_string();
        let line: Vec<&str> = by.iter().copied().chain([binary.as_str(), "run"]).collect();
        let mut command = net.dut.command(line[0]);
        command.args(&line[1..]).args(net.options()).env("NO_COLOR", "1").stdout(file.try_clone().map_err(|e| e.to_string())?).stderr(file);
        prepare(&mut command);
        let child = command.spawn().map_err(|e| e.to_string())?;
        Ok(Daemon { child, log, ready_after: Duration::ZERO })
    }

    fn wait_ready(&mut self, notify: &UnixDatagram, begin: Instant) -> Result<(), String> {
        let mut buffer = [0; 4096];
        while begin.elapsed() < patience(START) {
            match notify.recv(&mut buffer) {
                Ok(length) if String::from_utf8_lossy(&buffer[..length]).lines().any(|line| line == "READY=1") => {
                    self.ready_after = begin.elapsed();
                    return Ok(());
                }
                Ok(_) => continue,
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
                Err(e) => return Err(e.to_string()),
            }
            if let Some(status) = self.child.try_wait().map_err(|e| e.to_string())? {
                return Err(format!("{status}\n{}", self.log()));
            }
        }
        Err(format!("nothing within {:?}\n{}", patience(START), self.log()))
    }

    /// Everything that daemons of this test have written.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_else(|e| panic!("{}: {e}", self.log.display()))
    }

    /// The lines of the log that hold all of these words, in whatever case.
    pub fn lines_with(&self, words: &[&str]) -> Vec<String> {
        let words: Vec<String> = words.iter().map(|word| word.to_lowercase()).collect();
        let holds = |line: &&str| words.iter().all(|word| line.to_lowercase().contains(word));
        self.log().lines().filter(holds).map(str::to_owned).collect()
    }

    /// Waits until the log has so many lines with these words, then a little longer, and answers with all of them.
    pub fn wait_lines(&self, count: usize, words: &[&str]) -> Vec<String> {
        let enough = wait::poll(Duration::from_secs(5), || (self.lines_with(words).len() >= count).then_some(()));
        assert!(enough.is_some(), "{count} lines with {words:?} in the log:\n{}", self.log());
        std::thread::sleep(Duration::from_millis(300));
        self.lines_with(words)
    }

    /// Its process id.
    pub fn process(&self) -> u32 {
        self.child.id()
    }

    /// Whether it still runs.
    pub fn lives(&mut self) -> bool {
        self.child.try_wait().expect("the state of a child").is_none()
    }

    /// Dies at once, without any chance to clean up.
    pub fn kill(&mut self) {
        self.child.kill().expect("kill -9");
        self.child.wait().expect("the end of a child");
    }

    /// Stops running, and goes on, without knowing of it.
    pub fn freeze(&self, frozen: bool) {
        sys::signal(self.process(), if frozen { libc::SIGSTOP } else { libc::SIGCONT }).expect("a signal");
    }

    /// Its standard error, where it was given a pipe.
    pub fn standard_error(&mut self) -> ChildStderr {
        self.child.stderr.take().expect("a pipe that nobody has taken yet")
    }

    /// How it ended, where it has within that time.
    pub fn ended(&mut self, limit: Duration) -> Option<ExitStatus> {
        wait::poll(limit, || self.child.try_wait().expect("the state of a child"))
    }

    /// SIGHUP.
    pub fn reload(&self) {
        sys::signal(self.process(), libc::SIGHUP).expect("SIGHUP");
    }

    /// SIGTERM, and how it ended.
    pub fn terminate(&mut self) -> ExitStatus {
        sys::signal(self.process(), libc::SIGTERM).expect("SIGTERM");
        let end = wait::poll(Duration::from_secs(10), || self.child.try_wait().expect("the state of a child"));
        end.unwrap_or_else(|| panic!("still running 10 s after SIGTERM\n{}", self.log()))
    }
}

/// The socket that the service manager listens on, one for each daemon: another that still lives must not be heard in it.
fn socket(net: &Net) -> Result<(UnixDatagram, PathBuf), String> {
    let paths = (0..).map(|n| net.scratch(&format!("notify-{n}")));
    let path = paths.into_iter().find(|path| !path.exists()).ok_or("no name is free")?;
    let socket = UnixDatagram::bind(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    Ok((socket, path))
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            self.kill();
        }
    }
}
