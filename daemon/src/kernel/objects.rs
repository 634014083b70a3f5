//! The programs: which there are, and how each object is loaded. XDP objects through redbpf, sched_cls objects through libbpf.
//!
//! redbpf can replace a map only by a pinned one of equal type and sizes; the XDP objects define theirs accordingly.
//! redbpf's own attaching is not used: its XDP handle detaches whatever is on the interface when it is dropped.

use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use netpol_probes::{GUARD, MAPS, MapSpec, Object, Objects, REALTIME, SERIAL, Scope};
use redbpf::{Map as RedMap, ModuleBuilder, Program, ProgramArray};
use sha2::{Digest, Sha256};

use super::error::{Error, Result};
use super::{libbpf, sys};
use crate::compile::ruleset::DeviceKind;
use crate::policy::model::Hook;

/// Which form of the objects judges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// The packets of a CPU are judged one after the other.
    Serial,
    /// One packet may interrupt the judgement of another on the same CPU.
    Realtime,
}

impl Form {
    fn objects(self) -> &'static Objects {
        match self {
            Form::Serial => &SERIAL,
            Form::Realtime => &REALTIME,
        }
    }

    /// The maps that all generations share.
    pub fn shared_maps(self) -> impl Iterator<Item = &'static MapSpec> {
        let own = match self {
            Form::Serial => Scope::Serial,
            Form::Realtime => Scope::Realtime,
        };
        MAPS.iter().filter(move |spec| spec.scope == Scope::Shared || spec.scope == own)
    }
}

/// Name of the epilogue in its object.
pub const EPILOGUE: &str = "np_tc_epilogue";
/// Name of the XDP program in its object.
pub const XDP: &str = "np_xdp_main";

/// Name of the tc program of a hook and device.
pub fn tc_main(variant: DeviceKind, hook: Hook) -> &'static str {
    match (variant, hook) {
        (DeviceKind::Raw, Hook::Ingress) => "np_raw_ingress",
        (DeviceKind::Raw, Hook::Egress) => "np_raw_egress",
        (DeviceKind::Ethernet | DeviceKind::Loopback, Hook::Ingress) => "np_tc_ingress",
        (DeviceKind::Ethernet | DeviceKind::Loopback, Hook::Egress) => "np_tc_egress",
    }
}

/// The variant that a tc program is.
pub fn variant_of(program: &str) -> Option<DeviceKind> {
    match program {
        "np_raw_ingress" | "np_raw_egress" => Some(DeviceKind::Raw),
        "np_tc_ingress" | "np_tc_egress" => Some(DeviceKind::Ethernet),
        _ => None,
    }
}

/// Programs that all generations share, as this binary carries them; their names are those of both forms.
pub fn shared() -> impl Iterator<Item = &'static str> {
    [SERIAL.tc_main, SERIAL.tc_epilogue, SERIAL.xdp_main].into_iter().flat_map(|object| object.programs.iter().copied())
}

/// 16 hexadecimal digits that name the objects of this binary in that form.
pub fn digest(form: Form) -> String {
    let mut hash = Sha256::new();
    for object in form.objects().all().into_iter().chain([GUARD]) {
        hash.update((object.bytes.len() as u64).to_le_bytes());
        hash.update(object.bytes);
    }
    hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// Maps by name, open.
pub type ByName<'f, 'm> = &'f dyn Fn(&str) -> Option<BorrowedFd<'m>>;

/// Loads the shared programs.
pub fn load_shared<'m>(form: Form, maps: ByName<'_, 'm>, pinned: &dyn Fn(&str) -> Option<PathBuf>) -> Result<Vec<(String, OwnedFd)>> {
    let Objects { tc_main, tc_epilogue, xdp_main, .. } = form.objects();
    let mut programs = libbpf::load_sched_cls(tc_main.name, tc_main.bytes, maps)?;
    programs.extend(libbpf::load_sched_cls(tc_epilogue.name, tc_epilogue.bytes, maps)?);
    programs.push((XDP.into(), load_xdp(xdp_main, pinned)?));
    Ok(programs)
}

/// Loads one more copy of a tc program that all generations share.
pub fn load_twin<'m>(form: Form, program: &str, maps: ByName<'_, 'm>) -> Result<OwnedFd> {
    let Objects { tc_main, .. } = form.objects();
    let found = libbpf::load_sched_cls(tc_main.name, tc_main.bytes, maps)?.into_iter().find(|(name, _)| name == program);
    found.map(|(_, fd)| fd).ok_or_else(|| Error::Inconsistent(format!("there is no program `{program}`")))
}

/// Loads a generation's policy programs: (tc, XDP).
pub fn load_policy<'m>(form: Form, maps: ByName<'_, 'm>, pinned: &dyn Fn(&str) -> Option<PathBuf>) -> Result<(OwnedFd, OwnedFd)> {
    let Objects { tc_policy, xdp_policy, .. } = form.objects();
    let mut tc = libbpf::load_sched_cls(tc_policy.name, tc_policy.bytes, maps)?;
    match (tc.pop(), tc.pop()) {
        (Some((_, tc)), None) => Ok((tc, load_xdp(xdp_policy, pinned)?)),
        _ => Err(Error::Program { program: tc_policy.name.into(), reason: "the object must have one program".into() }),
    }
}

/// Loads the one program of an XDP object, each map replaced by the pinned one of its name.
fn load_xdp(object: &Object, pinned: &dyn Fn(&str) -> Option<PathBuf>) -> Result<OwnedFd> {
    let failed = |reason: String| Error::Program { program: object.name.into(), reason };
    let mut builder = ModuleBuilder::parse(object.bytes).map_err(|error| failed(format!("not a readable object: {error:?}")))?;
    for name in object.maps {
        let path = pinned(name).ok_or_else(|| failed(format!("it names map `{name}`, which does not exist")))?;
        let map = RedMap::from_pin_file(&path).map_err(|error| failed(format!("map `{name}` cannot be opened: {error:?}")))?;
        builder.replace_map(name, map).map_err(|error| failed(format!("map `{name}` has other sizes than it expects: {error:?}")))?;
    }
    let mut module = builder.to_module().map_err(|error| failed(format!("it cannot be relocated: {error:?}")))?;
    if module.maps.len() != object.maps.len() || module.programs.len() != 1 {
        return Err(failed(format!("it has {} maps and {} programs", module.maps.len(), module.programs.len())));
    }
    let (version, license) = (module.version, module.license.clone());
    let program = module.programs.first_mut().ok_or_else(|| failed("it has no program".into()))?;
    program
        .load(version, license)
        .map_err(|error| failed(format!("the kernel refuses it: {error:?}: {}", std::io::Error::last_os_error())))?;
    match program {
        Program::XDP(_) => libbpf::duplicate(program.fd().ok_or_else(|| failed("it is not loaded".into()))?),
        _ => Err(failed("it is no XDP program".into())),
    }
}

/// Puts a program into a pinned program array.
pub fn install(array: &Path, index: u32, program: &OwnedFd) -> Result<()> {
    with_array(array, &mut |programs| {
        programs.set(index, program.as_raw_fd()).map_err(|_unnamed| sys::last_error(format!("put a program into {}", array.display())))
    })
}

/// Kernel's id of a program in a pinned program array.
pub fn installed(array: &Path, index: u32) -> Result<Option<u32>> {
    let mut found = None;
    with_array(array, &mut |programs| {
        // The kernel answers with an id, whatever the name of redbpf's type; a failed look-up is an empty place.
        found = programs.get(index).ok().map(|id| id as u32);
        Ok(())
    })?;
    Ok(found)
}

fn with_array(array: &Path, work: &mut dyn FnMut(&mut ProgramArray<'_>) -> Result<()>) -> Result<()> {
    let unreadable = |error: redbpf::Error| Error::Inconsistent(format!("program array {}: {error:?}", array.display()));
    let map = RedMap::from_pin_file(array).map_err(unreadable)?;
    work(&mut ProgramArray::new(&map).map_err(unreadable)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_variant_has_a_program_and_is_told_by_it() {
        for variant in [DeviceKind::Ethernet, DeviceKind::Raw] {
            for hook in [Hook::Ingress, Hook::Egress] {
                let name = tc_main(variant, hook);
                assert!(shared().any(|program| program == name));
                assert_eq!(variant_of(name), Some(variant));
            }
        }
        assert_eq!(tc_main(DeviceKind::Loopback, Hook::Ingress), tc_main(DeviceKind::Ethernet, Hook::Ingress));
    }
}
