//! The life of the packages in a booted systemd: installed, enabled, upgraded under traffic, removed.
//!
//! Knows what `make test-packages` has built (`NETPOL_PACKAGE`, `NETPOL_PACKAGE_NEXT`: paths without `.deb` and `.rpm`); says aloud where
//! it was not asked for.

use std::path::Path;
use std::time::Duration;

use netpol_tests::policy::{VERSION, allow_port, arriving};
use netpol_tests::{Family, say, wait};

use crate::machine::{Image, Machine};

const PATIENCE: Duration = Duration::from_secs(30);

/// How a package manager is told.
struct Manager {
    suffix: &'static str,
    install: &'static [&'static str],
    remove: &'static [&'static str],
}

const DPKG: Manager = Manager { suffix: "deb", install: &["dpkg", "--install"], remove: &["dpkg", "--remove"] };
/// Its database knows nothing of a Debian machine's libraries.
const RPM: Manager = Manager { suffix: "rpm", install: &["rpm", "--upgrade", "--nodeps"], remove: &["rpm", "--erase"] };

/// A machine with both versions of the package in `/root`, none of them installed.
fn machine(manager: &Manager) -> Option<Machine> {
    let (Ok(first), Ok(next)) = (std::env::var("NETPOL_PACKAGE"), std::env::var("NETPOL_PACKAGE_NEXT")) else {
        say::aloud(&format!("SKIPPED the {}: make test-packages builds what it needs", manager.suffix));
        return None;
    };
    let image = Image::without_the_product()?;
    for (name, path) in [("first", first), ("next", next)] {
        image.copy(Path::new(&format!("{path}.{}", manager.suffix)), &format!("/root/{name}.{}", manager.suffix));
    }
    Some(image.boot())
}

impl Manager {
    fn install(&self, machine: &Machine, version: &str) -> String {
        let file = format!("/root/{version}.{}", self.suffix);
        machine.run(&[self.install, &[file.as_str()]].concat()).expect(0).text()
    }

    fn remove(&self, machine: &Machine) -> String {
        machine.run(&[self.remove, &["netpol-ebpf"]].concat()).expect(0).text()
    }
}

fn exists(machine: &Machine, path: &str) -> bool {
    machine.run(&["test", "-e", path]).code == 0
}

/// `on_stop`: what the policy says of a daemon that is stopped. Neither word may open anything during an upgrade, which is a restart.
fn life(manager: &Manager, on_stop: &str) {
    let Some(machine) = machine(manager) else { return };
    let said = manager.install(&machine, "first");
    assert!(said.contains("not enabled"), "{said}");
    assert_eq!(machine.run(&["systemctl", "is-enabled", "netpol-ebpf"]).out.trim(), "disabled");
    assert_eq!(machine.property("ActiveState"), "inactive");
    assert!(machine.arrives(Family::V4, 54), "no policy, no firewall");
    for path in ["/usr/share/man/man8/netpol-ebpf.8", "/usr/share/man/man5/netpol.d.5"] {
        assert!(exists(&machine, path) || exists(&machine, &format!("{path}.gz")), "{path}");
    }

    let policy = arriving(&(allow_port("dns", "udp", 53) + &allow_port("web", "tcp", 80)));
    machine.save("10-test.toml", &policy.replacen(VERSION, &format!("{VERSION}[daemon]\non_stop = \"{on_stop}\"\n"), 1));
    machine.must(&["systemctl", "enable", "--now", "netpol-ebpf"]);
    enforced(&machine, "enabled");

    let mut standing = machine.connect(80);
    let denied = machine.flood_of_denied(55);
    let process = machine.property("MainPID");
    manager.install(&machine, "next");
    wait::until("the new version runs", PATIENCE, || {
        machine.property("ActiveState") == "active" && ![process.as_str(), "0"].contains(&machine.property("MainPID").as_str())
    });
    assert!(standing.lives(), "over the upgrade");
    assert_eq!(machine.status()["state"], "ok");
    assert_eq!(machine.run(&["systemctl", "is-enabled", "netpol-ebpf"]).out.trim(), "enabled");
    let (sent, got) = denied.end();
    assert!(sent > 1000, "a flood: {sent}");
    assert_eq!(got, 0, "of {sent} denied datagrams during the upgrade");
    enforced(&machine, "upgraded");

    let said = manager.remove(&machine);
    assert!(said.contains("the firewall is taken OFF"), "{said}");
    assert!(machine.arrives(Family::V4, 54) && machine.arrives(Family::V6, 54), "off");
    assert!(!exists(&machine, "/usr/sbin/netpol-ebpf"));
    assert!(exists(&machine, "/etc/netpol.d/10-test.toml"), "what the administrator wrote stays");
    assert!(!exists(&machine, "/etc/systemd/system/sysinit.target.wants/netpol-ebpf.service"), "a later installation is not enabled");
    if manager.suffix == "deb" {
        assert!(exists(&machine, "/var/lib/netpol-ebpf"), "kept until it is purged");
        machine.must(&["dpkg", "--purge", "netpol-ebpf"]);
        assert!(!exists(&machine, "/var/lib/netpol-ebpf"));
        assert!(exists(&machine, "/etc/netpol.d/10-test.toml"), "even then");
    }
}

fn enforced(machine: &Machine, when: &str) {
    for f in Family::BOTH {
        assert!(machine.arrives(f, 53), "{when}, {f:?}: allowed");
        assert!(!machine.arrives(f, 54), "{when}, {f:?}: denied");
    }
}

#[test]
fn deb_is_installed_upgraded_and_removed() {
    life(&DPKG, "keep");
}

#[test]
fn deb_upgrade_opens_nothing_where_a_stop_would() {
    life(&DPKG, "detach");
}

#[test]
fn rpm_is_installed_upgraded_and_removed() {
    life(&RPM, "keep");
}
