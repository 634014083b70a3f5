//! The XDP program by BPF link, pinned: neither `ip link set xdp off` nor another attachment can take its place.
//!
//! A device that refuses is no failure: tc makes the same checks, and `status` says so.

use std::io;
use std::os::fd::BorrowedFd;

use super::attach_tcx;
use super::bpf;
use super::error::{Error, Result};
use super::pins::{LinkPin, Pins};
use crate::policy::model::XdpMode;

/// How an attachment went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attached {
    /// In the driver.
    Native,
    /// After the skb is made.
    Generic,
    /// Not at all.
    Refused(String),
}

/// Attaches and pins.
pub fn attach(pins: &Pins, ifindex: u32, mode: XdpMode, program: BorrowedFd<'_>) -> Result<Attached> {
    let ways: &[(u32, Attached)] = match mode {
        XdpMode::Auto => &[(bpf::XDP_DRV_MODE, Attached::Native), (bpf::XDP_SKB_MODE, Attached::Generic)],
        XdpMode::Native => &[(bpf::XDP_DRV_MODE, Attached::Native)],
        XdpMode::Generic => &[(bpf::XDP_SKB_MODE, Attached::Generic)],
        XdpMode::Off => &[],
    };
    let mut reasons = Vec::new();
    for (flag, way) in ways {
        match bpf::link_create(program, ifindex, bpf::XDP, *flag) {
            Ok(link) => {
                attach_tcx::pin_fresh(pins, ifindex, LinkPin::Xdp, &link)?;
                return Ok(way.clone());
            }
            Err(source) if vanished(&source, ifindex)? => {
                return Err(Error::System {
                    what: format!("attach XDP to interface {ifindex}"),
                    source: io::Error::from_raw_os_error(libc::ENODEV),
                });
            }
            Err(source) => reasons.push(format!("{way:?}: {}", explain(&source)).to_lowercase()),
        }
    }
    Ok(Attached::Refused(reasons.join("; ")))
}

/// The kernel answers EINVAL for an interface that does not exist, as for much else.
fn vanished(error: &io::Error, ifindex: u32) -> Result<bool> {
    match error.raw_os_error() {
        Some(libc::ENODEV) => Ok(true),
        Some(libc::EINVAL) => Ok(!super::links::list()?.contains_key(&ifindex)),
        _ => Ok(false),
    }
}

fn explain(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(libc::EBUSY | libc::EEXIST) => "another XDP program is attached".into(),
        Some(libc::EOPNOTSUPP) => "the driver has no XDP".into(),
        Some(libc::ERANGE) => "the MTU is too large for XDP".into(),
        _ => error.to_string(),
    }
}

/// Exchanges the program of the pinned link.
pub fn switch(pins: &Pins, ifindex: u32, program: BorrowedFd<'_>) -> Result<()> {
    let link = bpf::get(&pins.link(ifindex, LinkPin::Xdp))?;
    bpf::link_update(&link, program, &format!("XDP of interface {ifindex}"))
}

/// Whether a pinned link of ours is alive on the interface.
pub fn attached(pins: &Pins, ifindex: u32) -> Result<bool> {
    let path = pins.link(ifindex, LinkPin::Xdp);
    Ok(path.exists() && bpf::link_info(&bpf::get(&path)?, "XDP pin")?.ifindex == ifindex)
}

/// Takes the program off and deletes the pin.
pub fn detach(pins: &Pins, ifindex: u32) -> Result<()> {
    attach_tcx::detach_pin(pins, ifindex, LinkPin::Xdp)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::super::links;
    use super::super::tests::{Namespace, Scratch, needs_root, xdp_program};
    use super::*;

    #[test]
    fn generic_is_the_fall_back_and_native_alone_has_none() {
        needs_root!();
        let scratch = Scratch::new("xdp");
        let _namespace = Namespace::enter();
        let lo = 1; // the loopback device has no native XDP
        let program = xdp_program();
        assert!(matches!(attach(&scratch.pins, lo, XdpMode::Native, program.as_fd()).unwrap(), Attached::Refused(_)));
        assert_eq!(attach(&scratch.pins, lo, XdpMode::Auto, program.as_fd()).unwrap(), Attached::Generic);
        let id = bpf::program_id(&program, "t").unwrap();
        assert_eq!(links::list().unwrap()[&lo].xdp, Some((id, false)));

        let second = xdp_program();
        switch(&scratch.pins, lo, second.as_fd()).unwrap();
        assert_eq!(links::list().unwrap()[&lo].xdp.unwrap().0, bpf::program_id(&second, "t").unwrap());
        detach(&scratch.pins, lo).unwrap();
        assert_eq!(links::list().unwrap()[&lo].xdp, None);
    }

    #[test]
    fn foreign_program_is_left_alone() {
        needs_root!();
        let scratch = Scratch::new("xdp-foreign");
        let _namespace = Namespace::enter();
        let theirs = xdp_program();
        let _link = bpf::link_create(theirs.as_fd(), 1, bpf::XDP, bpf::XDP_SKB_MODE).unwrap();
        let outcome = attach(&scratch.pins, 1, XdpMode::Auto, xdp_program().as_fd()).unwrap();
        assert!(matches!(outcome, Attached::Refused(ref why) if why.contains("another xdp program")), "{outcome:?}");
        assert_eq!(links::list().unwrap()[&1].xdp.unwrap().0, bpf::program_id(&theirs, "t").unwrap());
    }

    #[test]
    fn vanished_interface_is_told_apart_from_refusal() {
        needs_root!();
        let scratch = Scratch::new("xdp-gone");
        let error = attach(&scratch.pins, 123_456, XdpMode::Auto, xdp_program().as_fd()).unwrap_err();
        assert_eq!(bpf::errno(&error), libc::ENODEV);
    }
}
