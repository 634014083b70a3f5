//! What a daemon may be doing when something fails.

use std::fs;

use super::frames::kinds;
use super::world::World;
use crate::kernel::{Ways, faults, witness};
use crate::plan::observed::TcAttachment;
use crate::reconcile::Reconciler;
use crate::trigger::control::{Lifetime, Response};

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

const PLAIN: Scenario = Scenario {
    name: "",
    ways: Ways { attach: None, form: None },
    running: true,
    may_end_between: false,
    same_verdicts: false,
    prepare: |_, _| (),
    operate: |_, _, _| Ok(()),
};

/// One of two policies: they let one port and one net of each family in, and the same net and another port out; they share sets, deny
/// and allow, and differ in what they cover.
pub(super) fn policy(which: usize, xdp: &str) -> String {
    let (net, links) = if which % 2 == 0 { (0, "\"np0\", \"np2\"") } else { (1, "\"np0\", \"np1\", \"np2\"") };
    let (port, port_out) = (53 + net, 123 + net);
    format!(
        r#"version = 1
[daemon.conntrack]
max_entries = 4096
max_half_open = 65536

[[set]]
name = "bad"
elements = ["10.9.0.0/16", "fd09::/64"]

[[set]]
name = "friends"
elements = ["10.0.0.9", "fd00::9"]
dynamic = true
max_entries = 100

[[policy]]
name = "p"
interfaces = [{links}]

[policy.xdp]
mode = "{xdp}"
deny_sets = ["bad"]

[[policy.ingress]]
id = "late"
action = "deny"
protocol = "udp"
destination = {{ ports = [7] }}
expires = "2038-01-01T00:00:00Z"

[[policy.ingress]]
id = "slow"
action = "allow"
protocol = "tcp"
limit = {{ rate = "5/s", per = "source" }}

[[policy.ingress]]
id = "port"
action = "allow"
protocol = "udp"
destination = {{ ports = [{port}] }}

[[policy.ingress]]
id = "friends"
action = "allow"
source = {{ sets = ["friends"] }}

[[policy.ingress]]
id = "nets"
action = "allow"
source = {{ nets = ["10.1.{net}.0/24", "fd01:0:0:{net}::/64"] }}

[[policy.egress]]
id = "port-out"
action = "allow"
protocol = "udp"
destination = {{ ports = [{port_out}] }}

[[policy.egress]]
id = "friends-out"
action = "allow"
destination = {{ sets = ["friends"] }}

[[policy.egress]]
id = "nets-out"
action = "allow"
destination = {{ nets = ["10.1.{net}.0/24", "fd01:0:0:{net}::/64"] }}
"#
    )
}

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

fn start(world: &World, daemon: &mut Reconciler, _turn: usize) -> Result<(), String> {
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

/// What is pinned came from programs of other bytes.
pub(super) const UPGRADE: Scenario = Scenario {
    name: "upgrade",
    running: false,
    prepare: |world, turn| {
        drop(world.settle(&policy(turn, "generic")));
        let tree = tree(world);
        let (old, strange) = ("0123456789abcdef", |name: &str| name.starts_with("programs-") || name.starts_with("objects-"));
        let mut found = vec![tree.clone()];
        let generations = fs::read_dir(&tree).unwrap().map(|entry| entry.unwrap().path());
        found.extend(generations.filter(|path| path.to_string_lossy().contains("generation-")));
        for directory in found {
            for entry in fs::read_dir(&directory).unwrap().map(Result::unwrap) {
                let name = entry.file_name().into_string().unwrap();
                if strange(&name) {
                    let (kind, _) = name.split_once('-').unwrap();
                    fs::rename(entry.path(), directory.join(format!("{kind}-{old}"))).unwrap();
                }
            }
        }
    },
    operate: start,
    same_verdicts: true,
    may_end_between: true,
    ..PLAIN
};

/// Where pins of another layout are.
pub(super) const OTHER_TREE: &str = "abi1";

/// What is pinned has another layout: an upgrade or downgrade over a change of `NP_ABI`.
pub(super) const OTHER_LAYOUT: Scenario = Scenario {
    name: "other-layout",
    running: false,
    prepare: |world, turn| {
        drop(world.settle(&policy(turn, "generic")));
        fs::rename(tree(world), world.bpffs().join(OTHER_TREE)).unwrap();
    },
    operate: start,
    same_verdicts: true,
    may_end_between: true,
    ..PLAIN
};

/// The same where one filter has the place of another layout's (clsact).
pub(super) const OTHER_LAYOUT_BY_CLSACT: Scenario =
    Scenario { name: "other-layout-by-clsact", ways: Ways { attach: Some(TcAttachment::Clsact), form: None }, ..OTHER_LAYOUT };

pub(super) fn tree(world: &World) -> std::path::PathBuf {
    world.bpffs().join(format!("abi{}", netpol_probes::abi::NP_ABI))
}

pub(super) const ALL: [Scenario; 12] = [
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
];
