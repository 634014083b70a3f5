//! Tests of dynamic sets with the real maps: what generations share, what a build makes anew, what an exchange leaves.

use std::collections::BTreeMap;
use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use ipnet::IpNet;
use netpol_probes::abi;

use super::lifecycle::{Bench, ruleset};
use super::tests::needs_root;
use super::*;
use crate::compile::ruleset::SetSlot;
use crate::plan::plan;
use crate::sets::content::Content;
use crate::sets::{Added, Clock, Expiry};

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

fn nets(texts: &[&str]) -> Vec<IpNet> {
    texts.iter().map(|text| net(text)).collect()
}

fn clock() -> Clock {
    Clock::new(SystemTime::now(), boot_time())
}

/// A ruleset that uses the set `friends.v1`, behind a literal.
fn with_set(kernel: &Kernel, default: u32, max_entries: u32) -> Ruleset {
    let mut wanted = ruleset(kernel, default, &["np0"]);
    wanted.core.sets =
        vec![SetSlot::Literal(nets(&["10.9.0.0/16", "fd00::/8"])), SetSlot::Dynamic { name: "friends.v1".into(), max_entries }];
    wanted
}

fn reach(kernel: &mut Kernel, wanted: &Ruleset, written: &[IpNet], added: &Added, runs: bool) {
    let sets = BTreeMap::from([("friends.v1", Content { written, added, runs })]);
    let actions = plan(wanted, &kernel.observe().unwrap());
    kernel.execute(wanted, &Contents { clock: clock(), sets }, &actions).unwrap();
}

fn held(kernel: &Kernel, generation: u32) -> Vec<(String, u64)> {
    let entries = kernel.set_entries(generation, "friends.v1").unwrap().unwrap();
    entries.into_iter().map(|(net, expires)| (net.to_string(), expires)).collect()
}

fn names(kernel: &Kernel, generation: u32) -> Vec<String> {
    held(kernel, generation).into_iter().map(|(net, _)| net).collect()
}

#[test]
fn content_is_shared_by_generations_until_it_has_to_differ() {
    needs_root!();
    let bench = Bench::new("sets-share");
    let mut kernel = bench.open();
    let (one, two) = (nets(&["10.0.0.0/8", "fd00:1::/64"]), nets(&["10.0.0.0/8", "192.0.2.0/24"]));
    let added = Added::default();
    let wanted = with_set(&kernel, abi::NP_DENY, 100);
    reach(&mut kernel, &wanted, &one, &added, false);
    let wanted = with_set(&kernel, abi::NP_ALLOW, 100);
    reach(&mut kernel, &wanted, &one, &added, true);
    assert_eq!(kernel.set_standings("friends.v1").unwrap(), [Standing { generations: vec![2, 1], max_entries: 100 }]);
    assert_eq!(names(&kernel, 2), ["10.0.0.0/8", "fd00:1::/64"]);

    let wanted = with_set(&kernel, abi::NP_DENY, 100);
    reach(&mut kernel, &wanted, &two, &added, false);
    let apart = kernel.set_standings("friends.v1").unwrap();
    assert_eq!(apart.iter().map(|s| s.generations.clone()).collect::<Vec<_>>(), [vec![3], vec![2]]);
    assert_eq!(
        (names(&kernel, 3), names(&kernel, 2)),
        (vec!["10.0.0.0/8".into(), "192.0.2.0/24".into()], vec!["10.0.0.0/8".into(), "fd00:1::/64".into()])
    );

    let wanted = with_set(&kernel, abi::NP_ALLOW, 200);
    reach(&mut kernel, &wanted, &two, &added, true);
    assert_eq!(kernel.set_standings("friends.v1").unwrap()[0], Standing { generations: vec![4], max_entries: 200 });
    assert_eq!(kernel.set_standings("nobody").unwrap(), []);
}

#[test]
fn single_entries_change_in_place_and_contents_by_one_write() {
    needs_root!();
    let bench = Bench::new("sets-change");
    let mut kernel = bench.open();
    let written = nets(&["10.0.0.0/8"]);
    let wanted = with_set(&kernel, abi::NP_DENY, 4);
    reach(&mut kernel, &wanted, &written, &Added::default(), false);
    let standing = kernel.set_standings("friends.v1").unwrap().remove(0);
    kernel.change_set(&standing, "friends.v1", &[(net("192.0.2.1/32"), Some(77)), (net("fd00::/8"), Some(0))]).unwrap();
    kernel.change_set(&standing, "friends.v1", &[(net("fd00::/8"), None), (net("192.0.2.1/32"), Some(78))]).unwrap();
    assert_eq!(held(&kernel, 1), [("10.0.0.0/8".into(), 0), ("192.0.2.1/32".into(), 78)]);
    let many: Vec<_> = (1..=4).map(|n| (net(&format!("198.51.100.{n}/32")), Some(0))).collect();
    let error = kernel.change_set(&standing, "friends.v1", &many).unwrap_err().to_string();
    assert!(error.contains("needs"), "{error}");

    let prepared = kernel.prepare_set(9, &[(net("203.0.113.0/24"), 5)], &mut |_| ()).unwrap();
    kernel.exchange_set(&standing, "friends.v1", &prepared).unwrap();
    drop(prepared);
    assert_eq!(held(&kernel, 1), [("203.0.113.0/24".into(), 5)]);
    drop(kernel);
    assert_eq!(held(&bench.open(), 1), [("203.0.113.0/24".into(), 5)], "pinned");
}

#[test]
fn exchange_that_was_cut_short_is_found_again() {
    needs_root!();
    let bench = Bench::new("sets-cut");
    let mut kernel = bench.open();
    let wanted = with_set(&kernel, abi::NP_DENY, 9);
    reach(&mut kernel, &wanted, &nets(&["10.0.0.0/8"]), &Added::default(), false);
    let directory = pins::Pins::new(&bench.scratch.path).generation(1);
    let (stays, next) = (directory.join("set-friends%v1"), directory.join("next-friends%v1"));
    let standing = kernel.set_standings("friends.v1").unwrap().remove(0);
    let prepared = kernel.prepare_set(9, &[(net("203.0.113.0/24"), 5)], &mut |_| ()).unwrap();
    kernel.exchange_set(&standing, "friends.v1", &prepared).unwrap();
    // As if the last step, the renaming, had not been reached.
    fs::rename(&stays, &next).unwrap();
    let other = kernel.prepare_set(9, &[], &mut |_| ()).unwrap();
    drop(kernel);
    let mut kernel = bench.open();
    assert_eq!(names(&kernel, 1), ["203.0.113.0/24"]);
    kernel.exchange_set(&standing, "friends.v1", &other).unwrap();
    assert_eq!(names(&kernel, 1), Vec::<String>::new());
    assert!(stays.exists() && !next.exists());
}

#[test]
fn lifetimes_are_told_in_boot_time_and_changes_are_counted() {
    needs_root!();
    let bench = Bench::new("sets-time");
    let mut kernel = bench.open();
    let mut added = Added::default();
    let now = clock().unix_ms(boot_time());
    added.insert(net("192.0.2.0/24"), Expiry::at(now + 60_000), true);
    added.insert(net("192.0.2.1/32"), Expiry::at(now + 1_000), true);
    let wanted = with_set(&kernel, abi::NP_DENY, 9);
    reach(&mut kernel, &wanted, &[], &added, false);
    for (_, expires) in held(&kernel, 1) {
        assert!((expires as i64 - boot_time() as i64 - 60_000_000_000).abs() < 30_000_000_000, "{expires}");
    }
    let word = || shared::need(&kernel.maps, "generation").unwrap().get::<u32, abi::np_word>(&0).unwrap().unwrap();
    let before = word();
    kernel.judge_flows_again();
    kernel.judge_flows_again();
    assert_eq!((word().set_epoch, word().generations), (before.set_epoch + 2, before.generations));
}

#[test]
fn rules_expire_by_the_wall_clock_wherever_it_is_set_to() {
    needs_root!();
    let bench = Bench::new("sets-rules");
    let mut kernel = bench.open();
    let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64;
    let mut wanted = ruleset(&kernel, abi::NP_DENY, &["np0"]);
    wanted.core.conditions = vec![abi::np_condition { limit: 7, ..Default::default() }; 3];
    wanted.core.condition_expiry = vec![Some(unix + 100), None, Some(1)];
    let actions = plan(&wanted, &kernel.observe().unwrap());
    kernel.execute(&wanted, &Contents { clock: clock(), ..Contents::default() }, &actions).unwrap();
    let conditions = pins::Pins::new(&bench.scratch.path).generation(1).join("conditions");
    let expires = || -> Vec<u64> {
        let all: Vec<(u32, abi::np_condition)> = maps::Map::open("conditions", &conditions).unwrap().all().unwrap();
        all.into_iter().map(|(_, condition)| (condition.limit == 7).then_some(condition.expires).unwrap()).collect()
    };
    let first = expires();
    assert!((first[0] as i64 - boot_time() as i64 - 100_000_000_000).abs() < 30_000_000_000);
    assert_eq!(first[1..], [0, 1], "never, and long ago");
    drop(kernel);
    let mut kernel = bench.open();
    assert!(!kernel.follow_clock(&clock()).unwrap());
    let set = Clock::new(SystemTime::now() + std::time::Duration::from_secs(3600), boot_time());
    assert!(kernel.follow_clock(&set).unwrap());
    assert_eq!(expires()[1..], [0, 1]);
    assert!(expires()[0] < boot_time());
}
