//! `ip_version`: a rule without it speaks for both families.

use netpol_tests::{Bench, Family};

use crate::matrix::{everywhere, udp_to};

#[test]
fn ip_version_restricts_a_rule_and_its_absence_does_not() {
    let rules = r#"
        [[rule]]
        action = "allow"
        ip_version = 4
        destination = { ports = [4] }
        [[rule]]
        action = "allow"
        ip_version = 6
        destination = { ports = [6] }
        [[rule]]
        action = "allow"
        destination = { ports = [10] }
    "#;
    let Some(bench) = Bench::with_rules(rules) else { return };
    everywhere(&bench, |f| {
        vec![
            ("rule of IPv4", udp_to(f, 4), f == Family::V4),
            ("rule of IPv6", udp_to(f, 6), f == Family::V6),
            ("rule of both", udp_to(f, 10), true),
            ("no rule", udp_to(f, 11), false),
        ]
    });
}
