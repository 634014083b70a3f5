//! Scenarios of an upgrade: what is pinned came from other programs, or has another layout.

use std::fs;

use super::frames::policy;
use super::scenarios::{PLAIN, Scenario, start};
use super::world::World;
use crate::kernel::Ways;
use crate::plan::observed::TcAttachment;

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
