//! What all generations share: the maps with state, and the programs that every packet meets first.
//!
//! Pinned, so that both outlive every process; a restarted daemon adopts what is there. Programs are adopted only when they
//! were made from the very objects that this binary carries.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use netpol_probes::{MapSpec, MaxEntries, abi};

use super::bpf::{self, MapFacts};
use super::error::{Error, Result};
use super::maps::Map;
use super::objects::Form;
use super::pins::{self, Pins};
use super::{detach, objects, recover, sys};
use crate::compile::ruleset::DeviceKind;
use crate::plan::observed::{GenerationWord, TcAttachment};
use crate::policy::model::Hook;

/// `BPF_MAP_TYPE_ARRAY`.
const ARRAY: u32 = 2;
/// Map that says which network namespace the tree belongs to, the daemon's own.
const NAMESPACE: &str = "namespace";

/// Open maps by name.
pub type Maps = BTreeMap<&'static str, Map>;

/// A map that must be there because a table says so.
pub fn need<'a>(maps: &'a Maps, name: &str) -> Result<&'a Map> {
    maps.get(name).ok_or_else(|| Error::Inconsistent(format!("there is no map `{name}`")))
}

/// What a map of the table is like, with the entries it is given where the table leaves them open.
pub fn facts_of(spec: &MapSpec, measured: u32) -> MapFacts {
    let max_entries = match spec.max_entries {
        MaxEntries::Fixed(entries) => entries,
        MaxEntries::Measured => measured.max(1),
    };
    MapFacts { kind: spec.kind as u32, key_size: spec.key_size, value_size: spec.value_size, max_entries, flags: spec.flags }
}

/// Adopts or creates every shared map. A flow table of another size is kept, with a warning: its flows are worth more.
pub fn open_maps(pins: &Pins, form: Form, connections: u32, half_open: u32, warnings: &mut Vec<String>) -> Result<Maps> {
    let mut maps = Maps::new();
    for spec in form.shared_maps() {
        let measured = if spec.name == "connections" { connections } else { half_open };
        maps.insert(spec.name, open_map(pins, spec, measured, warnings)?);
    }
    Ok(maps)
}

fn open_map(pins: &Pins, spec: &MapSpec, measured: u32, warnings: &mut Vec<String>) -> Result<Map> {
    let path = pins.shared(spec.name);
    let wanted = facts_of(spec, measured);
    if !path.exists() {
        let map = create(spec, wanted, warnings)?;
        map.pin(&path)?;
        return Ok(map);
    }
    let map = Map::open(spec.name, &path)?;
    let there = map.facts();
    let fits = MapFacts { max_entries: wanted.max_entries, ..there } == wanted;
    if !fits || (there.max_entries != wanted.max_entries && spec.max_entries != MaxEntries::Measured) {
        return Err(Error::Inconsistent(format!(
            "map `{}` pinned at {} has another layout than this program's; `netpol-ebpf detach` removes it",
            spec.name,
            path.display()
        )));
    }
    warnings.extend(size_warning(&map, measured));
    Ok(map)
}

/// A table that memory does not hold is no reason to enforce nothing: it gets half of what fits, so that the rest fits as well.
fn create(spec: &MapSpec, wanted: MapFacts, warnings: &mut Vec<String>) -> Result<Map> {
    match Map::create(spec.name, wanted) {
        Err(error) if spec.max_entries == MaxEntries::Measured && is_too_large(&error) => {}
        created => return created,
    }
    let fits = largest(spec.name, half(wanted))?.facts();
    let map = largest(spec.name, half(fits))?;
    let (there, wanted) = (map.facts().max_entries, wanted.max_entries);
    warnings.push(format!("map `{}` has {there} entries: there is no memory for the {wanted} that the policy asks for", spec.name));
    Ok(map)
}

/// The largest map that memory holds, by halving.
fn largest(name: &str, mut facts: MapFacts) -> Result<Map> {
    loop {
        match Map::create(name, facts) {
            Err(error) if facts.max_entries > 1 && is_too_large(&error) => facts = half(facts),
            created => return created,
        }
    }
}

fn half(facts: MapFacts) -> MapFacts {
    MapFacts { max_entries: (facts.max_entries / 2).max(1), ..facts }
}

fn is_too_large(error: &Error) -> bool {
    matches!(bpf::errno(error), libc::ENOMEM | libc::E2BIG)
}

/// What an administrator should know of a flow table that is not as large as the policy says.
pub fn size_warning(map: &Map, wanted: u32) -> Option<String> {
    let there = map.facts().max_entries;
    let differs = wanted.max(1) != there && matches!(map.name(), "connections" | "half_open");
    differs.then(|| format!("map `{}` keeps its {there} entries; {wanted} takes effect after `netpol-ebpf detach`", map.name()))
}

/// The shared programs of this binary, loaded and pinned.
#[derive(Debug)]
pub struct Programs {
    form: Form,
    digest: String,
    loaded: BTreeMap<&'static str, (OwnedFd, u32)>,
}

impl Programs {
    /// Adopts the pinned programs of this binary's objects, loading what is missing.
    pub fn open(pins: &Pins, form: Form, maps: &Maps) -> Result<Programs> {
        let digest = objects::digest(form);
        let directory = pins.programs(&digest);
        if !objects::shared().all(|name| directory.join(name).exists()) {
            pins::ensure_directory(&directory)?;
            let pinned = |name: &str| maps.contains_key(name).then(|| pins.shared(name));
            for (name, program) in objects::load_shared(form, &|name| maps.get(name).map(AsFd::as_fd), &pinned)? {
                let path = directory.join(&name);
                pins::unpin(&path)?;
                bpf::pin(&program, &path)?;
            }
        }
        let mut loaded = BTreeMap::new();
        for name in objects::shared() {
            let program = bpf::get(&directory.join(name))?;
            let id = bpf::program_id(&program, name)?;
            loaded.insert(name, (program, id));
        }
        Ok(Programs { form, digest, loaded })
    }

    /// Pins again what is no longer pinned; returns the names.
    pub fn pin_again(&self, pins: &Pins) -> Result<Vec<String>> {
        let directory = pins.programs(&self.digest);
        pins::ensure_directory(&directory)?;
        let missing: Vec<_> = self.loaded.iter().filter(|(name, _)| !directory.join(name).exists()).collect();
        for (name, (program, _)) in &missing {
            bpf::pin(program, &directory.join(name))?;
        }
        Ok(missing.iter().map(|(name, _)| (*name).to_string()).collect())
    }

    /// The form of the objects that they came from.
    pub fn form(&self) -> Form {
        self.form
    }

    /// Names the objects that they came from.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// One of them.
    pub fn get(&self, name: &str) -> Result<BorrowedFd<'_>> {
        self.entry(name).map(|(program, _)| program.as_fd())
    }

    /// Kernel's id of one of them.
    pub fn id(&self, name: &str) -> Result<u32> {
        self.entry(name).map(|(_, id)| *id)
    }

    /// The tc program for a hook.
    pub fn tc(&self, variant: DeviceKind, hook: Hook) -> Result<BorrowedFd<'_>> {
        self.get(objects::tc_main(variant, hook))
    }

    /// The variant of the tc program that has that id and belongs to that hook.
    pub fn variant_of(&self, id: u32, hook: Hook) -> Option<DeviceKind> {
        let (name, _) = self.loaded.iter().find(|(_, (_, other))| *other == id)?;
        objects::variant_of(name).filter(|variant| objects::tc_main(*variant, hook) == *name)
    }

    fn entry(&self, name: &str) -> Result<&(OwnedFd, u32)> {
        self.loaded.get(name).ok_or_else(|| Error::Inconsistent(format!("there is no program `{name}`")))
    }
}

/// Somebody took pins of shared maps away while no daemon ran. The programs that are there still hold those maps, a map made anew they
/// would never see. Those that are found through them are pinned again; where one is not, what is there judges on until a whole tree has
/// been built beside it and has taken its place.
pub fn replace_missing(pins: &Pins, form: Form, warnings: &mut Vec<String>) -> Result<()> {
    let missing = || form.shared_maps().map(|spec| spec.name).filter(|name| !pins.shared(name).exists()).collect::<Vec<_>>();
    if !pins.has_programs()? {
        return Ok(());
    }
    if !pins.shared(NAMESPACE).exists() {
        // No program knows it.
        warnings.push(format!("the pin of map `{NAMESPACE}` was missing; it is made anew"));
    }
    if missing().is_empty() {
        return Ok(());
    }
    let mut in_use = recover::maps_in_use(pins)?;
    pins::ensure_directory(&pins.maps())?;
    for name in missing() {
        if let Some(map) = in_use.remove(name) {
            bpf::pin(&map, &pins.shared(name))?;
            warnings.push(format!("the pin of map `{name}` was missing; the programs still had it, and it is pinned again"));
        }
    }
    let lost = missing();
    if !lost.is_empty() {
        let (there, aside) = (pins.maps(), pins.set_aside()?);
        let sentence = "everything is built anew beside what was left, connections begin anew";
        warnings.push(format!("pins were missing in {} ({}): {sentence} ({aside})", there.display(), lost.join(", ")));
    }
    Ok(())
}

/// Links and records name interfaces by index, which means nothing in another network namespace: a directory belongs to the one
/// it was first used in. What a namespace that is gone left behind is removed.
pub fn claim_namespace(pins: &Pins, way: TcAttachment, warnings: &mut Vec<String>) -> Result<()> {
    let path = pins.shared(NAMESPACE);
    let ours = sys::netns_cookie()?;
    if path.exists() {
        let theirs: Option<u64> = Map::open(NAMESPACE, &path)?.get(&0u32)?;
        if theirs == Some(ours) {
            return Ok(());
        }
        // Filters of another namespace cannot be seen from here: where there are no links, what has judged is taken to judge still.
        if detach::has_live_links(pins)? || (way == TcAttachment::Clsact && judges(pins)?) {
            return Err(Error::Inconsistent(format!(
                "{} serves another network namespace; `netpol-ebpf detach` there first, or choose another --bpffs",
                pins.base().display()
            )));
        }
        warnings.push(format!("{} held the remains of another network namespace; they were removed", pins.base().display()));
        pins::remove_tree(&pins.abi())?;
    }
    for directory in [pins.maps(), pins.links()] {
        pins::ensure_directory(&directory)?;
    }
    let map = Map::create(NAMESPACE, MapFacts { kind: ARRAY, key_size: 4, value_size: 8, max_entries: 1, flags: 0 })?;
    map.set(&0u32, &ours)?;
    map.pin(&path)
}

/// A generation runs there.
fn judges(pins: &Pins) -> Result<bool> {
    let path = pins.shared("generation");
    if !path.exists() {
        return Ok(false);
    }
    let word: Option<abi::np_word> = Map::open("generation", &path)?.get(&0u32)?;
    Ok(word.is_some_and(|word| GenerationWord::from_bits(word.generations).running != 0))
}
