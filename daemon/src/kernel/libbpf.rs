//! Loading objects of tc and netfilter programs through the libbpf that redbpf is built on: redbpf itself knows no such programs.
//!
//! Every map that an object names is replaced by one of ours, by descriptor; an object that names another one is refused.

use std::cell::RefCell;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::os::fd::{BorrowedFd, OwnedFd, RawFd};
use std::sync::Once;

use super::error::{Error, Result};
use super::sys;

/// What the programs of an object are, as the kernel is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kind {
    /// `BPF_PROG_TYPE_*`.
    pub program: u32,
    /// Attach type that is told when they are loaded; 0 = none.
    pub attach: u32,
}

/// `BPF_PROG_TYPE_SCHED_CLS`.
const SCHED_CLS: Kind = Kind { program: 3, attach: 0 };
/// Bytes of one message of libbpf that are kept: the verifier's log comes as one.
const LONGEST_MESSAGE: usize = 1 << 20;
/// Last lines of the verifier's log that an error shows: the first ones say how it came there, the last ones what is wrong.
const SHOWN_LINES: usize = 12;

thread_local! {
    /// What libbpf says on this thread while [`captured`] listens.
    static SAID: RefCell<Option<String>> = const { RefCell::new(None) };
}

unsafe extern "C" {
    /// C's `vsnprintf`, its `va_list` as the pointer-sized argument that it is on every 64-bit ABI Linux has.
    fn vsnprintf(buffer: *mut c_char, size: usize, format: *const c_char, arguments: *mut c_void) -> c_int;
}

/// Keeps warnings for an error, or hands them to the log; drops the rest.
unsafe extern "C" fn listen(level: u32, format: *const c_char, arguments: *mut c_void) -> c_int {
    if level != bpf_sys::libbpf_print_level_LIBBPF_WARN {
        return 0;
    }
    let mut buffer = vec![0u8; LONGEST_MESSAGE];
    // SAFETY: libbpf hands a format with its arguments; the buffer has the size that is told, and the result ends with NUL.
    let length = unsafe { vsnprintf(buffer.as_mut_ptr().cast(), buffer.len(), format, arguments) };
    if let Ok(text) = CStr::from_bytes_until_nul(&buffer) {
        SAID.with_borrow_mut(|said| match said {
            Some(said) => said.push_str(&text.to_string_lossy()),
            None => log::debug!("{}", text.to_string_lossy().trim_end()),
        });
    }
    length
}

/// Makes libbpf speak to us instead of stderr. Called before anything that may speak.
pub fn listen_to_libbpf() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: `listen` has the shape that libbpf calls: two words and a `va_list`, which is passed as a pointer on x86-64
        // (array decays), AArch64 and s390x (large aggregate by reference), and is a pointer on RISC-V and POWER.
        let callback = unsafe {
            std::mem::transmute::<unsafe extern "C" fn(u32, *const c_char, *mut c_void) -> c_int, bpf_sys::libbpf_print_fn_t>(listen)
        };
        // SAFETY: the callback lives as long as the process.
        unsafe { bpf_sys::libbpf_set_print(callback) };
    });
}

/// Runs something and returns what libbpf warned of meanwhile, its last lines.
fn captured<T>(work: impl FnOnce() -> T) -> (T, String) {
    listen_to_libbpf();
    SAID.set(Some(String::new()));
    let value = work();
    let said = SAID.take().unwrap_or_default();
    let lines: Vec<&str> = said.lines().filter(|line| !line.trim().is_empty()).collect();
    let shown = lines.len().saturating_sub(SHOWN_LINES);
    (value, lines.get(shown..).unwrap_or(&[]).join("\n"))
}

/// An opened object; closed at the end, loaded programs live on in their descriptors.
struct Object {
    raw: *mut bpf_sys::bpf_object,
    name: String,
}

impl Drop for Object {
    fn drop(&mut self) {
        // SAFETY: opened by `open`, closed once.
        unsafe { bpf_sys::bpf_object__close(self.raw) };
    }
}

fn text(raw: *const c_char) -> String {
    // SAFETY: libbpf's names end with NUL and live as long as their object, which every caller holds.
    unsafe { CStr::from_ptr(raw) }.to_string_lossy().into_owned()
}

impl Object {
    fn open(name: &str, elf: &[u8]) -> Result<Object> {
        // SAFETY: the bytes are valid for reads; no options.
        let (raw, said) = captured(|| unsafe { bpf_sys::bpf_object__open_mem(elf.as_ptr().cast(), elf.len() as _, std::ptr::null()) });
        // SAFETY: any pointer may be asked about: libbpf codes errors as small negative addresses.
        if raw.is_null() || unsafe { bpf_sys::libbpf_get_error(raw.cast()) } != 0 {
            return Err(Error::Program { program: name.into(), reason: format!("not a readable object: {said}") });
        }
        Ok(Object { raw, name: name.into() })
    }

    /// Replaces every map by one of ours.
    fn bind<'a>(&self, maps: &dyn Fn(&str) -> Option<BorrowedFd<'a>>) -> Result<()> {
        use std::os::fd::AsRawFd;
        let mut map = std::ptr::null_mut();
        loop {
            // SAFETY: the object is open, and `map` is null or one of its maps.
            map = unsafe { bpf_sys::bpf_map__next(map, self.raw) };
            if map.is_null() {
                return Ok(());
            }
            // SAFETY: `map` is a map of the open object.
            let name = text(unsafe { bpf_sys::bpf_map__name(map) });
            let ours = maps(&name).ok_or_else(|| Error::Program {
                program: self.name.clone(),
                reason: format!("it names map `{name}`, which does not exist"),
            })?;
            // SAFETY: as above; the descriptor is open.
            if unsafe { bpf_sys::bpf_map__reuse_fd(map, ours.as_raw_fd()) } != 0 {
                return Err(sys::last_error(format!("give map `{name}` to program object `{}`", self.name)));
            }
        }
    }

    fn each_program(&self, each: &mut dyn FnMut(*mut bpf_sys::bpf_program) -> Result<()>) -> Result<()> {
        let mut program = std::ptr::null_mut();
        loop {
            // SAFETY: the object is open, and `program` is null or one of its programs.
            program = unsafe { bpf_sys::bpf_program__next(program, self.raw) };
            if program.is_null() {
                return Ok(());
            }
            each(program)?;
        }
    }

    fn load(&self, kind: Kind) -> Result<()> {
        self.each_program(&mut |program| {
            // SAFETY: `program` is a program of the open object.
            unsafe {
                bpf_sys::bpf_program__set_type(program, kind.program);
                bpf_sys::bpf_program__set_expected_attach_type(program, kind.attach);
            }
            Ok(())
        })?;
        // SAFETY: the object is open.
        let (answer, said) = captured(|| (unsafe { bpf_sys::bpf_object__load(self.raw) }, std::io::Error::last_os_error()));
        match answer {
            (0, _) => Ok(()),
            (_, error) => Err(Error::Program { program: self.name.clone(), reason: format!("the kernel refuses it: {error}\n{said}") }),
        }
    }

    fn programs(&self) -> Result<Vec<(String, OwnedFd)>> {
        let mut found = Vec::new();
        self.each_program(&mut |program| {
            // SAFETY: `program` is a loaded program of the open object.
            let (name, fd) = unsafe { (text(bpf_sys::bpf_program__name(program)), bpf_sys::bpf_program__fd(program)) };
            found.push((name, duplicate(fd)?));
            Ok(())
        })?;
        Ok(found)
    }
}

/// A descriptor of our own for what somebody else will close.
pub fn duplicate(fd: RawFd) -> Result<OwnedFd> {
    // SAFETY: no pointers.
    let copy = unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, 3) };
    if copy < 0 { Err(sys::last_error("duplicate a descriptor")) } else { Ok(sys::owned(copy)) }
}

/// Loads every program of a sched_cls object, its maps taken from `maps` by name.
pub fn load_sched_cls<'a>(name: &str, elf: &[u8], maps: &dyn Fn(&str) -> Option<BorrowedFd<'a>>) -> Result<Vec<(String, OwnedFd)>> {
    load(name, elf, SCHED_CLS, maps)
}

/// Loads every program of an object as that kind, its maps taken from `maps` by name.
pub fn load<'a>(name: &str, elf: &[u8], kind: Kind, maps: &dyn Fn(&str) -> Option<BorrowedFd<'a>>) -> Result<Vec<(String, OwnedFd)>> {
    let object = Object::open(name, elf)?;
    object.bind(maps)?;
    object.load(kind)?;
    object.programs()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_are_no_object_are_refused_with_a_reason() {
        let error = load_sched_cls("broken", b"not an ELF file at all, certainly", &|_| None).unwrap_err().to_string();
        assert!(error.contains("`broken`") && error.contains("not a readable object"), "{error}");
    }
}

#[cfg(test)]
mod refused {
    use std::os::fd::AsFd;

    use super::load_sched_cls;
    use crate::kernel::tests::{Namespace, Scratch, needs_root};
    use crate::kernel::{Form, Kernel, Ways};

    #[test]
    fn program_that_the_verifier_refuses_is_an_error_that_names_it() {
        needs_root!();
        let (scratch, _namespace) = (Scratch::new("verifier"), Namespace::enter());
        let kernel = Kernel::open_by(&scratch.path, 64, 64, Ways { form: Some(Form::Serial), ..Ways::default() }).unwrap();
        // Every `exit` becomes an instruction that no kernel knows.
        let mut elf = netpol_probes::SERIAL.tc_epilogue.bytes.to_vec();
        let exits: Vec<usize> =
            (0..elf.len() / 8).map(|word| word * 8).filter(|&at| elf[at..at + 8] == [0x95, 0, 0, 0, 0, 0, 0, 0]).collect();
        exits.iter().for_each(|&at| elf[at] = 0xff);
        assert!(!exits.is_empty());
        let error = load_sched_cls("tc_epilogue", &elf, &|name| kernel.maps.get(name).map(AsFd::as_fd)).unwrap_err().to_string();
        assert!(error.starts_with("program `tc_epilogue`") || error.contains("np_tc_epilogue"), "{error}");
        assert!(error.contains("processed ") && error.contains("insn"), "the verifier's own words: {error}");
    }
}
