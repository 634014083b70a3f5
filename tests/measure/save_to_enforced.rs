//! From the saved file to the first packet that the new ruleset judges, for 1, 100 and 10,000 rules.

use std::time::{Duration, Instant};

use netpol_tests::policy::{allow_port, arriving};
use netpol_tests::{Bench, Family, Packet, say};

use crate::{alone, median_and_max, milliseconds};

/// A ruleset of so many rules, each about its own net and port, and the telling rule last.
fn policy(rules: usize, telling: u16) -> String {
    let filler = |n: usize| {
        let (a, b) = (n / 250, n % 250);
        format!(
            "[[rule]]\naction = \"allow\"\nprotocol = \"tcp\"\nsource = {{ nets = [\"10.{}.{b}.0/24\"] }}\ndestination = {{ ports = [{}] }}\n",
            100 + a,
            1000 + n
        )
    };
    arriving(&((1..rules).map(filler).collect::<String>() + &allow_port("telling", "udp", telling)))
}

#[test]
fn saved_file_to_enforced_for_1_100_and_10000_rules() {
    let _alone = alone();
    say::aloud("rules    saved to enforced: median ms   max ms");
    for rules in [1, 100, 10_000] {
        let Some(bench) = Bench::start(&policy(rules, 20_000)) else { return };
        let f = Family::V4;
        let mut times: Vec<Duration> = (1..=5)
            .map(|round| {
                bench.net.write("10-test.toml", &policy(rules, 20_000 + round));
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
