//! The unit file itself: what systemd's own analysis says of it, where it is installed.

use crate::machine::Image;

const UNIT: &str = "/usr/lib/systemd/system/netpol-ebpf.service";

#[test]
fn unit_is_understood_whole_and_exposes_little() {
    let Some(image) = Image::new() else { return };
    let machine = image.boot();
    // A misspelt key is only a warning to systemd, with exit code 0: any word at all is a failure.
    let words = machine.run(&["systemd-analyze", "verify", "--man=no", UNIT]).text();
    assert!(words.trim().is_empty(), "systemd-analyze verify: {words}");
    let exposure = machine.run(&["systemd-analyze", "security", "--offline=yes", "--threshold=16", UNIT]);
    assert_eq!(exposure.code, 0, "exposure of more than 1.6:\n{}", exposure.text());
}
