//! Tests of what the loaded programs say under rulesets that are put together by hand, one feature at a time.
//!
//! Every rule is a candidate of every packet, so a test states nothing but its rules. Knows no TOML and no compiler.

mod arrival;
mod audit;
mod flows;
mod rules;

use std::net::IpAddr;
use std::os::fd::AsRawFd;
use std::process::Command;

use netpol_probes::{SET_CONTENT, abi};

use super::maps::Map;
use super::shared::{facts_of, need};
use super::tests::{Namespace, Scratch};
use super::{Entry, Kernel, Shot, boot_time};
use crate::compile::ruleset::{ChainInfo, Core, DeviceKind, LinkPlan, Ruleset};
use crate::plan::plan;
use crate::policy::model::{Direction, Hook, Origin};

const SECOND: u64 = 1_000_000_000;
const NONE: u32 = abi::NP_NONE;

/// Classes of addresses in every test: everything else, 192.0.2.0/24 (also 2001:db8:2::/48), and 198.51.100.0/24, which is a bogon.
const LISTED: u32 = 1;
const BOGON: u32 = 2;

/// A rule that says something of every packet.
fn rule(action: u32) -> abi::np_rule {
    abi::np_rule { action: action as u8, audit: abi::NP_NOT_AUDIT as u8, condition: NONE, ..Default::default() }
}

/// The same under a condition.
fn rule_if(action: u32, condition: u32) -> abi::np_rule {
    abi::np_rule { condition, ..rule(action) }
}

/// A condition that always holds.
fn condition() -> abi::np_condition {
    abi::np_condition { limit: NONE, ..Default::default() }
}

fn list(first: u32, count: u32) -> abi::np_list {
    abi::np_list { first, count }
}

/// `count` events in `seconds`, all of which may come at once.
fn limit(count: u64, seconds: u64, per: u32, id: u64) -> abi::np_limit {
    let cost = seconds * SECOND / count;
    abi::np_limit { cost, depth: cost * count, id, per, ..Default::default() }
}

/// What a test rules by. The chain isolates the ingress hook of `np0`.
struct Rules {
    core: Core,
    link: abi::np_link,
}

impl Rules {
    fn new(rules: &[abi::np_rule]) -> Rules {
        let origin = Origin { file: "t.toml".into(), line: 1, column: 1 };
        let mut timeouts = [0; abi::NP_TIMEOUTS as usize];
        timeouts.fill(60 * SECOND);
        let protocol = abi::np_protocol { destination_table: NONE, source_table: NONE, ..Default::default() };
        let lpm4 = |a: [u8; 4], prefixlen| abi::np_lpm4 { prefixlen, address: u32::from_ne_bytes(a) };
        let core = Core {
            slot: abi::np_slot { timeouts, log_cost: SECOND, log_depth: 100 * SECOND, ..Default::default() },
            connections: 1024,
            half_open: 512,
            addresses4: vec![(lpm4([192, 0, 2, 0], 24), LISTED), (lpm4([198, 51, 100, 0], 24), BOGON)],
            addresses6: vec![(abi::np_lpm6 { prefixlen: 48, address: words("2001:db8:2::") }, LISTED)],
            classes: vec![
                abi::np_class::default(),
                abi::np_class { deny_groups: 1, source_groups: 1, ..Default::default() },
                abi::np_class { traits: u64::from(abi::NP_TRAIT_BOGON), ..Default::default() },
            ],
            chains: vec![abi::np_chain {
                layers: 1,
                default_action: abi::NP_DENY as u8,
                default_counter: rules.len() as u32,
                audit_counter: NONE,
                ..Default::default()
            }],
            layers: vec![abi::np_layer { source_view: NONE, destination_view: NONE }],
            rows: vec![(abi::np_row_key::default(), 0)],
            row_defaults: vec![list(0, rules.len() as u32)],
            candidates: (0..rules.len() as u32).collect(),
            rules: rules.to_vec(),
            l4_protocols: vec![protocol; 2 * abi::NP_PROTOCOLS as usize],
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
        let link = abi::np_link {
            chain: [0, NONE],
            audit_chain: [NONE; 2],
            mac_group: NONE,
            cookie_group: NONE,
            limit_packets: NONE,
            limit_syns: NONE,
            ..Default::default()
        };
        Rules { core, link }
    }

    fn conditions(mut self, conditions: &[abi::np_condition]) -> Rules {
        self.core.conditions = conditions.to_vec();
        self
    }

    fn set_lists(mut self, set_lists: &[u32]) -> Rules {
        self.core.set_lists = set_lists.to_vec();
        self
    }

    fn limits(mut self, limits: &[abi::np_limit]) -> Rules {
        self.core.limits = limits.to_vec();
        self
    }

    fn link(mut self, change: impl FnOnce(&mut abi::np_link)) -> Rules {
        change(&mut self.link);
        self
    }
}

/// A namespace with one interface, the programs, and as many dynamic sets as a test wants.
struct World {
    kernel: Kernel,
    ifindex: u32,
    generation: u32,
    sets: Vec<Map>,
    _namespace: Namespace,
    _scratch: Scratch,
}

impl World {
    fn new(name: &str, rules: Rules, sets: usize) -> World {
        let scratch = Scratch::new(name);
        let namespace = Namespace::enter();
        let made = Command::new("timeout").args(["5", "ip", "link", "add", "np0", "type", "veth", "peer", "name", "np1"]).status();
        assert!(made.unwrap().success());
        let kernel = Kernel::open(&scratch.path, 1024, 512).unwrap();
        let ifindex = kernel.links(&Default::default()).unwrap().iter().find(|fact| fact.name == "np0").unwrap().ifindex;
        let sets = (0..sets).map(|_| Map::create("set", facts_of(&SET_CONTENT, 64)).unwrap()).collect();
        let mut world = World { kernel, ifindex, generation: 0, sets, _namespace: namespace, _scratch: scratch };
        world.install(rules);
        world
    }

    /// Makes these rules the next generation, with the same sets.
    fn install(&mut self, rules: Rules) {
        let plan_of_link = LinkPlan {
            ifindex: self.ifindex,
            name: "np0".into(),
            device: DeviceKind::Ethernet,
            record: rules.link,
            xdp: None,
            policies: vec!["p".into()],
        };
        let wanted = Ruleset { core: rules.core, links: [(self.ifindex, plan_of_link)].into() };
        let actions = plan(&wanted, &self.kernel.observe().unwrap());
        let outcome = self.kernel.execute(&wanted, &crate::sets::content::Contents::default(), &actions).unwrap();
        assert_eq!(outcome.failures, Vec::<String>::new());
        self.generation = outcome.generation;
        let outer = Map::open("sets", &self.kernel.pins.generation(self.generation).join("sets")).unwrap();
        for (index, set) in (0u32..).zip(&self.sets) {
            outer.set(&index, &(std::os::fd::AsFd::as_fd(set).as_raw_fd() as u32)).unwrap();
        }
    }

    /// Puts a prefix into a set; `expires` in boot time, 0 = never.
    fn add(&self, set: usize, prefix: &str, expires: u64) {
        let (address, length) = prefix.split_once('/').unwrap();
        let key = element(address.parse().unwrap(), length.parse().unwrap());
        self.sets[set].set(&key, &abi::np_element { expires }).unwrap();
    }

    /// Says that a set has changed.
    fn raise_epoch(&self) {
        let cell = need(&self.kernel.maps, "generation").unwrap();
        let word: abi::np_word = cell.get(&0u32).unwrap().unwrap();
        cell.set(&0u32, &abi::np_word { set_epoch: word.set_epoch + 1, ..word }).unwrap();
    }

    fn change_link(&self, change: impl FnOnce(&mut abi::np_link)) {
        let links = need(&self.kernel.maps, "links").unwrap();
        let key = abi::np_link_key { slot: self.generation % abi::NP_SLOTS, ifindex: self.ifindex };
        let mut record: abi::np_link = links.get(&key).unwrap().unwrap();
        change(&mut record);
        links.set(&key, &record).unwrap();
    }

    /// Adds an entry to a map that all generations share.
    fn share<K: super::maps::Pod, V: super::maps::Pod>(&self, map: &str, key: &K, value: &V) {
        need(&self.kernel.maps, map).unwrap().set(key, value).unwrap();
    }

    fn run(&self, entry: Entry, hook: u32, bytes: &[u8]) -> u32 {
        let before = self.kernel.reasons().unwrap();
        let verdict = self.kernel.test_run(Shot { entry, ifindex: self.ifindex, bytes, gso_size: 0 }).unwrap().verdict;
        let after = self.kernel.reasons().unwrap();
        let risen: Vec<(u32, u32)> = (0..abi::NP_HOOKS)
            .flat_map(|hook| (0..abi::NP_R_REASONS).map(move |reason| (hook, reason)))
            .filter(|(hook, reason)| after[*hook as usize][*reason as usize] != before[*hook as usize][*reason as usize])
            .collect();
        let [(seen_at, reason)] = risen[..] else { panic!("counted {risen:?}") };
        let passed = verdict == if hook == abi::NP_HOOK_XDP { 2 } else { u32::MAX };
        assert_eq!((seen_at, passed), (hook, reason == abi::NP_ACCEPTED), "reason {reason}, verdict {verdict}");
        reason
    }

    /// Why a frame that arrives is refused, or `NP_ACCEPTED`.
    fn arrives(&self, bytes: &[u8]) -> u32 {
        self.run(Entry::Tc(DeviceKind::Ethernet, Hook::Ingress), abi::NP_HOOK_INGRESS, bytes)
    }

    fn leaves(&self, bytes: &[u8]) -> u32 {
        self.run(Entry::Tc(DeviceKind::Ethernet, Hook::Egress), abi::NP_HOOK_EGRESS, bytes)
    }

    fn arrives_at_xdp(&self, bytes: &[u8]) -> u32 {
        self.run(Entry::Xdp, abi::NP_HOOK_XDP, bytes)
    }

    /// A UDP flow that is answered, so that its packets are accepted without the policy program.
    fn establish(&self, source: &str, port: u16) {
        assert_eq!(self.arrives(&udp(source, HERE, port, 53)), abi::NP_ACCEPTED);
        assert_eq!(self.leaves(&udp(HERE, source, 53, port)), abi::NP_ACCEPTED);
    }
}

const HERE: &str = "203.0.113.1";
const HERE6: &str = "2001:db8::1";
const MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];

/// An address as the maps keep it.
fn words(address: &str) -> [u32; 4] {
    let mut bytes = [0u8; 16];
    match address.parse().unwrap() {
        IpAddr::V4(address) => bytes[..4].copy_from_slice(&address.octets()),
        IpAddr::V6(address) => bytes = address.octets(),
    }
    std::array::from_fn(|word| u32::from_ne_bytes(bytes[4 * word..4 * word + 4].try_into().unwrap()))
}

fn element(address: IpAddr, length: u32) -> abi::np_element_key {
    let family: u32 = if address.is_ipv4() { 4 } else { 6 };
    abi::np_element_key { prefixlen: 32 + length, family: family.to_be(), address: words(&address.to_string()) }
}

fn frame(ethertype: u16, payload: &[u8]) -> Vec<u8> {
    [&[2, 0, 0, 0, 0, 1], &MAC, &ethertype.to_be_bytes()[..], payload].concat()
}

/// An IP packet of either family; `fragment` is IPv4's field.
fn ip(source: &str, destination: &str, protocol: u8, fragment: u16, payload: &[u8]) -> Vec<u8> {
    match (source.parse().unwrap(), destination.parse().unwrap()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let total = (20 + payload.len() as u16).to_be_bytes();
            let mut bytes = vec![0x45, 0, total[0], total[1], 0, 7];
            bytes.extend(fragment.to_be_bytes());
            bytes.extend([64, protocol, 0, 0]);
            bytes.extend(from.octets());
            bytes.extend(to.octets());
            bytes.extend(payload);
            frame(0x0800, &bytes)
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            let length = (payload.len() as u16).to_be_bytes();
            let mut bytes = vec![0x60, 0, 0, 0, length[0], length[1], protocol, 255];
            bytes.extend(from.octets());
            bytes.extend(to.octets());
            bytes.extend(payload);
            frame(0x86DD, &bytes)
        }
        _ => panic!("{source} and {destination} are of two families"),
    }
}

fn udp(source: &str, destination: &str, from: u16, to: u16) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend(from.to_be_bytes());
    bytes.extend(to.to_be_bytes());
    bytes.extend([0, 12, 0, 0, 1, 2, 3, 4]);
    ip(source, destination, 17, 0, &bytes)
}

fn tcp(source: &str, from: u16, flags: u8) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend(from.to_be_bytes());
    bytes.extend([0, 22, 0, 0, 0, 1, 0, 0, 0, 1, 0x50, flags, 1, 0, 0, 0, 0, 0]);
    ip(source, HERE, 6, 0, &bytes)
}

const SYN: u8 = 0x02;
const ACK: u8 = 0x10;
