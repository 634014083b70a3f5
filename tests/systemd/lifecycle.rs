//! Boot, crash, restart, stop, shutdown, under traffic: no denied packet is ever delivered, no connection lost.

use std::time::Duration;

use netpol_tests::policy::{VERSION, allow_port, arriving};
use netpol_tests::{Family, wait};

use crate::machine::{Image, Machine};

const PATIENCE: Duration = Duration::from_secs(30);

fn policy() -> String {
    arriving(&(allow_port("dns", "udp", 53) + &allow_port("web", "tcp", 80)))
}

fn enforced(machine: &Machine, when: &str) {
    for f in Family::BOTH {
        assert!(machine.arrives(f, 53), "{when}, {f:?}: allowed");
        assert!(!machine.arrives(f, 54), "{when}, {f:?}: denied");
    }
}

/// When a unit became active, µs since the boot.
fn entered(machine: &Machine, unit: &str) -> u64 {
    machine.must(&["systemctl", "show", "--value", "-p", "ActiveEnterTimestampMonotonic", unit]).trim().parse().expect("a time")
}

#[test]
fn firewall_stands_before_the_network_comes_up() {
    let Some(image) = Image::new() else { return };
    image.policy("10-test.toml", &policy());
    let machine = image.boot();
    assert_eq!(machine.property("ActiveState"), "active");
    let (ours, network) = (entered(&machine, "netpol-ebpf.service"), entered(&machine, "network-pre.target"));
    assert!(ours > 0 && ours <= network, "active at {ours} us, network-pre.target at {network} us");
    enforced(&machine, "booted");
    assert_eq!(machine.property("StatusText"), "generation 1: 2 rules on 1 interfaces");
}

#[test]
fn crash_and_restart_and_stop_lose_no_connection_and_let_nothing_in() {
    let Some(image) = Image::new() else { return };
    image.policy("10-test.toml", &policy());
    let machine = image.boot();
    let mut standing = machine.connect(80);
    let denied = machine.flood_of_denied(55);

    let process = machine.property("MainPID");
    machine.must(&["kill", "-9", &process]);
    wait::until("a new process after the crash", PATIENCE, || machine.serves_anew(&process));
    assert!(standing.lives(), "over the crash");
    assert_eq!(machine.property("NRestarts"), "1");

    for _ in 0..3 {
        machine.service("restart").expect(0);
        assert!(standing.lives(), "over a restart");
    }

    machine.service("stop").expect(0);
    assert!(standing.lives(), "over the stop");
    enforced(&machine, "stopped");
    assert!(machine.journal().contains("the kernel goes on enforcing"), "the journal says so:\n{}", machine.journal());
    machine.service("start").expect(0);
    assert!(standing.lives() && machine.status()["state"] == "ok");

    let (sent, got) = denied.end();
    assert!(sent > 1000, "a flood: {sent}");
    assert_eq!(got, 0, "of {sent} denied datagrams");
}

#[test]
fn stop_takes_the_firewall_off_where_the_policy_says_so_and_the_journal_tells() {
    let Some(image) = Image::new() else { return };
    image.policy("10-test.toml", &policy().replacen(VERSION, &format!("{VERSION}[daemon]\non_stop = \"detach\"\n"), 1));
    let machine = image.boot();
    enforced(&machine, "running");
    let denied = machine.flood_of_denied(55);
    machine.service("restart").expect(0);
    let (sent, got) = denied.end();
    assert!(sent > 100 && got == 0, "a restart is no stop: {got} of {sent} denied datagrams");
    assert!(machine.journal().contains("the kernel goes on enforcing generation 1 (this is a restart)"), "{}", machine.journal());
    enforced(&machine, "restarted");
    let denied = machine.flood_of_denied(55);
    let process = machine.property("MainPID");
    machine.must(&["systemctl", "kill", "--signal=TERM", "netpol-ebpf.service"]);
    wait::until("systemd starts it again", PATIENCE, || machine.serves_anew(&process));
    let (sent, got) = denied.end();
    assert!(sent > 100 && got == 0, "nor is a signal: {got} of {sent} denied datagrams");
    machine.service("stop").expect(0);
    assert!(machine.arrives(Family::V4, 54), "open");
    assert!(machine.journal().contains("the firewall is OFF on left"), "{}", machine.journal());
}

#[test]
fn shutdown_does_not_open_whatever_a_stop_does() {
    let Some(image) = Image::new() else { return };
    image.policy("10-test.toml", &policy().replacen(VERSION, &format!("{VERSION}[daemon]\non_stop = \"detach\"\n"), 1));
    let mut machine = image.boot();
    // A real kernel halts with its interfaces. Here the interface outlives process 1, and so must the pins: systemd itself never
    // unmounts the BPF file system.
    let _pins = machine.open("/sys/fs/bpf");
    let denied = machine.flood_of_denied(55);
    machine.power_off();
    let (sent, got) = denied.end();
    assert!(sent > 100, "a flood: {sent}");
    assert_eq!(got, 0, "of {sent} denied datagrams");
}

#[test]
fn boot_with_a_broken_policy_enforces_failsafe_entries_alone_and_says_so() {
    let Some(image) = Image::new() else { return };
    image.policy("10-test.toml", "version = 1\n[daemon]\nfailsafe.inbound = [{ protocol = \"udp\", port = 53 }]\n");
    image.policy("20-test.toml", "version = 1\n[[policy]]\nname = 7\n");
    let machine = image.boot();
    assert_eq!(machine.property("ActiveState"), "active", "it is ready, but");
    let status = machine.status();
    assert_eq!(status["state"], "degraded", "{status}");
    enforced(&machine, "failsafe entries");
    assert!(machine.journal().contains("20-test.toml:3:"), "{}", machine.journal());
}

#[test]
fn restart_with_a_broken_policy_enforces_the_last_good_one() {
    let Some(image) = Image::new() else { return };
    image.policy("10-test.toml", &policy());
    let machine = image.boot();
    machine.save("10-test.toml", "version = 1\n[[policy]\n");
    machine.must(&["netpol-ebpf", "detach"]);
    machine.service("restart").expect(0);
    enforced(&machine, "last good");
    assert_eq!(machine.status()["state"], "degraded");
    assert_eq!(machine.property("ActiveState"), "active");
}

#[test]
fn boot_with_a_broken_policy_enforces_the_last_good_one_before_the_network_and_says_so() {
    const KEPT: &str = "/var/lib/netpol-ebpf/last-good.json";
    let Some(image) = Image::new() else { return };
    image.policy("10-test.toml", &policy());
    let before = image.boot();
    let kept = before.must(&["cat", KEPT]);
    drop(before);

    let Some(image) = Image::new() else { return };
    image.policy("10-test.toml", &policy().replace("\"allow\"", "\"alow\""));
    image.file(KEPT, &kept);
    let machine = image.boot();
    enforced(&machine, "last good");
    assert_eq!(machine.status()["state"], "degraded");
    assert!(entered(&machine, "netpol-ebpf.service") <= entered(&machine, "network-pre.target"));
    let errors = machine.must(&["journalctl", "--no-pager", "-o", "cat", "-p", "err", "_SYSTEMD_UNIT=netpol-ebpf.service"]);
    assert!(errors.contains("the policy directory is refused: error: unknown value `alow`"), "{errors}");
    assert!(errors.contains("enforcing the last good ruleset"), "{errors}");
}

/// Whoever may list the runtime directory may not lock the daemon out of it.
#[test]
fn user_without_any_right_does_not_keep_the_daemon_from_starting() {
    let Some(image) = Image::new() else { return };
    image.policy("10-test.toml", &policy());
    let machine = image.boot();
    let lock = "use Fcntl qw(:DEFAULT :flock); my @held; while (1) { for my $path ('/run/netpol-ebpf', glob '/run/netpol-ebpf/*') { \
                if (sysopen(my $file, $path, O_RDONLY)) { flock($file, LOCK_SH | LOCK_NB) and push @held, $file; } } select undef, undef, undef, 0.01; }";
    machine.must(&["systemd-run", "--unit=nobodys", "--uid=65534", "perl", "-e", lock]);
    std::thread::sleep(Duration::from_secs(1));
    let process = machine.property("MainPID");
    machine.must(&["kill", "-9", &process]);
    wait::until("systemd starts it again", PATIENCE, || machine.serves_anew(&process));
    assert_eq!(machine.property("NRestarts"), "1", "{}", machine.journal());
    machine.must(&["systemctl", "stop", "nobodys"]);
}
