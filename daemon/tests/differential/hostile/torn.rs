//! A million frames that were good before somebody tore at them, before three kinds of policies and at every place.
//!
//! `NETPOL_SEED` repeats a run, `NETPOL_FRAMES` makes it longer. The first mismatch is made small, shown, and written into a file
//! that `kept` can replay.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use netpol_ebpf::policy::reason::Reason;

use super::mutate::mutate;
use super::{ARRIVING, LEAVING, Row, kept, view};
use crate::bench::{Bench, ROOM};
use crate::random::Random;
use crate::scenario::{Goal, Mismatch, Path, Shot, Stage, Text, tell};
use crate::{shrink, traffic};

/// Torn frames of each of the three tests.
const FRAMES: usize = 350_000;
/// Frames of a round: few enough that the flows which they open find room.
const ROUND: usize = 8000;
/// How often of a hundred times a frame is left whole, so that there are flows to attack.
const WHOLE: usize = 15;

/// Nothing expires while frames are judged.
const PATIENT: &str = "[daemon.conntrack]\nadopt_existing = false\nmax_entries = 4096\nmax_half_open = 4096\ntcp_syn = \"1d\"\n\
                       tcp_established = \"1d\"\ntcp_fin = \"1d\"\nudp = \"1d\"\nudp_stream = \"1d\"\nicmp = \"1d\"\ngeneric = \"1d\"\n";

/// Nothing is refused but what nothing allows.
const OPEN: &str = r#"
[[policy]]
name = "hosts"
interfaces = ["h0", "h1", "t0", "lo"]
default_action = { ingress = "allow", egress = "allow" }
[[policy]]
name = "early"
interfaces = ["h1"]
policy_types = ["ingress"]
default_action = { ingress = "allow" }
[policy.xdp]
mode = "generic"
drop_malformed = true
[[policy]]
name = "workloads"
interfaces = ["w0", "w1"]
endpoint = "workload"
default_action = { ingress = "allow", egress = "allow" }
ethertypes = ["stp", 0x8863]
"#;

/// A few services, told apart by everything that rules can read.
const SERVICES: &str = r#"
[[daemon.failsafe.inbound]]
protocol = "tcp"
port = 22
nets = ["8.0.0.2/32", "2001:db8:86dd::2/128"]
[[policy]]
name = "hosts"
interfaces = ["h0", "h1", "t0", "lo"]
policy_types = ["ingress", "egress"]
dhcp_client = true
[[policy.ingress]]
action = "deny"
source = { nets = ["8.0.0.77", "2001:db8:86dd::77"] }
[[policy.ingress]]
action = "allow"
protocol = "udp"
destination = { ports = [53] }
[[policy.ingress]]
action = "allow"
protocol = "tcp"
tcp_flags = "!urg"
destination = { ports = [80, "400-500"] }
[[policy.ingress]]
action = "reject"
protocol = "tcp"
[[policy.ingress]]
action = "allow"
vlan = 7
[[policy.ingress]]
action = "allow"
protocol = "icmp"
icmp = { type = 8 }
[[policy.ingress]]
action = "allow"
protocol = "icmpv6"
icmp = { type = 128 }
[[policy.ingress]]
action = "allow"
protocol = "sctp"
[[policy.ingress]]
action = "allow"
protocol = "gre"
source = { nets = ["8.0.0.0/31", "2001:db8:86dd::/127"] }
[[policy.egress]]
action = "allow"
destination = { ports = [53, 443] }
[[policy.egress]]
action = "allow"
protocol = "icmp"
[[policy]]
name = "workloads"
interfaces = ["w0", "w1"]
endpoint = "workload"
policy_types = ["ingress", "egress"]
[[policy.ingress]]
action = "allow"
protocol = "tcp"
[[policy.egress]]
action = "allow"
ip_version = 6
destination = { ports = [53, 80] }
[[policy.egress]]
action = "allow"
vlan = [7, 8]
"#;

/// Everything that is asked of packets as they arrive.
const GUARDED: &str = r#"
[[set]]
name = "bad"
elements = ["8.0.0.77", "2001:db8:86dd::77", "240.0.0.0/4"]
[[policy]]
name = "early"
interfaces = ["h0", "h1"]
order = 1
policy_types = ["ingress"]
default_action = { ingress = "allow" }
[policy.xdp]
mode = "generic"
drop_malformed = true
deny_sets = ["bad"]
[[policy]]
name = "pieces"
interfaces = ["h1"]
policy_types = ["ingress"]
default_action = { ingress = "allow" }
[policy.xdp]
mode = "generic"
drop_fragments = true
[policy.anti_spoof]
allowed_macs = ["02:00:00:00:00:02"]
bogons = true
[[policy]]
name = "late"
interfaces = ["t0", "lo"]
policy_types = ["ingress"]
default_action = { ingress = "allow" }
[policy.xdp]
mode = "off"
deny_sets = ["bad"]
[policy.anti_spoof]
check_reverse_path = "loose"
[[policy]]
name = "workloads"
interfaces = ["w0", "w1"]
endpoint = "workload"
policy_types = ["egress"]
default_action = { egress = "allow" }
dhcp_client = true
[policy.anti_spoof]
allowed_sources = ["8.0.0.0/31", "2001:db8:86dd::/127"]
check_reverse_path = "strict"
arp = true
"#;

/// Routes of the host, as the reverse path asks for them.
fn paths() -> Vec<Path> {
    let path = |table, net, goal| Path { table, net, goal };
    vec![
        path(254, "8.0.0.0/24", Goal::Out(vec![0, 1, 2, 4])),
        path(254, "2001:db8:86dd::/64", Goal::Out(vec![0, 1, 2])),
        path(254, "8.0.0.2/32", Goal::Nowhere),
        path(255, "8.0.1.0/24", Goal::Own),
        path(255, "2001:db8:86dd:1::1/128", Goal::Own),
    ]
}

/// Frames of a round, and how many of them are torn.
fn round(random: &mut Random, corpus: &[Row]) -> (Vec<Shot>, usize) {
    let mut seeds = traffic::shots(random, ROUND / 3);
    seeds.iter_mut().for_each(|shot| shot.before.clear());
    let (others, places) = (seeds.clone(), [&ARRIVING[..], &LEAVING].concat());
    let mut shots = Vec::with_capacity(ROUND);
    let mut torn = 0;
    for seed in seeds {
        if random.percent(WHOLE) {
            shots.push(seed.clone());
        }
        // A row of a table, at any place and the wrong way round as well.
        let row = corpus[random.below(corpus.len())].at(random.pick(&places)).map(|(shot, _)| shot);
        for one in [Some(seed.clone()), row, Some(seed)].into_iter().flatten() {
            let mut one = one;
            mutate(random, &mut one, &others);
            torn += 1;
            shots.push(one);
        }
    }
    (shots, torn)
}

/// The mismatch for a reader, and a file for the folder of those that are kept.
fn show(bench: &mut Bench, name: &str, stages: Vec<Stage>, mismatch: Mismatch) -> String {
    let (stages, mismatch) = shrink::shrink(bench, stages, mismatch);
    let path = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.frames"));
    let written = fs::write(&path, kept::write(&stages, &mismatch));
    let shot = mismatch.shot.and_then(|shot| stages[mismatch.stage].shots.get(shot));
    let view = shot.map(|shot| view::view(bench, shot)).unwrap_or_default();
    format!(
        "{}\n{view}\nto keep it: {} ({written:?}) belongs into tests/differential/hostile/kept",
        tell(&stages, &mismatch),
        path.display()
    )
}

fn tear(name: &str, policies: &str) {
    if !crate::may_run() {
        return;
    }
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
    let seed = crate::lanes::number("NETPOL_SEED").unwrap_or_else(now);
    let wanted = crate::lanes::number("NETPOL_FRAMES").map_or(FRAMES, |frames| frames as usize);
    println!("{name}: NETPOL_SEED={seed}");
    let (mut bench, corpus, start) = (Bench::new(name, ROOM), super::corpus(), Instant::now());
    let mut random = Random::new(seed);
    let mut said: BTreeMap<&str, usize> = BTreeMap::new();
    let (mut torn, mut runs) = (0, 0);
    while torn < wanted {
        let (mut shots, of_them) = round(&mut random, &corpus);
        // What no test run can be made of is not counted.
        let made = shots.len();
        shots.retain(|shot| bench.is_possible(shot));
        torn += of_them.saturating_sub(made - shots.len());
        let stages = vec![Stage { text: Text { head: format!("{PATIENT}{policies}"), policies: Vec::new() }, paths: paths(), shots }];
        match bench.play(&stages) {
            Ok(reasons) => {
                runs += reasons.len();
                reasons.iter().for_each(|reason| *said.entry(reason.map_or("accepted", Reason::name)).or_default() += 1);
            }
            Err(mismatch) => panic!("{name}: NETPOL_SEED={seed}{}", show(&mut bench, name, stages, mismatch)),
        }
    }
    println!("{name}: {torn} torn frames ({runs} in all) judged alike, {:?}: {said:?}", start.elapsed());
}

#[test]
fn torn_frames_and_open_policies() {
    tear("torn-open", OPEN);
}

#[test]
fn torn_frames_and_services() {
    tear("torn-services", SERVICES);
}

#[test]
fn torn_frames_and_guards() {
    tear("torn-guarded", GUARDED);
}
