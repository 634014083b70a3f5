//! Taking the firewall off: explicitly, completely, whatever layout is there.

use std::collections::BTreeSet;
use std::path::Path;

use super::error::Result;
use super::maps::Map;
use super::pins::{self, Pins};
use super::{attach_clsact, attach_tcx, bpf, links, sys};
use crate::policy::model::Hook;

/// Takes everything of ours off all interfaces and deletes every pin. The caller holds the lock. Returns the names of the
/// interfaces that something was taken off.
pub fn all(pins: &Pins) -> Result<Vec<String>> {
    let word = pins.shared("generation");
    if word.exists() {
        // One store: from here on every packet passes untouched, so no interface is half under policy while programs go.
        sys::Word::map(&Map::open("generation", &word)?)?.store(0);
    }
    let interfaces = links::list()?;
    let trees: Vec<Pins> = pins.trees()?.iter().map(|name| pins.beside(name)).collect();
    let mut freed = BTreeSet::new();
    for tree in &trees {
        freed.extend(links_of(tree)?);
    }
    for ifindex in interfaces.keys() {
        for hook in [Hook::Ingress, Hook::Egress] {
            if attach_clsact::attached(*ifindex, hook).is_some() {
                attach_clsact::detach(*ifindex, hook)?;
                freed.insert(*ifindex);
            }
        }
    }
    for tree in &trees {
        pins::remove_tree(&tree.abi())?;
    }
    Ok(freed.iter().filter_map(|ifindex| interfaces.get(ifindex)).map(|link| link.name.clone()).collect())
}

/// Takes every link of a tree off its interface and deletes the pins; returns the indices of the interfaces. Comes before the
/// removal of anything else of a tree that may still judge: a program array that has lost its pin is emptied by the kernel, and
/// the packets of whatever still hangs on an interface would be dropped.
pub fn links_of(tree: &Pins) -> Result<BTreeSet<u32>> {
    let mut freed = BTreeSet::new();
    for (ifindex, which) in tree.link_pins()? {
        attach_tcx::detach_pin(tree, ifindex, which)?;
        freed.insert(ifindex);
    }
    pins::remove_tree(&tree.links())?;
    Ok(freed)
}

/// [`all`] for a directory that no instance has open: takes the lock first. Needs no fitting layout.
pub fn directory(bpffs: &Path) -> Result<Vec<String>> {
    if !bpffs.is_dir() || !sys::is_bpffs(bpffs)? {
        return Ok(Vec::new());
    }
    let _lock = pins::lock(bpffs)?;
    all(&Pins::new(bpffs))
}

/// Whether the pinned links of a directory hang on devices; of another network namespace they may.
pub fn has_live_links(pins: &Pins) -> Result<bool> {
    for (ifindex, which) in pins.link_pins()? {
        if bpf::link_info(&bpf::get(&pins.link(ifindex, which))?, "pin")?.ifindex != 0 {
            return Ok(true);
        }
    }
    Ok(false)
}
