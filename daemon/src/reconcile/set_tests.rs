//! Tests of dynamic sets over generations, restarts and clocks, with real maps.

use std::path::Path;
use std::time::{Duration, SystemTime};

use ipnet::IpNet;
use netpol_probes::abi;

use super::sets::{SetError, Sets};
use crate::compile::ruleset::SetSlot;
use crate::kernel::lifecycle::{Bench, ruleset};
use crate::kernel::tests::needs_root;
use crate::kernel::{Kernel, boot_time};
use crate::plan::plan;
use crate::policy;
use crate::policy::model::{Dynamic, Origin, PolicySet, Set};
use crate::sets::{Added, Clock, Expiry};

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

/// Policies with one dynamic set.
fn policies(written: &[&str], max_entries: u32) -> PolicySet {
    let mut policies = policy::failsafe_only(Default::default());
    policies.sets = vec![Set {
        name: "s".into(),
        origin: Origin { file: "t.toml".into(), line: 1, column: 1 },
        nets: written.iter().map(|text| net(text)).collect(),
        element_count: written.len(),
        dynamic: Some(Dynamic { timeout: None, max_entries }),
        added: Vec::new(),
    }];
    policies
}

/// What the reconciler does with a ruleset whose rules differ by `default`.
fn enforce(sets: &mut Sets, kernel: &mut Kernel, policies: &PolicySet, default: u32) {
    let mut wanted = ruleset(kernel, default, &["np0"]);
    let max_entries = policies.sets[0].dynamic.unwrap().max_entries;
    wanted.core.sets = vec![SetSlot::Dynamic { name: "s".into(), max_entries }];
    let before = kernel.word().running;
    let actions = plan(&wanted, &kernel.observe().unwrap());
    sets.learn(kernel, policies).unwrap();
    let outcome = kernel.execute(&wanted, &sets.contents(kernel, policies), &actions).unwrap();
    sets.settle(kernel, policies, outcome.generation != before).unwrap();
}

fn held(kernel: &Kernel, generation: u32) -> Vec<String> {
    kernel.set_entries(generation, "s").unwrap().unwrap().keys().map(IpNet::to_string).collect()
}

fn journals(directory: &Path) -> Sets {
    Sets::new(directory.to_path_buf())
}

#[test]
fn former_generation_follows_with_its_own_written_elements() {
    needs_root!();
    let (bench, dir) = (Bench::new("sets-former"), tempfile::tempdir().unwrap());
    let (mut kernel, mut sets) = (bench.open(), journals(dir.path()));
    let (one, two) = (policies(&["10.0.0.0/8"], 3), policies(&["192.0.2.0/24"], 100));
    enforce(&mut sets, &mut kernel, &one, abi::NP_DENY);
    enforce(&mut sets, &mut kernel, &two, abi::NP_ALLOW);
    let set = &two.sets[0];
    sets.add(Some(&mut kernel), set, &[net("10.1.0.1/32"), net("fd00::/64")], Expiry::NEVER).unwrap();
    assert_eq!(held(&kernel, 1), ["10.0.0.0/8", "10.1.0.1/32", "fd00::/64"]);
    assert_eq!(held(&kernel, 2), ["10.1.0.1/32", "192.0.2.0/24", "fd00::/64"]);

    // A restarted daemon knows nothing of the former one's policies; and there is more than it had room for.
    let mut sets = journals(dir.path());
    enforce(&mut sets, &mut kernel, &two, abi::NP_ALLOW);
    assert_eq!(kernel.word().running, 2, "adopted");
    sets.add(Some(&mut kernel), set, &[net("198.51.100.0/24")], Expiry::NEVER).unwrap();
    sets.remove(Some(&mut kernel), set, &[net("fd00::/64")]).unwrap();
    assert_eq!(held(&kernel, 1), ["10.0.0.0/8", "10.1.0.1/32", "198.51.100.0/24"]);
    assert_eq!(held(&kernel, 2), ["10.1.0.1/32", "192.0.2.0/24", "198.51.100.0/24"]);

    let mut other = Added::default();
    other.insert(net("203.0.113.0/24"), Expiry::NEVER, true);
    sets.replace(Some(&mut kernel), set, other, &mut |_, _, _| ()).unwrap();
    assert_eq!(
        (held(&kernel, 1), held(&kernel, 2)),
        (vec!["10.0.0.0/8".into(), "203.0.113.0/24".into()], vec!["192.0.2.0/24".to_string(), "203.0.113.0/24".into()])
    );
    assert!(sets.problems().is_empty());
}

#[test]
fn changed_list_changes_the_running_content_alone_and_a_full_one_is_refused() {
    needs_root!();
    let (bench, dir) = (Bench::new("sets-list"), tempfile::tempdir().unwrap());
    let (mut kernel, mut sets) = (bench.open(), journals(dir.path()));
    let one = policies(&["10.0.0.0/8"], 3);
    enforce(&mut sets, &mut kernel, &one, abi::NP_DENY);
    sets.add(Some(&mut kernel), &one.sets[0], &[net("fd00::/64")], Expiry::NEVER).unwrap();
    enforce(&mut sets, &mut kernel, &policies(&["192.0.2.0/24"], 3), abi::NP_DENY);
    assert_eq!((kernel.word().running, held(&kernel, 1)), (1, vec!["192.0.2.0/24".to_string(), "fd00::/64".into()]));
    let full = policies(&["10.0.0.0/8", "11.0.0.0/8", "12.0.0.0/8"], 3);
    let error = sets.learn(&kernel, &full).unwrap_err();
    assert!(matches!(error, SetError::Full { wanted: 4, most: 3, .. }) && error.to_string().contains("t.toml:1:1"), "{error}");
    let refused = sets.add(Some(&mut kernel), &one.sets[0], &[net("1.0.0.0/8"), net("2.0.0.0/8")], Expiry::NEVER);
    assert!(matches!(refused, Err(SetError::Full { .. })));
    assert_eq!(held(&kernel, 1).len(), 2);
}

#[test]
fn clock_that_is_set_leaves_fresh_elements_their_time_and_ends_kept_ones_by_the_calendar() {
    needs_root!();
    let (bench, dir) = (Bench::new("sets-clock"), tempfile::tempdir().unwrap());
    let (mut kernel, mut sets) = (bench.open(), journals(dir.path()));
    let one = policies(&[], 9);
    let end = Expiry::at(sets.now() + 600_000);
    enforce(&mut sets, &mut kernel, &one, abi::NP_DENY);
    sets.add(Some(&mut kernel), &one.sets[0], &[net("10.0.0.1/32")], end).unwrap();
    let mut sets = journals(dir.path());
    enforce(&mut sets, &mut kernel, &one, abi::NP_DENY);
    sets.add(Some(&mut kernel), &one.sets[0], &[net("10.0.0.2/32")], end).unwrap();
    let entries = |kernel: &Kernel| kernel.set_entries(1, "s").unwrap().unwrap();
    let before = entries(&kernel);

    sets.follow_clock(&mut kernel, Clock::new(SystemTime::now() + Duration::from_secs(3600), boot_time())).unwrap();
    let after = entries(&kernel);
    let (kept, fresh) = (net("10.0.0.1/32"), net("10.0.0.2/32"));
    assert!(after[&kept] < boot_time(), "over by the calendar");
    assert!(after[&fresh].abs_diff(before[&fresh]) < 1_000_000_000, "ten minutes are ten minutes");
    let written = std::fs::read_to_string(dir.path().join("s")).unwrap();
    let end = |element: &str| -> f64 {
        written.lines().find_map(|line| line.strip_prefix(&format!("+ {element}/32 "))).unwrap().parse().unwrap()
    };
    assert!((end("10.0.0.2") - end("10.0.0.1") - 3600.0).abs() < 1.0, "{written}");
}
