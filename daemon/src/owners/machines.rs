//! systemd-machined: `/run/systemd/machines/NAME` has the host's interfaces of a machine as `NETIF=` (systemd-nspawn), and its first
//! process as `LEADER=`.

use super::{Claim, Roots, process, trusted};

pub(super) const MACHINES: &str = "/run/systemd/machines";

/// Of a registered machine (systemd-nspawn, and whatever else registers with machined). `None` where a user registered it. Interfaces
/// count as long as machined keeps the file, the first process only where it proves itself: with users of its own it is hidden from us
/// (`ProtectProc=` of the unit).
pub(super) fn claim(roots: &Roots, name: &str) -> Option<Claim> {
    if name.contains('/') || name.starts_with('.') {
        return None;
    }
    let state = String::from_utf8(trusted(&roots.path(MACHINES).join(name))?).ok()?;
    let value = |key: &str| state.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('=')).map(|value| value.trim_matches('"'));
    let leader: u32 = value("LEADER")?.parse().ok()?;
    // Written with C escapes, and a unit's own escapes begin with a backslash.
    let unit = value("SCOPE")?.replace("\\\\", "\\");
    if value("UID").is_some_and(|user| user != "0") {
        return None;
    }
    let interfaces = value("NETIF").unwrap_or_default().split_whitespace().filter_map(|index| index.parse().ok()).collect();
    let processes = Some(leader).filter(|leader| process::is_of(roots, *leader, &unit)).into_iter().collect();
    Some(Claim { interfaces, processes, ..Claim::default() }).filter(|claim| *claim != Claim::default())
}
