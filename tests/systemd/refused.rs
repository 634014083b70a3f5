//! A boot at which the kernel takes no program of ours, a daemon that hangs: what systemd makes of them, and what of the network.

use std::time::Duration;

use netpol_tests::policy::{allow_port, arriving};
use netpol_tests::{Family, wait};

use crate::machine::{Image, Machine};

const PATIENCE: Duration = Duration::from_secs(30);
const WAITS: &str = include_str!("../../systemd/waits.conf");
/// As a kernel that is locked down.
const NO_BPF: &str = "[Service]\nSystemCallFilter=~bpf\n";

/// A machine whose kernel lets the service load nothing, until [`let_load`].
fn refusing() -> Option<Image> {
    let image = Image::new()?;
    image.policy("10-test.toml", &arriving(&allow_port("dns", "udp", 53)));
    image.unit("netpol-ebpf.service.d/no-bpf.conf", NO_BPF);
    Some(image)
}

fn let_load(machine: &Machine) {
    machine.must(&["rm", "/etc/systemd/system/netpol-ebpf.service.d/no-bpf.conf"]);
    machine.must(&["systemctl", "daemon-reload"]);
    wait::until("the service is up", PATIENCE, || machine.property("ActiveState") == "active");
}

fn is_up(machine: &Machine) -> bool {
    !machine.must(&["ip", "-o", "link", "show", "up", "dev", "left"]).is_empty()
}

fn enforced(machine: &Machine) {
    for f in Family::BOTH {
        assert!(machine.arrives(f, 53), "{f:?}: allowed");
        assert!(!machine.arrives(f, 54), "{f:?}: denied");
    }
}

#[test]
fn network_that_waits_for_the_firewall_stays_down_until_the_kernel_takes_it() {
    let Some(image) = refusing() else { return };
    image.unit("netpol-test-link.service.d/waits.conf", WAITS);
    let machine = image.boot();
    let denied = machine.flood_of_denied(55);
    for _ in 0..5 {
        std::thread::sleep(Duration::from_secs(1));
        assert!(!is_up(&machine), "the network is down while nothing is enforced");
        assert_ne!(machine.property("ActiveState"), "active");
    }
    let_load(&machine);
    wait::until("the network comes by itself", PATIENCE, || is_up(&machine));
    wait::until("its addresses", PATIENCE, || machine.arrives(Family::V6, 53));
    enforced(&machine);
    let (sent, got) = denied.end();
    assert!(sent > 1000 && got == 0, "{got} of {sent} denied datagrams");
    for verb in ["restart", "stop"] {
        machine.service(verb).expect(0);
        assert!(is_up(&machine), "what is up stays up: {verb}");
    }
    // No daemon, but the kernel enforces: the network may be raised again, and starts nothing that was stopped.
    machine.must(&["systemctl", "restart", "netpol-test-link"]);
    enforced(&machine);
    assert_eq!((machine.property("ActiveState").as_str(), machine.netpol(&["status", "--enforced"]).code), ("inactive", 0));
    machine.must(&["netpol-ebpf", "detach"]);
    assert_eq!(machine.netpol(&["status", "--enforced"]).code, 1);
    assert_ne!(machine.run(&["systemctl", "restart", "netpol-test-link"]).code, 0, "nobody enforces anything");
    // Whoever removes the package does not lose the network.
    machine.must(&["rm", "/usr/sbin/netpol-ebpf"]);
    machine.must(&["systemctl", "restart", "netpol-test-link"]);
}

/// The limit that the README names.
#[test]
fn network_that_does_not_wait_is_open_while_the_kernel_takes_nothing_and_the_journal_says_why() {
    let Some(image) = refusing() else { return };
    let machine = image.boot();
    assert!(machine.arrives(Family::V4, 54), "open");
    assert_ne!(machine.property("ActiveState"), "active");
    let errors = machine.must(&["journalctl", "--no-pager", "-o", "cat", "-p", "err", "_SYSTEMD_UNIT=netpol-ebpf.service"]);
    assert!(errors.contains("Operation not permitted"), "{errors}");
    let_load(&machine);
    enforced(&machine);
}

#[test]
fn daemon_that_hangs_is_started_anew_and_nothing_is_open_meanwhile() {
    let Some(image) = Image::new() else { return };
    image.policy("10-test.toml", &arriving(&(allow_port("dns", "udp", 53) + &allow_port("web", "tcp", 80))));
    image.unit("netpol-ebpf.service.d/watchdog.conf", "[Service]\nWatchdogSec=3s\n");
    let machine = image.boot();
    let mut standing = machine.connect(80);
    let denied = machine.flood_of_denied(55);
    std::thread::sleep(Duration::from_secs(8));
    assert_eq!(machine.property("NRestarts"), "0", "one that lives is left alone");
    let process = machine.property("MainPID");
    machine.must(&["kill", "-STOP", &process]);
    wait::until("another daemon", PATIENCE, || machine.serves_anew(&process));
    assert_eq!(machine.property("NRestarts"), "1");
    assert!(standing.lives(), "a connection");
    enforced(&machine);
    assert_eq!(machine.status()["state"], "ok");
    let (sent, got) = denied.end();
    assert!(sent > 1000 && got == 0, "{got} of {sent} denied datagrams");
}
