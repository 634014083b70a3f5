//! `protocol`: names and numbers.

use netpol_tests::policy::both_ways;
use netpol_tests::{Bench, Family};

use crate::matrix::{Case, everywhere, opener_of};

/// Names of the language with their numbers.
const NAMES: [(&str, u8); 14] = [
    ("tcp", 6),
    ("udp", 17),
    ("sctp", 132),
    ("dccp", 33),
    ("udplite", 136),
    ("icmp", 1),
    ("icmpv6", 58),
    ("igmp", 2),
    ("gre", 47),
    ("esp", 50),
    ("ah", 51),
    ("ipip", 4),
    ("ipv6", 41),
    ("vrrp", 112),
];

fn allowing(names: &[(&str, u8)]) -> String {
    let rule = |(name, _): &(&str, u8)| format!("[[rule]]\naction = \"allow\"\nprotocol = \"{name}\"\n");
    both_ways(&names.iter().map(rule).collect::<String>())
}

fn cases(family: Family, allowed: &[(&str, u8)]) -> Vec<Case> {
    let in_family = |number: u8| number != 1 && number != 58 || number == family.icmp();
    let of = |(name, number): &(&'static str, u8)| {
        let expected = allowed.iter().any(|(_, other)| other == number);
        (*name, opener_of(family, *number), expected)
    };
    NAMES.iter().filter(|(_, number)| in_family(*number)).map(of).collect()
}

#[test]
fn protocol_by_name_matches_exactly_its_number() {
    let (odd, even): (Vec<_>, Vec<_>) = NAMES.iter().enumerate().partition(|(i, _)| i % 2 == 1);
    let pick = |part: Vec<(usize, &(&'static str, u8))>| part.into_iter().map(|(_, name)| *name).collect::<Vec<_>>();
    let (odd, even) = (pick(odd), pick(even));
    let Some(bench) = Bench::start(&allowing(&odd)) else { return };
    everywhere(&bench, |family| cases(family, &odd));
    bench.change(&allowing(&even));
    everywhere(&bench, |family| cases(family, &even));
}

#[test]
fn protocol_by_number_matches_no_other_of_256() {
    let Some(bench) = Bench::with_rules("[[rule]]\naction = \"allow\"\nprotocol = 253\n") else { return };
    for number in 0..=255u8 {
        for family in Family::BOTH {
            let is_extension_header = family == Family::V6 && [0, 43, 44, 60, 135, 139, 140].contains(&number);
            if !is_extension_header {
                assert_eq!(bench.arrives(&opener_of(family, number)), number == 253, "protocol {number} over {family:?}");
            }
        }
    }
}
