//! What the service manager is about to do when it ends this process: `on_stop = "detach"` is for a stop that it was asked for, not for a
//! restart or a signal, after which the daemon comes back at once, nor for a shutdown, where the interfaces are still up.
//!
//! Asks systemctl(1), for the question is put once in a daemon's life. Outside a systemd unit a stop is a stop.

use std::io;
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use log::warn;

/// A manager that does not answer must not hold up the end for longer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why the firewall is to stay although the daemon goes; `None` = this is a stop.
pub(super) fn reason_to_stay() -> Option<&'static str> {
    let unit = unit()?;
    match jobs(&unit) {
        Ok(jobs) => reason(&jobs, &unit),
        Err(error) => {
            warn!("systemd cannot be asked whether this is a stop or a restart: {error}");
            Some("something that systemd does not tell")
        }
    }
}

/// The unit whose main process this is (`$SYSTEMD_EXEC_PID` of systemd.exec(5)), by its control group.
fn unit() -> Option<String> {
    let process = std::env::var("SYSTEMD_EXEC_PID").ok()?;
    let groups = std::fs::read_to_string("/proc/self/cgroup").ok().filter(|_| process.parse() == Ok(std::process::id()))?;
    let unit = groups.lines().next_back()?.rsplit('/').next()?;
    unit.ends_with(".service").then(|| unit.to_owned())
}

/// Jobs of that unit and of the shutdown, as `systemctl list-jobs` prints them: number, unit, type, state.
fn jobs(unit: &str) -> io::Result<String> {
    let mut command = Command::new("systemctl");
    command.args(["list-jobs", "--no-legend", "--no-pager", "--plain", unit, "shutdown.target"]);
    let mut asked = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let end = Instant::now() + PATIENCE;
    // What it prints is far less than a pipe takes.
    while asked.try_wait()?.is_none() {
        if Instant::now() > end {
            asked.kill()?;
            asked.wait()?;
            return Err(io::ErrorKind::TimedOut.into());
        }
        thread::sleep(Duration::from_millis(2));
    }
    let Output { status, stdout, stderr } = asked.wait_with_output()?;
    if status.success() {
        Ok(String::from_utf8_lossy(&stdout).into_owned())
    } else {
        Err(io::Error::other(String::from_utf8_lossy(&stderr).trim()))
    }
}

fn reason(jobs: &str, unit: &str) -> Option<&'static str> {
    let has = |name: &str, kind: &str| jobs.lines().any(|line| line.split_whitespace().skip(1).take(2).eq([name, kind]));
    if has("shutdown.target", "start") {
        return Some("a shutdown");
    }
    match (has(unit, "restart"), has(unit, "stop")) {
        (true, _) => Some("a restart"),
        (false, true) => None,
        (false, false) => Some("a signal, and no stop that systemd was asked for"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn restart_and_shutdown_are_told_from_a_stop() {
        let of = |jobs: &str| reason(jobs, "netpol-ebpf.service");
        assert_eq!(of("412 netpol-ebpf.service restart running\n"), Some("a restart"));
        assert_eq!(of("412 netpol-ebpf.service stop running\n"), None);
        assert_eq!(of("9 netpol-ebpf.service stop running\n7 shutdown.target start waiting\n"), Some("a shutdown"));
        for jobs in ["412 other.service stop running\n", ""] {
            assert_eq!(of(jobs), Some("a signal, and no stop that systemd was asked for"), "{jobs}");
        }
    }
}
