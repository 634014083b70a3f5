//! Which interfaces of this network namespace lead to a process's: the kernel numbers foreign namespaces, and names the number
//! with each interface whose other end is there.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::os::fd::AsRawFd;

use netlink_sys::protocols::NETLINK_ROUTE;

use super::bpf;
use super::error::{Error, Result};
use super::links::Interface;
use super::netlink::{Netlink, attributes, push_attribute};
use crate::owners::Claim;

const RTM_GETNSID: u16 = 90;
/// `NETNSA_NSID` of linux/net_namespace.h.
const NETNSA_NSID: u16 = 1;
const NETNSA_PID: u16 = 2;
const NETNSA_FD: u16 = 3;

/// Devices that are one end of a link to a container. Others (a tunnel, a VLAN device) can be made of something in another namespace
/// too, and are the host's own.
const PAIRS: [&str; 2] = ["veth", "netkit"];
/// Devices that are a virtual machine's, as far as its manager says so.
const TAPS: [&str; 2] = ["tun", "macvtap"];

/// The interfaces of an owner, by index; never one that is the host's own.
pub fn claimed(interfaces: &BTreeMap<u32, Interface>, claim: &Claim) -> Result<BTreeSet<u32>> {
    let is_end = |link: &&Interface| PAIRS.contains(&link.kind.as_str());
    let named = claim.interfaces.iter().filter_map(|index| interfaces.get(index));
    let named = named.filter(|link| is_end(link) || TAPS.contains(&link.kind.as_str()));
    let mut owned: BTreeSet<u32> = named.map(|link| link.ifindex).collect();
    let mut numbers = BTreeSet::new();
    for process in &claim.processes {
        numbers.extend(number(NETNSA_PID, *process)?);
    }
    for path in &claim.networks {
        // One that is gone leads nowhere.
        let Ok(file) = File::open(path) else { continue };
        let descriptor =
            u32::try_from(file.as_raw_fd()).map_err(|cause| Error::Inconsistent(format!("a descriptor is negative: {cause}")))?;
        numbers.extend(number(NETNSA_FD, descriptor)?);
    }
    let leads_there = |link: &&Interface| link.peer_namespace.is_some_and(|number| numbers.contains(&number));
    owned.extend(interfaces.values().filter(is_end).filter(leads_there).map(|link| link.ifindex));
    Ok(owned)
}

/// The number of a network namespace, as seen from here: that of a process, or of an open file. `None` = it has none (it is our own, or no
/// interface leads there), or there is no such process, or the file is none of a namespace.
fn number(by: u16, what: u32) -> Result<Option<i32>> {
    let mut body = vec![0; 4]; // struct rtgenmsg, padded
    push_attribute(&mut body, by, &what.to_ne_bytes());
    match Netlink::open(NETLINK_ROUTE, "rtnetlink")?.get(RTM_GETNSID, &body, "network namespace", number_in) {
        Err(error) if matches!(bpf::errno(&error), libc::ESRCH | libc::ENOENT | libc::EINVAL) => Ok(None),
        answered => answered,
    }
}

/// A number below 0: not assigned.
fn number_in(body: &[u8]) -> Option<i32> {
    let (_, value) = attributes(body.get(4..)?).find(|(kind, _)| *kind == NETNSA_NSID)?;
    let number = i32::from_ne_bytes(value.try_into().ok()?);
    (number >= 0).then_some(number)
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command};

    use super::super::links;
    use super::super::tests::{Namespace, needs_root};
    use super::*;

    /// A process in a network namespace of its own; ended at the end.
    struct Container(Child);

    impl Drop for Container {
        fn drop(&mut self) {
            self.0.kill().unwrap();
            self.0.wait().unwrap();
        }
    }

    fn ip(arguments: &str) {
        let status = Command::new("ip").args(arguments.split(' ')).status().unwrap();
        assert!(status.success(), "ip {arguments}");
    }

    #[test]
    fn veth_of_a_container_is_found_by_its_process() {
        needs_root!();
        let _here = Namespace::enter();
        let container = Container(Command::new("unshare").args(["-n", "sleep", "60"]).spawn().unwrap());
        let process = container.0.id();
        let own = std::fs::read_link("/proc/thread-self/ns/net").unwrap();
        while std::fs::read_link(format!("/proc/{process}/ns/net")).unwrap() == own {
            std::thread::yield_now();
        }
        ip("link add outside type veth peer name inside");
        ip("link add other0 type veth peer name other1");
        ip(&format!("link set inside netns {process}"));
        let interfaces = links::list().unwrap();
        let index = |name: &str| interfaces.values().find(|link| link.name == name).unwrap().ifindex;
        let by_process = Claim { processes: [process].into(), ..Claim::default() };
        assert_eq!(claimed(&interfaces, &by_process).unwrap(), [index("outside")].into());
        let by_file = Claim { networks: [format!("/proc/{process}/ns/net").into()].into(), ..Claim::default() };
        assert_eq!(claimed(&interfaces, &by_file).unwrap(), [index("outside")].into());
        let by_index = Claim { interfaces: [index("other0"), index("lo"), 4711].into(), ..Claim::default() };
        assert_eq!(claimed(&interfaces, &by_index).unwrap(), [index("other0")].into(), "loopback is nobody's");
    }

    #[test]
    fn no_interface_leads_to_our_own_namespace_or_to_a_process_that_is_gone() {
        let interfaces = links::list().unwrap();
        for process in [std::process::id(), 0x7fff_fff0] {
            let claim = Claim { processes: [process].into(), ..Claim::default() };
            assert!(claimed(&interfaces, &claim).unwrap().is_empty(), "{process}");
        }
        let networks = ["/proc/self/ns/net", "/proc/self/ns/mnt", "/etc/passwd", "/nowhere"].map(Into::into).into();
        assert!(claimed(&interfaces, &Claim { networks, ..Claim::default() }).unwrap().is_empty());
    }

    #[test]
    fn number_is_read_and_an_unassigned_one_is_none() {
        let body = |number: i32| {
            let mut bytes = vec![0; 4];
            push_attribute(&mut bytes, NETNSA_NSID, &number.to_ne_bytes());
            bytes
        };
        assert_eq!(number_in(&body(3)), Some(3));
        assert_eq!(number_in(&body(-1)), None);
        assert_eq!(number_in(&[]), None);
    }
}
