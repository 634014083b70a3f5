//! What the service manager is told (sd_notify(3)). Outside a notify unit every call does nothing.

use std::fmt::Write;
use std::io;
use std::os::unix::net::UnixDatagram;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use log::warn;
use sd_notify::NotifyState;

/// How long a service manager that reads nothing may hold up the loop.
const PATIENCE: Duration = Duration::from_millis(500);

/// `false`: it listens, but did not take this in time.
fn tell(states: &[NotifyState]) -> bool {
    let Err(error) = send(states) else { return true };
    warn!("the service manager could not be told: {error}");
    error.kind() != io::ErrorKind::WouldBlock
}

/// `sd_notify::notify` would wait for ever where nobody reads.
fn send(states: &[NotifyState]) -> io::Result<()> {
    let Some(path) = std::env::var_os("NOTIFY_SOCKET") else { return Ok(()) };
    let mut text = String::new();
    for state in states {
        writeln!(text, "{state}").map_err(io::Error::other)?;
    }
    let socket = UnixDatagram::unbound()?;
    socket.set_write_timeout(Some(PATIENCE))?;
    socket.connect(path)?;
    socket.send(text.as_bytes()).map(|_sent| ())
}

/// What was said last of being ready; empty = something else was said since.
static SAID: Mutex<String> = Mutex::new(String::new());

fn said() -> MutexGuard<'static, String> {
    SAID.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Every present selected interface is enforced, or a reload has ended; what was said last is not repeated, however often interfaces
/// change. `false`: say it again, the service manager was busy.
pub fn ready(status: &str) -> bool {
    let mut said = said();
    if *said == status {
        return true;
    }
    let told = tell(&[NotifyState::Ready, NotifyState::Status(status)]);
    if told {
        status.clone_into(&mut said);
    }
    told
}

/// A reload begins (Type=notify-reload wants the monotonic time with it).
pub fn reloading() {
    said().clear();
    match NotifyState::monotonic_usec_now() {
        Ok(now) => _ = tell(&[NotifyState::Reloading, now]),
        Err(error) => warn!("no monotonic clock: {error}"),
    }
}

/// One line for `systemctl status`.
pub fn status(text: &str) {
    said().clear();
    _ = tell(&[NotifyState::Status(text)]);
}

/// The loop is alive. Sent only from the loop itself, so that a hung loop is noticed.
pub fn alive() {
    if watchdog().is_some() {
        _ = tell(&[NotifyState::Watchdog]);
    }
}

/// The daemon ends on request.
pub fn stopping() {
    _ = tell(&[NotifyState::Stopping]);
}

/// How often [`alive`] must be said at least; `None` = nobody listens.
pub fn watchdog() -> Option<Duration> {
    sd_notify::watchdog_enabled()
}
