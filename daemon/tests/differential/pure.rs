//! The judge beside the compiled tables, without a kernel: cheap enough for millions of packets.
//!
//! Each packet is judged as if no connection and no fragment were known (only rates go on), since that is all that a compiled ruleset
//! speaks of. The tables are asked twice, with as few layers as they can have and with as many. Needs no root.

use std::collections::HashMap;
use std::sync::Arc;

use netpol_ebpf::compile::routes::ReversePaths;
use netpol_ebpf::compile::ruleset::{Core, DeviceKind, LinkFacts, Ruleset};
use netpol_ebpf::compile::{compile, compile_within};
use netpol_ebpf::policy::judge::{Conntrack, Frame, Interface, Judgement, Objection, Packet, RuleName, judge, parse};
use netpol_ebpf::policy::model::{Element, PolicySet, Set};
use netpol_ebpf::policy::reason::Reason;
use netpol_ebpf::sets::content::entries;
use netpol_ebpf::sets::{Added, Clock};

use crate::bench::{self, LINKS, policies};
use crate::count::{Count, Where};
use crate::evaluate::{Said, Tables, World, Would};
use crate::living;
use crate::scenario::{Event, Mismatch, Play, Shot, Stage};
use crate::walk::{Buckets, Walk};

/// When all of it happens: boot time in ns, and Unix time in s.
const BOOT: u64 = 1_000_000_000_000;
const UNIX: u64 = 1_790_000_000;
/// One layer a chain where that is possible at all, and as many as there can be.
const COMFORTABLE: [u64; 2] = [1 << 16, 0];

/// Interfaces that nobody has.
pub struct Pure {
    links: Vec<(LinkFacts, Interface)>,
    clock: Clock,
    /// What was judged so far.
    pub count: Count,
}

impl Pure {
    pub fn new() -> Pure {
        let link = |(name, ifindex): (&&str, u32)| {
            let device = match *name {
                "lo" => DeviceKind::Loopback,
                raw if raw.starts_with('t') => DeviceKind::Raw,
                _ => DeviceKind::Ethernet,
            };
            let (accepts_router_advertisements, owners) = (!name.ends_with('1'), bench::owners(name));
            let facts = LinkFacts { ifindex, name: (*name).to_owned(), device, accepts_router_advertisements, owners: owners.clone() };
            (facts, Interface { ifindex, device, accepts_router_advertisements, owners, ..Interface::named(name) })
        };
        let clock = Clock::new(std::time::UNIX_EPOCH + std::time::Duration::from_secs(UNIX), BOOT);
        Pure { links: LINKS.iter().zip(1..).map(link).collect(), clock, count: Count::default() }
    }

    /// Whether there are tables for these policies.
    pub fn compiles(&self, set: &PolicySet) -> bool {
        compile(set, &self.facts()).is_ok()
    }

    fn facts(&self) -> Vec<LinkFacts> {
        self.links.iter().map(|(facts, _)| facts.clone()).collect()
    }

    /// One generation, its frames, and what dynamic sets hold meanwhile.
    fn stage(&mut self, stage: &Stage, added: &mut HashMap<String, Added>) -> Result<Vec<Option<Reason>>, (usize, String)> {
        let mut set = policies(&stage.text.toml()).unwrap_or_else(|errors| panic!("{errors}"));
        set.sets.iter_mut().for_each(|set| self.fill(set, added));
        let ifindexes: Vec<u32> = self.links.iter().map(|(facts, _)| facts.ifindex).collect();
        let routes = living::to_kernel(&stage.paths, &ifindexes);
        let known = Arc::new(living::to_judge(&stage.paths, &ifindexes));
        self.links.iter_mut().for_each(|(_, interface)| interface.routes = Some(known.clone()));
        // What cannot be parted finely is not: the programs ask at most so many conditions and layers.
        let rulesets: Vec<Ruleset> = COMFORTABLE.iter().filter_map(|most| compile_within(&set, &self.facts(), *most).ok()).collect();
        let mut walks: Vec<Walk<'_>> = rulesets.iter().map(|ruleset| self.walk(&ruleset.core, &routes, &set, added)).collect();
        let mut conntrack = no_connections();
        let (mut said, mut now) = (Vec::with_capacity(stage.shots.len()), BOOT);
        for (number, shot) in stage.shots.iter().enumerate() {
            for event in &shot.before {
                match event {
                    Event::Wait(time) => now += time.as_nanos() as u64,
                    Event::Set(name, members) => {
                        added.insert((*name).to_owned(), living::added(members, self.clock.unix_ms(now)));
                        set.sets.iter_mut().for_each(|set| self.fill(set, added));
                    }
                }
                for walk in &mut walks {
                    (walk.now, walk.world.now) = (now, (self.clock.unix_ms(now) / 1000) as i64);
                    walk.world.sets = self.contents(&set, added, now);
                }
            }
            let (facts, interface) = &self.links[shot.link];
            let packet = parse(&frame(shot, facts.device));
            conntrack.forget_flows();
            let judged = judge(&set, interface, &mut conntrack, &packet, now);
            for (walk, ruleset) in walks.iter_mut().zip(&rulesets) {
                compare(walk, ruleset, facts.ifindex, &packet, &judged).map_err(|what| (number, what))?;
            }
            self.count.ran(Where::of(shot.hook), &packet);
            self.count.said(&packet, &judged);
            said.push(judged.reason);
        }
        Ok(said)
    }

    fn walk<'a>(&self, core: &'a Core, routes: &'a ReversePaths, set: &PolicySet, added: &HashMap<String, Added>) -> Walk<'a> {
        let world = World { now: UNIX as i64, within_limits: true, sets: self.contents(set, added, BOOT) };
        Walk { core, tables: Tables::of(core), routes, world, now: BOOT, buckets: Buckets::new() }
    }

    /// The elements that the judge sees in a set.
    fn fill(&self, set: &mut Set, added: &HashMap<String, Added>) {
        let Some(added) = added.get(&set.name).filter(|_| set.dynamic.is_some()) else { return };
        set.added = added.iter().map(|(net, expiry)| Element { net, expires: expiry.ms().map(|ms| self.clock.boot_of(ms)) }).collect();
    }

    /// The prefixes that the maps of dynamic sets would hold. Those that are over still cover others: the longest prefix decides.
    fn contents(&self, set: &PolicySet, added: &HashMap<String, Added>, now: u64) -> HashMap<String, Vec<ipnet::IpNet>> {
        let none = Added::default();
        let dynamic = set.sets.iter().filter(|set| set.dynamic.is_some());
        let live = |set: &Set| {
            let all = entries(&set.nets, added.get(&set.name).unwrap_or(&none));
            all.into_iter().filter(|(_, expiry)| expiry.ms().is_none_or(|ms| self.clock.boot_of(ms) > now)).map(|(net, _)| net).collect()
        };
        dynamic.map(|set| (set.name.clone(), live(set))).collect()
    }
}

impl Play for Pure {
    fn play(&mut self, stages: &[Stage]) -> Result<Vec<Option<Reason>>, Mismatch> {
        let (mut said, mut added) = (Vec::new(), HashMap::new());
        for (position, stage) in stages.iter().enumerate() {
            let found = self.stage(stage, &mut added);
            said.extend(found.map_err(|(shot, what)| Mismatch { stage: position, shot: Some(shot), what })?);
        }
        Ok(said)
    }
}

/// The judge alone, flows being kept from packet to packet: what it says of a sequence, on any machine.
pub fn judge_alone(stages: &[Stage]) -> Vec<Option<Reason>> {
    let (mut pure, mut added, mut said) = (Pure::new(), HashMap::new(), Vec::new());
    let mut conntrack = no_connections();
    let mut now = BOOT;
    for (stage, generation) in stages.iter().zip(1..) {
        let mut set = policies(&stage.text.toml()).unwrap_or_else(|errors| panic!("{errors}"));
        set.sets.iter_mut().for_each(|set| pure.fill(set, &added));
        let ifindexes: Vec<u32> = pure.links.iter().map(|(facts, _)| facts.ifindex).collect();
        let routes = Arc::new(living::to_judge(&stage.paths, &ifindexes));
        pure.links.iter_mut().for_each(|(_, interface)| interface.routes = Some(routes.clone()));
        conntrack.generation = generation;
        conntrack.forget_rates();
        for shot in &stage.shots {
            for event in &shot.before {
                match event {
                    Event::Wait(time) => now += time.as_nanos() as u64,
                    Event::Set(name, members) => {
                        added.insert((*name).to_owned(), living::added(members, pure.clock.unix_ms(now)));
                        set.sets.iter_mut().for_each(|set| pure.fill(set, &added));
                        conntrack.set_epoch += 1;
                    }
                }
            }
            let (facts, interface) = &pure.links[shot.link];
            said.push(judge(&set, interface, &mut conntrack, &parse(&frame(shot, facts.device)), now).reason);
        }
    }
    said
}

fn no_connections() -> Conntrack {
    let mut conntrack = Conntrack::default();
    conntrack.wall_offset = (UNIX * 1_000_000_000 - BOOT) as i64;
    conntrack
}

/// A shot as the judge reads it.
pub fn frame(shot: &Shot, device: DeviceKind) -> Frame<'_> {
    Frame { hook: shot.hook, device, bytes: &shot.bytes, metadata_tag: None, gso: shot.gso }
}

fn compare(walk: &mut Walk<'_>, ruleset: &Ruleset, ifindex: u32, packet: &Packet, judged: &Judgement) -> Result<(), String> {
    let core = &ruleset.core;
    let number = |name: &RuleName| {
        let is_it = |info: &netpol_ebpf::compile::ruleset::RuleInfo| {
            (&info.policy, info.direction, &info.id) == (&name.policy, name.direction, &name.id)
        };
        core.rule_info.iter().position(is_it).map_or(u32::MAX, |position| position as u32)
    };
    let would = |objection: &Objection| match objection {
        Objection::Rule(name) => Would::Rule(number(name)),
        Objection::Default(name) => Would::Default(core.audit_info.iter().position(|audit| audit.policy == name.policy).unwrap() as u8),
    };
    let wanted =
        Said { reason: judged.reason, rule: judged.rule.as_ref().map(number), would_deny: judged.would_deny.iter().map(would).collect() };
    let said = match ruleset.links.get(&ifindex) {
        Some(link) => walk.judge(link, packet),
        None => Said { reason: None, rule: None, would_deny: Vec::new() },
    };
    if said == wanted {
        return Ok(());
    }
    let tell = |said: &Said| {
        let name = |rule: u32| core.rule_info.get(rule as usize).map_or("?".to_owned(), |info| format!("{}/{}", info.policy, info.id));
        let would: Vec<String> =
            said.would_deny.iter().map(|would| if let Would::Rule(rule) = would { name(*rule) } else { format!("{would:?}") }).collect();
        let by = said.rule.map_or(String::new(), |rule| format!(" by rule {}", name(rule)));
        let audit = if would.is_empty() { String::new() } else { format!(", audit would deny by {}", would.join(" and ")) };
        format!("{}{by}{audit}", said.reason.map_or("accepted", Reason::name))
    };
    Err(format!("judge: {}\n  {}\ntables: {}", tell(&wanted), judged.steps.join("\n  "), tell(&said)))
}
