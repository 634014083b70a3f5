//! Programs of another tool on our hooks: two instructions that answer every packet alike.

use std::os::fd::OwnedFd;

use crate::bench::Hook;
use crate::ns::Namespace;
use crate::sys_bpf;

/// `TC_ACT_OK`: the packet is accepted, and no later program sees it.
pub const ACCEPT: i32 = 0;
/// `TCX_NEXT`: the next program decides.
pub const NEXT: i32 = -1;

const TCX_INGRESS: u32 = 46;
const XDP: u32 = 37;
const XDP_PASS: i32 = 2;
const BEFORE: u32 = 1 << 3;
const SKB_MODE: u32 = 1 << 1;

/// An attached program; off when dropped.
#[derive(Debug)]
pub struct Foreign {
    _link: OwnedFd,
}

impl Foreign {
    /// At the head of a TCX hook; `None`, said aloud, where this kernel has no TCX.
    pub fn ahead(namespace: &Namespace, link: &str, hook: Hook, answer: i32) -> Option<Foreign> {
        let program = sys_bpf::load_program(3, answer).expect("a program");
        let index = namespace.index(link);
        match namespace.run(|| sys_bpf::attach_program(&program, index, attach_type(hook), BEFORE)) {
            Ok(link) => Some(Foreign { _link: link }),
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
                let test = std::thread::current().name().unwrap_or("?").to_owned();
                crate::say::aloud(&format!("SKIPPED {test}: this kernel has no TCX"));
                None
            }
            Err(error) => panic!("a foreign program at {hook:?} of {link}: {error}"),
        }
    }

    /// On XDP, passing everything.
    ///
    /// # Errors
    /// What the kernel answers, `EBUSY` where another program is there.
    pub fn xdp(namespace: &Namespace, link: &str) -> std::io::Result<Foreign> {
        let program = sys_bpf::load_program(6, XDP_PASS).expect("a program");
        let index = namespace.index(link);
        namespace.run(|| sys_bpf::attach_program(&program, index, XDP, SKB_MODE)).map(|link| Foreign { _link: link })
    }
}

/// Ids of the programs on a TCX hook, in order; none where this kernel has no TCX.
pub fn programs_at(namespace: &Namespace, link: &str, hook: Hook) -> Vec<u32> {
    let index = namespace.index(link);
    namespace.run(|| sys_bpf::programs_at(index, attach_type(hook))).unwrap_or_default()
}

fn attach_type(hook: Hook) -> u32 {
    TCX_INGRESS + u32::from(hook == Hook::Egress)
}
