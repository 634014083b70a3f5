//! What a daemon may be doing when something fails.

pub(super) use super::boot::{BOOT, BOOT_AFTER_A_FAILURE, BOOT_WITH_A_BROKEN_FILE};
use super::frames::{kinds, policy};
pub(super) use super::layouts::{OTHER_LAYOUT, OTHER_LAYOUT_BY_CLSACT, UPGRADE};
use super::world::World;
use crate::kernel::{Ways, faults, witness};
use crate::plan::observed::TcAttachment;
use crate::reconcile::Reconciler;
use crate::trigger::control::{Lifetime, Response};

/// What a start leads to after a fault.
#[derive(Debug, Clone, Copy)]
pub(super) enum Next {
    Before,
    After,
    /// To one of them: what was asked for at run time may be remembered, or lost with who was asked.
    Either,
}

/// One thing that a daemon does.
pub(super) struct Scenario {
    pub(super) name: &'static str,
    /// How tc programs are attached.
    pub(super) ways: Ways,
    /// A daemon runs when it begins.
    pub(super) running: bool,
    /// A failure may come when the verdicts have changed already; they are never mixed.
    pub(super) may_end_between: bool,
    /// Verdicts before and afterwards are the same.
    pub(super) same_verdicts: bool,
    /// One in so many of its actions, and of the sample of its calls, is tried where not all are.
    pub(super) step: usize,
    /// What the next start leads to.
    pub(super) next: Next,
    /// What else may judge meanwhile, or where it ends early: brings the kernel there from where the scenario begins.
    pub(super) meanwhile: Option<fn(&World, usize)>,
    /// Brings the kernel to where it begins.
    pub(super) prepare: fn(&World, usize),
    /// Does it; [`World::ready`] says from when on faults count.
    pub(super) operate: fn(&World, &mut Reconciler, usize) -> Result<(), String>,
}

impl Scenario {
    /// A scenario that could not tell before from after, in each family and direction, would prove nothing.
    pub(super) fn assert_difference(&self, before: &[bool], after: &[bool]) {
        for (before, after) in kinds(before).iter().zip(&kinds(after)) {
            assert_eq!(before == after, self.same_verdicts, "{}: {before:?} {after:?}", self.name);
        }
    }

    /// It attaches by filter, so that changes by netlink belong to it.
    pub(super) fn sets_filters(&self) -> bool {
        self.ways.attach == Some(TcAttachment::Clsact)
    }
}

pub(super) const PLAIN: Scenario = Scenario {
    name: "",
    ways: Ways { attach: None, form: None },
    running: true,
    may_end_between: false,
    same_verdicts: false,
    step: 1,
    next: Next::After,
    meanwhile: None,
    prepare: |_, _| (),
    operate: |_, _, _| Ok(()),
};

fn settled(world: &World, turn: usize) {
    world.settle(&policy(turn, "generic"));
}

fn answer(response: Response) -> Result<(), String> {
    if response.exit == 0 { Ok(()) } else { Err(response.text) }
}

pub(super) const FIRST_START: Scenario = Scenario {
    name: "first-start",
    running: false,
    prepare: |world, turn| {
        world.blank();
        world.write(&policy(turn, "generic"));
    },
    operate: start,
    ..PLAIN
};

pub(super) fn start(world: &World, daemon: &mut Reconciler, _turn: usize) -> Result<(), String> {
    world.ready();
    let result = daemon.start().map_err(|refusal| refusal.text);
    faults::disarm();
    result
}

pub(super) const RELOAD: Scenario = Scenario {
    name: "reload",
    prepare: settled,
    operate: |world, daemon, turn| {
        world.write(&policy(turn + 1, "generic"));
        reload(world, daemon)
    },
    ..PLAIN
};

fn reload(world: &World, daemon: &mut Reconciler) -> Result<(), String> {
    world.ready();
    let result = daemon.reload(false).map_err(|refusal| refusal.text);
    faults::disarm();
    result
}

pub(super) const LINK_APPEARS: Scenario = Scenario {
    name: "link",
    prepare: |world, turn| {
        if witness::index("np2").is_some() {
            world.ip("del np2");
        }
        world.settle(&policy(turn, "generic"));
    },
    operate: |world, daemon, _turn| {
        world.ip("add np2 type veth peer name np3");
        world.ready();
        let result = daemon.follow_links().map_err(|refusal| refusal.text);
        faults::disarm();
        // A single interface that fails is a warning; it is looked at again.
        let failed = daemon.warnings.iter().find(|warning| warning.contains("np2"));
        result.and_then(|()| failed.map_or(Ok(()), |warning| Err(warning.clone())))
    },
    may_end_between: true,
    ..PLAIN
};

pub(super) const SET_REPLACE: Scenario = Scenario {
    name: "set-replace",
    prepare: |world, turn| {
        let mut daemon = world.settle(&policy(0, "generic"));
        replace(&mut daemon, turn).unwrap();
    },
    operate: |world, daemon, turn| {
        world.ready();
        let result = replace(daemon, turn + 1);
        faults::disarm();
        result
    },
    // The journal comes first: what it holds already, the next daemon brings into the kernel.
    may_end_between: true,
    next: Next::Either,
    ..PLAIN
};

fn replace(daemon: &mut Reconciler, which: usize) -> Result<(), String> {
    let list = if which % 2 == 0 { "10.0.0.2\n192.0.2.0/24\nfd00::2\n" } else { "10.0.0.3\n198.51.100.0/24\nfd00::3\n" };
    answer(daemon.set_replace("friends", "list", list, Lifetime::Seconds(3600), &mut |_, _, _| ()))
}

pub(super) const ROLLBACK: Scenario = Scenario {
    name: "rollback",
    prepare: |world, turn| {
        world.settle(&policy(turn, "generic"));
        world.settle(&policy(turn + 1, "generic"));
    },
    operate: |world, daemon, _turn| {
        world.ready();
        let result = answer(daemon.rollback());
        faults::disarm();
        result
    },
    next: Next::Either,
    ..PLAIN
};

pub(super) const TRIAL: Scenario = Scenario {
    name: "trial",
    prepare: settled,
    operate: |world, daemon, turn| {
        world.write(&policy(turn + 1, "generic"));
        world.ready();
        let result = daemon.apply_on_trial(Some(1000)).map_err(|refusal| refusal.text);
        faults::disarm();
        result
    },
    next: Next::Either,
    ..PLAIN
};

pub(super) const CONFIRMATION: Scenario = Scenario {
    name: "confirmation",
    prepare: |world, turn| {
        let mut daemon = world.settle(&policy(turn, "generic"));
        world.write(&policy(turn + 1, "generic"));
        daemon.apply_on_trial(Some(1000)).map_err(|refusal| refusal.text).unwrap();
    },
    operate: |world, daemon, _turn| {
        world.ready();
        let result = answer(daemon.confirm());
        faults::disarm();
        result
    },
    same_verdicts: true,
    may_end_between: true,
    ..PLAIN
};

pub(super) const DETACHMENT: Scenario = Scenario {
    name: "detachment",
    prepare: settled,
    operate: |world, daemon, _turn| {
        world.ready();
        let result = daemon.detach().map(|_interfaces| ()).map_err(|refusal| refusal.text);
        faults::disarm();
        result
    },
    may_end_between: true,
    next: Next::Before,
    ..PLAIN
};

pub(super) const XDP_SWITCH: Scenario = Scenario {
    name: "xdp-switch",
    prepare: |world, turn| drop(world.settle(&policy(0, mode(turn)))),
    operate: |world, daemon, turn| {
        world.write(&policy(0, mode(turn + 1)));
        reload(world, daemon)
    },
    same_verdicts: true,
    may_end_between: true,
    ..PLAIN
};

fn mode(which: usize) -> &'static str {
    if which % 2 == 0 { "generic" } else { "native" }
}

pub(super) const ALL: [Scenario; 15] = [
    FIRST_START,
    RELOAD,
    LINK_APPEARS,
    SET_REPLACE,
    ROLLBACK,
    TRIAL,
    CONFIRMATION,
    DETACHMENT,
    XDP_SWITCH,
    UPGRADE,
    OTHER_LAYOUT,
    OTHER_LAYOUT_BY_CLSACT,
    BOOT,
    BOOT_AFTER_A_FAILURE,
    BOOT_WITH_A_BROKEN_FILE,
];
