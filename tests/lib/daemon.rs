//! The daemon under test, in the dut namespace, with its own notification socket.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

use crate::cli::binary;
use crate::net::Net;
use crate::{sys, wait};

/// How long a start may take, on a busy machine.
const START: Duration = Duration::from_secs(30);

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
        Daemon::try_start_as(net, &[])
    }

    /// The same with more options.
    ///
    /// # Errors
    /// As [`Daemon::try_start`].
    pub fn try_start_as(net: &Net, options: &[&str]) -> Result<Daemon, String> {
        let path = net.scratch("notify");
        if path.exists() {
            fs::remove_file(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        }
        let notify = UnixDatagram::bind(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        notify.set_read_timeout(Some(Duration::from_millis(20))).expect("a read timeout");
        let log = net.scratch("daemon.log");
        let file = File::options().create(true).append(true).open(&log).map_err(|e| format!("{}: {e}", log.display()))?;
        let begin = Instant::now();
        let child = net
            .dut
            .command(&binary().display().to_string())
            .arg("run")
            .args(options)
            .args(net.options())
            .env("NOTIFY_SOCKET", &path)
            .env("NO_COLOR", "1")
            .stdout(file.try_clone().map_err(|e| e.to_string())?)
            .stderr(file)
            .spawn()
            .map_err(|e| e.to_string())?;
        let mut daemon = Daemon { child, log, ready_after: Duration::ZERO };
        daemon.wait_ready(&notify, begin)?;
        Ok(daemon)
    }

    fn wait_ready(&mut self, notify: &UnixDatagram, begin: Instant) -> Result<(), String> {
        let mut buffer = [0; 4096];
        while begin.elapsed() < START {
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
        Err(format!("nothing within {START:?}\n{}", self.log()))
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

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            self.kill();
        }
    }
}
