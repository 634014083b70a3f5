//! `systemctl reload` is `apply`: it fails where the ruleset is refused, and the journal says why.

use netpol_tests::Family;
use netpol_tests::policy::{VERSION, allow_port, arriving};

use crate::machine::Image;

/// A host policy that goes live by `reload` alone.
fn manual(port: u16) -> String {
    arriving(&allow_port("web", "udp", port)).replacen(VERSION, &format!("{VERSION}[daemon]\nreload = \"manual\"\n"), 1)
}

#[test]
fn reload_applies_and_a_refused_ruleset_fails_it_and_changes_nothing() {
    let Some(image) = Image::new() else { return };
    image.policy("10-test.toml", &manual(53));
    let machine = image.boot();
    assert!(machine.arrives(Family::V4, 53) && machine.arrives(Family::V6, 53), "allowed from the boot on");
    assert!(!machine.arrives(Family::V4, 54) && !machine.arrives(Family::V6, 54), "denied from the boot on");

    machine.save("10-test.toml", &manual(54));
    assert!(!machine.arrives(Family::V4, 54), "a saved file alone changes nothing");
    machine.service("reload").expect(0);
    assert!(machine.arrives(Family::V6, 54) && !machine.arrives(Family::V6, 53), "reloaded");

    let process = machine.property("MainPID");
    machine.save("10-test.toml", &manual(55).replace("action", "acton"));
    let refused = machine.service("reload");
    assert_ne!(refused.code, 0, "the reload fails");
    assert!(machine.journal().contains("10-test.toml:"), "the journal names the place:\n{}", machine.journal());
    assert_eq!(machine.property("ActiveState"), "active");
    assert_eq!(machine.property("MainPID"), process, "the same process runs on");
    assert!(machine.arrives(Family::V4, 54) && !machine.arrives(Family::V4, 55), "the former ruleset goes on");
    assert_eq!(machine.status()["state"], "degraded");
}
