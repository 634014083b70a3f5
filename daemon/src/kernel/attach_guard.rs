//! The guard (`guard.c`): netfilter programs at the first place of PREROUTING and POSTROUTING, for IPv4 and IPv6, by pinned links.
//!
//! They hang on the network namespace, not on an interface, so they are there before an interface is. Pinned beside the programs of
//! the binary that attached them: what an older binary left runs on until its programs are swept, so there is no moment of neither.
//! A pinned link of netfilter keeps its network namespace alive.

use std::collections::BTreeMap;
use std::io;
use std::ops::RangeInclusive;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use netpol_probes::{GUARD, abi};

use super::btf::Types;
use super::error::{Error, Result};
use super::pins::{self, Pins};
use super::{bpf, libbpf};

/// `BPF_PROG_TYPE_NETFILTER` of linux/bpf.h (6.4).
pub const PROG_TYPE: u32 = 32;
const NFPROTO_IPV4: u32 = 2;
const NFPROTO_IPV6: u32 = 10;
const PREROUTING: u32 = 0;
const POSTROUTING: u32 = 4;
/// From the very first on, which is refused (`NF_IP_PRI_FIRST`): only one BPF program of a hook may have a priority.
const PRIORITIES: RangeInclusive<i32> = i32::MIN + 1..=i32::MIN + 64;

/// A place and its pin.
struct Place {
    pin: &'static str,
    /// Pinned as well, to see by it whether the link still hangs where it was.
    program: &'static str,
    family: u32,
    hook: u32,
}

const PLACES: [Place; 4] = [
    Place { pin: "guard-in-4", program: "np_guard_in", family: NFPROTO_IPV4, hook: PREROUTING },
    Place { pin: "guard-in-6", program: "np_guard_in", family: NFPROTO_IPV6, hook: PREROUTING },
    Place { pin: "guard-out-4", program: "np_guard_out", family: NFPROTO_IPV4, hook: POSTROUTING },
    Place { pin: "guard-out-6", program: "np_guard_out", family: NFPROTO_IPV6, hook: POSTROUTING },
];

/// The guard of this binary is at all its places.
pub fn attached(pins: &Pins, digest: &str) -> bool {
    let directory = pins.programs(digest);
    PLACES.iter().all(|place| directory.join(place.pin).exists())
}

/// Whether a pin of that name, beside programs, is a link of a guard.
pub fn is_pin(name: &str) -> bool {
    PLACES.iter().any(|place| place.pin == name)
}

/// A link of the guard, open, with what it takes to see whether it still hangs there.
pub struct HeldLink {
    link: OwnedFd,
    /// `None` = the pin of the program is gone.
    program: Option<OwnedFd>,
    priority: i32,
}

/// Links of the guard by the names of their pins.
pub type Held = BTreeMap<&'static str, HeldLink>;

/// Takes hold of what is pinned: as long as it is held, a removed pin opens nothing.
pub fn hold(pins: &Pins, digest: &str) -> Result<Held> {
    let directory = pins.programs(digest);
    let held = PLACES.iter().filter(|place| directory.join(place.pin).exists()).map(|place| {
        let (link, program) = (bpf::get(&directory.join(place.pin))?, directory.join(place.program));
        let program = if program.exists() { Some(bpf::get(&program)?) } else { None };
        Ok((place.pin, HeldLink { priority: bpf::netfilter_link_priority(&link, place.pin)?, link, program }))
    });
    held.collect()
}

/// Something of what is held is no longer pinned, or no longer attached.
pub fn moved(held: &Held, pins: &Pins, digest: &str) -> Result<bool> {
    let directory = pins.programs(digest);
    for place in &PLACES {
        let Some(there) = held.get(place.pin) else { continue };
        if !directory.join(place.pin).exists() || detached(place, there)?.is_some() {
            return Ok(true);
        }
        if there.program.is_some() && !directory.join(place.program).exists() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Pins and attaches again; what was put back.
pub fn put_back(held: &mut Held, pins: &Pins, digest: &str) -> Result<Vec<String>> {
    let directory = pins.programs(digest);
    let mut again = Vec::new();
    for place in &PLACES {
        let Some(there) = held.get_mut(place.pin) else { continue };
        let pin = directory.join(place.pin);
        if let Some(program) = there.program.as_ref().filter(|_| !directory.join(place.program).exists()) {
            bpf::pin(program, &directory.join(place.program))?;
            again.push(format!("`{}`", place.program));
        }
        if let Some(link) = detached(place, there)? {
            there.link = link;
            pins::unpin(&pin)?;
            again.push(format!("`{}` (it was detached)", place.pin));
        } else if !pin.exists() {
            again.push(format!("`{}`", place.pin));
        } else {
            continue;
        }
        bpf::pin(&there.link, &pin)?;
    }
    Ok(again)
}

/// Nothing tells that a netfilter link was detached by force, but its place is free then: a link that could be made there.
fn detached(place: &Place, held: &HeldLink) -> Result<Option<OwnedFd>> {
    let Some(program) = &held.program else { return Ok(None) };
    match bpf::netfilter_link_create(program.as_fd(), place.family, place.hook, held.priority) {
        Ok(link) => Ok(Some(link)),
        Err(error) if error.raw_os_error() == Some(libc::EBUSY) => Ok(None),
        Err(source) => Err(Error::System { what: format!("ask netfilter for {}", place.program), source }),
    }
}

/// Attaches it wherever it is missing.
pub fn attach<'m>(pins: &Pins, digest: &str, maps: &dyn Fn(&str) -> Option<BorrowedFd<'m>>) -> Result<()> {
    let directory = pins.programs(digest);
    let mut elf = GUARD.bytes.to_vec();
    settle_fields(&mut elf, &offsets(&Types::of_kernel()?)?)?;
    let programs = libbpf::load(GUARD.name, &elf, libbpf::Kind { program: PROG_TYPE, attach: bpf::NETFILTER }, maps)?;
    for place in &PLACES {
        let missing = || Error::Inconsistent(format!("there is no program `{}`", place.program));
        let (_, program) = programs.iter().find(|(name, _)| name == place.program).ok_or_else(missing)?;
        if !directory.join(place.program).exists() {
            bpf::pin(program, &directory.join(place.program))?;
        }
        if directory.join(place.pin).exists() {
            continue;
        }
        let link = first_free(program.as_fd(), place)
            .map_err(|source| Error::System { what: format!("attach {} to netfilter", place.program), source })?;
        bpf::pin(&link, &directory.join(place.pin))?;
    }
    Ok(())
}

fn first_free(program: BorrowedFd<'_>, place: &Place) -> io::Result<OwnedFd> {
    let mut taken = io::Error::from_raw_os_error(libc::EBUSY);
    for priority in PRIORITIES {
        match bpf::netfilter_link_create(program, place.family, place.hook, priority) {
            Err(error) if error.raw_os_error() == Some(libc::EBUSY) => taken = error,
            other => return other,
        }
    }
    Err(taken)
}

/// Takes it off.
pub fn detach(pins: &Pins, digest: &str) -> Result<()> {
    let directory = pins.programs(digest);
    let mut names = PLACES.iter().flat_map(|place| [place.pin, place.program]);
    names.try_for_each(|name| pins::unpin(&directory.join(name)))
}

/// Offsets in this kernel, by [`abi::np_kernel_field`] from `NP_K_IN` on.
type Offsets = [u32; (abi::NP_K_END - abi::NP_K_IN) as usize];

fn offsets(types: &Types) -> Result<Offsets> {
    let need = |structure, member| {
        let missing = || Error::Inconsistent(format!("this kernel has no `{structure}.{member}`"));
        types.offset(structure, member).ok_or_else(missing)
    };
    let name = need("net_device", "name")?;
    // Before 6.6 nothing tells whether a program hangs on a device: something that every device has stands for it.
    let never_null = need("net_device", "netdev_ops")?;
    let or_never_null = |member| types.offset("net_device", member).unwrap_or(never_null);
    Ok([
        need("nf_hook_state", "in")?,
        need("nf_hook_state", "out")?,
        need("net_device", "flags")?,
        need("net_device", "ifindex")?,
        name,
        name + 8,
        or_never_null("tcx_ingress"),
        or_never_null("tcx_egress"),
    ])
}

/// Puts offsets in the place of the numbers of fields, in the instructions of the object's programs.
fn settle_fields(elf: &mut [u8], offsets: &Offsets) -> Result<()> {
    /// `BPF_LDX | BPF_MEM`, of four and of eight bytes.
    const LOADS: [u8; 2] = [0x61, 0x79];
    let unreadable = || Error::Program { program: GUARD.name.into(), reason: "not a readable object".into() };
    let mut settled = [false; (abi::NP_K_END - abi::NP_K_IN) as usize];
    for section in code_sections(elf).ok_or_else(unreadable)? {
        let code = elf.get_mut(section).ok_or_else(unreadable)?;
        for instruction in code.chunks_exact_mut(8).filter(|instruction| LOADS.contains(&instruction[0])) {
            let offset = u32::from(u16::from_ne_bytes([instruction[2], instruction[3]]));
            let Some(field) = offset.checked_sub(abi::NP_K_IN).map(|field| field as usize).filter(|field| *field < offsets.len()) else {
                continue;
            };
            let fits = u16::try_from(offsets[field]).ok().filter(|offset| i16::try_from(*offset).is_ok());
            let offset = fits.ok_or_else(|| Error::Inconsistent(format!("field {field} is too far away")))?;
            instruction[2..4].copy_from_slice(&offset.to_ne_bytes());
            settled[field] = true;
        }
    }
    if settled.contains(&false) {
        return Err(Error::Program { program: GUARD.name.into(), reason: format!("fields that it does not read: {settled:?}") });
    }
    Ok(())
}

/// Where the programs of a 64-bit object of this machine's byte order stand.
fn code_sections(elf: &[u8]) -> Option<Vec<std::ops::Range<usize>>> {
    const EXECUTABLE: u64 = 4;
    let number = |at: usize, size: usize| {
        let mut bytes = [0; 8];
        let value = elf.get(at..at + size)?;
        if cfg!(target_endian = "big") { &mut bytes[8 - size..] } else { &mut bytes[..size] }.copy_from_slice(value);
        usize::try_from(u64::from_ne_bytes(bytes)).ok()
    };
    let (headers, size, count) = (number(0x28, 8)?, number(0x3a, 2)?, number(0x3c, 2)?);
    let mut found = Vec::new();
    for header in (0..count).map(|index| headers + index * size) {
        let (flags, at, length) = (number(header + 8, 8)?, number(header + 0x18, 8)?, number(header + 0x20, 8)?);
        if flags as u64 & EXECUTABLE != 0 {
            found.push(at..at + length);
        }
    }
    Some(found)
}
