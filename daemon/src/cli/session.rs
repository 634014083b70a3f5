//! The SSH session that a command is typed in: its own environment, or that of the processes it descends from (`sudo` takes the
//! variable away).

use std::fs;
use std::net::{IpAddr, SocketAddr};

use crate::trigger::control::Session;

/// Processes that are asked, from the command upwards.
const ANCESTORS: usize = 32;

/// `None` = not in an SSH session, as far as can be seen.
pub(super) fn current() -> Option<Session> {
    let mut process = "self".to_owned();
    for _ in 0..ANCESTORS {
        let environment = fs::read(format!("/proc/{process}/environ")).unwrap_or_default();
        let variable = environment.split(|byte| *byte == 0).find_map(|entry| entry.strip_prefix(b"SSH_CONNECTION="));
        if let Some(session) = variable.and_then(|text| parse(&String::from_utf8_lossy(text))) {
            return Some(session);
        }
        process = parent(&process)?;
    }
    None
}

/// "client-address client-port server-address server-port", as sshd(8) writes it.
fn parse(text: &str) -> Option<Session> {
    let words: Vec<&str> = text.split(' ').collect();
    let [client, client_port, server, server_port] = words.as_slice() else { return None };
    let end = |address: &str, port: &str| {
        let address: IpAddr = address.split('%').next()?.parse().ok()?;
        Some(SocketAddr::new(address.to_canonical(), port.parse().ok()?))
    };
    Some(Session { remote: end(client, client_port)?, local: end(server, server_port)? })
}

/// `PPid` of /proc/PID/status; `None` at the end of the line.
fn parent(process: &str) -> Option<String> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"))?.trim();
    (parent != "0").then(|| parent.to_owned())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn both_families_are_read_and_nonsense_is_not() {
        let session = parse("192.0.2.1 50000 198.51.100.1 22").unwrap();
        assert_eq!((session.remote, session.local), ("192.0.2.1:50000".parse().unwrap(), "198.51.100.1:22".parse().unwrap()));
        let session = parse("fe80::1%eth0 50000 fe80::2%eth0 22").unwrap();
        assert_eq!(session.remote, "[fe80::1]:50000".parse().unwrap());
        assert_eq!(parse("::ffff:192.0.2.1 1 ::ffff:192.0.2.2 2").unwrap().local, "192.0.2.2:2".parse().unwrap());
        for bad in ["", "192.0.2.1 50000", "a b c d", "192.0.2.1 99999 192.0.2.2 22"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
