//! What is there, read from pins, rtnetlink and maps; nothing is remembered from before.

use std::collections::{BTreeMap, BTreeSet};

use netpol_probes::abi;

use super::attach_clsact::Filters;
use super::error::{Error, Result};
use super::links::Interface;
use super::pins::{LinkPin, Pins};
use super::shared::{Maps, Programs, need};
use super::watch::Watch;
use super::{attach_guard, attach_tcx, bpf, generation, links, objects, sys};
use crate::plan::observed::{GenerationWord, GuardObserved, LinkObserved, Observed, TcAttachment, TcObserved, XdpObserved};
use crate::policy::model::Hook;

/// Where to look.
pub struct View<'a> {
    /// The tree of pins.
    pub pins: &'a Pins,
    /// At least `generation`, `slots`, `links`.
    pub maps: &'a Maps,
    /// This binary's programs; `None` = they are not loaded, so nothing counts as current.
    pub programs: Option<&'a Programs>,
    /// How tc programs hang on this kernel.
    pub way: TcAttachment,
    /// This kernel has netfilter programs.
    pub guard: bool,
    /// What was done about programs of others before; `None` = by this process nothing.
    pub watch: Option<&'a Watch>,
}

/// Everything.
pub fn observe(view: &View<'_>, word: GenerationWord) -> Result<Observed> {
    let interfaces = links::list()?;
    let digest = view.programs.map_or("", Programs::digest);
    let mut generations = BTreeMap::new();
    // A slot whose generation lost its directory (somebody died while everything was taken off) still holds its records.
    let in_slots = holders(view.maps)?.into_values().filter(|number| *number != 0);
    for number in view.pins.generations()?.into_iter().chain(in_slots) {
        generations.insert(number, generation::facts(view.pins, view.maps, digest, number)?);
    }
    let records = records(view.maps)?;
    let mut found = attachments(view, &interfaces)?;
    for (_, ifindex) in records.keys() {
        found.entry(*ifindex).or_default();
    }
    let shared = objects::installed(&view.pins.shared("tc_programs"), abi::NP_TC_EPILOGUE)?;
    let ours = view.programs.map(|programs| programs.id(objects::EPILOGUE)).transpose()?;
    Ok(Observed {
        word,
        generations,
        links: found,
        records,
        shared_current: shared.is_some() && shared == ours,
        shared,
        guard: match (view.guard, view.programs) {
            (true, Some(programs)) if attach_guard::attached(view.pins, programs.digest()) => GuardObserved::Attached,
            (true, _) => GuardObserved::Missing,
            (false, _) => GuardObserved::Unknown,
        },
        leftovers: view.pins.leftovers(digest)?,
        no_syn_cookies: std::fs::read_to_string("/proc/sys/net/ipv4/tcp_syncookies").is_ok_and(|value| value.trim() == "0"),
        now: sys::boot_time(),
    })
}

/// By slot: the generation that holds it, or 0.
fn holders(maps: &Maps) -> Result<BTreeMap<u32, u32>> {
    (0..abi::NP_SLOTS).map(|slot| Ok((slot, generation::slot(maps, slot)?.generation))).collect()
}

/// By (generation, ifindex): the records of slots that a generation holds.
pub fn records(maps: &Maps) -> Result<BTreeMap<(u32, u32), abi::np_link>> {
    let holders = holders(maps)?;
    let all: Vec<(abi::np_link_key, abi::np_link)> = need(maps, "links")?.all()?;
    let held = all.into_iter().filter_map(|(key, record)| {
        let holder = *holders.get(&key.slot)?;
        (holder != 0).then_some(((holder, key.ifindex), record))
    });
    Ok(held.collect())
}

/// By ifindex: every interface, and every pin of one that is gone.
pub fn attachments(view: &View<'_>, interfaces: &BTreeMap<u32, Interface>) -> Result<BTreeMap<u32, LinkObserved>> {
    let present = |link: &Interface| LinkObserved {
        name: link.name.clone(),
        present: true,
        kind: link.kind.clone(),
        master: link.master,
        on: link.on,
        xdp: foreign(link),
        ..LinkObserved::default()
    };
    let mut found: BTreeMap<u32, LinkObserved> = interfaces.iter().map(|(ifindex, link)| (*ifindex, present(link))).collect();
    let mut pinned = Vec::new();
    for (ifindex, which) in view.pins.link_pins()? {
        pinned.push((ifindex, which, bpf::link_info(&bpf::get(&view.pins.link(ifindex, which))?, "pin")?));
    }
    let living: BTreeSet<u32> = pinned.iter().filter(|(ifindex, _, info)| info.ifindex == *ifindex).map(|(ifindex, ..)| *ifindex).collect();
    for (ifindex, which, info) in pinned {
        let entry = found.entry(ifindex).or_default();
        if info.ifindex != ifindex || !entry.present {
            // Beside a living one it says nothing of the device: a link was taken off, and whoever did it died before the pin was gone.
            entry.dead_pins |= !entry.present || !living.contains(&ifindex);
            continue;
        }
        match which {
            LinkPin::Ingress => entry.ingress = Some(tcx(view, ifindex, Hook::Ingress, info.program)?),
            LinkPin::Egress => entry.egress = Some(tcx(view, ifindex, Hook::Egress, info.program)?),
            LinkPin::Xdp => entry.xdp = ours(view, interfaces.get(&ifindex), info.program)?,
        }
    }
    if view.way == TcAttachment::Clsact {
        let mut filters = Filters::open()?;
        for ifindex in interfaces.keys() {
            let entry = found.entry(*ifindex).or_default();
            entry.ingress = clsact(view, &mut filters, *ifindex, Hook::Ingress)?;
            entry.egress = clsact(view, &mut filters, *ifindex, Hook::Egress)?;
        }
    }
    for entry in found.values_mut() {
        // Where another link or a filter of ours lives, the device is the same: only the one was taken off.
        entry.dead_pins &= !entry.attached();
    }
    Ok(found)
}

/// Whatever XDP runs, until a pin of ours explains it.
fn foreign(link: &Interface) -> XdpObserved {
    link.xdp.map_or(XdpObserved::None, |(program, _)| XdpObserved::Foreign { program })
}

fn ours(view: &View<'_>, link: Option<&Interface>, program: u32) -> Result<XdpObserved> {
    let current = view.programs.map(|programs| programs.id(objects::XDP)).transpose()? == Some(program);
    Ok(match link.and_then(|link| link.xdp) {
        Some((_, false)) => XdpObserved::Generic { program, current },
        _ => XdpObserved::Native { program, current },
    })
}

fn tcx(view: &View<'_>, ifindex: u32, hook: Hook, program: u32) -> Result<TcObserved> {
    // A device that goes away right now has no order of programs any more; the next look finds its pin dead.
    let ahead = attach_tcx::ahead(ifindex, hook, program).or_else(gone)?;
    Ok(attached(view, (ifindex, hook), TcAttachment::Tcx, program, ahead.unwrap_or(0)))
}

fn clsact(view: &View<'_>, filters: &mut Filters, ifindex: u32, hook: Hook) -> Result<Option<TcObserved>> {
    let ours = filters.ours(ifindex, hook).or_else(gone)?;
    Ok(ours.map(|(program, ahead)| attached(view, (ifindex, hook), TcAttachment::Clsact, program, ahead)))
}

/// Nothing is there of a device that goes away right now.
fn gone<T>(error: Error) -> Result<Option<T>> {
    if bpf::errno(&error) == libc::ENODEV { Ok(None) } else { Err(error) }
}

fn attached(view: &View<'_>, (ifindex, hook): (u32, Hook), attachment: TcAttachment, program: u32, ahead: usize) -> TcObserved {
    let contested = view.watch.is_some_and(|watch| watch.contested(ifindex, hook));
    TcObserved { attachment, variant: variant(view, program, hook), program, ahead, contested }
}

fn variant(view: &View<'_>, program: u32, hook: Hook) -> Option<crate::compile::ruleset::DeviceKind> {
    view.programs.and_then(|programs| programs.variant_of(program, hook))
}
