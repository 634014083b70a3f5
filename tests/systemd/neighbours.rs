//! What others take from the service is put back with the few capabilities that the shipped unit has.

use std::path::{Path, PathBuf};
use std::time::Duration;

use netpol_tests::policy::{allow_port, arriving};
use netpol_tests::{Family, say, sys_bpf, wait};

use crate::machine::{Image, Machine};

const PATIENCE: Duration = Duration::from_secs(30);

/// Pins of the machine's bpffs, by the end of their names.
fn pins(machine: &Machine, name: &str) -> Vec<String> {
    let found = machine.must(&["find", "/sys/fs/bpf", "-name", name]);
    found.lines().map(str::to_owned).collect()
}

/// A path of the machine as this process sees it.
fn from_outside(machine: &Machine, path: &str) -> PathBuf {
    Path::new(&format!("/proc/{}/root", machine.leader())).join(path.trim_start_matches('/'))
}

#[test]
fn what_is_detached_or_unpinned_comes_back_under_the_shipped_unit() {
    let Some(image) = Image::new() else { return };
    image.policy("10-test.toml", &arriving(&allow_port("dns", "udp", 53)));
    let machine = image.boot();
    let told = |what: &str| machine.journal().matches(what).count();
    let links = pins(&machine, "*-ingress");
    assert_eq!(links.len(), 1, "{links:?}");
    // A kernel without TCX has no link there.
    if machine.netpol(&["status"]).out.contains("tcx") {
        sys_bpf::force_detach(&from_outside(&machine, &links[0])).expect("BPF_LINK_DETACH");
        wait::until("the program hangs there again", PATIENCE, || !machine.arrives(Family::V4, 54));
        wait::until("that is told", PATIENCE, || told("took our program off") == 1);
    }
    let guards = pins(&machine, "guard-*");
    if guards.is_empty() {
        say::aloud("SKIPPED the guard of the shipped unit: this kernel has no netfilter programs");
    }
    for (n, guard) in guards.iter().enumerate() {
        sys_bpf::force_detach(&from_outside(&machine, guard)).expect("BPF_LINK_DETACH");
        wait::until("the guard is attached again", PATIENCE, || told("(it was detached)") == n + 1);
    }
    machine.must(&["rm", &links[0]]);
    wait::until("the pin is back", PATIENCE, || pins(&machine, "*-ingress") == links);
    for f in Family::BOTH {
        assert!(machine.arrives(f, 53) && !machine.arrives(f, 54), "{f:?}");
    }
    assert!(!machine.journal().contains("cannot be watched"), "{}", machine.journal());
    assert!(!machine.journal().contains("Operation not permitted"), "{}", machine.journal());
}

/// What needs more than the unit may do has another way.
#[test]
fn shared_map_whose_pin_was_removed_without_a_daemon_costs_connections_and_nothing_else() {
    let Some(image) = Image::new() else { return };
    image.policy("10-test.toml", &arriving(&allow_port("dns", "udp", 53)));
    let machine = image.boot();
    let denied = machine.flood_of_denied(55);
    machine.service("stop").expect(0);
    let maps = pins(&machine, "connections");
    assert_eq!(maps.len(), 1, "{maps:?}");
    machine.must(&["rm", &maps[0]]);
    machine.service("start").expect(0);
    for f in Family::BOTH {
        assert!(machine.arrives(f, 53) && !machine.arrives(f, 54), "{f:?}");
    }
    let (sent, got) = denied.end();
    assert!(sent > 100 && got == 0, "{got} of {sent} denied datagrams");
    assert!(machine.journal().contains("built anew"), "{}", machine.journal());
}
