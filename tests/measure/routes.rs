//! What many routes cost a policy that checks the reverse path: the start, and following one change among them.

use std::io::Write;
use std::process::Stdio;
use std::time::{Duration, Instant};

use netpol_tests::policy::policy;
use netpol_tests::{Bench, Family, Net, Packet, say, wait};

use crate::{alone, median_and_max, milliseconds};

/// Changes that are followed.
const CHANGES: usize = 10;

/// So many IPv4 routes, each leading elsewhere than its neighbours, so that none is spared.
fn add_routes(net: &Net, count: u32) {
    let mut batch = String::new();
    for number in 0..count {
        let [_, a, b, c] = (number << 6).to_be_bytes();
        let gateway = if number % 2 == 0 { "10.1.0.2" } else { "10.2.0.2" };
        batch += &format!("route add {}.{a}.{b}.{c}/27 via {gateway}\n", 100 + (number >> 18));
    }
    let mut child = net.dut.command("ip").args(["-batch", "-"]).stdin(Stdio::piped()).spawn().expect("nsenter starts");
    child.stdin.take().expect("a pipe").write_all(batch.as_bytes()).expect("ip reads its batch");
    assert!(child.wait().expect("ip ends").success());
}

#[test]
fn many_routes_at_the_start_and_one_that_changes_among_them() {
    let _alone = alone();
    let text = policy("spoof", "[policy.anti_spoof]\ncheck_reverse_path = \"strict\"\n[[policy.ingress]]\naction = \"allow\"\n");
    for count in [0, 1_000, 100_000] {
        let Some(net) = Net::new() else { return };
        add_routes(&net, count);
        let Some(bench) = Bench::start_in(net, &text) else { return };
        let ready = bench.daemon.ready_after;
        let packet = Packet::udp("192.0.2.7:4000".parse().expect("an address"), Family::V4.at(1, 1, 5000));
        let mut times = Vec::new();
        for change in 0..CHANGES {
            let word = if change % 2 == 0 { "add" } else { "del" };
            bench.net.dut.ip(&format!("route {word} 192.0.2.0/24 via 10.1.0.2"));
            let started = Instant::now();
            wait::until("the change", Duration::from_secs(60), || bench.arrives(&packet) == (change % 2 == 0));
            times.push(started.elapsed());
        }
        let (median, max) = median_and_max(&mut times);
        let followed = format!("{} ms (largest {})", milliseconds(median), milliseconds(max));
        say::aloud(&format!("{count} routes: ready after {} ms, one change of a route followed within {followed}", milliseconds(ready)));
    }
}
