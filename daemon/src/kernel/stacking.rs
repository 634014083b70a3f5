//! Which interfaces carry the packets of which others: VLAN devices and the like, and the members of bridges and bonds.
//!
//! A packet that leaves through `eth0.5` is seen at `eth0` again, with a tag; one that leaves through `br0` is seen at its ports.

use std::collections::BTreeMap;

use super::error::Result;
use super::links::{self, Interface};
use crate::compile::ruleset::DeviceKind;

/// Devices on devices that are followed.
const DEPTH: usize = 8;

/// Outer and inner tag; 0 = none.
pub type Tags = [u16; 2];

/// All interfaces.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Stacking {
    devices: BTreeMap<u32, Interface>,
}

impl Stacking {
    /// As rtnetlink tells it.
    pub fn look() -> Result<Stacking> {
        Ok(Stacking { devices: links::list()? })
    }

    /// Whether it is the loopback device.
    pub fn is_loopback(&self, ifindex: u32) -> bool {
        self.devices.get(&ifindex).is_some_and(|link| link.device() == Some(DeviceKind::Loopback))
    }

    /// The interfaces whose packets are seen at this one, and the tags that they have there; itself first.
    pub fn carried_by(&self, ifindex: u32) -> Vec<(u32, Tags)> {
        let mut found = vec![(ifindex, [0, 0])];
        for upper in self.devices.keys().filter(|upper| **upper != ifindex) {
            self.walk(*upper, [0, 0], DEPTH, &mut |lower, tags| {
                if lower == ifindex {
                    found.push((*upper, tags));
                }
            });
        }
        found
    }

    /// Tells every device below one, with the tags that its packets have there.
    fn walk(&self, ifindex: u32, tags: Tags, depth: usize, each: &mut dyn FnMut(u32, Tags)) {
        let Some(device) = self.devices.get(&ifindex).filter(|_| depth > 0) else { return };
        let below: Vec<(u32, Tags)> = match (device.kind.as_str(), device.on, device.vid) {
            // A third tag has no place, and the programs refuse it as malformed.
            ("vlan", Some(on), Some(vid)) if tags[1] == 0 => vec![(on, [vid, tags[0]])],
            ("macvlan" | "macvtap" | "ipvlan" | "ipvtap", Some(on), _) => vec![(on, tags)],
            ("bridge" | "bond" | "team", _, _) => {
                self.devices.values().filter(|member| member.master == Some(ifindex)).map(|member| (member.ifindex, tags)).collect()
            }
            _ => Vec::new(),
        };
        for (lower, tags) in below {
            each(lower, tags);
            self.walk(lower, tags, depth - 1, each);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::super::tests::{Namespace, needs_root};
    use super::*;

    fn device(ifindex: u32, kind: &str, on: Option<u32>, vid: Option<u16>, master: Option<u32>) -> (u32, Interface) {
        (ifindex, Interface { ifindex, kind: kind.into(), on, vid, master, ..Interface::default() })
    }

    #[test]
    fn tags_bridges_and_their_mixture_are_followed_down() {
        let devices = [
            device(1, "", None, None, Some(3)),
            device(2, "", None, None, Some(3)),
            device(3, "bridge", None, None, None),
            device(4, "vlan", Some(3), Some(5), None),
            device(5, "vlan", Some(4), Some(7), None),
            device(6, "vlan", Some(5), Some(9), None), // a third tag
            device(7, "macvlan", Some(4), None, None),
            device(8, "veth", Some(1), None, None), // its other end
        ];
        let stacking = Stacking { devices: devices.into() };
        assert_eq!(stacking.carried_by(1), [(1, [0, 0]), (3, [0, 0]), (4, [5, 0]), (5, [5, 7]), (7, [5, 0])]);
        assert_eq!(stacking.carried_by(4), [(4, [0, 0]), (5, [7, 0]), (6, [7, 9]), (7, [0, 0])]);
        assert_eq!(stacking.carried_by(8), [(8, [0, 0])]);
    }

    #[test]
    fn ring_of_devices_ends() {
        let stacking = Stacking { devices: [device(1, "macvlan", Some(2), None, None), device(2, "macvlan", Some(1), None, None)].into() };
        assert!(!stacking.carried_by(1).is_empty());
    }

    #[test]
    fn kernel_tells_members_and_the_loopback_device() {
        needs_root!();
        let _namespace = Namespace::enter();
        for line in ["link add a0 type veth peer name a1", "link add br0 type bridge", "link set a0 master br0"] {
            let done = Command::new("timeout").args(["5", "ip"]).args(line.split(' ')).status().unwrap().success();
            if !done && line.contains("bridge") {
                eprintln!("SKIPPED: this kernel makes no bridge");
                return;
            }
            assert!(done, "ip {line}");
        }
        let links = links::list().unwrap();
        let index = |name: &str| links.values().find(|link| link.name == name).unwrap().ifindex;
        let stacking = Stacking::look().unwrap();
        assert_eq!(stacking.carried_by(index("a0")), [(index("a0"), [0, 0]), (index("br0"), [0, 0])]);
        assert!(stacking.is_loopback(index("lo")) && !stacking.is_loopback(index("a0")));
    }
}
