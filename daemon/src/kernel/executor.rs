//! One match over [`Action`]: the only place where a plan touches the kernel.
//!
//! Up to the last commit a plan is all or nothing: at the first failure everything is taken back in reverse. After it, what is
//! left are deletions and late exchanges: they go on, what could not be deleted is told, and what could not be exchanged is looked at
//! again soon. A plan without a commit concerns single interfaces, and each of them is all or nothing for itself. An interface that
//! vanished meanwhile is no failure.

use std::collections::BTreeSet;
use std::os::fd::AsFd;
use std::thread;
use std::time::Duration;

use netpol_probes::abi;

use super::adopt::{self, Stamp, Standing};
use super::attach_xdp::Attached;
use super::error::{Error, Result};
use super::generation::Site;
use super::pins::{self, LinkPin};
use super::shared::need;
use super::{Kernel, Outcome, attach, attach_guard, attach_tcx, attach_xdp, bpf, counters, detach, generation, grace, objects};
use crate::compile::ruleset::{Core, DeviceKind};
use crate::plan::Action;
use crate::plan::action::Target;
use crate::plan::observed::{GenerationWord, TcAttachment};
use crate::policy::model::{Hook, XdpMode};
use crate::sets::content::Contents;

/// How long packets that began under an older generation may take to end before it is taken apart.
const GRACE: Duration = Duration::from_millis(50);

/// What a generation is built from.
#[derive(Clone, Copy)]
pub struct Material<'a> {
    /// Its maps.
    pub core: &'a Core,
    /// Its dynamic sets.
    pub contents: &'a Contents<'a>,
}

/// Carries out a plan.
pub fn execute(kernel: &Kernel, material: Option<Material<'_>>, actions: &[Action]) -> Result<Outcome> {
    let mut run = Run {
        kernel,
        material,
        outcome: Outcome::default(),
        waited: false,
        passing: false,
        attached: false,
        settling: Vec::new(),
        unguarded: false,
        unexchanged: false,
        standing: None,
    };
    let commit = actions.iter().rposition(|action| matches!(action, Action::Commit { .. }));
    let mut done: Vec<&Action> = Vec::new();
    let mut skipped = BTreeSet::new();
    for (position, action) in actions.iter().enumerate() {
        let ifindex = action.link().map(|link| link.ifindex);
        if ifindex.is_some_and(|ifindex| skipped.contains(&ifindex)) {
            continue;
        }
        log::debug!("{action}");
        let error = match run.perform(action) {
            Ok(()) => {
                done.push(action);
                continue;
            }
            Err(error) => error,
        };
        let vanished = bpf::errno(&error) == libc::ENODEV;
        run.unexchanged |= !vanished && matches!(action, Action::Switch { .. });
        match (action.link(), commit) {
            (Some(link), _) if vanished => {
                run.outcome.notes.push(format!("{link} vanished: {action} was left out"));
                skipped.insert(link.ifindex);
            }
            _ if action.is_clean_up() || commit.is_some_and(|commit| position > commit) => {
                run.outcome.again |= !action.is_clean_up();
                run.outcome.warnings.push(format!("{action}: {error}"));
            }
            (Some(link), None) => {
                let of_link: Vec<&Action> = done.iter().copied().filter(|action| action.link() == Some(link)).collect();
                let undone = run.undo(&of_link);
                let sentence = failure(action, error, undone).to_string();
                run.outcome.warnings.push(sentence.clone());
                run.outcome.failures.push(sentence);
                skipped.insert(link.ifindex);
            }
            _ => return Err(failure(action, error, run.undo(&done))),
        }
    }
    if let Err(error) = run.settle() {
        run.outcome.warnings.push(format!("interfaces that are new stay shut: {error}"));
        run.outcome.again = true;
    }
    run.outcome.generation = kernel.word().running;
    Ok(run.outcome)
}

fn failure(action: &Action, source: Error, undo: Vec<String>) -> Error {
    Error::Action { action: action.to_string(), source: Box::new(source), undo }
}

struct Run<'a> {
    kernel: &'a Kernel,
    material: Option<Material<'a>>,
    outcome: Outcome,
    waited: bool,
    /// Packets may be on their way that have passed an ingress hook before our program was there: the guard must not take them for
    /// judged ones.
    passing: bool,
    /// Programs were attached: the first records of their interfaces count for the guard only when what passed without them has arrived.
    attached: bool,
    /// See there.
    settling: Vec<(u32, Target)>,
    /// The guard could not be attached: one of an earlier version is better than none.
    unguarded: bool,
    /// A former program judges somewhere still, by tables that may be those of another layout.
    unexchanged: bool,
    /// Sockets and routes, once an interface asks for them.
    standing: Option<Standing>,
}

impl Run<'_> {
    /// Takes back what was done, last first; returns what could not be taken back.
    fn undo(&mut self, done: &[&Action]) -> Vec<String> {
        let mut failures = Vec::new();
        for undo in done.iter().rev().filter_map(|action| action.undo()) {
            match self.perform(&undo) {
                Err(error) if bpf::errno(&error) != libc::ENODEV => failures.push(format!("{undo}: {error}")),
                _ => {}
            }
        }
        failures
    }

    fn perform(&mut self, action: &Action) -> Result<()> {
        let Kernel { pins, maps, programs, way, .. } = self.kernel;
        #[cfg(test)]
        super::faults::before(action)?;
        match action {
            Action::InstallShared { .. } => {
                let epilogue = programs.get(objects::EPILOGUE)?.try_clone_to_owned().map_err(cloning)?;
                objects::install(&pins.shared("tc_programs"), abi::NP_TC_EPILOGUE, &epilogue)
            }
            Action::RestoreShared { program } => {
                objects::install(&pins.shared("tc_programs"), abi::NP_TC_EPILOGUE, &pins.program(*program)?)
            }
            Action::AttachGuard => {
                let by_name = |name: &str| maps.get(name).map(AsFd::as_fd);
                if let Err(error) = attach_guard::attach(pins, programs.digest(), &by_name) {
                    self.outcome.warnings.push(format!("no guard: an interface that appears is open until it is attached to: {error}"));
                    (self.unguarded, self.outcome.again) = (true, true);
                }
                Ok(())
            }
            Action::DetachGuard => attach_guard::detach(pins, programs.digest()),
            Action::BuildGeneration { generation, deadline } => {
                let material = self.material.ok_or_else(|| Error::Inconsistent("nothing to build a generation from".into()))?;
                let site = Site { pins, shared: maps, programs, running: self.kernel.word().running };
                generation::build(&site, *generation, *deadline, material)
            }
            Action::RemoveGeneration { generation } => self.remove_generation(*generation),
            Action::WriteRecord { generation, link, record, xdp, before } => {
                let mut record = *record;
                if *xdp && attach_xdp::attached(pins, link.ifindex)? {
                    record.flags |= abi::NP_LINK_XDP;
                }
                // Before, packets passed our program without a judgement; what of them has not reached the guard yet must not take this
                // record for theirs. One that could not be settled is not settled by being written again.
                let unsettled = before.is_some_and(|before| before.flags & abi::NP_LINK_SETTLING != 0);
                if self.kernel.word().running == *generation && (self.attached || unsettled) {
                    record.flags |= abi::NP_LINK_SETTLING;
                    self.settling.push((*generation, link.clone()));
                }
                self.write_record(*generation, link, &record)
            }
            Action::Adopt { generation, link } => {
                // Of what judges already the record comes next, and it settles; what is committed later counts at once.
                if self.kernel.word().running != *generation {
                    self.let_pass()?;
                }
                // Whoever cannot be adopted has to connect anew; that is no reason to leave the interface open.
                if let Err(error) = self.adopt(*generation, link) {
                    self.outcome.warnings.push(format!("{}: connections that exist already could not be taken over: {error}", link.name));
                }
                Ok(())
            }
            Action::Disown { link } => adopt::forget(need(maps, "connections")?, link.ifindex),
            Action::RestoreRecord { generation, link, record } => self.write_record(*generation, link, record),
            Action::DropRecord { generation, link, .. } => need(maps, "links")?.delete(&key(*generation, link.ifindex)).map(|_there| ()),
            Action::Attach { link, hook, variant } => {
                (self.passing, self.attached) = (true, true);
                attach::attach(*way, pins, link.ifindex, *hook, programs.tc(*variant, *hook)?)
            }
            Action::Detach { link, hook, .. } => attach::detach(*way, pins, link.ifindex, *hook),
            Action::Switch { link, hook, variant, .. } => attach::switch(*way, pins, link.ifindex, *hook, programs.tc(*variant, *hook)?),
            Action::SwitchBack { link, hook, to } => attach::switch_to_id(*way, pins, link.ifindex, *hook, *to),
            Action::TakeHead { link, hook, variant } => {
                // As it was, it is no worse than before; ours runs, if after others.
                match self.take_head(link, *hook, *variant) {
                    Err(error) if bpf::errno(&error) != libc::ENODEV => self.outcome.warnings.push(format!("{action}: {error}")),
                    other => return other,
                }
                Ok(())
            }
            Action::AttachXdp { link, mode } => self.attach_xdp(link, *mode),
            Action::DetachXdp { link, .. } => self.detach_xdp(link),
            Action::SwitchXdp { link, .. } => attach_xdp::switch(pins, link.ifindex, programs.get(objects::XDP)?),
            Action::SwitchXdpBack { link, to } => attach_xdp::switch(pins, link.ifindex, pins.program(*to)?.as_fd()),
            Action::CarryCounters { from, to } => {
                counters::carry(&generation::Counted::open(pins, *from)?.maps(), &generation::Counted::open(pins, *to)?.maps())
            }
            Action::Commit { word, before } => {
                self.let_pass()?;
                self.commit(*word, *before)
            }
            Action::SetDeadline { generation, deadline, .. } => generation::set_deadline(maps, *generation, *deadline),
            Action::ForgetLink { ifindex } => self.forget(*ifindex),
            Action::Sweep { directory } => self.sweep(directory),
        }
    }

    /// Before records count: whatever was on its way when a program was attached has arrived.
    fn let_pass(&mut self) -> Result<()> {
        if std::mem::take(&mut self.passing) { grace::wait() } else { Ok(()) }
    }

    /// What passed before the new records has arrived: from here on they count for the guard, too.
    fn settle(&mut self) -> Result<()> {
        let settling = std::mem::take(&mut self.settling);
        if settling.is_empty() {
            return Ok(());
        }
        grace::wait()?;
        let links = need(&self.kernel.maps, "links")?;
        for (generation, link) in settling {
            let key = key(generation, link.ifindex);
            if let Some(record) = links.get::<_, abi::np_link>(&key)? {
                links.set(&key, &abi::np_link { flags: record.flags & !abi::NP_LINK_SETTLING, ..record })?;
            }
        }
        Ok(())
    }

    fn write_record(&self, generation: u32, link: &Target, record: &abi::np_link) -> Result<()> {
        need(&self.kernel.maps, "links")?.set(&key(generation, link.ifindex), record)
    }

    fn adopt(&mut self, generation: u32, link: &Target) -> Result<()> {
        let maps = &self.kernel.maps;
        let standing = match &mut self.standing {
            Some(standing) => standing,
            none => none.insert(Standing::look()?),
        };
        let word: Option<abi::np_word> = need(maps, "generation")?.get(&0u32)?;
        let stamp = Stamp { generation, epoch: word.unwrap_or_default().set_epoch };
        let adopted = standing.adopt(need(maps, "connections")?, link.ifindex, stamp)?;
        if adopted.flows > 0 {
            self.outcome.notes.push(format!("{}: took over {} connections that exist already", link.name, adopted.flows));
        }
        if adopted.left_out > 0 {
            let sentence = "connections that exist already do not fit into map `connections` and have to be opened anew";
            self.outcome.warnings.push(format!("{}: {} {sentence}", link.name, adopted.left_out));
        }
        Ok(())
    }

    fn remove_generation(&mut self, number: u32) -> Result<()> {
        if self.kernel.word().holds(number) {
            return Err(Error::Inconsistent(format!("generation {number} judges packets")));
        }
        if !self.waited {
            thread::sleep(GRACE);
            self.waited = true;
        }
        generation::remove(&self.kernel.pins, &self.kernel.maps, number)
    }

    fn take_head(&self, link: &Target, hook: Hook, variant: DeviceKind) -> Result<()> {
        let Kernel { pins, maps, programs, way, .. } = self.kernel;
        let twin = || objects::load_twin(programs.form(), objects::tc_main(variant, hook), &|name| maps.get(name).map(AsFd::as_fd));
        attach::take_head(*way, pins, (link.ifindex, hook), programs.tc(variant, hook)?, twin)
    }

    /// Another layout's programs judge until this moment, beside ours: they go before what they need.
    fn sweep(&mut self, directory: &str) -> Result<()> {
        let tree = self.kernel.pins.beside(directory);
        // Of this layout, so it reads the very maps that ours would; another layout's would keep closed what is enforced now.
        if self.unguarded && pins::names(&tree.abi())?.iter().any(|name| attach_guard::is_pin(name)) {
            self.outcome.warnings.push(format!("the guard in {directory} stays until this version's can be attached"));
            return Ok(());
        }
        if self.unexchanged {
            self.outcome.warnings.push(format!("{directory} stays until the programs that judge by it are exchanged"));
            self.outcome.again = true;
            return Ok(());
        }
        let freed = detach::links_of(&tree)?;
        // XDP has one place: ours can be attached now.
        self.outcome.again |= !freed.is_empty();
        if !freed.is_empty() || self.kernel.way == TcAttachment::Clsact {
            thread::sleep(GRACE);
        }
        pins::remove_tree(&tree.abi())
    }

    fn attach_xdp(&mut self, link: &Target, mode: XdpMode) -> Result<()> {
        let kernel = self.kernel;
        match attach_xdp::attach(&kernel.pins, link.ifindex, mode, kernel.programs.get(objects::XDP)?)? {
            Attached::Refused(why) => {
                self.outcome.warnings.push(format!("{}: XDP is refused ({why}); tc makes the checks of policy.xdp", link.name));
                self.outcome.again |= kernel.pins.leftovers(kernel.programs.digest())?.iter().any(|name| !name.contains('/'));
            }
            Attached::Native | Attached::Generic => {}
        }
        Ok(())
    }

    /// tc takes over in every generation before XDP stops.
    fn detach_xdp(&self, link: &Target) -> Result<()> {
        let links = need(&self.kernel.maps, "links")?;
        for slot in 0..abi::NP_SLOTS {
            let key = abi::np_link_key { slot, ifindex: link.ifindex };
            match links.get::<_, abi::np_link>(&key)? {
                Some(mut record) if record.flags & abi::NP_LINK_XDP != 0 => {
                    record.flags &= !abi::NP_LINK_XDP;
                    links.set(&key, &record)?;
                }
                _ => {}
            }
        }
        attach_xdp::detach(&self.kernel.pins, link.ifindex)
    }

    /// The store. What it names must be whole, and what it replaces must be what the plan saw.
    fn commit(&self, word: GenerationWord, before: GenerationWord) -> Result<()> {
        let kernel = self.kernel;
        if kernel.word() != before {
            return Err(Error::Inconsistent(format!("generation {} runs, not {}", kernel.word().running, before.running)));
        }
        for number in [word.running, word.former].into_iter().filter(|number| *number != 0) {
            let there = generation::slot(&kernel.maps, generation::slot_of(number))?.generation;
            if there != number {
                return Err(Error::Inconsistent(format!("the slot of generation {number} holds {there}")));
            }
        }
        kernel.cell.store(word.to_bits());
        Ok(())
    }

    fn forget(&self, ifindex: u32) -> Result<()> {
        let kernel = self.kernel;
        for which in [LinkPin::Xdp, LinkPin::Egress, LinkPin::Ingress] {
            attach_tcx::detach_pin(&kernel.pins, ifindex, which)?;
        }
        let keys: Vec<abi::np_link_key> = (0..abi::NP_SLOTS).map(|slot| abi::np_link_key { slot, ifindex }).collect();
        need(&kernel.maps, "links")?.delete_all(&keys).map(|_count| ())
    }
}

fn key(generation: u32, ifindex: u32) -> abi::np_link_key {
    abi::np_link_key { slot: generation::slot_of(generation), ifindex }
}

fn cloning(source: std::io::Error) -> Error {
    Error::System { what: "duplicate a descriptor".into(), source }
}
