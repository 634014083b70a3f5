//! Which interfaces carry the packets of which others: VLAN devices and the like, and the members of bridges and bonds.
//!
//! A packet that leaves through `eth0.5` is seen at `eth0` again, with a tag; one that leaves through `br0` is seen at its ports.

use std::collections::BTreeMap;

use netlink_sys::protocols::NETLINK_ROUTE;

use super::error::Result;
use super::netlink::{Netlink, attributes, u16_at, u32_at};

const RTM_NEWLINK: u16 = 16;
const RTM_GETLINK: u16 = 18;
const IFLA_LINK: u16 = 5;
const IFLA_MASTER: u16 = 10;
const IFLA_LINKINFO: u16 = 18;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const IFLA_VLAN_ID: u16 = 1;
/// `IFF_LOOPBACK`.
const LOOPBACK: u32 = 0x8;
/// Bytes of `struct ifinfomsg`.
const IFINFOMSG: usize = 16;
/// Devices on devices that are followed.
const DEPTH: usize = 8;

/// Outer and inner tag; 0 = none.
pub type Tags = [u16; 2];

/// One interface, as far as it stands on others.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Device {
    ifindex: u32,
    loopback: bool,
    /// `vlan`, `bridge`, …; empty = a device of its own.
    kind: String,
    /// The device that it is made of.
    on: Option<u32>,
    vid: Option<u16>,
    /// The bridge, bond or the like that it is a member of.
    master: Option<u32>,
}

/// All interfaces.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Stacking {
    devices: BTreeMap<u32, Device>,
}

impl Stacking {
    /// As rtnetlink tells it.
    pub fn look() -> Result<Stacking> {
        let told = |kind, body: &[u8]| parse(body).filter(|_| kind == RTM_NEWLINK);
        let found = Netlink::open(NETLINK_ROUTE, "rtnetlink")?.dump(RTM_GETLINK, &[0; IFINFOMSG], "interfaces", told)?;
        Ok(Stacking { devices: found.into_iter().map(|device| (device.ifindex, device)).collect() })
    }

    /// Whether it is the loopback device.
    pub fn is_loopback(&self, ifindex: u32) -> bool {
        self.devices.get(&ifindex).is_some_and(|device| device.loopback)
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

/// Body of RTM_NEWLINK: `struct ifinfomsg` (family, pad, type, index, flags, change), then attributes.
fn parse(body: &[u8]) -> Option<Device> {
    let mut device = Device { ifindex: u32_at(body, 4)?, loopback: u32_at(body, 8)? & LOOPBACK != 0, ..Device::default() };
    for (kind, value) in attributes(body.get(IFINFOMSG..)?) {
        match kind {
            IFLA_LINK => device.on = u32_at(value, 0),
            IFLA_MASTER => device.master = u32_at(value, 0),
            IFLA_LINKINFO => parse_info(value, &mut device),
            _ => {}
        }
    }
    Some(device)
}

fn parse_info(nested: &[u8], device: &mut Device) {
    for (kind, value) in attributes(nested) {
        match kind {
            IFLA_INFO_KIND => device.kind = String::from_utf8_lossy(value).trim_end_matches('\0').to_string(),
            IFLA_INFO_DATA if device.kind == "vlan" => {
                device.vid = attributes(value).find(|(kind, _)| *kind == IFLA_VLAN_ID).and_then(|(_, value)| u16_at(value, 0));
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::super::links;
    use super::super::tests::{Namespace, needs_root};
    use super::*;

    fn device(ifindex: u32, kind: &str, on: Option<u32>, vid: Option<u16>, master: Option<u32>) -> (u32, Device) {
        (ifindex, Device { ifindex, loopback: false, kind: kind.into(), on, vid, master })
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
