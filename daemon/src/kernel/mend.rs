//! Notices what others did to the pins and attachments of a running daemon, and puts back what this process still holds.
//!
//! Putting a pin back changes no verdict: what it names never went. What is not held (a program that was taken off, a generation
//! whose maps were unpinned) is left to the plan.

use std::fs;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use super::error::Result;
use super::watch::Way;
use super::{Kernel, attach, generation, links, objects, pins, shared};
use crate::compile::ruleset::Ruleset;
use crate::policy::model::Hook;

impl Kernel {
    /// Whether anything of ours is no longer as the last execution left it. Cheap: one question a hook, five directories.
    ///
    /// # Errors
    /// When the kernel cannot be asked.
    pub fn moved(&mut self) -> Result<bool> {
        let moved = !self.has_its_directory()
            || !self.is_pinned()?
            || self.watch.moved(&self.pins, Way { attachment: self.way, programs: &self.programs })?;
        self.settled &= !moved;
        Ok(moved)
    }

    /// Puts back pins that were removed, the file system that they stand in, and what of the guard was detached; returns what was put back.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn mend(&mut self) -> Result<Vec<String>> {
        let mut done = Vec::new();
        if !self.has_its_directory() {
            self.move_to_its_directory()?;
            done.push(format!("{} (it was unmounted or removed)", self.pins.base().display()));
        }
        for spec in self.programs.form().shared_maps().filter(|spec| !self.pins.shared(spec.name).exists()) {
            pins::ensure_directory(&self.pins.maps())?;
            shared::need(&self.maps, spec.name)?.pin(&self.pins.shared(spec.name))?;
            done.push(format!("map `{}`", spec.name));
        }
        shared::claim_namespace(&self.pins, self.way, &mut self.warnings)?;
        done.extend(self.programs.pin_again(&self.pins)?.into_iter().map(|name| format!("program `{name}`")));
        done.extend(self.watch.put_back(&self.pins, self.programs.digest())?);
        Ok(done)
    }

    /// What the next looks compare with. Where it cannot be found out, the next look finds a difference.
    pub(super) fn settle(&mut self, wanted: Option<&Ruleset>) {
        if let Err(error) = self.leave_other_way(wanted) {
            log::warn!("programs that were attached in another way could not be taken off: {error}");
        }
        match self.watch.settle(&self.pins, self.programs.digest(), wanted) {
            Ok(()) => self.settled = true,
            Err(error) => log::warn!("our attachments cannot be watched: {error}"),
        }
    }

    /// Another way of attaching may have been used before this process: nothing is to be judged twice.
    fn leave_other_way(&mut self, wanted: Option<&Ruleset>) -> Result<()> {
        if self.one_way || wanted.is_none() {
            return Ok(());
        }
        for ifindex in links::list()?.into_keys() {
            for hook in [Hook::Ingress, Hook::Egress] {
                attach::leave_other_way(self.way, &self.pins, ifindex, hook)?;
            }
        }
        self.one_way = true;
        Ok(())
    }

    /// The directory that is locked, wherever it is now.
    fn held_directory(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.lock.as_raw_fd()))
    }

    fn has_its_directory(&self) -> bool {
        let identity = |path: PathBuf| fs::metadata(path).map(|facts| (facts.dev(), facts.ino())).ok();
        let held = identity(self.held_directory());
        held.is_some() && held == identity(self.pins.base().to_path_buf())
    }

    /// The descriptor of the lock keeps an unmounted bpffs alive: everything is pinned in the new one before the old one goes.
    fn move_to_its_directory(&mut self) -> Result<()> {
        let base = self.pins.base().to_path_buf();
        pins::ensure_bpffs(&base)?;
        let lock = pins::lock(&base)?;
        let held = self.held_directory();
        for name in pins::names(&held)?.iter().filter(|name| name.starts_with("abi")) {
            pins::copy_tree(&held.join(name), &base.join(name))?;
        }
        self.lock = lock;
        Ok(())
    }

    /// Everything that must be pinned is.
    fn is_pinned(&self) -> Result<bool> {
        let there = |names: &[String], name: &str| names.binary_search_by(|other| other.as_str().cmp(name)).is_ok();
        let maps = pins::names(&self.pins.maps())?;
        let programs = pins::names(&self.pins.programs(self.programs.digest()))?;
        let running = self.word().running;
        Ok(self.programs.form().shared_maps().map(|spec| spec.name).chain(["namespace"]).all(|name| there(&maps, name))
            && objects::shared().all(|name| there(&programs, name))
            && (running == 0 || generation::is_pinned(&self.pins, running)?))
    }
}
