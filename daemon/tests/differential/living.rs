//! What changes while a generation runs: the elements of dynamic sets, and the routes of the host. Brought to both sides alike.

use std::collections::BTreeMap;
use std::thread::sleep;
use std::time::SystemTime;

use ipnet::IpNet;
use netpol_ebpf::compile::routes::{self, LOCAL_TABLE, ReversePaths};
use netpol_ebpf::kernel::{Kernel, boot_time};
use netpol_ebpf::policy::judge::{Conntrack, Route, Routes};
use netpol_ebpf::policy::model::{Element, PolicySet};
use netpol_ebpf::sets::content::{Content, Contents, entries};
use netpol_ebpf::sets::{Added, Clock, Expiry};

use crate::scenario::{Event, Goal, Life, Path};

/// Elements that were added at run time, by set.
pub struct Living {
    pub clock: Clock,
    added: BTreeMap<String, Added>,
    /// Changes so far, over all scenarios.
    epoch: u32,
}

impl Living {
    pub fn new() -> Living {
        Living { clock: Clock::new(SystemTime::now(), boot_time()), added: BTreeMap::new(), epoch: 0 }
    }

    /// A scenario begins: nothing was added yet.
    pub fn begin(&mut self, conntrack: &mut Conntrack) {
        self.added.clear();
        conntrack.set_epoch = self.epoch;
        conntrack.wall_offset = self.clock.unix_ms(0) as i64 * 1_000_000;
    }

    /// Other policies: their dynamic sets hold what was added before.
    pub fn adopt(&mut self, set: &mut PolicySet) {
        for set in set.sets.iter_mut().filter(|set| set.dynamic.is_some()) {
            let added = self.added.entry(set.name.clone()).or_default();
            set.added = elements(added, &self.clock);
        }
    }

    /// What the programs' sets are to hold.
    pub fn contents<'a>(&'a self, set: &'a PolicySet) -> Contents<'a> {
        let dynamic = set.sets.iter().filter(|set| set.dynamic.is_some());
        let content = |added| move |written| Content { written, added, runs: false };
        let sets = dynamic.map(|set| (set.name.as_str(), content(&self.added[&set.name])(&set.nets)));
        Contents { clock: self.clock, sets: sets.collect() }
    }

    /// Lets it happen, on both sides.
    pub fn happen(&mut self, event: &Event, kernel: &mut Kernel, set: &mut PolicySet, conntrack: &mut Conntrack) {
        match event {
            Event::Wait(time) => sleep(*time),
            Event::Set(name, members) => {
                let added = added(members, self.clock.unix_ms(boot_time()));
                let Some(set) = set.sets.iter_mut().find(|set| set.name == *name) else { return };
                set.added = elements(&added, &self.clock);
                let timed: Vec<(IpNet, u64)> =
                    entries(&set.nets, &added).into_iter().map(|(net, expiry)| (net, self.clock.boot(expiry))).collect();
                for standing in kernel.set_standings(name).unwrap() {
                    let content = kernel.prepare_set(standing.max_entries, &timed, &mut |_| {}).unwrap();
                    kernel.exchange_set(&standing, name, &content).unwrap();
                }
                kernel.judge_flows_again();
                self.added.insert((*name).to_owned(), added);
                self.epoch += 1;
                conntrack.set_epoch = self.epoch;
            }
        }
    }
}

/// Elements as they are added at a moment of Unix time, ms.
pub fn added(members: &[(&str, Life)], now: u64) -> Added {
    let mut added = Added::default();
    for (net, life) in members {
        let end = match life {
            Life::Forever => Expiry::NEVER,
            Life::Long => Expiry::at(now + 86_400_000),
            Life::Over => Expiry::at(now - 1000),
            Life::Brief(ms) => Expiry::at(now + ms),
        };
        added.insert(net.parse().unwrap(), end, true);
    }
    added
}

fn elements(added: &Added, clock: &Clock) -> Vec<Element> {
    added.iter().map(|(net, expiry)| Element { net, expires: expiry.ms().map(|ms| clock.boot_of(ms)) }).collect()
}

/// The routes as the programs get them.
pub fn to_kernel(paths: &[Path], ifindexes: &[u32]) -> ReversePaths {
    let goal = |path: &Path| match &path.goal {
        Goal::Own => routes::Goal::Own,
        Goal::Out(links) => routes::Goal::Out(links.iter().map(|link| ifindexes[*link]).collect()),
        Goal::Nowhere => routes::Goal::Nowhere,
    };
    let route = |path: &Path| routes::Route { table: path.table, net: path.net.parse().unwrap(), goal: goal(path) };
    ReversePaths::of(&paths.iter().map(route).collect::<Vec<_>>())
}

/// The routes as the judge gets them: each prefix, and what the longest prefix around it says in each table.
pub fn to_judge(paths: &[Path], ifindexes: &[u32]) -> Routes {
    let net = |path: &Path| path.net.parse::<IpNet>().unwrap();
    let tables: BTreeMap<u32, ()> = paths.iter().map(|path| (path.table, ())).collect();
    let longest = |table: u32, prefix: &IpNet| {
        let around = paths.iter().filter(|path| path.table == table && net(path).contains(prefix));
        around.max_by_key(|path| net(path).prefix_len())
    };
    let way = |prefix: &IpNet| {
        if longest(LOCAL_TABLE, prefix).is_some_and(|path| path.goal == Goal::Own) {
            return Route::Refused;
        }
        let found = tables.keys().filter(|table| **table != LOCAL_TABLE).filter_map(|table| longest(*table, prefix));
        let links = found.flat_map(|path| if let Goal::Out(links) = &path.goal { links.clone() } else { Vec::new() });
        Route::Via(links.map(|link| ifindexes[link]).collect())
    };
    Routes { prefixes: paths.iter().map(net).map(|prefix| (prefix, way(&prefix))).collect() }
}
