//! What the NixOS module generates, booted: its policy files, and what it adds to the package's unit.
//!
//! Knows `tests/nix/evaluate.sh`. NixOS itself is not here: its links and its drop-in are made as `switch-to-configuration` leaves them.

use std::path::{Path, PathBuf};
use std::process::Command;

use netpol_tests::{Family, say};
use serde_json::Value;

use crate::machine::{Image, Machine};

fn evaluated(case: &str) -> Option<Value> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("nix");
    let case: PathBuf = folder.join("booted").join(case);
    let output = Command::new(folder.join("evaluate.sh")).arg(&case).output().expect("evaluate.sh starts");
    if output.status.code() == Some(127) {
        say::aloud("SKIPPED the unit and policies of the NixOS module: there is no nix-instantiate on this machine");
        return None;
    }
    assert!(output.status.success(), "{}: {}", case.display(), String::from_utf8_lossy(&output.stderr));
    let made: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(made["failed"], serde_json::json!([]));
    Some(made)
}

/// The policy files of an evaluation, below a directory of the store.
fn store(image: &Image, directory: &str, made: &Value) {
    for file in made["files"].as_array().expect("files") {
        let name = file["name"].as_str().expect("a name");
        image.file(&format!("{directory}/{name}"), &toml::to_string(&file["value"]).expect("TOML"));
    }
}

/// NixOS writes its part of a unit that a package ships as a drop-in: a line for each value of a list.
fn drop_in(service: &Value) -> String {
    let mut text = "[Service]\n".to_owned();
    for (key, value) in service["serviceConfig"].as_object().expect("serviceConfig") {
        for value in value.as_array().unwrap_or(&vec![value.clone()]) {
            text += &format!("{key}={}\n", value.as_str().expect("a text"));
        }
    }
    text
}

fn only_open(machine: &Machine, open: u16, closed: u16) {
    for f in Family::BOTH {
        assert!(machine.arrives(f, open), "{f:?}: {open} is allowed");
        assert!(!machine.arrives(f, closed), "{f:?}: {closed} is denied");
    }
}

#[test]
fn generated_unit_and_policies_are_enforced_and_a_switch_is_a_reload() {
    let (Some(first), Some(next)) = (evaluated("first.nix"), evaluated("next.nix")) else { return };
    let Some(image) = Image::new() else { return };
    for (name, made) in [("first", &first), ("next", &next)] {
        store(&image, &format!("/nix/store/{name}"), made);
    }
    image.link_directory("/etc/netpol.d", "/nix/store/first");
    image.unit("netpol-ebpf.service.d/overrides.conf", &drop_in(&first["service"]));
    assert_eq!(first["service"]["wantedBy"], serde_json::json!(["sysinit.target"]), "what `systemctl enable` does too");
    let machine = image.boot();
    assert!(machine.property("DropInPaths").ends_with("overrides.conf"), "{}", machine.property("DropInPaths"));
    assert_eq!(machine.property("ActiveState"), "active", "{}", machine.journal());
    only_open(&machine, 53, 54);
    let metrics = "exec 3<>/dev/tcp/127.0.0.1/9472; printf 'GET /metrics HTTP/1.0\\r\\n\\r\\n' >&3; cat <&3";
    assert!(machine.must(&["bash", "-c", metrics]).contains("netpol_"), "metrics are served: the drop-in lets the daemon speak IP");

    let process = machine.property("MainPID");
    machine.must(&["sh", "-c", "ln -s /nix/store/next /etc/netpol.d.new && mv -T /etc/netpol.d.new /etc/netpol.d"]);
    machine.service("reload").expect(0);
    only_open(&machine, 54, 53);
    assert_eq!(machine.property("MainPID"), process, "reloaded, not restarted");
}
