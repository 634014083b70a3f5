//! systemd-machined: `/run/systemd/machines/NAME` lists the host's interfaces of a machine as `NETIF=`.

use std::fs;

use super::Roots;

/// The interfaces of a registered machine (systemd-nspawn, and whatever else registers with machined).
pub(super) fn interfaces(roots: &Roots, name: &str) -> Option<Vec<u32>> {
    if name.contains('/') || name.starts_with('.') {
        return None;
    }
    let state = fs::read_to_string(roots.path("/run/systemd/machines").join(name)).ok()?;
    let list = state.lines().find_map(|line| line.strip_prefix("NETIF="))?;
    Some(list.trim_matches('"').split_whitespace().filter_map(|index| index.parse().ok()).collect())
}
