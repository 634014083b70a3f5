//! From the start of the process to `READY=1`.

use netpol_tests::policy::{allow_port, arriving};
use netpol_tests::{Daemon, Net, say};

use crate::{alone, milliseconds};

#[test]
fn start_and_restart_until_ready() {
    let _alone = alone();
    let Some(net) = Net::new() else { return };
    net.write("10-test.toml", &arriving(&allow_port("dns", "udp", 53)));
    let mut daemon = Daemon::start(&net);
    let first = daemon.ready_after;
    daemon.kill();
    let second = Daemon::start(&net).ready_after;
    say::aloud(&format!("start until ready: {} ms; again, adopting what runs: {} ms", milliseconds(first), milliseconds(second)));
}
