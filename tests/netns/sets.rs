//! `sets` and `not_sets`: elements, ranges, files.

use std::fs;

use netpol_tests::policy::{VERSION, both_ways};
use netpol_tests::{Bench, Net};

use crate::matrix::{everywhere, udp_between};

fn with_sets(sets: &str, rules: &str) -> String {
    both_ways(rules).replacen(VERSION, &format!("{VERSION}{sets}"), 1)
}

#[test]
fn sets_of_addresses_prefixes_and_ranges_match_their_members() {
    let sets = r#"
        [[set]]
        name = "friends"
        elements = ["10.1.0.2", "10.3.0.0/24", "10.4.0.10-10.4.0.20", "fd00:1::2", "fd00:3::/64", "fd00:4::a-fd00:4::14"]
        [[set]]
        name = "bad"
        elements = ["10.3.0.5", "fd00:3::5"]
    "#;
    let rules = r#"
        [[rule]]
        action = "allow"
        source = { sets = ["friends"], not_sets = ["bad"] }
    "#;
    let Some(bench) = Bench::start(&with_sets(sets, rules)) else { return };
    everywhere(&bench, |f| {
        vec![
            ("address", udp_between(f, (1, 2), (2, 2)), true),
            ("its neighbour", udp_between(f, (1, 3), (2, 2)), false),
            ("in the prefix", udp_between(f, (3, 4), (2, 2)), true),
            ("in not_sets", udp_between(f, (3, 5), (2, 2)), false),
            ("before the range", udp_between(f, (4, 9), (2, 2)), false),
            ("first of the range", udp_between(f, (4, 10), (2, 2)), true),
            ("last of the range", udp_between(f, (4, 20), (2, 2)), true),
            ("after the range", udp_between(f, (4, 21), (2, 2)), false),
        ]
    });
}

#[test]
fn sets_and_nets_of_one_selector_are_united_and_sides_are_joined() {
    let sets = r#"
        [[set]]
        name = "servers"
        elements = ["10.2.0.5", "fd00:2::5"]
    "#;
    let rules = r#"
        [[rule]]
        action = "allow"
        source = { nets = ["10.1.0.0/16", "fd00:1::/64"] }
        destination = { sets = ["servers"], nets = ["10.2.0.9", "fd00:2::9"] }
    "#;
    let Some(bench) = Bench::start(&with_sets(sets, rules)) else { return };
    everywhere(&bench, |f| {
        vec![
            ("by set", udp_between(f, (1, 2), (2, 5)), true),
            ("by net", udp_between(f, (1, 2), (2, 9)), true),
            ("by neither", udp_between(f, (1, 2), (2, 6)), false),
            ("wrong source", udp_between(f, (3, 2), (2, 5)), false),
        ]
    });
}

#[test]
fn set_from_files_reads_lines_and_follows_their_changes() {
    let Some(net) = Net::new() else { return };
    let lists = net.policy_dir().join("lists");
    fs::create_dir(&lists).expect("a directory");
    fs::write(lists.join("a.txt"), "# friends\n10.1.0.2\n\nfd00:1::2  # me\n").expect("a list");
    fs::write(lists.join("b.txt"), "10.3.0.0/24\nfd00:3::/64\n").expect("a list");
    let sets = "[[set]]\nname = \"friends\"\nfiles = [\"lists/*.txt\"]\n";
    let policy = with_sets(sets, "[[rule]]\naction = \"allow\"\nsource = { sets = [\"friends\"] }\n");
    let Some(bench) = Bench::start_in(net, &policy) else { return };
    everywhere(&bench, |f| {
        vec![
            ("line of the first file", udp_between(f, (1, 2), (2, 2)), true),
            ("line of the second file", udp_between(f, (3, 2), (2, 2)), true),
            ("no line", udp_between(f, (4, 2), (2, 2)), false),
        ]
    });
    let before = bench.cli().generation();
    fs::write(lists.join("c.txt"), "10.4.0.2\nfd00:4::2\n").expect("a list");
    bench.cli().wait_for_other(&before);
    everywhere(&bench, |f| vec![("line of a new file", udp_between(f, (4, 2), (2, 2)), true)]);
}
