//! A network namespace with every kind of interface, the programs loaded for it, and the judge beside them.
//!
//! Knows how one frame is given to both, and what must be equal afterwards. Knows no frame and no policy.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::thread::sleep;
use std::time::Duration;

use netpol_ebpf::compile::compile;
use netpol_ebpf::compile::ruleset::{Core, DeviceKind, LinkFacts, Ruleset};
use netpol_ebpf::kernel::{CounterTotal, Entry, Form, Kernel, Shot as Run, Ways, boot_time};
use netpol_ebpf::plan::{Options, plan_with};
use netpol_ebpf::policy::judge::{Conntrack, Frame, Interface, Judgement, Verdict, judge, parse};
use netpol_ebpf::policy::load;
use netpol_ebpf::policy::model::{Hook, Owner, OwnerKind, PolicySet};
use netpol_ebpf::policy::reason::Reason;
use netpol_ebpf::schema::render;
use netpol_ebpf::source::Snapshot;
use netpol_probes::abi;

use crate::answers::{self, Pace};
use crate::audits::{self, Tally};
use crate::count::{Count, Where};
use crate::flows;
use crate::frame::HOST_MAC;
use crate::living::{self, Living};
use crate::scenario::{Mismatch, Path as Way, Play, Shot, Stage};
use crate::sys;

/// Interfaces: `h` are of this host, `w` lead to workloads, `t` begins with the IP header, `n` is never selected.
pub const LINKS: [&str; 7] = ["h0", "h1", "w0", "w1", "t0", "lo", "n0"];
/// Entries of each flow table.
pub const ROOM: u32 = 16_384;

/// `TC_ACT_UNSPEC` and `TC_ACT_SHOT`, `XDP_PASS` and `XDP_DROP`.
const TC: (u32, u32) = (u32::MAX, 2);
/// `TC_ACT_REDIRECT`: the packet was turned into an answer.
const TC_ANSWERED: u32 = 7;
const XDP: (u32, u32) = (2, 1);

/// Time in which the adoption of running connections must not end while frames are played, and how exactly the end is told; ns.
const ADOPTION_ENDS: u64 = 15_000_000_000;
const TICK: u64 = 10_000_000;

/// One interface as both sides see it.
struct Link {
    facts: LinkFacts,
    interface: Interface,
    /// Our XDP program is on it.
    xdp: bool,
}

/// Everything that a scenario is played on.
pub struct Bench {
    kernel: Option<Kernel>,
    links: Vec<Link>,
    reasons: sys::Map,
    /// What `reasons` holds, as far as it was looked at.
    counted: Vec<u64>,
    state: [sys::Map; 4],
    living: Living,
    /// What policies in audit mode would have denied in this stage.
    tally: Tally,
    /// Of the answers to rejected frames.
    pace: Pace,
    /// What was judged so far.
    pub count: Count,
    room: u32,
    mount: PathBuf,
    _namespace: sys::Namespace,
}

impl Bench {
    /// `room`: entries of each flow table.
    pub fn new(name: &str, room: u32) -> Bench {
        Bench::of(name, room, Form::Serial)
    }

    /// The same by the programs in that form.
    pub fn of(name: &str, room: u32, form: Form) -> Bench {
        let namespace = sys::Namespace::enter().unwrap();
        for link in LINKS.iter().filter(|link| **link != "lo") {
            // The links stay down: no frame but ours is ever seen.
            let words = if link.starts_with('t') {
                format!("tuntap add {link} mode tun")
            } else {
                format!("link add {link} address 02:00:00:00:00:01 type veth peer {link}p")
            };
            let status = Command::new("timeout").args(["5", "ip"]).args(words.split(' ')).status().unwrap();
            assert!(status.success(), "ip {words}");
        }
        for link in ["h1", "w1"] {
            fs::write(format!("/proc/sys/net/ipv6/conf/{link}/accept_ra"), "0").unwrap();
        }
        let mount = std::env::temp_dir().join(format!("netpol-ebpf-differential-{}-{name}", std::process::id()));
        let kernel = Kernel::open_by(&mount, room, room, Ways { form: Some(form), ..Ways::default() }).unwrap();
        let facts = kernel.links(&Default::default()).unwrap();
        let link = |name: &&str| {
            let facts = LinkFacts { owners: owners(name), ..facts.iter().find(|facts| facts.name == **name).unwrap().clone() };
            let LinkFacts { ifindex, device, accepts_router_advertisements, ref owners, .. } = facts;
            let interface = Interface { ifindex, device, accepts_router_advertisements, owners: owners.clone(), ..Interface::named(name) };
            Link { interface, facts, xdp: false }
        };
        let pinned = |map: &str| sys::Map::open(&mount.join(format!("abi{}/maps/{map}", abi::NP_ABI))).unwrap();
        Bench {
            links: LINKS.iter().map(link).collect(),
            reasons: pinned("reasons"),
            counted: vec![0; (abi::NP_HOOKS * abi::NP_MAX_REASONS) as usize],
            state: [pinned("connections"), pinned("half_open"), pinned("fragments"), pinned("buckets")],
            living: Living::new(),
            tally: Tally::new(),
            pace: Pace::default(),
            count: Count::default(),
            kernel: Some(kernel),
            room,
            mount,
            _namespace: namespace,
        }
    }

    fn kernel(&mut self) -> &mut Kernel {
        self.kernel.as_mut().unwrap()
    }

    /// Kind of an interface.
    pub fn device(&self, link: usize) -> DeviceKind {
        self.links[link].interface.device
    }

    /// The tables of these policies.
    pub fn compile(&self, set: &PolicySet) -> Result<Ruleset, String> {
        let facts: Vec<LinkFacts> = self.links.iter().map(|link| link.facts.clone()).collect();
        compile(set, &facts).map_err(|error| error.to_string())
    }

    /// Whether there are tables for these policies.
    pub fn compiles(&self, set: &PolicySet) -> bool {
        self.compile(set).is_ok()
    }

    /// Makes the policies the running generation, with fresh rates.
    fn install(&mut self, set: &PolicySet, paths: &[Way]) -> (u32, Core) {
        let wanted = self.compile(set).unwrap();
        let kernel = self.kernel.as_mut().unwrap();
        let ifindexes: Vec<u32> = self.links.iter().map(|link| link.facts.ifindex).collect();
        kernel.write_routes(&living::to_kernel(paths, &ifindexes)).unwrap();
        let actions = plan_with(&wanted, &kernel.observe().unwrap(), Options { rebuild: true, ..Options::default() });
        let outcome = kernel.execute(&wanted, &self.living.contents(set), &actions).unwrap();
        assert_eq!((outcome.failures, outcome.warnings), (Vec::<String>::new(), Vec::<String>::new()));
        self.state[3].clear::<{ size_of::<abi::np_bucket_key>() }>();
        let (observed, running) = (kernel.observe().unwrap(), kernel.word().running);
        let routes = Arc::new(living::to_judge(paths, &ifindexes));
        for link in &mut self.links {
            let ifindex = link.facts.ifindex;
            link.xdp = observed.links.get(&ifindex).is_some_and(|there| there.xdp.is_ours());
            link.interface.routes = Some(routes.clone());
            link.interface.adopt_until = observed.records.get(&(running, ifindex)).map_or(0, |record| record.adopt_until);
        }
        let ends = self
            .links
            .iter()
            .map(|link| link.interface.adopt_until)
            .filter(|end| (1..ADOPTION_ENDS).contains(&end.saturating_sub(boot_time())));
        // The end itself is a moment that both clocks see differently.
        if let Some(end) = ends.max() {
            sleep(Duration::from_nanos(end.saturating_sub(boot_time()) + TICK));
        }
        (running, wanted.core)
    }

    /// Plays all stages, flows being kept from one to the next. Returns what both sides said of each frame.
    pub fn play(&mut self, stages: &[Stage]) -> Result<Vec<Option<Reason>>, Mismatch> {
        self.state[0].clear::<{ size_of::<abi::np_flow_key>() }>();
        self.state[1].clear::<{ size_of::<abi::np_flow_key>() }>();
        self.state[2].clear::<{ size_of::<abi::np_fragment_key>() }>();
        let mut conntrack = Conntrack::default();
        self.living.begin(&mut conntrack);
        self.tally.clear();
        // A mismatch leaves the frames before it uncounted.
        self.counted = (0..).zip(&self.counted).map(|(index, _)| self.reasons.total(index)).collect();
        let mut said = Vec::new();
        for (position, stage) in stages.iter().enumerate() {
            let mut set = policies(&stage.text.toml()).unwrap_or_else(|errors| panic!("{errors}"));
            self.living.adopt(&mut set);
            let (generation, core) = self.install(&set, &stage.paths);
            conntrack.generation = generation;
            conntrack.forget_rates();
            let before = self.kernel().counters().unwrap();
            for (number, shot) in stage.shots.iter().enumerate() {
                for event in &shot.before {
                    self.living.happen(event, self.kernel.as_mut().unwrap(), &mut set, &mut conntrack);
                }
                if self.is_possible(shot) {
                    let found = self.judge_twice(&set, &mut conntrack, shot);
                    said.push(found.map_err(|what| Mismatch { stage: position, shot: Some(number), what })?);
                }
            }
            self.settle_stage(&conntrack, &core, &before).map_err(|what| Mismatch { stage: position, shot: None, what })?;
        }
        Ok(said)
    }

    /// Whether both sides remember the same flows, and have counted the same objections.
    fn settle_stage(&mut self, conntrack: &Conntrack, core: &Core, before: &[CounterTotal]) -> Result<(), String> {
        let (all, after) = (self.kernel().flows().unwrap(), self.kernel().counters().unwrap());
        let by_generation = self.room == ROOM;
        flows::compare(&flows::of_judge(conntrack, by_generation), &flows::of_kernel(&all, by_generation))?;
        let (judge, programs) = (std::mem::take(&mut self.tally), audits::counted(core, before, &after));
        if judge == programs || !by_generation { Ok(()) } else { Err(format!("would deny\njudge: {judge:?}\nprograms: {programs:?}")) }
    }

    /// Whether a test run can be made of it: the kernel takes no frame that ends within the Ethernet or an untagged IP header.
    pub fn is_possible(&self, shot: &Shot) -> bool {
        let bytes = &shot.bytes;
        let least = match (self.device(shot.link), bytes.first().map(|byte| byte >> 4), bytes.get(12..14)) {
            (DeviceKind::Raw, Some(6), _) => 40,
            (DeviceKind::Raw, ..) => 20,
            (_, _, Some([0x08, 0x00])) => 34,
            (_, _, Some([0x86, 0xDD])) => 54,
            _ => 15,
        };
        (least..=3000).contains(&bytes.len())
    }

    /// One frame before both. An error says how they differ.
    fn judge_twice(&mut self, set: &PolicySet, conntrack: &mut Conntrack, shot: &Shot) -> Result<Option<Reason>, String> {
        let link = &self.links[shot.link];
        // XDP knows no GSO packets; what it would have seen of them it cannot be asked.
        let gso = shot.gso && !(link.xdp && shot.hook == Hook::Ingress);
        let frame = Frame { hook: shot.hook, device: link.interface.device, bytes: &shot.bytes, metadata_tag: None, gso };
        let packet = parse(&frame);
        let judged = judge(set, &link.interface, conntrack, &packet, boot_time());
        self.count.said(&packet, &judged);
        audits::note(&mut self.tally, &judged);
        let expected = judged.reason.map_or(0, Reason::number);
        let (ifindex, device, xdp) = (link.facts.ifindex, link.interface.device, link.xdp && shot.hook == Hook::Ingress);
        let gso_size = if gso { 1400 } else { 0 };
        if xdp {
            self.count.ran(Where::Xdp, &packet);
            let verdict = self.run(Run { entry: Entry::Xdp, ifindex, bytes: &shot.bytes, gso_size: 0 });
            if verdict == XDP.1 {
                return self.settle(abi::NP_HOOK_XDP, expected, false, &judged).map(|()| judged.reason);
            }
            self.settle(abi::NP_HOOK_XDP, 0, true, &judged)?;
        }
        self.count.ran(Where::of(shot.hook), &packet);
        let own = match LINKS[shot.link] {
            "lo" => Some([0; 6]),
            workload if workload.starts_with('w') => None,
            _ => Some(HOST_MAC),
        };
        let refusals: &[u32] = match judged.verdict {
            // Something stands before the network header: see `kernel::test_run`.
            Verdict::Reject if device == DeviceKind::Raw => &[TC.1],
            Verdict::Reject if answers::is_answered(&packet, &shot.bytes, own) => {
                self.pace.wait();
                &[TC_ANSWERED]
            }
            _ => &[TC.1],
        };
        let verdict = self.run(Run { entry: Entry::Tc(device, shot.hook), ifindex, bytes: &shot.bytes, gso_size });
        if verdict != TC.0 && !refusals.contains(&verdict) {
            let steps = judged.steps.join("\n  ");
            return Err(format!("tc returned {verdict}, and not {refusals:?}; judge: {:?}\n  {steps}", judged.reason));
        }
        let hook = if shot.hook == Hook::Ingress { abi::NP_HOOK_INGRESS } else { abi::NP_HOOK_EGRESS };
        self.settle(hook, expected, verdict == TC.0, &judged).map(|()| judged.reason)
    }

    fn run(&mut self, run: Run<'_>) -> u32 {
        self.kernel().test_run(run).unwrap_or_else(|error| panic!("{error:?}: {run:?}, {} bytes", run.bytes.len())).verdict
    }

    /// Whether exactly the counter of the expected reason has risen, and the verdict fits it.
    fn settle(&mut self, hook: u32, expected: u32, passed: bool, judged: &Judgement) -> Result<(), String> {
        let index = hook * abi::NP_MAX_REASONS + expected;
        let now = self.reasons.total(index);
        if now == self.counted[index as usize] + 1 && passed == (expected == 0) {
            self.counted[index as usize] = now;
            return Ok(());
        }
        let mut risen = Vec::new();
        for (index, before) in (0..).zip(&mut self.counted) {
            let now = self.reasons.total(index);
            if now != *before {
                let name = Reason::from_number(index % abi::NP_MAX_REASONS).map_or("accepted", Reason::name);
                risen.push(format!("{} {name} +{}", ["ingress", "egress", "xdp"][(index / abi::NP_MAX_REASONS) as usize], now - *before));
            }
            *before = now;
        }
        let wanted = judged.reason.map_or("accepted", Reason::name);
        Err(format!("judge: {wanted} (rule {:?})\n  {}\nprograms: {risen:?}, passed: {passed}", judged.rule, judged.steps.join("\n  ")))
    }
}

impl Play for Bench {
    fn play(&mut self, stages: &[Stage]) -> Result<Vec<Option<Reason>>, Mismatch> {
        Bench::play(self, stages)
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        if let Some(kernel) = self.kernel.take() {
            let detached = kernel.detach_all();
            sys::unmount(&self.mount);
            let removed = fs::remove_dir(&self.mount);
            assert!(std::thread::panicking() || (detached.is_ok() && removed.is_ok()));
        }
    }
}

/// Who stands behind an interface.
pub fn owners(link: &str) -> Vec<Owner> {
    let owner = |kind, name: &str| Owner { kind, name: name.to_owned() };
    if link == "w1" { vec![owner(OwnerKind::Container, "box"), owner(OwnerKind::Machine, "vm")] } else { Vec::new() }
}

/// Policies of one file; otherwise all errors as text.
pub fn policies(toml: &str) -> Result<PolicySet, String> {
    let mut snapshot = Snapshot::of(Path::new("/differential"), &[("a.toml".to_owned(), toml.as_bytes().to_vec())]);
    let loaded = load(&mut snapshot);
    loaded.policies.map_err(|errors| render(&errors, &snapshot, false))
}
