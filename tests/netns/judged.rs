//! The plain judge is right about real packets too: random policies that the daemon enforces, random packets sent through the veth,
//! and what comes out behind the hook is what the judge lets through.
//!
//! A sample, in series with the millions of frames that never leave the test programs (`daemon/tests/differential`): here the driver,
//! tag acceleration, native XDP and the daemon's reloads take part. `NETPOL_SEED` repeats a run.

mod packets;
mod policies;
#[allow(dead_code)] // a test of the daemon asks for more
#[path = "../../daemon/tests/differential/random.rs"]
mod random;

use std::path::Path;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use netpol_ebpf::policy::judge::{Conntrack, DeviceKind, Frame, Interface, Judgement, Route, Routes, Verdict, judge, parse};
use netpol_ebpf::policy::load;
use netpol_ebpf::policy::model::{self, PolicySet};
use netpol_ebpf::schema::render;
use netpol_ebpf::source::Snapshot;
use netpol_tests::{Bench, Daemon, Hook, Net, Packet, say};
use packets::Traffic;
use random::Random;

/// Policies of a seed, and the times that packets are sent to either hook under each.
const POLICIES: usize = 5;
const TURNS: usize = 4;
/// Index of `left` for the judge, and of `right`. Any numbers: the judge compares them only with each other.
const LEFT: u32 = 1;
const RIGHT: u32 = 2;
/// Where the judge's clock begins, ns.
const EPOCH: u64 = 1_000_000_000_000;

/// The judge, with what it remembers.
struct Oracle {
    set: PolicySet,
    interface: Interface,
    conntrack: Conntrack,
    begin: Instant,
}

impl Oracle {
    fn new(set: PolicySet) -> Oracle {
        let interface = Interface { ifindex: LEFT, routes: Some(Arc::new(routes())), ..Interface::named("left") };
        let mut conntrack = Conntrack::default();
        conntrack.generation = 1;
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos();
        conntrack.wall_offset = i64::try_from(unix).unwrap() - EPOCH as i64;
        Oracle { set, interface, conntrack, begin: Instant::now() }
    }

    /// Other policies take the place of the running ones.
    fn change(&mut self, set: PolicySet) {
        self.set = set;
        self.conntrack.generation += 1;
        self.conntrack.forget_rates();
    }

    fn judge(&mut self, hook: Hook, packet: &Packet) -> Judgement {
        let hook = if hook == Hook::Ingress { model::Hook::Ingress } else { model::Hook::Egress };
        let frame = packet.frame();
        let parsed = parse(&Frame { hook, device: DeviceKind::Ethernet, bytes: &frame, metadata_tag: None, gso: false });
        let now = EPOCH + self.begin.elapsed().as_nanos() as u64;
        judge(&self.set, &self.interface, &mut self.conntrack, &parsed, now)
    }
}

/// The routes of the bench's dut.
fn routes() -> Routes {
    let out = |link| Route::Via([link].into());
    let all = [
        ("10.1.0.0/16", out(LEFT)),
        ("10.2.0.0/16", out(RIGHT)),
        ("fd00:1::/64", out(LEFT)),
        ("fd00:2::/64", out(RIGHT)),
        ("10.1.0.1/32", Route::Refused),
        ("10.2.0.1/32", Route::Refused),
        ("fd00:1::1/128", Route::Refused),
        ("fd00:2::1/128", Route::Refused),
    ];
    Routes { prefixes: all.into_iter().map(|(net, route)| (net.parse().unwrap(), route)).collect() }
}

fn read(text: &str) -> Result<PolicySet, String> {
    let mut snapshot = Snapshot::of(Path::new("/judged"), &[("10-test.toml".to_owned(), text.as_bytes().to_vec())]);
    load(&mut snapshot).policies.map_err(|errors| render(&errors, &snapshot, false))
}

/// A file that the language accepts, and what it means.
fn policy(random: &mut Random, number: usize) -> (String, PolicySet) {
    loop {
        let text = policies::text(random, number);
        match read(&text) {
            Ok(set) => return (text, set),
            Err(errors) => assert!(!errors.contains("unknown key"), "{errors}"),
        }
    }
}

/// Sends packets through a hook in order, and holds what comes out against the judge. Returns how many passed.
fn compare(bench: &Bench, oracle: &mut Oracle, hook: Hook, packets: &[Packet], about: &str) -> usize {
    let judged: Vec<Judgement> = packets.iter().map(|packet| oracle.judge(hook, packet)).collect();
    let frames = bench.deliver(hook, packets);
    for (number, (packet, judged)) in packets.iter().zip(&judged).enumerate() {
        let passed = frames.iter().any(|frame| frame.ends_with(&packet.l3()));
        let hex = || packet.frame().iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        assert_eq!(
            if passed { "passes" } else { "is dropped" },
            if judged.verdict == Verdict::Allow { "passes" } else { "is dropped" },
            "packet {number} at {hook:?}, left what happened, right what the judge says: {}\n  {}\n{about}",
            hex(),
            judged.steps.join("\n  ")
        );
    }
    judged.iter().filter(|judged| judged.verdict == Verdict::Allow).count()
}

#[test]
fn random_packets_on_the_wire_are_judged_as_the_plain_judge_says() {
    judged_alike(&[]);
}

#[test]
fn random_packets_are_judged_alike_by_the_programs_for_preempt_rt() {
    judged_alike(&["--realtime"]);
}

/// By a daemon with these options.
fn judged_alike(options: &[&str]) {
    let fresh = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
    let given: Option<u64> = std::env::var("NETPOL_SEED").ok().and_then(|seed| seed.parse().ok());
    let seeds = given.map_or(vec![1, fresh], |seed| vec![seed]);
    let (mut passed, mut sent) = (0, 0);
    for seed in &seeds {
        let seed = *seed;
        let mut random = Random::new(seed);
        let (mut text, set) = policy(&mut random, 0);
        let (mut oracle, mut traffic) = (Oracle::new(set), Traffic::new(&mut random));
        let Some(net) = Net::new() else { return };
        net.write("10-test.toml", &text);
        let daemon = Daemon::try_start_as(&net, options).expect("a start");
        let bench = Bench::around(net, daemon);
        for number in 0..POLICIES {
            if number > 0 {
                let (next, set) = policy(&mut random, number);
                text = next;
                bench.change(&text);
                oracle.change(set);
            }
            for turn in 0..TURNS {
                for hook in Hook::BOTH {
                    let packets = traffic.batch(&mut random, hook);
                    let about = format!("NETPOL_SEED={seed}, policy {number}, turn {turn}:\n{text}");
                    passed += compare(&bench, &mut oracle, hook, &packets, &about);
                    sent += packets.len();
                }
            }
        }
    }
    let (policies, dropped) = (POLICIES * seeds.len(), sent - passed);
    say::aloud(&format!(
        "{sent} real packets judged alike under {policies} policies (seeds {seeds:?}, {options:?}): {passed} passed, {dropped} were dropped"
    ));
    assert!(given.is_some() || (sent >= 800 && passed >= 200 && sent - passed >= 200), "{passed} of {sent} passed");
}
