//! Fifty ends of the daemon, of every kind: connections that stand do not notice, and nothing is left behind by any of them.

use std::time::Duration;

use netpol_tests::held::Held;
use netpol_tests::policy::{allow_port, arriving};
use netpol_tests::standing::Standing;
use netpol_tests::{Bench, Daemon, Family, Packet, say};

const STANDING: usize = 100;
const RESTARTS: usize = 50;

#[test]
fn fifty_restarts_break_none_of_a_hundred_connections_and_leave_nothing_behind() {
    let Some(mut bench) = Bench::start(&arriving(&allow_port("web", "tcp", 80))) else { return };
    let standing = Standing::start(&bench.net, STANDING, 80, Duration::from_millis(1));
    let held = |bench: &Bench| Held::by(bench.daemon.process(), &bench.net.bpffs());
    let before = held(&bench);
    let denied = Packet::udp(Family::V4.at(1, 2, 4000), Family::V4.at(1, 1, 53));
    for n in 0..RESTARTS {
        if n % 2 == 0 {
            bench.daemon.kill()
        } else {
            assert!(bench.daemon.terminate().success())
        }
        assert!(!bench.arrives(&denied), "restart {n}: without a daemon");
        bench.daemon = Daemon::start(&bench.net);
        assert!(!bench.arrives(&denied) && standing.live(), "restart {n}");
    }
    let after = held(&bench);
    say::aloud(&format!(
        "{STANDING} connections over {RESTARTS} restarts: 0 broken after {} words; {before:?} -> {after:?}",
        standing.finish()
    ));
    assert_eq!((after.pins, after.maps, after.programs), (before.pins, before.maps, before.programs), "what is in the kernel is adopted");
}
