//! A look at what runs, without the lock: for `status` when no daemon is there to ask.

use std::collections::BTreeMap;
use std::path::Path;

use netpol_probes::abi;

use super::error::Result;
use super::features::Features;
use super::maps::Map;
use super::observe::{self, View};
use super::pins::Pins;
use super::shared::Maps;
use super::{attach, links};
use crate::plan::observed::{GenerationWord, LinkObserved};
use crate::policy::model::Hook;

/// What such a look finds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Inspection {
    /// Who judges.
    pub word: GenerationWord,
    /// The running generation waits for confirmation and still counts.
    pub pending: bool,
    /// By ifindex: interfaces that something of ours hangs on.
    pub links: BTreeMap<u32, LinkObserved>,
    /// Names of interfaces that the running generation has a record for and that our programs are attached to.
    pub enforced: Vec<String>,
}

/// Looks; `None` = nothing of ours is there.
pub fn inspect(bpffs: &Path) -> Result<Option<Inspection>> {
    let pins = Pins::new(bpffs);
    let mut maps = Maps::new();
    for name in ["generation", "slots", "links"] {
        let path = pins.shared(name);
        if !path.exists() {
            return Ok(None);
        }
        maps.insert(name, Map::open(name, &path)?);
    }
    let stored = super::shared::need(&maps, "generation")?.get::<u32, abi::np_word>(&0)?.unwrap_or_default().generations;
    let word = GenerationWord::from_bits(stored);
    let slot = super::generation::slot(&maps, super::generation::slot_of(word.running))?;
    let pending = word.former != 0 && slot.generation == word.running && slot.deadline > super::boot_time();
    let way = attach::way(&Features::probe()?);
    let view = View { pins: &pins, maps: &maps, programs: None, way, guard: false, watch: None };
    let mut found = observe::attachments(&view, &links::list()?)?;
    found.retain(|_, link| link.attached());
    let records = observe::records(&maps)?;
    let judged = |ifindex: &u32, link: &LinkObserved| {
        let both = [Hook::Ingress, Hook::Egress].iter().all(|hook| link.tc(*hook).is_some());
        both && records.contains_key(&(word.running, *ifindex))
    };
    let enforced = found.iter().filter(|(ifindex, link)| judged(ifindex, link)).map(|(_, link)| link.name.clone()).collect();
    Ok(Some(Inspection { word, pending, links: found, enforced }))
}
