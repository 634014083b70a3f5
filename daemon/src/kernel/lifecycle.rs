//! Tests of the whole kernel side with the real programs: what a daemon does in its life, in a namespace and on a bpffs of its own.

use std::fs;
use std::process::Command;
use std::thread;
use std::time::Duration;

use netpol_probes::abi;

use super::tests::{Namespace, Scratch, needs_root};
use super::*;
use crate::compile::names::name_of;
use crate::compile::ruleset::{ChainInfo, Core, DeviceKind, LinkPlan};
use crate::plan::observed::XdpObserved;
use crate::plan::{Options, plan, plan_with};
use crate::policy::model::{Direction, Hook, Origin, XdpMode};

const SHOT: u32 = 2;
const GO_ON: u32 = u32::MAX;
const SECOND: u64 = 1_000_000_000;

/// What one test works in: a namespace with a veth pair, a bpffs. Dropped last.
pub(crate) struct Bench {
    pub(crate) scratch: Scratch,
    _namespace: Namespace,
}

impl Bench {
    pub(crate) fn new(name: &str) -> Bench {
        let bench = Bench { scratch: Scratch::new(name), _namespace: Namespace::enter() };
        ip(&["add", "np0", "type", "veth", "peer", "name", "np1"]);
        bench
    }

    /// A process that another test has just forked holds our lock too, until it becomes another program.
    pub(crate) fn open(&self) -> Kernel {
        for _ in 0..500 {
            match Kernel::open(&self.scratch.path, 1024, 512) {
                Err(Error::Locked { .. }) => std::thread::sleep(std::time::Duration::from_millis(10)),
                opened => return opened.unwrap(),
            }
        }
        panic!("{} stays locked", self.scratch.path.display());
    }
}

fn ip(arguments: &[&str]) {
    // The child inherits this thread's network namespace.
    assert!(Command::new("timeout").args(["5", "ip", "link"]).args(arguments).status().unwrap().success(), "ip link {arguments:?}");
}

/// A ruleset of one chain without rules at the ingress hook, whose default is told.
pub(crate) fn ruleset(kernel: &Kernel, default_action: u32, names: &[&str]) -> Ruleset {
    let origin = Origin { file: "t.toml".into(), line: 1, column: 1 };
    let mut timeouts = [0; abi::NP_TIMEOUTS as usize];
    timeouts.fill(60 * SECOND);
    let core = Core {
        slot: abi::np_slot { timeouts, ..Default::default() },
        connections: 1024,
        half_open: 512,
        classes: vec![abi::np_class::default()],
        chains: vec![abi::np_chain { default_action: default_action as u8, ..Default::default() }],
        l4_protocols: vec![
            abi::np_protocol { destination_table: abi::NP_NONE, source_table: abi::NP_NONE, ..Default::default() };
            2 * abi::NP_PROTOCOLS as usize
        ],
        l4_flags: vec![0; 256],
        l4_dims: abi::np_l4_dims { s: 1, f: 1, v: 2, total: 2 },
        l4_combine: vec![0, 0],
        chain_info: vec![ChainInfo {
            policies: vec!["p".into()],
            direction: Direction::Ingress,
            hook: Hook::Ingress,
            default_policy: "p".into(),
            default_origin: origin,
        }],
        ..Core::default()
    };
    let facts = kernel.links(&BTreeMap::new()).unwrap();
    let wanted = facts.iter().filter(|fact| names.contains(&fact.name.as_str()));
    let links = wanted.map(|fact| (fact.ifindex, link_plan(fact))).collect();
    Ruleset { core, links }
}

fn link_plan(fact: &LinkFacts) -> LinkPlan {
    LinkPlan {
        ifindex: fact.ifindex,
        name: fact.name.clone(),
        device: fact.device,
        record: abi::np_link { chain: [0, abi::NP_NONE], name: name_of(&fact.name), ..Default::default() },
        xdp: None,
        policies: vec!["p".into()],
    }
}

pub(super) fn reach(kernel: &mut Kernel, wanted: &Ruleset) -> Outcome {
    let actions = plan(wanted, &kernel.observe().unwrap());
    let outcome = kernel.execute(wanted, &Contents::default(), &actions).unwrap();
    assert_eq!(outcome.failures, Vec::<String>::new());
    outcome
}

pub(super) fn index(kernel: &Kernel, name: &str) -> u32 {
    kernel.links(&BTreeMap::new()).unwrap().iter().find(|fact| fact.name == name).unwrap().ifindex
}

/// An Ethernet frame with a UDP datagram; `port` makes it a new flow.
pub(super) fn frame(port: u16) -> Vec<u8> {
    let mut bytes = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0];
    bytes.extend([0x45, 0, 0, 36, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 2, 10, 0, 0, 1]);
    bytes.extend(port.to_be_bytes());
    bytes.extend([0, 53, 0, 16, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8]);
    bytes
}

fn verdict(kernel: &Kernel, name: &str, port: u16) -> u32 {
    let entry = Entry::Tc(DeviceKind::Ethernet, Hook::Ingress);
    let shot = Shot { entry, ifindex: index(kernel, name), bytes: &frame(port), gso_size: 0 };
    kernel.test_run(shot).unwrap().verdict
}

/// Everything but the clock.
fn state(kernel: &Kernel) -> Observed {
    Observed { now: 0, ..kernel.observe().unwrap() }
}

#[test]
fn policy_is_enforced_exchanged_and_taken_off() {
    needs_root!();
    let bench = Bench::new("life");
    let empty = pins::names(&bench.scratch.path).unwrap(); // some kernels put iterators of their own into every bpffs
    let mut kernel = bench.open();
    let nothing_else = kernel.warnings().iter().all(|warning| warning.starts_with("no guard"));
    assert!(nothing_else, "{:?}", kernel.warnings());
    let deny = ruleset(&kernel, abi::NP_DENY, &["np0"]);
    assert_eq!(verdict(&kernel, "np0", 1), GO_ON, "nothing is judged before the first generation");
    assert_eq!(reach(&mut kernel, &deny).generation, 1);
    assert_eq!(plan(&deny, &kernel.observe().unwrap()), []);
    assert_eq!((verdict(&kernel, "np0", 2), verdict(&kernel, "np1", 2)), (SHOT, GO_ON));
    assert_eq!(kernel.reasons().unwrap()[0][abi::NP_R_DEFAULT as usize], 1);
    assert_eq!(kernel.counters().unwrap()[0].packets, 1);

    let allow = ruleset(&kernel, abi::NP_ALLOW, &["np0"]);
    assert_eq!(reach(&mut kernel, &allow).generation, 2);
    assert_eq!(kernel.counters().unwrap()[0].packets, 1, "counts go on in the next generation");
    assert_eq!(verdict(&kernel, "np0", 3), GO_ON);
    assert_eq!(kernel.flows().unwrap().len(), 1);

    assert_eq!(kernel.rollback().unwrap().unwrap().running, 1);
    assert_eq!(verdict(&kernel, "np0", 4), SHOT);
    assert_eq!(kernel.detach_all().unwrap(), ["np0"]);
    assert_eq!(pins::names(&bench.scratch.path).unwrap(), empty);
    assert_eq!(inspect(&bench.scratch.path).unwrap(), None);
}

#[test]
fn restarted_daemon_adopts_what_runs_with_its_connections() {
    needs_root!();
    let bench = Bench::new("adopt");
    let mut kernel = bench.open();
    let allow = ruleset(&kernel, abi::NP_ALLOW, &["np0", "np1"]);
    reach(&mut kernel, &allow);
    verdict(&kernel, "np0", 9);
    let before = (state(&kernel), kernel.flows().unwrap());
    drop(kernel);

    let looked = inspect(&bench.scratch.path).unwrap().unwrap();
    let mut enforced = looked.enforced;
    enforced.sort();
    assert_eq!((looked.word.running, enforced), (1, vec!["np0".into(), "np1".into()]));

    let kernel = Kernel::open(&bench.scratch.path, 4096, 512).unwrap();
    assert!(kernel.warnings()[0].contains("`connections` keeps its 1024 entries"), "{:?}", kernel.warnings());
    assert_eq!((state(&kernel), kernel.flows().unwrap()), before);
    assert_eq!(plan(&allow, &kernel.observe().unwrap()), []);
}

#[test]
fn second_instance_is_refused_while_the_first_lives() {
    needs_root!();
    let bench = Bench::new("lock");
    let kernel = bench.open();
    let error = Kernel::open(&bench.scratch.path, 1024, 512).err().unwrap().to_string();
    assert!(error.contains("another netpol-ebpf") && error.contains(&std::process::id().to_string()), "{error}");
    drop(kernel);
    bench.open();
}

#[test]
fn other_network_namespace_does_not_take_over_live_links() {
    needs_root!();
    let bench = Bench::new("netns");
    let mut kernel = bench.open();
    let deny = ruleset(&kernel, abi::NP_DENY, &["np0"]);
    reach(&mut kernel, &deny);
    drop(kernel);
    let elsewhere = Namespace::enter();
    let error = Kernel::open(&bench.scratch.path, 1024, 512).err().unwrap().to_string();
    assert!(error.contains("another network namespace"), "{error}");
    drop(elsewhere);
    assert_eq!(verdict(&bench.open(), "np0", 1), SHOT);
}

#[test]
fn failed_build_leaves_the_running_generation_as_it_was() {
    needs_root!();
    let bench = Bench::new("fail");
    let mut kernel = bench.open();
    let deny = ruleset(&kernel, abi::NP_DENY, &["np0"]);
    reach(&mut kernel, &deny);
    let before = state(&kernel);
    let mut wrong = ruleset(&kernel, abi::NP_ALLOW, &["np0", "np1"]);
    wrong.core.classes = vec![abi::np_class::default(); abi::NP_MAX_CLASSES as usize + 1];
    let actions = plan(&wrong, &kernel.observe().unwrap());
    let error = kernel.execute(&wrong, &Contents::default(), &actions).unwrap_err().to_string();
    assert!(error.contains("`classes` needs 65537 entries"), "{error}");
    assert_eq!(state(&kernel), before);
    assert_eq!(verdict(&kernel, "np0", 1), SHOT);
}

#[test]
fn plan_that_cannot_be_finished_is_undone_at_every_step() {
    needs_root!();
    let bench = Bench::new("undo");
    let mut kernel = bench.open();
    let deny = ruleset(&kernel, abi::NP_DENY, &["np0"]);
    reach(&mut kernel, &deny);
    let before = state(&kernel);
    let mut wanted = ruleset(&kernel, abi::NP_ALLOW, &["np0", "np1"]);
    wanted.links.values_mut().for_each(|link| link.xdp = Some(XdpMode::Generic));
    let actions = plan(&wanted, &kernel.observe().unwrap());
    let commit = actions.iter().position(|action| matches!(action, Action::Commit { .. })).unwrap();
    for stop in 0..commit {
        // What runs is never removed: this action fails wherever it stands.
        let mut broken = actions.clone();
        broken.insert(stop, Action::Commit { word: GenerationWord { running: 77, former: 0 }, before: kernel.word() });
        let error = kernel.execute(&wanted, &Contents::default(), &broken).unwrap_err();
        assert!(matches!(&error, Error::Action { undo, .. } if undo.is_empty()), "{error}");
        assert_eq!(state(&kernel), before, "stopped before {}", actions[stop]);
    }
    assert_eq!(kernel.execute(&wanted, &Contents::default(), &actions).unwrap().generation, 2);
}

#[test]
fn killed_in_the_middle_of_a_build_the_next_daemon_sweeps() {
    needs_root!();
    let bench = Bench::new("killed");
    let mut kernel = bench.open();
    let deny = ruleset(&kernel, abi::NP_DENY, &["np0"]);
    reach(&mut kernel, &deny);
    let allow = ruleset(&kernel, abi::NP_ALLOW, &["np0", "np1"]);
    let actions = plan(&allow, &kernel.observe().unwrap());
    let commit = actions.iter().position(|action| matches!(action, Action::Commit { .. })).unwrap();
    for stop in 1..=commit {
        kernel.execute(&allow, &Contents::default(), &actions[..stop]).unwrap();
        drop(kernel);
        kernel = bench.open();
        assert_eq!(verdict(&kernel, "np0", 1), SHOT, "killed before {}", actions[stop]);
        reach(&mut kernel, &deny);
        assert_eq!(plan(&deny, &kernel.observe().unwrap()), []);
        assert_eq!(kernel.observe().unwrap().generations.len(), 1);
    }
}

#[test]
fn unconfirmed_generation_returns_by_itself() {
    needs_root!();
    let bench = Bench::new("deadline");
    let mut kernel = bench.open();
    let deny = ruleset(&kernel, abi::NP_DENY, &["np0"]);
    reach(&mut kernel, &deny);
    let allow = ruleset(&kernel, abi::NP_ALLOW, &["np0"]);
    let until = |time| Options { deadline: Some(boot_time() + time), ..Options::default() };
    let actions = plan_with(&allow, &kernel.observe().unwrap(), until(5 * SECOND));
    kernel.execute(&allow, &Contents::default(), &actions).unwrap();
    assert_eq!(verdict(&kernel, "np0", 1), GO_ON);
    let deadline = kernel.deadline().unwrap();
    drop(kernel);
    thread::sleep(Duration::from_nanos(deadline.saturating_sub(boot_time()) + SECOND / 10));

    let mut kernel = bench.open();
    assert_eq!(verdict(&kernel, "np0", 2), SHOT, "the programs return, with no daemon");
    assert!(kernel.observe().unwrap().expired());
    assert!(!kernel.confirm().unwrap());
    reach(&mut kernel, &deny);
    assert_eq!(kernel.word(), GenerationWord { running: 1, former: 2 });

    let actions = plan_with(&allow, &kernel.observe().unwrap(), until(100 * SECOND));
    kernel.execute(&allow, &Contents::default(), &actions).unwrap();
    assert!(kernel.confirm().unwrap());
    assert_eq!((kernel.deadline().unwrap(), verdict(&kernel, "np0", 3)), (0, GO_ON));
}

#[test]
fn interfaces_come_and_go() {
    needs_root!();
    let bench = Bench::new("links");
    let mut kernel = bench.open();
    let names = ["np0", "np1", "np2"];
    let wanted = ruleset_of(&kernel, &names);
    reach(&mut kernel, &wanted);
    ip(&["add", "np2", "type", "veth", "peer", "name", "np3"]);
    let wanted = ruleset_of(&kernel, &names);
    reach(&mut kernel, &wanted);
    assert_eq!((kernel.word().running, verdict(&kernel, "np2", 1)), (1, SHOT));

    // Gone between plan and execution.
    let old = index(&kernel, "np2");
    let mut changed = ruleset_of(&kernel, &names);
    changed.core.slot.flags = abi::NP_SLOT_KEEP;
    let actions = plan(&changed, &kernel.observe().unwrap());
    ip(&["del", "np2"]);
    assert_eq!(kernel.execute(&changed, &Contents::default(), &actions).unwrap().generation, 2);

    // Another device of the same name and index.
    ip(&["add", "np2", "index", &old.to_string(), "type", "veth", "peer", "name", "np3"]);
    assert_eq!(index(&kernel, "np2"), old);
    // A clsact filter goes with its device and leaves no pin.
    assert_eq!(kernel.observe().unwrap().links[&old].dead_pins, kernel.way == TcAttachment::Tcx);
    reach(&mut kernel, &changed);
    assert_eq!(plan(&changed, &kernel.observe().unwrap()), []);
    assert_eq!(verdict(&kernel, "np2", 1), SHOT);

    ip(&["del", "np2"]);
    let mut wanted = ruleset_of(&kernel, &names);
    wanted.core.slot.flags = abi::NP_SLOT_KEEP;
    reach(&mut kernel, &wanted);
    assert!(!kernel.observe().unwrap().links.contains_key(&old));
}

#[test]
fn interface_that_moves_to_another_namespace_is_forgotten() {
    needs_root!();
    let bench = Bench::new("moved");
    let mut kernel = bench.open();
    let deny = ruleset_of(&kernel, &["np0"]);
    reach(&mut kernel, &deny);
    let mut elsewhere = Command::new("unshare").args(["--net", "sleep", "20"]).spawn().unwrap();
    thread::sleep(Duration::from_millis(300));
    ip(&["set", "np0", "netns", &elsewhere.id().to_string()]);
    let there = kernel.observe().unwrap();
    let np0 = *deny.links.keys().next().unwrap();
    assert!(!there.links[&np0].present);
    let none = ruleset_of(&kernel, &["np0"]);
    assert_eq!(plan(&none, &there), [Action::ForgetLink { ifindex: np0 }]);
    reach(&mut kernel, &none);
    assert!(!kernel.observe().unwrap().links.contains_key(&np0));
    elsewhere.kill().unwrap();
    elsewhere.wait().unwrap();
}

fn ruleset_of(kernel: &Kernel, names: &[&str]) -> Ruleset {
    ruleset(kernel, abi::NP_DENY, names)
}

#[test]
fn new_interface_that_vanishes_before_it_is_attached_is_a_note() {
    needs_root!();
    let bench = Bench::new("vanish");
    let mut kernel = bench.open();
    let wanted = ruleset_of(&kernel, &["np0", "np1"]);
    let actions = plan(&wanted, &kernel.observe().unwrap());
    ip(&["del", "np0"]);
    let outcome = kernel.execute(&wanted, &Contents::default(), &actions).unwrap();
    assert_eq!((outcome.generation, outcome.notes.len()), (1, 2), "{outcome:?}");
}

#[test]
fn xdp_is_attached_flagged_exchanged_and_taken_off() {
    needs_root!();
    let bench = Bench::new("xdp-life");
    let mut kernel = bench.open();
    let mut wanted = ruleset_of(&kernel, &["np0"]);
    let np0 = index(&kernel, "np0");
    for (mode, native) in [(XdpMode::Auto, true), (XdpMode::Generic, false), (XdpMode::Native, true)] {
        wanted.links.get_mut(&np0).unwrap().xdp = Some(mode);
        let outcome = reach(&mut kernel, &wanted);
        assert_eq!(outcome.warnings, Vec::<String>::new());
        let there = kernel.observe().unwrap();
        assert_eq!(matches!(there.links[&np0].xdp, XdpObserved::Native { .. }), native, "{mode:?}");
        assert!(there.links[&np0].xdp.is_ours());
        assert_ne!(there.records[&(1, np0)].flags & abi::NP_LINK_XDP, 0);
        assert_eq!(plan(&wanted, &there), []);
    }
    wanted.links.get_mut(&np0).unwrap().xdp = None;
    reach(&mut kernel, &wanted);
    let there = kernel.observe().unwrap();
    assert_eq!((there.links[&np0].xdp, there.records[&(1, np0)].flags & abi::NP_LINK_XDP), (XdpObserved::None, 0));
}

#[test]
fn clsact_serves_where_tcx_is_missing() {
    needs_root!();
    let bench = Bench::new("clsact-life");
    let open = || {
        let ways = Ways { attach: Some(TcAttachment::Clsact), ..Ways::default() };
        Kernel::open_by(&bench.scratch.path, 1024, 512, ways).unwrap()
    };
    let mut kernel = open();
    let deny = ruleset_of(&kernel, &["np0"]);
    reach(&mut kernel, &deny);
    let there = kernel.observe().unwrap();
    let np0 = index(&kernel, "np0");
    assert!([Hook::Ingress, Hook::Egress].iter().all(|hook| there.links[&np0].tc(*hook).unwrap().attachment == TcAttachment::Clsact));
    drop(kernel);
    let mut kernel = open();
    assert_eq!(plan(&deny, &kernel.observe().unwrap()), []);
    // Somebody removes the qdisc.
    assert!(Command::new("timeout").args(["5", "tc", "qdisc", "del", "dev", "np0", "clsact"]).status().unwrap().success());
    let actions = plan(&deny, &kernel.observe().unwrap());
    assert_eq!(actions.len(), 2, "{actions:?}");
    assert_eq!(kernel.execute(&deny, &Contents::default(), &actions).unwrap().failures, Vec::<String>::new());
    assert_eq!(plan(&deny, &kernel.observe().unwrap()), []);
    let none = ruleset_of(&kernel, &[]);
    reach(&mut kernel, &none);
    assert!(!kernel.observe().unwrap().links[&np0].attached());
}

#[test]
fn flows_of_vanished_interfaces_are_swept() {
    needs_root!();
    let bench = Bench::new("flows");
    let mut kernel = bench.open();
    let allow = ruleset(&kernel, abi::NP_ALLOW, &["np0"]);
    reach(&mut kernel, &allow);
    for port in 1..=20 {
        verdict(&kernel, "np0", port);
    }
    let left = |kernel: &mut Kernel| kernel.sweep_flows().unwrap().iter().map(|table| table.flows).sum::<usize>();
    assert_eq!((kernel.flows().unwrap().len(), left(&mut kernel)), (20, 20));
    ip(&["del", "np0"]);
    assert_eq!((left(&mut kernel), kernel.flows().unwrap().len()), (0, 0));
}

#[test]
fn programs_of_another_version_are_exchanged_in_place() {
    needs_root!();
    let bench = Bench::new("upgrade");
    let mut kernel = bench.open();
    let mut deny = ruleset_of(&kernel, &["np0"]);
    let np0 = index(&kernel, "np0");
    deny.links.get_mut(&np0).unwrap().xdp = Some(XdpMode::Generic);
    reach(&mut kernel, &deny);
    verdict(&kernel, "np0", 1);
    let before = kernel.observe().unwrap();
    let pins = pins::Pins::new(&bench.scratch.path);
    let digest = kernel.programs.digest().to_string();
    drop(kernel);
    // As if what is pinned had come from objects of other bytes.
    fs::rename(pins.programs(&digest), pins.programs("0123456789abcdef")).unwrap();
    let built_by = |digest: &str| pins.generation(1).join(format!("objects-{digest}"));
    fs::rename(built_by(&digest), built_by("0123456789abcdef")).unwrap();
    fs::create_dir(bench.scratch.path.join("abi0")).unwrap();

    let mut kernel = bench.open();
    assert_eq!(verdict(&kernel, "np0", 2), SHOT);
    reach(&mut kernel, &deny);
    let there = kernel.observe().unwrap();
    assert_eq!(there.word, GenerationWord { running: 2, former: 1 });
    for hook in [Hook::Ingress, Hook::Egress] {
        assert_ne!(there.links[&np0].tc(hook).unwrap().program, before.links[&np0].tc(hook).unwrap().program);
    }
    assert_ne!(there.links[&np0].xdp, before.links[&np0].xdp);
    assert_ne!(there.shared, before.shared);
    assert_eq!(there.leftovers, Vec::<String>::new());
    assert_eq!(plan(&deny, &there), []);
    assert_eq!((verdict(&kernel, "np0", 3), kernel.counters().unwrap()[0].packets), (SHOT, 3));
}

#[test]
fn logged_packets_are_told_once() {
    needs_root!();
    let bench = Bench::new("events");
    let mut kernel = bench.open();
    let mut deny = ruleset_of(&kernel, &["np0"]);
    deny.core.chains[0].log_default = 1;
    reach(&mut kernel, &deny);
    let mut events = kernel.events().unwrap();
    assert_eq!(events.poll(Duration::ZERO, &mut |_| ()).unwrap(), 0);
    verdict(&kernel, "np0", 4711);
    let mut seen = Vec::new();
    assert_eq!(events.poll(Duration::from_secs(1), &mut |event| seen.push(*event)).unwrap(), 1);
    let event = seen[0];
    assert_eq!((event.ifindex, event.generation, event.sport, event.dport), (index(&kernel, "np0"), 1, 4711, 53));
    assert_eq!((u32::from(event.reason), event.rule), (abi::NP_R_DEFAULT, abi::NP_NONE));
    assert_eq!(events.poll(Duration::ZERO, &mut |_| ()).unwrap(), 0);
}
