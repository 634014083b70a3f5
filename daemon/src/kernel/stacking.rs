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

    #[test]
    fn tags_bridges_and_their_mixture_are_followed_down() {
        needs_root!();
        let _namespace = Namespace::enter();
        for line in [
            "link add a0 type dummy",
            "link add b0 type dummy",
            "link add br0 type bridge",
            "link set a0 master br0",
            "link set b0 master br0",
            "link add link br0 name br0.5 type vlan id 5",
            "link add link br0.5 name inner type vlan id 7",
        ] {
            assert!(Command::new("timeout").args(["5", "ip"]).args(line.split(' ')).status().unwrap().success(), "ip {line}");
        }
        let links = links::list().unwrap();
        let index = |name: &str| links.values().find(|link| link.name == name).unwrap().ifindex;
        let stacking = Stacking::look().unwrap();
        let (a0, br0, vlan, inner) = (index("a0"), index("br0"), index("br0.5"), index("inner"));
        let mut at_port = stacking.carried_by(a0);
        at_port.sort_unstable();
        let mut wanted = vec![(a0, [0, 0]), (br0, [0, 0]), (vlan, [5, 0]), (inner, [5, 7])];
        wanted.sort_unstable();
        assert_eq!(at_port, wanted);
        assert_eq!(stacking.carried_by(vlan), [(vlan, [0, 0]), (inner, [7, 0])]);
        assert!(stacking.is_loopback(index("lo")) && !stacking.is_loopback(a0));
    }
}
