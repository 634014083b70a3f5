//! One generation: its maps, its policy programs, its slot. Built whole beside the running one; taken apart when nothing reads it.
//!
//! Knows how a slot follows from a number. Does not know which generation runs.

use std::os::fd::AsFd;
use std::time::{SystemTime, UNIX_EPOCH};

use netpol_probes::{MAPS, MapKind, SET_CONTENT, Scope, abi};

use super::bpf::MapFacts;
use super::counters::{self, CounterMaps};
use super::error::{Error, Result};
use super::executor::Material;
use super::maps::Map;
use super::objects;
use super::pins::{self, Pins};
use super::sets;
use super::shared::{Maps, Programs, facts_of, need};
use crate::compile::names::Guard;
use crate::compile::ruleset::Core;
use crate::plan::observed::GenerationFacts;
use crate::sets::Clock;

/// Map of identities of rules, the daemon's own.
const NAMES: &str = "rule_names";
/// Unix time in ms from which each condition no longer holds (0 = for ever), the daemon's own: the wall clock may be set while
/// the generation lives.
const EXPIRIES: &str = "condition_expiry";
/// Pinned last: a generation without it is half built.
const META: &str = "meta";
/// `BPF_MAP_TYPE_ARRAY`.
const ARRAY: u32 = 2;

/// Slot of a generation.
pub fn slot_of(generation: u32) -> u32 {
    generation % abi::NP_SLOTS
}

/// Where a generation is built.
pub struct Site<'a> {
    /// The tree of pins.
    pub pins: &'a Pins,
    /// What all generations share.
    pub shared: &'a Maps,
    /// This binary's own.
    pub programs: &'a Programs,
    /// The generation that judges meanwhile; 0 = none.
    pub running: u32,
}

/// Builds a generation whole. On failure nothing of it is left.
pub fn build(site: &Site<'_>, number: u32, deadline: u64, material: Material<'_>) -> Result<()> {
    let built = build_parts(site, number, deadline, material);
    match built {
        Ok(()) => Ok(()),
        Err(error) => match remove(site.pins, site.shared, number) {
            Ok(()) => Err(error),
            Err(second) => {
                Err(Error::Inconsistent(format!("{error}; and removing what was built of generation {number} failed: {second}")))
            }
        },
    }
}

fn build_parts(site: &Site<'_>, number: u32, deadline: u64, material: Material<'_>) -> Result<()> {
    let Site { pins, shared, programs, running } = *site;
    let Material { core, contents } = material;
    let directory = pins.generation(number);
    pins::remove_tree(&directory)?;
    pins::ensure_directory(&directory)?;
    let maps = create_maps(pins, number, core)?;
    fill_maps(&maps, core, &contents.clock)?;
    sets::build(pins, running, number, need(&maps, "sets")?, &core.sets, contents)?;
    let by_name = |name: &str| maps.get(name).or_else(|| shared.get(name)).map(AsFd::as_fd);
    let pinned = |name: &str| {
        if maps.contains_key(name) { Some(directory.join(name)) } else { shared.contains_key(name).then(|| pins.shared(name)) }
    };
    let (tc, xdp) = objects::load_policy(programs.form(), &by_name, &pinned)?;

    let slot = slot_of(number);
    clear_records(shared, slot)?;
    fill_guard(shared, slot, &core.guard)?;
    let contents = abi::np_slot { generation: number, deadline, ..core.slot };
    need(shared, "slots")?.set(&slot, &contents)?;
    objects::install(&pins.shared("tc_programs"), slot, &tc)?;
    objects::install(&pins.shared("xdp_programs"), slot, &xdp)?;

    let meta = need(&maps, META)?;
    meta.set(&0u32, &meta_of(core))?;
    meta.pin(&directory.join(format!("objects-{}", programs.digest())))?;
    meta.pin(&directory.join(META))
}

fn meta_of(core: &Core) -> abi::np_meta {
    abi::np_meta {
        digest: core.digest(),
        created: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()),
        rules: core.rules.len() as u32,
        chains: core.chains.len() as u32,
    }
}

/// Entries of the maps that are made to measure.
fn entries(core: &Core, map: &str) -> Result<u32> {
    let count = match map {
        "chains" => core.chains.len(),
        "layers" => core.layers.len(),
        "views" => core.views.len(),
        "rows" => core.rows.len(),
        "row_defaults" => core.row_defaults.len(),
        "decisions" => core.decisions.len(),
        "candidates" => core.candidates.len(),
        "l4_tables" => core.l4_tables.len(),
        "l4_vlans" => core.l4_vlans.len(),
        "l4_combine" => core.l4_combine.len(),
        "rules" => core.rules.len(),
        "ethertypes" => core.ethertypes.len(),
        "source_checks" => core.source_checks.len(),
        "macs" => core.macs.len(),
        "conditions" | EXPIRIES => core.conditions.len(),
        "rule_counters" | "rule_base" | NAMES => core.counters(),
        _ => 1,
    };
    #[cfg(test)]
    let count = super::faults::room(map, count);
    u32::try_from(count.max(1)).map_err(|_too_many| Error::Inconsistent(format!("map `{map}` would need {count} entries")))
}

/// Creates every map of the generation, and pins all but `meta`.
fn create_maps(pins: &Pins, number: u32, core: &Core) -> Result<Maps> {
    let directory = pins.generation(number);
    let mut maps = Maps::new();
    for spec in MAPS.iter().filter(|spec| spec.scope == Scope::Generation) {
        let facts = facts_of(spec, entries(core, spec.name)?);
        let map = match spec.kind {
            MapKind::ArrayOfMaps => Map::create_outer(spec.name, facts, &Map::create(SET_CONTENT.name, facts_of(&SET_CONTENT, 1))?)?,
            _ => Map::create(spec.name, facts)?,
        };
        maps.insert(spec.name, map);
    }
    let names = MapFacts { kind: ARRAY, key_size: 4, value_size: 8, max_entries: entries(core, NAMES)?, flags: 0 };
    maps.insert(NAMES, Map::create(NAMES, names)?);
    if core.condition_expiry.iter().any(Option::is_some) {
        maps.insert(EXPIRIES, Map::create(EXPIRIES, MapFacts { max_entries: entries(core, EXPIRIES)?, ..names })?);
    }
    for (name, map) in maps.iter().filter(|(name, _)| **name != META) {
        map.pin(&directory.join(name))?;
    }
    Ok(maps)
}

fn fill_maps(maps: &Maps, core: &Core, clock: &Clock) -> Result<()> {
    let map = |name| need(maps, name);
    map("addresses4")?.fill(&core.addresses4)?;
    map("addresses6")?.fill(&core.addresses6)?;
    map("classes")?.fill_array(&core.classes)?;
    map("chains")?.fill_array(&core.chains)?;
    map("layers")?.fill_array(&core.layers)?;
    map("views")?.fill_array(&core.views)?;
    map("rows")?.fill(&core.rows)?;
    map("row_defaults")?.fill_array(&core.row_defaults)?;
    map("decisions")?.fill(&core.decisions)?;
    map("candidates")?.fill_array(&core.candidates)?;
    map("l4_protocols")?.fill_array(&core.l4_protocols)?;
    for (index, table) in (0u32..).zip(&core.l4_tables) {
        map("l4_tables")?.set(&index, table.as_ref())?;
    }
    map("l4_flags")?.fill_array(&core.l4_flags)?;
    map("l4_vlans")?.fill(&core.l4_vlans)?;
    map("l4_dims")?.fill_array(&[core.l4_dims])?;
    map("l4_combine")?.fill_array(&core.l4_combine)?;
    map("rules")?.fill_array(&core.rules)?;
    map("set_lists")?.fill_array(&core.set_lists)?;
    map("source_checks")?.fill_array(&core.source_checks)?;
    map("macs")?.fill(&core.macs)?;
    map("cookie_ports")?.fill(&core.cookie_ports)?;
    map("limits")?.fill_array(&core.limits)?;
    map("conditions")?.fill_array(&core.conditions)?;
    if let Some(expiries) = maps.get(EXPIRIES) {
        let ms = |expiry: &Option<i64>| expiry.map_or(0, |seconds| u64::try_from(seconds).unwrap_or(0).saturating_mul(1000).max(1));
        expiries.fill_array(&core.condition_expiry.iter().map(ms).collect::<Vec<u64>>())?;
        set_expiries(map("conditions")?, expiries, clock)?;
    }
    map("failsafe")?.fill(&core.failsafe)?;
    map("ethertypes")?.fill(&core.ethertypes)?;
    map(NAMES)?.fill_array(&counters::identities(core))
}

/// Writes into the conditions when they stop to hold, as the clocks stand now. `true`: some had to be changed.
fn set_expiries(conditions: &Map, expiries: &Map, clock: &Clock) -> Result<bool> {
    let mut changed = false;
    for (index, ms) in expiries.all::<u32, u64>()?.into_iter().filter(|(_, ms)| *ms != 0) {
        let there: Option<abi::np_condition> = conditions.get(&index)?;
        let expires = clock.boot_of(ms);
        // The clocks are read one after the other: a moment more or less is no change.
        if let Some(condition) = there.filter(|there| there.expires == 0 || there.expires.abs_diff(expires) > sets::MOMENT) {
            conditions.set(&index, &abi::np_condition { expires, ..condition })?;
            changed = true;
        }
    }
    Ok(changed)
}

/// The same for a generation that is there. `true`: some had to be changed.
pub fn follow_clock(pins: &Pins, number: u32, clock: &Clock) -> Result<bool> {
    let directory = pins.generation(number);
    let expiries = directory.join(EXPIRIES);
    if !expiries.exists() {
        return Ok(false);
    }
    set_expiries(&Map::open("conditions", &directory.join("conditions"))?, &Map::open(EXPIRIES, &expiries)?, clock)
}

/// Deletes every record of a slot.
pub fn clear_records(shared: &Maps, slot: u32) -> Result<()> {
    let links = need(shared, "links")?;
    let all: Vec<(abi::np_link_key, abi::np_link)> = links.all()?;
    let keys: Vec<abi::np_link_key> = all.iter().map(|(key, _)| *key).filter(|key| key.slot == slot).collect();
    links.delete_all(&keys).map(|_count| ())
}

/// Tells the guard which names the generation's policies select.
fn fill_guard(shared: &Maps, slot: u32, guard: &Guard) -> Result<()> {
    need(shared, "guards")?.set(&slot, &*guard.table())?;
    let names: Vec<_> = guard.names.iter().map(|(name, hooks)| (abi::np_guard_key { slot, pad: 0, name: *name }, *hooks)).collect();
    clear_names(shared, slot)?;
    need(shared, "guard_names")?.fill(&names)
}

fn clear_names(shared: &Maps, slot: u32) -> Result<()> {
    let map = need(shared, "guard_names")?;
    let all: Vec<(abi::np_guard_key, u32)> = map.all()?;
    let keys: Vec<abi::np_guard_key> = all.iter().map(|(key, _)| *key).filter(|key| key.slot == slot).collect();
    map.delete_all(&keys).map(|_count| ())
}

/// The slot as it is.
pub fn slot(shared: &Maps, slot: u32) -> Result<abi::np_slot> {
    Ok(need(shared, "slots")?.get(&slot)?.unwrap_or_default())
}

/// Changes the deadline of a generation that is in its slot.
pub fn set_deadline(shared: &Maps, number: u32, deadline: u64) -> Result<()> {
    let index = slot_of(number);
    let contents = slot(shared, index)?;
    if contents.generation != number {
        return Err(Error::Inconsistent(format!("generation {number} is not in its slot")));
    }
    need(shared, "slots")?.set(&index, &abi::np_slot { deadline, ..contents })
}

/// Takes a generation apart: its slot, its records, its programs, its pins. What another generation has in that slot stays.
pub fn remove(pins: &Pins, shared: &Maps, number: u32) -> Result<()> {
    let index = slot_of(number);
    if slot(shared, index)?.generation == number {
        need(shared, "tc_programs")?.delete(&index)?;
        need(shared, "xdp_programs")?.delete(&index)?;
        clear_records(shared, index)?;
        clear_names(shared, index)?;
        need(shared, "slots")?.set(&index, &abi::np_slot::default())?;
    }
    // `meta` first: should this process die half-way, the rest is recognised as no whole generation.
    pins::unpin(&pins.generation(number).join(META))?;
    pins::remove_tree(&pins.generation(number))
}

/// What is known of a generation that has a directory.
pub fn facts(pins: &Pins, shared: &Maps, objects_digest: &str, number: u32) -> Result<GenerationFacts> {
    let directory = pins.generation(number);
    let meta = directory.join(META);
    let contents: Option<abi::np_meta> = if meta.exists() { Map::open(META, &meta)?.get(&0u32)? } else { None };
    let index = slot_of(number);
    let slot = slot(shared, index)?;
    // What others have unpinned is not whole any more.
    let sound = slot.generation == number && is_pinned(pins, number)?;
    let whole = contents.filter(|_| sound);
    // An empty place drops every packet that needs it; a new generation has its own.
    let places = [pins.shared("tc_programs"), pins.shared("xdp_programs")];
    let installed = places.iter().map(|array| objects::installed(array, index)).collect::<Result<Vec<_>>>()?;
    let complete = installed.iter().all(Option::is_some);
    Ok(GenerationFacts {
        digest: whole.map(|meta| meta.digest),
        created: whole.map_or(0, |meta| meta.created),
        deadline: if slot.generation == number { slot.deadline } else { 0 },
        programs_current: complete && directory.join(format!("objects-{objects_digest}")).exists(),
    })
}

/// Whether every map of a generation is still pinned.
pub fn is_pinned(pins: &Pins, number: u32) -> Result<bool> {
    let names = pins::names(&pins.generation(number))?;
    let there = |name: &str| names.binary_search_by(|other| other.as_str().cmp(name)).is_ok();
    let specs = MAPS.iter().filter(|spec| spec.scope == Scope::Generation).map(|spec| spec.name);
    Ok(specs.chain([NAMES, META]).all(there))
}

/// The three counter maps of a generation, opened by their pins.
pub struct Counted {
    counters: Map,
    base: Map,
    names: Map,
}

impl Counted {
    /// Opens them.
    pub fn open(pins: &Pins, number: u32) -> Result<Counted> {
        let directory = pins.generation(number);
        let open = |name: &str| Map::open(name, &directory.join(name));
        Ok(Counted { counters: open("rule_counters")?, base: open("rule_base")?, names: open(NAMES)? })
    }

    /// As `counters` takes them.
    pub fn maps(&self) -> CounterMaps<'_> {
        CounterMaps { counters: &self.counters, base: &self.base, names: &self.names }
    }

    /// Totals by index.
    pub fn totals(&self) -> Result<Vec<counters::CounterTotal>> {
        counters::totals(&self.counters, &self.base)
    }
}
