//! Dynamic sets between journal, policy and kernel: what each holds, and every way in which that changes.
//!
//! Order of a change: everything is proven first, then the journal, then the maps, then all flows are judged again. A map that
//! could not be brought in line is tried again with the next sweep, and `status` says so meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use ipnet::IpNet;
use log::{error, info, warn};

use crate::kernel::{self, Kernel, Standing, boot_time};
use crate::policy::model::{Dynamic, Origin, PolicySet, Set};
use crate::sets::content::{self, Content, Contents};
use crate::sets::{Added, Clock, Expiry, Store};

/// The wall clock was set: it differs from what boot time lets expect by more than this, in ms.
const CLOCK_STEP: i64 = 1000;
/// Ends that differ by less, in ns, are the same.
const MOMENT: u64 = 1_000_000_000;

/// Why a change of a set was refused; nothing has changed.
#[derive(Debug, thiserror::Error)]
pub enum SetError {
    /// More prefixes than the set may hold.
    #[error("the set `{set}` ({origin}) would hold {wanted} prefixes, {} more than its max_entries = {most}", wanted - most)]
    Full {
        /// The set.
        set: String,
        /// Where it is defined.
        origin: Origin,
        /// Written and added ones.
        wanted: usize,
        /// `max_entries`.
        most: usize,
    },
    /// The journal could not be written.
    #[error("the change of the set `{set}` cannot be kept: {cause}")]
    Journal {
        /// The set.
        set: String,
        /// What the system said.
        cause: io::Error,
    },
    /// Expiring rules could not be brought in line with the wall clock.
    #[error("the expiry of rules cannot be written: {0}")]
    Clock(kernel::Error),
    /// The kernel refused.
    #[error("the content of the set `{set}` cannot be changed: {cause}")]
    Kernel {
        /// The set.
        set: String,
        /// Which map, and errno.
        cause: kernel::Error,
    },
}

/// The dynamic sets that were ever named, and what the kernel has of them.
pub struct Sets {
    directory: PathBuf,
    clock: Clock,
    stores: BTreeMap<String, Store>,
    /// By generation and set: the written elements that the content there was made with. Not known after a restart until asked.
    written: BTreeMap<(u32, String), Arc<[IpNet]>>,
    /// Sets whose maps do not hold what they should: why.
    behind: BTreeMap<String, String>,
}

fn read_clock() -> Clock {
    Clock::new(SystemTime::now(), boot_time())
}

/// The dynamic sets of a ruleset.
fn dynamic(policies: &PolicySet) -> impl Iterator<Item = (&Set, Dynamic)> {
    policies.sets.iter().filter_map(|set| set.dynamic.map(|dynamic| (set, dynamic)))
}

impl Sets {
    /// Journals lie in that directory.
    pub fn new(directory: PathBuf) -> Sets {
        let (clock, written, behind) = (read_clock(), BTreeMap::new(), BTreeMap::new());
        Sets { directory, clock, stores: BTreeMap::new(), written, behind }
    }

    /// Unix time in ms.
    pub fn now(&self) -> u64 {
        self.clock.unix_ms(boot_time())
    }

    /// What was added to a set.
    pub fn added(&self, set: &str) -> Option<&Added> {
        self.stores.get(set).map(Store::added)
    }

    /// Everything about sets that `status` must show.
    pub fn problems(&self) -> Vec<String> {
        let journals = self.stores.iter().filter_map(|(set, store)| store.trouble().map(|trouble| (set, trouble)));
        let journals = journals.map(|(set, trouble)| {
            format!(
                "the journal of the set `{set}` is damaged; what it held beyond the rest is lost: rules that allow by this set refuse, and deny \
                 sets do not hold it; mend it and restart, or use `netpol-ebpf set replace` or `set flush`: {trouble}"
            )
        });
        let behind = self.behind.iter().map(|(set, why)| format!("the set `{set}` is NOT up to date in the kernel: {why}"));
        journals.chain(behind).collect()
    }

    /// Reads the journals that a ruleset needs, and tells the first set that cannot hold what it must.
    pub fn learn(&mut self, kernel: &Kernel, policies: &PolicySet) -> Result<(), SetError> {
        for (set, limits) in dynamic(policies) {
            if !self.stores.contains_key(&set.name) {
                let store = self.load(kernel, set);
                self.stores.insert(set.name.clone(), store);
            }
            let added = self.stores.get(&set.name).map(Store::added);
            room(set, limits, added.map_or(0, |added| content::count(&set.nets, added)))?;
        }
        Ok(())
    }

    fn load(&self, kernel: &Kernel, set: &Set) -> Store {
        let mut store = Store::load(&self.directory, &set.name, self.now());
        let Some(trouble) = store.trouble() else { return store };
        error!("the journal of the set `{}` is damaged: {trouble}", set.name);
        // What the kernel still holds was added once: it goes on.
        match kernel.set_entries(kernel.word().running, &set.name) {
            Ok(Some(entries)) => {
                let clock = self.clock;
                let more = entries.into_iter().filter(|(net, _)| set.nets.binary_search(net).is_err());
                let more: Vec<(IpNet, Expiry)> = more.map(|(net, boot)| (net, clock.expiry(boot))).collect();
                warn!("the set `{}` goes on with the {} added elements that the kernel holds", set.name, more.len());
                store.recover(more.into_iter());
            }
            Ok(None) => {}
            Err(cause) => error!("and what the kernel holds of the set `{}` cannot be read: {cause}", set.name),
        }
        store
    }

    /// What a generation of a ruleset is to be built with. [`Sets::learn`] comes first.
    pub fn contents<'a>(&'a self, kernel: &Kernel, policies: &'a PolicySet) -> Contents<'a> {
        let running = kernel.word().running;
        let sets = dynamic(policies).filter_map(|(set, _)| {
            let added = self.stores.get(&set.name)?.added();
            let runs = !self.behind.contains_key(&set.name) && self.holds(kernel, running, set, added);
            Some((set.name.as_str(), Content { written: &set.nets, added, runs }))
        });
        Contents { clock: self.clock, sets: sets.collect() }
    }

    /// Whether a generation's map of a set holds exactly what the set is to hold.
    fn holds(&self, kernel: &Kernel, generation: u32, set: &Set, added: &Added) -> bool {
        match self.written.get(&(generation, set.name.clone())) {
            Some(written) => **written == *set.nets,
            None => match kernel.set_entries(generation, &set.name) {
                Ok(Some(there)) => same(&there, &content::entries(&set.nets, added), &self.clock),
                Ok(None) => false,
                Err(cause) => {
                    warn!("{cause}");
                    false
                }
            },
        }
    }

    /// After a plan was carried out: `built` = the running generation was made from these very contents. Else its contents are
    /// brought in line.
    pub fn settle(&mut self, kernel: &mut Kernel, policies: &PolicySet, built: bool) -> Result<(), SetError> {
        let word = kernel.word();
        self.written.retain(|(generation, _), _| word.holds(*generation));
        let mut changed = kernel.follow_clock(&self.clock).map_err(SetError::Clock)?;
        for (set, limits) in dynamic(policies) {
            if !built && !self.in_line(kernel, word.running, set) {
                changed |= self.exchange_running(kernel, set, limits)?;
            }
            self.written.insert((word.running, set.name.clone()), Arc::from(set.nets.as_slice()));
            self.behind.remove(&set.name);
        }
        if changed {
            kernel.judge_flows_again();
        }
        Ok(())
    }

    fn in_line(&self, kernel: &Kernel, running: u32, set: &Set) -> bool {
        let added = self.stores.get(&set.name).map(Store::added);
        !self.behind.contains_key(&set.name) && added.is_some_and(|added| self.holds(kernel, running, set, added))
    }

    /// Puts another content under the running generation, and under the former one where that shares it.
    fn exchange_running(&mut self, kernel: &mut Kernel, set: &Set, limits: Dynamic) -> Result<bool, SetError> {
        let failed = |cause| SetError::Kernel { set: set.name.clone(), cause };
        let running = kernel.word().running;
        let standings = kernel.set_standings(&set.name).map_err(failed)?;
        let Some(standing) = standings.into_iter().find(|standing| standing.generations.contains(&running)) else { return Ok(false) };
        let Some(store) = self.stores.get(&set.name) else { return Ok(false) };
        let entries = Content { written: &set.nets, added: store.added(), runs: false }.timed(&self.clock);
        let prepared = kernel.prepare_set(limits.max_entries, &entries, &mut |_| ()).map_err(failed)?;
        kernel.exchange_set(&standing, &set.name, &prepared).map_err(failed)?;
        for generation in &standing.generations {
            self.written.insert((*generation, set.name.clone()), Arc::from(set.nets.as_slice()));
        }
        info!("the set `{}` holds {} prefixes now", set.name, entries.len());
        Ok(true)
    }

    /// `set add`: puts elements in, or gives them another lifetime; returns how many are new.
    pub fn add(&mut self, kernel: Option<&mut Kernel>, set: &Set, nets: &[IpNet], expiry: Expiry) -> Result<usize, SetError> {
        let (Some(limits), Some(store)) = (set.dynamic, self.stores.get_mut(&set.name)) else { return Ok(0) };
        let fresh: BTreeSet<&IpNet> = nets.iter().filter(|net| store.added().get(net).is_none()).collect();
        let more = fresh.iter().filter(|net| set.nets.binary_search(net).is_err()).count();
        if set.nets.len() + store.added().len() + more > limits.max_entries as usize {
            room(set, limits, content::count(&set.nets, store.added()) + more)?;
        }
        let new = fresh.len();
        store.add(nets, expiry).map_err(|cause| SetError::Journal { set: set.name.clone(), cause })?;
        self.publish(kernel, &set.name, nets)?;
        Ok(new)
    }

    /// `set del`: takes added elements out.
    pub fn remove(&mut self, kernel: Option<&mut Kernel>, set: &Set, nets: &[IpNet]) -> Result<(), SetError> {
        let Some(store) = self.stores.get_mut(&set.name) else { return Ok(()) };
        store.remove(nets).map_err(|cause| SetError::Journal { set: set.name.clone(), cause })?;
        self.publish(kernel, &set.name, nets)
    }

    /// `set replace` and `set flush`: other elements in place of all that were added, at once.
    /// `tell` hears how far it is.
    pub fn replace(
        &mut self,
        kernel: Option<&mut Kernel>,
        set: &Set,
        added: Added,
        tell: &mut dyn FnMut(&str, usize, usize),
    ) -> Result<(), SetError> {
        let (Some(limits), true) = (set.dynamic, self.stores.contains_key(&set.name)) else { return Ok(()) };
        let failed = |cause| SetError::Kernel { set: set.name.clone(), cause };
        let wanted = content::count(&set.nets, &added);
        room(set, limits, wanted)?;
        // What is most likely to be refused comes first: then nothing has changed.
        let mut prepared = Vec::new();
        if let Some(kernel) = &kernel {
            for standing in kernel.set_standings(&set.name).map_err(failed)? {
                let written = self.written_of(kernel, &standing, &set.name).map_err(failed)?;
                let entries = Content { written: &written, added: &added, runs: false }.timed(&self.clock);
                let most = standing.max_entries.max(entries.len() as u32);
                let mut so_far = |done| tell("building the set", done, entries.len());
                prepared.push((kernel.prepare_set(most, &entries, &mut so_far).map_err(failed)?, standing));
            }
        }
        if let Some(store) = self.stores.get_mut(&set.name) {
            store.replace(added).map_err(|cause| SetError::Journal { set: set.name.clone(), cause })?;
        }
        let Some(kernel) = kernel else { return Ok(()) };
        let exchanged = prepared.iter().try_for_each(|(content, standing)| kernel.exchange_set(standing, &set.name, content));
        kernel.judge_flows_again();
        self.told(&set.name, exchanged)
    }

    /// Brings the maps in line after these elements have changed in the journal.
    fn publish(&mut self, kernel: Option<&mut Kernel>, set: &str, nets: &[IpNet]) -> Result<(), SetError> {
        let Some(kernel) = kernel else { return Ok(()) };
        let written = self.change_maps(kernel, set, nets);
        kernel.judge_flows_again();
        self.told(set, written)
    }

    fn told(&mut self, set: &str, result: kernel::Result<()>) -> Result<(), SetError> {
        match result {
            Ok(()) => Ok(()),
            Err(cause) => {
                self.behind.insert(set.to_owned(), cause.to_string());
                Err(SetError::Kernel { set: set.to_owned(), cause })
            }
        }
    }

    fn change_maps(&mut self, kernel: &mut Kernel, set: &str, nets: &[IpNet]) -> kernel::Result<()> {
        for standing in kernel.set_standings(set)? {
            let written = self.written_of(kernel, &standing, set)?;
            let Some(store) = self.stores.get(set) else { return Ok(()) };
            let needed = content::count(&written, store.added());
            if needed > standing.max_entries as usize {
                // Only a former generation's content can be too small: the running one's room was proven.
                let entries = Content { written: &written, added: store.added(), runs: false }.timed(&self.clock);
                let prepared = kernel.prepare_set(needed as u32, &entries, &mut |_| ())?;
                kernel.exchange_set(&standing, set, &prepared)?;
                continue;
            }
            let touched = content::touched(&written, store.added(), nets);
            let changes: Vec<_> = touched.into_iter().map(|(net, entry)| (net, entry.map(|expiry| self.clock.boot(expiry)))).collect();
            kernel.change_set(&standing, set, &changes)?;
        }
        Ok(())
    }

    /// The written elements of a standing content. After a restart those of a former generation are told by its map: entries
    /// without end that nobody added.
    fn written_of(&mut self, kernel: &Kernel, standing: &Standing, set: &str) -> kernel::Result<Arc<[IpNet]>> {
        let known = standing.generations.iter().find_map(|generation| self.written.get(&(*generation, set.to_owned())));
        if let Some(written) = known {
            return Ok(Arc::clone(written));
        }
        let Some(generation) = standing.generations.first() else { return Ok(Arc::from([])) };
        let entries = kernel.set_entries(*generation, set)?.unwrap_or_default();
        let added = self.stores.get(set).map(Store::added);
        let nets = entries.into_iter().filter(|(net, boot)| *boot == 0 && added.is_none_or(|added| added.get(net).is_none()));
        let written: Arc<[IpNet]> = nets.map(|(net, _)| net).collect();
        self.written.insert((*generation, set.to_owned()), Arc::clone(&written));
        Ok(written)
    }

    /// Every few seconds: takes out what is over (to the programs it was over at its very end), follows a wall clock that was
    /// set, and tries again what could not be done.
    pub fn sweep(&mut self, kernel: Option<&mut Kernel>, policies: Option<&PolicySet>) {
        let Some(kernel) = kernel else { return };
        if let Err(cause) = self.follow_clock(kernel, read_clock()) {
            warn!("the wall clock was set, and expiries could not follow: {cause}");
        }
        let now = self.now();
        let over: Vec<(String, Vec<IpNet>)> = self.stores.iter_mut().map(|(set, store)| (set.clone(), store.expire(now))).collect();
        for (set, nets) in over.into_iter().filter(|(_, nets)| !nets.is_empty()) {
            let changed = self.change_maps(kernel, &set, &nets);
            if let Err(error) = self.told(&set, changed) {
                warn!("elements that are over: {error}");
            }
        }
        for (set, limits) in policies.into_iter().flat_map(dynamic) {
            if self.behind.contains_key(&set.name) {
                match self.exchange_running(kernel, set, limits) {
                    Ok(_) => {
                        self.behind.remove(&set.name);
                        kernel.judge_flows_again();
                    }
                    Err(error) => warn!("{error}"),
                }
            }
        }
    }

    pub(super) fn follow_clock(&mut self, kernel: &mut Kernel, clock: Clock) -> kernel::Result<()> {
        let moved = clock.moved(&self.clock);
        if moved.abs() <= CLOCK_STEP {
            return Ok(());
        }
        info!("the wall clock was set by {:.3} s", moved as f64 / 1000.0);
        self.clock = clock;
        kernel.follow_clock(&clock)?;
        let names: Vec<String> = self.stores.keys().cloned().collect();
        for set in names {
            let Some(store) = self.stores.get_mut(&set) else { continue };
            match store.clock_moved(moved) {
                Ok(false) => continue,
                Ok(true) => {}
                Err(cause) => warn!("the journal of the set `{set}` tells the times by the former clock: {cause}"),
            }
            let timed: Vec<IpNet> = store.added().iter().filter(|(_, expiry)| *expiry != Expiry::NEVER).map(|(net, _)| net).collect();
            let changed = self.change_maps(kernel, &set, &timed);
            if let Err(error) = self.told(&set, changed) {
                warn!("{error}");
            }
        }
        kernel.judge_flows_again();
        Ok(())
    }

    /// The firewall was taken off: nothing of what the kernel had is there any more.
    pub fn forget_maps(&mut self) {
        self.written.clear();
        self.behind.clear();
    }
}

fn room(set: &Set, limits: Dynamic, wanted: usize) -> Result<(), SetError> {
    let most = limits.max_entries as usize;
    if wanted <= most { Ok(()) } else { Err(SetError::Full { set: set.name.clone(), origin: set.origin.clone(), wanted, most }) }
}

/// Whether a map holds these entries; ends may differ by a moment.
fn same(there: &BTreeMap<IpNet, u64>, wanted: &[(IpNet, Expiry)], clock: &Clock) -> bool {
    there.len() == wanted.len()
        && there.iter().zip(wanted).all(|((net, boot), (other, expiry))| {
            let expected = clock.boot(*expiry);
            net == other && (*boot == 0) == (expected == 0) && boot.abs_diff(expected) <= MOMENT
        })
}
