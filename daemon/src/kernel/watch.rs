//! What others may do to our attachments without telling anybody: noticed by a cheap look every so often.
//!
//! Holds every link of ours open, so that a removed pin opens nothing while this process lives. Knows what was there after the last
//! execution; says only that something differs. What to do about it is the plan's business.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use super::attach_clsact::Filters;
use super::error::Result;
use super::pins::{self, LinkPin, Pins};
use super::shared::Programs;
use super::{attach_guard, attach_tcx, bpf, links};
use crate::compile::ruleset::Ruleset;
use crate::plan::observed::TcAttachment;
use crate::policy::model::Hook;

/// So often in [`HEADS_WINDOW`] the head of a hook is taken back from other programs; then it is left to them, with a warning: two
/// tools that displace each other for ever serve nobody.
const HEADS: usize = 3;
/// See [`HEADS`].
const HEADS_WINDOW: Duration = Duration::from_secs(600);

const HOOKS: [Hook; 2] = [Hook::Ingress, Hook::Egress];

/// A hook of an interface.
type At = (u32, Hook);

/// How tc programs hang on this kernel, and which are ours.
#[derive(Clone, Copy)]
pub struct Way<'a> {
    /// By link or by filter.
    pub attachment: TcAttachment,
    /// Programs of this binary.
    pub programs: &'a Programs,
}

/// A link of ours, open.
struct Held {
    link: OwnedFd,
    program: u32,
}

/// See the module.
#[derive(Default)]
pub struct Watch {
    held: BTreeMap<(u32, LinkPin), Held>,
    guard: attach_guard::Held,
    /// By ifindex: interfaces under policy, and whether XDP is wanted there.
    wanted: BTreeMap<u32, bool>,
    /// How many programs of others run before ours where that is left as it is, as the last look saw it.
    ahead: BTreeMap<At, usize>,
    /// What XDP ran on interfaces that want ours and do not have it.
    xdp: BTreeMap<u32, Option<(u32, bool)>>,
    /// When the head of a hook was taken back.
    heads: BTreeMap<At, Vec<Instant>>,
}

impl Watch {
    /// The head of the hook was taken back too often lately.
    pub fn contested(&self, ifindex: u32, hook: Hook) -> bool {
        let lately = |times: &Vec<Instant>| times.iter().filter(|time| time.elapsed() < HEADS_WINDOW).count();
        self.heads.get(&(ifindex, hook)).map_or(0, lately) >= HEADS
    }

    /// The head of the hook is about to be taken back.
    pub fn takes_head(&mut self, ifindex: u32, hook: Hook) {
        let times = self.heads.entry((ifindex, hook)).or_default();
        times.retain(|time| time.elapsed() < HEADS_WINDOW);
        times.push(Instant::now());
    }

    /// Pins again what is held and no longer pinned, and attaches what of the guard was detached; returns the names.
    pub fn put_back(&mut self, pins: &Pins, digest: &str) -> Result<Vec<String>> {
        let pinned: BTreeSet<(u32, LinkPin)> = pins.link_pins()?.into_iter().collect();
        let mut again = Vec::new();
        for (&(ifindex, which), held) in self.held.iter().filter(|(key, _)| !pinned.contains(key)) {
            if bpf::link_info(&held.link, "held")?.ifindex != 0 {
                pins::ensure_directory(&pins.links())?;
                bpf::pin(&held.link, &pins.link(ifindex, which))?;
                again.push(format!("{which:?} of interface {ifindex}").to_lowercase());
            }
        }
        again.extend(attach_guard::put_back(&mut self.guard, pins, digest)?);
        Ok(again)
    }

    /// An execution is over: takes hold of what is pinned, lets go of what is not, and remembers what the next looks compare with.
    pub fn settle(&mut self, pins: &Pins, digest: &str, wanted: Option<&Ruleset>) -> Result<()> {
        self.hold(pins)?;
        self.guard = attach_guard::hold(pins, digest)?;
        if let Some(wanted) = wanted {
            self.wanted = wanted.links.values().map(|plan| (plan.ifindex, plan.xdp.is_some())).collect();
        }
        let wanted = &self.wanted;
        self.heads.retain(|(ifindex, _), _| wanted.contains_key(ifindex));
        self.xdp = self.without_xdp()?;
        Ok(())
    }

    fn hold(&mut self, pins: &Pins) -> Result<()> {
        let pinned = pins.link_pins()?;
        let mut former = std::mem::take(&mut self.held);
        for key in pinned {
            let alive = |link: &OwnedFd| bpf::link_info(link, "held").map(|info| (info.ifindex == key.0).then_some(info.program));
            let held = match former.remove(&key) {
                Some(held) => alive(&held.link)?.map(|program| Held { program, ..held }),
                None => None,
            };
            let held = match held {
                Some(held) => Some(held),
                None => {
                    let link = bpf::get(&pins.link(key.0, key.1))?;
                    alive(&link)?.map(|program| Held { link, program })
                }
            };
            self.held.extend(held.map(|held| (key, held)));
        }
        Ok(())
    }

    /// Interfaces that want our XDP program and do not have it, with what runs there.
    fn without_xdp(&self) -> Result<BTreeMap<u32, Option<(u32, bool)>>> {
        let without = |(ifindex, xdp): &(&u32, &bool)| **xdp && !self.held.contains_key(&(**ifindex, LinkPin::Xdp));
        let without: Vec<u32> = self.wanted.iter().filter(without).map(|(ifindex, _)| *ifindex).collect();
        if without.is_empty() {
            return Ok(BTreeMap::new());
        }
        let interfaces = links::list()?;
        Ok(without.into_iter().filter_map(|ifindex| Some((ifindex, interfaces.get(&ifindex)?.xdp))).collect())
    }

    /// Whether our attachments are no longer what they were after the last execution, or at the last look.
    pub fn moved(&mut self, pins: &Pins, way: Way<'_>) -> Result<bool> {
        let pinned: BTreeSet<(u32, LinkPin)> = pins.link_pins()?.into_iter().collect();
        let guard = attach_guard::moved(&self.guard, pins, way.programs.digest())?;
        let unpinned = guard || self.held.keys().any(|key| !pinned.contains(key));
        let places = self.places(way)?;
        let left = |(key, place): &(At, Option<usize>)| {
            place.filter(|ahead| *ahead > 0 && self.contested(key.0, key.1)).map(|ahead| (*key, ahead))
        };
        let ahead: BTreeMap<At, usize> = places.iter().filter_map(left).collect();
        let displaced = places.iter().any(|(key, place)| *place != Some(0) && !ahead.contains_key(key));
        let changed = ahead != self.ahead;
        self.ahead = ahead;
        Ok(unpinned || displaced || changed || self.xdp_moved()?)
    }

    fn xdp_moved(&self) -> Result<bool> {
        for (_, held) in self.held.iter().filter(|((_, which), _)| *which == LinkPin::Xdp) {
            if bpf::link_info(&held.link, "XDP")?.ifindex == 0 {
                return Ok(true);
            }
        }
        Ok(!self.xdp.is_empty() && self.without_xdp()? != self.xdp)
    }

    /// For every hook of every interface under policy, how many programs run before ours; `None` = ours is not there.
    fn places(&self, way: Way<'_>) -> Result<Vec<(At, Option<usize>)>> {
        let mut filters = if way.attachment == TcAttachment::Clsact { Some(Filters::open()?) } else { None };
        // The place of a filter is anybody's: a program of others there is none of ours.
        let ours = |hook, (program, ahead)| way.programs.variant_of(program, hook).map(|_ours| ahead);
        let mut places = Vec::new();
        for key in self.wanted.keys().flat_map(|ifindex| HOOKS.map(|hook| (*ifindex, hook))) {
            let place = match &mut filters {
                Some(filters) => filters.ours(key.0, key.1).map(|there| there.and_then(|there| ours(key.1, there))),
                None => match self.held.get(&(key.0, attach_tcx::pin_of(key.1))) {
                    Some(held) => attach_tcx::ahead(key.0, key.1, held.program),
                    None => Ok(None),
                },
            };
            match place {
                Ok(place) => places.push((key, place)),
                // It vanished, which rtnetlink tells.
                Err(error) if bpf::errno(&error) == libc::ENODEV => {}
                Err(error) => return Err(error),
            }
        }
        Ok(places)
    }
}
