//! Whether a network manager reads router advertisements itself: systemd-networkd and NetworkManager turn the kernel's `accept_ra` off on
//! the interfaces that they manage, and listen by a socket.
//!
//! Knows the files in which they keep what they manage. A daemon in a network namespace of its own may read those of another one; what it
//! lets in by that the kernel ignores, as `accept_ra` says.

use std::fs;
use std::path::Path;

/// By ifindex: `ADMIN_STATE=` of systemd-networkd.
const NETWORKD: &str = "run/systemd/netif/links";
/// By ifindex: `managed=` of NetworkManager.
const NETWORK_MANAGER: &str = "run/NetworkManager/devices";

/// One of them manages the interface.
pub fn manage(ifindex: u32) -> bool {
    manage_below(Path::new("/"), ifindex)
}

fn manage_below(root: &Path, ifindex: u32) -> bool {
    let says = |directory: &str, lines: &[&str]| {
        let state = fs::read_to_string(root.join(directory).join(ifindex.to_string())).unwrap_or_default();
        state.lines().any(|line| lines.contains(&line.trim()))
    };
    says(NETWORKD, &["ADMIN_STATE=configured", "ADMIN_STATE=configuring"]) || says(NETWORK_MANAGER, &["managed=full"])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn managed_interfaces_are_those_that_a_manager_configures() {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        assert!(!manage_below(root.path(), 2), "no manager");
        for (state, expected) in [("configuring", true), ("configured", true), ("unmanaged", false), ("pending", false)] {
            write(
                "run/systemd/netif/links/2",
                &format!("# This is private data. Do not parse.\nADMIN_STATE={state}\nOPER_STATE=routable\n"),
            );
            assert_eq!(manage_below(root.path(), 2), expected, "{state}");
        }
        for (managed, expected) in [("full", true), ("unmanaged", false)] {
            write("run/NetworkManager/devices/3", &format!("[device]\nmanaged={managed}\nroute-metric-default-effective=100\n"));
            assert_eq!(manage_below(root.path(), 3), expected, "{managed}");
        }
        assert!(!manage_below(root.path(), 4), "another interface");
    }
}
