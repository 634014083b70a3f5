//! The only folder with `unsafe`, redbpf or bpf-sys.
//!
//! Knows the kernel's facilities, one a file, and nothing of policies: it carries out [`Action`]s, tells what is there, and
//! reads counters, flows and events.
#![allow(unsafe_code)]

mod adopt;
mod attach;
mod attach_clsact;
mod attach_guard;
mod attach_tcx;
mod attach_xdp;
mod bpf;
mod btf;
#[cfg(test)]
mod calls;
mod counters;
mod detach;
mod error;
mod events;
mod executor;
#[cfg(test)]
pub(crate) mod faults;
mod features;
#[cfg(test)]
pub(crate) mod fingerprints;
mod flows;
mod generation;
mod grace;
#[cfg(test)]
mod guard_tests;
mod inspect;
mod libbpf;
#[cfg(test)]
pub(crate) mod lifecycle;
mod links;
mod managers;
mod maps;
mod mend;
mod netlink;
mod netns;
mod objects;
mod observe;
mod pins;
#[cfg(test)]
mod realtime_tests;
mod recover;
mod route_tables;
mod routes;
#[cfg(test)]
mod set_tests;
mod sets;
mod shared;
mod sockets;
mod stacking;
mod sys;
mod test_run;
#[cfg(test)]
pub(crate) mod tests;
mod told;
#[cfg(test)]
mod verdicts;
mod watch;
#[cfg(test)]
pub(crate) mod witness;
mod writers;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use executor::Material;
use netpol_probes::abi;

pub use counters::{CounterTotal, ReasonCounts};
pub use detach::directory as detach_directory;
pub use error::{Error, Result};
pub use events::{Events, event};
pub use features::{Feature, Features};
pub use flows::Fill;
pub use inspect::{Inspection, inspect};
pub use objects::Form;
pub use sets::{Prepared, Standing};
pub use sys::{boot_time, boot_time_offset, leave_signals_to_others, unread};
pub use test_run::{Entry, Shot, TestRun};
pub use told::Told;
pub use writers::is_written;

use crate::compile::routes::{Held, ReversePaths};
use crate::compile::ruleset::{LinkFacts, Ruleset};
use crate::owners::{Claim, Holdings};
use crate::plan::observed::{GenerationWord, TcAttachment};
use crate::plan::{self, Action, Observed};
use crate::policy::model::Owner;
use crate::sets::content::Contents;

/// Names of the interfaces of this network namespace; needs no root.
pub fn interface_names() -> Result<Vec<String>> {
    Ok(links::list()?.into_values().map(|interface| interface.name).collect())
}

/// What an execution did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Outcome {
    /// The running generation afterwards.
    pub generation: u32,
    /// Things worth a line in the log that are no fault (an interface vanished meanwhile).
    pub notes: Vec<String>,
    /// Things that `status` must show (XDP refused, a leftover that could not be removed).
    pub warnings: Vec<String>,
    /// Single interfaces that could not be changed, and are as they were; the others are done. Also among the warnings.
    pub failures: Vec<String>,
    /// Something could only be done half now (XDP behind an older version's program): look again.
    pub again: bool,
}

/// How this kernel is used, where that is not left to what it can do.
#[derive(Debug, Clone, Copy, Default)]
pub struct Ways {
    /// How tc programs are attached; `None` = as is best on this kernel.
    pub attach: Option<TcAttachment>,
    /// Which form of the objects judges; `None` = as this kernel serves packets.
    pub form: Option<Form>,
}

/// Everything of ours in the kernel, held under an exclusive lock.
pub struct Kernel {
    pins: pins::Pins,
    maps: shared::Maps,
    programs: shared::Programs,
    cell: sys::Word,
    way: TcAttachment,
    features: Features,
    warnings: Vec<String>,
    /// What the maps of routes hold; `None` = not looked at yet, or half written.
    routes: Option<Held>,
    watch: watch::Watch,
    /// What the looks compare with is what the last execution left.
    settled: bool,
    /// Nothing hangs on any interface in the way that this kernel is not used in.
    one_way: bool,
    lock: OwnedFd,
}

impl Kernel {
    /// Takes the lock on `bpffs` (mounting one where there is none), adopts or creates the shared maps, loads the programs.
    ///
    /// `connections` and `half_open` are the capacities of the flow tables; tables that exist keep theirs (see [`Kernel::warnings`]).
    pub fn open(bpffs: &Path, connections: u32, half_open: u32) -> Result<Kernel> {
        Kernel::open_by(bpffs, connections, half_open, Ways::default())
    }

    /// The same in these ways.
    pub fn open_by(bpffs: &Path, connections: u32, half_open: u32, ways: Ways) -> Result<Kernel> {
        let features = Features::probe()?;
        features.require()?;
        let way = ways.attach.unwrap_or_else(|| attach::way(&features));
        let form = ways.form.unwrap_or(if features.realtime { Form::Realtime } else { Form::Serial });
        sys::lift_memlock();
        pins::ensure_bpffs(bpffs)?;
        let lock = pins::lock(bpffs)?;
        let pins = pins::Pins::new(bpffs);
        pins.forget_successors()?;
        let mut warnings = Vec::new();
        shared::replace_missing(&pins, form, &mut warnings)?;
        shared::claim_namespace(&pins, way, &mut warnings)?;
        let maps = shared::open_maps(&pins, form, connections, half_open, &mut warnings)?;
        let programs = shared::Programs::open(&pins, form, &maps)?;
        if !features.netfilter.is_yes() {
            let open = "an interface that a policy selects is open from its creation until the daemon has attached to it (milliseconds)";
            warnings.push(format!("no guard: {open}; netfilter programs (CONFIG_NETFILTER_BPF_LINK): {}", features.netfilter));
        }
        let cell = sys::Word::map(shared::need(&maps, "generation")?)?;
        let watch = watch::Watch::default();
        let kernel =
            Kernel { pins, maps, programs, cell, way, features, warnings, routes: None, watch, settled: false, one_way: false, lock };
        attach_tcx::unpin_detached(&kernel.pins)?;
        for number in kernel.present() {
            sets::finish_exchanges(&kernel.pins, number)?;
        }
        Ok(kernel)
    }

    /// What `status` must show whatever the policy is: flow tables of another size, remains that were removed at the start.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// What this kernel can do.
    pub fn features(&self) -> &Features {
        &self.features
    }

    /// The directory that is locked.
    pub fn bpffs(&self) -> &Path {
        self.pins.base()
    }

    /// The interfaces of this network namespace that programs of ours can judge: those that carry Ethernet or bare IP.
    /// `owned`: whose they are ([`Kernel::owned`]).
    pub fn links(&self, owned: &BTreeMap<Owner, BTreeSet<u32>>) -> Result<Vec<LinkFacts>> {
        let mut facts = links::facts(&links::list()?);
        for (owner, owned) in owned {
            facts.iter_mut().filter(|fact| owned.contains(&fact.ifindex)).for_each(|fact| fact.owners.push(owner.clone()));
        }
        Ok(facts)
    }

    /// The interfaces of owners, by index, where `claims` says how they are found; and those of `holdings` that they had before.
    pub fn owned(&self, claims: &BTreeMap<Owner, Claim>, holdings: &mut Holdings) -> Result<BTreeMap<Owner, BTreeSet<u32>>> {
        if claims.is_empty() {
            return Ok(holdings.keep(claims, BTreeMap::new(), &BTreeSet::new()));
        }
        let interfaces = links::list()?;
        let found = claims.iter().map(|(owner, claim)| Ok((owner.clone(), netns::claimed(&interfaces, claim)?)));
        let found = found.collect::<Result<BTreeMap<_, _>>>()?;
        Ok(holdings.keep(claims, found, &interfaces.keys().copied().collect()))
    }

    /// Names of the interfaces of this namespace that no program of ours can judge, and why. Where the kernel has the guard, it closes
    /// what netfilter sees of those that are selected.
    pub fn unjudged(&self) -> Result<Vec<(String, &'static str)>> {
        Ok(links::list()?.into_values().filter_map(|link| Some((link.unjudged()?, link.name))).map(|(why, name)| (name, why)).collect())
    }

    /// What is there.
    pub fn observe(&self) -> Result<Observed> {
        let (programs, watch, guard) = (Some(&self.programs), Some(&self.watch), self.features.netfilter.is_yes());
        let view = observe::View { pins: &self.pins, maps: &self.maps, programs, way: self.way, guard, watch };
        observe::observe(&view, self.word())
    }

    /// Carries out a plan that was made for `wanted`; `contents` is what the dynamic sets of a generation that is built are to
    /// hold. On a failure before the commit everything is undone and the running generation is as it was.
    pub fn execute(&mut self, wanted: &Ruleset, contents: &Contents<'_>, actions: &[Action]) -> Result<Outcome> {
        self.warnings.retain(|warning| !warning.contains(" keeps its "));
        for (table, entries) in [("connections", wanted.core.connections), ("half_open", wanted.core.half_open)] {
            self.warnings.extend(shared::size_warning(shared::need(&self.maps, table)?, entries));
        }
        for action in actions {
            if let Action::TakeHead { link, hook, .. } = action {
                self.watch.takes_head(link.ifindex, *hook);
            }
        }
        let done = executor::execute(self, Some(Material { core: &wanted.core, contents }), actions);
        // Most events of interfaces change nothing of ours: then what the looks compare with stays.
        if !actions.is_empty() || !self.settled {
            self.settle(done.is_ok().then_some(wanted));
        }
        done
    }

    /// Takes the firewall off all interfaces and deletes every pin. Returns the names of the interfaces it was taken off.
    pub fn detach_all(self) -> Result<Vec<String>> {
        detach::all(&self.pins)
    }

    /// The generation word.
    pub fn word(&self) -> GenerationWord {
        GenerationWord::from_bits(self.cell.load())
    }

    /// The running generation's deadline (boot time, ns; 0 = none).
    pub fn deadline(&self) -> Result<u64> {
        let running = self.word().running;
        Ok(if running == 0 { 0 } else { generation::slot(&self.maps, generation::slot_of(running))?.deadline })
    }

    /// A generation runs that waits for confirmation and still counts.
    pub fn pending(&self) -> Result<bool> {
        Ok(self.deadline()? > boot_time() && self.word().former != 0)
    }

    /// Makes the running generation count for good. `false`: nothing waited for it, or its deadline was over already.
    pub fn confirm(&mut self) -> Result<bool> {
        let deadline = self.deadline()?;
        if deadline == 0 || boot_time() >= deadline {
            return Ok(false);
        }
        generation::set_deadline(&self.maps, self.word().running, 0)?;
        Ok(true)
    }

    /// Lets the running generation, if it waits for confirmation, wait so long from now on.
    pub fn prolong(&mut self, time: Duration) -> Result<()> {
        let running = self.word().running;
        if self.deadline()? == 0 {
            return Ok(());
        }
        let deadline = boot_time().saturating_add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX / 2));
        generation::set_deadline(&self.maps, running, deadline)
    }

    /// Makes the former generation the running one; the one it replaces becomes the former. `None`: there is no former one.
    pub fn rollback(&mut self) -> Result<Option<GenerationWord>> {
        let actions = plan::rollback(&self.observe()?, &self.links(&BTreeMap::new())?);
        if actions.is_empty() {
            return Ok(None);
        }
        executor::execute(self, None, &actions)?;
        self.settle(None);
        Ok(Some(self.word()))
    }

    /// Totals by rule number, then by chain number, of the running generation; empty where none runs.
    pub fn counters(&self) -> Result<Vec<CounterTotal>> {
        match self.word().running {
            0 => Ok(Vec::new()),
            running => generation::Counted::open(&self.pins, running)?.totals(),
        }
    }

    /// Packets by hook and reason, since the shared maps exist.
    pub fn reasons(&self) -> Result<ReasonCounts> {
        counters::reasons(shared::need(&self.maps, "reasons")?)
    }

    /// Packets that were to be logged and found the ring full, since the shared maps exist.
    pub fn lost_events(&self) -> Result<u64> {
        counters::lost_events(shared::need(&self.maps, "reasons")?)
    }

    fn timeouts(&self) -> Result<Option<[u64; abi::NP_TIMEOUTS as usize]>> {
        match self.word().running {
            0 => Ok(None),
            running => Ok(Some(generation::slot(&self.maps, generation::slot_of(running))?.timeouts)),
        }
    }

    /// Every flow that has not expired, of both tables.
    pub fn flows(&self) -> Result<Vec<(abi::np_flow_key, abi::np_flow)>> {
        let Some(timeouts) = self.timeouts()? else { return Ok(Vec::new()) };
        let mut all = flows::list(shared::need(&self.maps, "connections")?, &timeouts, boot_time())?;
        all.extend(flows::list(shared::need(&self.maps, "half_open")?, &timeouts, boot_time())?);
        Ok(all)
    }

    /// Interface and tags of the TCP flow between two ends, where there is a live one.
    pub fn tcp_flow(&self, remote: SocketAddr, local: SocketAddr) -> Result<Option<(u32, [u16; 2])>> {
        let (family, remote_address) = adopt::family_and_words(remote.ip());
        let (_, local_address) = adopt::family_and_words(local.ip());
        let flows = self.flows()?;
        let found = flows.iter().map(|(key, _)| key).find(|key| {
            (key.family, i32::from(key.protocol)) == (family, libc::IPPROTO_TCP)
                && (key.remote, key.remote_port) == (remote_address, remote.port())
                && (key.local, key.local_port) == (local_address, local.port())
        });
        Ok(found.map(|key| (key.ifindex, key.vlan)))
    }

    /// Deletes flows that have expired or whose interface is gone; returns how full each table is then. Call it every few seconds.
    pub fn sweep_flows(&mut self) -> Result<Vec<Fill>> {
        let Some(timeouts) = self.timeouts()? else { return Ok(Vec::new()) };
        let present = links::list()?.into_keys().collect();
        let fill = |table: &'static str| {
            let map = shared::need(&self.maps, table)?;
            let flows = flows::sweep(map, &timeouts, &present, boot_time())?;
            Ok(Fill { table, flows, room: map.facts().max_entries as usize })
        };
        ["connections", "half_open"].into_iter().map(fill).collect()
    }

    /// The reverse path of every address, by the routing tables as they are now.
    pub fn reverse_paths(&self) -> Result<ReversePaths> {
        Ok(ReversePaths::of(&route_tables::list()?))
    }

    /// Makes the programs' copy of the routing tables say this; returns how many elements of it changed. On a failure it says the
    /// old, the new, or for some addresses the one and for some the other.
    pub fn write_routes(&mut self, wanted: &ReversePaths) -> Result<usize> {
        let held = match self.routes.take() {
            Some(held) => held,
            None => routes::read(&self.maps)?,
        };
        let (after, changed) = routes::write(&self.maps, &held, wanted)?;
        self.routes = Some(after);
        Ok(changed)
    }

    /// A reader of logged packets. One at a time.
    pub fn events(&self) -> Result<Events> {
        Events::open(shared::need(&self.maps, "events")?)
    }

    /// Runs the loaded programs on a frame as if it had been seen there. State and counters change as they would for a packet.
    pub fn test_run(&self, shot: Shot<'_>) -> Result<TestRun> {
        test_run::run(&self.programs, shot)
    }
}
