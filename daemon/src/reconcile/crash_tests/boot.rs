//! Scenarios of a boot: nothing of ours is in the kernel, the state directory has a last good ruleset, and the policy directory holds
//! another one, or a broken file.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::frames::policy;
use super::scenarios::{PLAIN, Scenario, start};
use super::world::World;
use crate::kernel::Ways;
use crate::plan::observed::TcAttachment;
use crate::reconcile::{Origin, Reconciler};

/// The host was shut down with that ruleset, and has just started: with the state directory that a daemon leaves, made once a turn.
fn boot(world: &World, turn: usize) {
    let (state, kept) = (world.home().join("state"), world.home().join(format!("kept-{turn}")));
    if !kept.exists() {
        world.blank();
        drop(world.settle(&policy(turn, "generic")));
        copy(&state, &kept);
    }
    world.blank();
    fs::remove_dir(&state).unwrap();
    copy(&kept, &state);
}

fn copy(from: &Path, to: &Path) {
    assert!(Command::new("cp").arg("-a").args([from, to]).status().unwrap().success(), "{} to {}", from.display(), to.display());
}

/// The files were changed last thing before.
pub(super) const BOOT: Scenario = Scenario {
    name: "boot-after-a-change",
    running: false,
    prepare: |world, turn| {
        boot(world, turn);
        world.write(&policy(turn + 1, "generic"));
    },
    operate: |world, daemon, turn| enforces(world, daemon, turn, Origin::Directory),
    ..PLAIN
};

/// The start before this one has enforced nothing: what was good last judges until the directory is read, or goes on if the kernel
/// refuses that.
pub(super) const BOOT_AFTER_A_FAILURE: Scenario = Scenario {
    name: "boot-after-a-failure",
    prepare: |world, turn| {
        (BOOT.prepare)(world, turn);
        fs::write(world.home().join("state/starting"), "").unwrap();
    },
    meanwhile: Some(|world, turn| drop(world.settle(&policy(turn, "generic")))),
    may_end_between: true,
    // The actions are those of two starts, each of which is tried by itself.
    step: 3,
    ..BOOT
};

/// The last good ruleset is enforced, whatever fails once.
pub(super) const BOOT_WITH_A_BROKEN_FILE: Scenario = Scenario {
    name: "boot-with-a-broken-file",
    ways: Ways { attach: Some(TcAttachment::Clsact), form: None },
    prepare: |world, turn| {
        boot(world, turn);
        world.write("version = 1\n[[policy]\n");
    },
    operate: |world, daemon, turn| enforces(world, daemon, turn, Origin::LastGood),
    ..BOOT
};

fn enforces(world: &World, daemon: &mut Reconciler, turn: usize, origin: Origin) -> Result<(), String> {
    start(world, daemon, turn)?;
    match daemon.live.as_ref().map(|live| live.origin) {
        Some(there) if there == origin => Ok(()),
        there => Err(format!("{there:?} is enforced")),
    }
}
