//! From the saved file to the first packet that the new ruleset judges, for 1, 100 and 10,000 rules.

use std::time::{Duration, Instant};

use netpol_tests::policy::{allow_port, arriving};
use netpol_tests::{Bench, Family, Net, Packet, say};

use crate::{alone, median_and_max, milliseconds};

/// Rules in one file; a file may have 16 MiB.
const RULES_IN_A_FILE: usize = 1000;

/// The telling rule, alone in its file.
fn telling(port: u16) -> String {
    arriving(&allow_port("telling", "udp", port))
}

/// Files with so many rules together, each about its own net and port.
fn fill(net: &Net, rules: usize) {
    let rule = |n: usize| {
        let (a, b) = (n / 250, n % 250);
        let source = format!("source = {{ nets = [\"10.{}.{b}.0/24\"] }}", 100 + a);
        format!("[[rule]]\naction = \"allow\"\nprotocol = \"tcp\"\n{source}\ndestination = {{ ports = [{}] }}\n", 1000 + n)
    };
    for first in (0..rules).step_by(RULES_IN_A_FILE) {
        let text: String = (first..rules.min(first + RULES_IN_A_FILE)).map(rule).collect();
        let name = format!("filler-{first}");
        net.write(&format!("50-{name}.toml"), &arriving(&text).replace("\"arriving\"", &format!("\"{name}\"")));
    }
}

#[test]
fn saved_file_to_enforced_for_1_100_and_10000_rules() {
    let _alone = alone();
    say::aloud("rules    saved to enforced: median ms   max ms");
    for rules in [1, 100, 10_000] {
        let Some(net) = Net::new() else { return };
        fill(&net, rules - 1);
        let Some(bench) = Bench::start_in(net, &telling(20_000)) else { return };
        let f = Family::V4;
        let mut times: Vec<Duration> = (1..=5)
            .map(|round| {
                bench.net.write("10-test.toml", &telling(20_000 + round));
                let saved = Instant::now();
                while !bench.arrives(&Packet::udp(f.at(1, 2, 4000), f.at(1, 1, 20_000 + round))) {
                    assert!(saved.elapsed() < Duration::from_secs(60), "{rules} rules: not within a minute; {}", bench.cli().last_error());
                }
                saved.elapsed()
            })
            .collect();
        let (median, max) = median_and_max(&mut times);
        say::aloud(&format!("{rules:>6}   {:>28}   {:>6}", milliseconds(median), milliseconds(max)));
    }
}
