//! Where the running kernel keeps a field of one of its structures, by what it says of its own types (`/sys/kernel/btf/vmlinux`).
//!
//! Reads the format of Documentation/bpf/btf.rst as far as it takes to find a member by name, also inside unnamed structures and
//! unions. The libbpf that is bundled does the same for objects, but not from the types of newer kernels.

use std::fs;

use super::error::{Error, Result};
use super::netlink::{u16_at, u32_at};

const PATH: &str = "/sys/kernel/btf/vmlinux";
const MAGIC: u16 = 0xeb9f;

const INT: u32 = 1;
const ARRAY: u32 = 3;
const STRUCT: u32 = 4;
const UNION: u32 = 5;
const ENUM: u32 = 6;
const FUNC_PROTO: u32 = 13;
const VAR: u32 = 14;
const DATASEC: u32 = 15;
const DECL_TAG: u32 = 17;
const ENUM64: u32 = 19;
/// The first kind that is not known here: how long its description is cannot be told.
const UNKNOWN: u32 = 20;

/// All types of the kernel.
pub struct Types {
    bytes: Vec<u8>,
    /// Where the description of each type begins; type 0 is `void`.
    at: Vec<usize>,
    strings: usize,
}

impl Types {
    /// Those of the running kernel.
    pub fn of_kernel() -> Result<Types> {
        let bytes = fs::read(PATH).map_err(|source| Error::System { what: format!("read {PATH}"), source })?;
        Types::parse(bytes).ok_or_else(|| Error::Inconsistent(format!("{PATH} is not what this program can read")))
    }

    fn parse(bytes: Vec<u8>) -> Option<Types> {
        if u16_at(&bytes, 0)? != MAGIC {
            return None;
        }
        let word = |at| u32_at(&bytes, at).map(|word| word as usize);
        let header = word(4)?;
        let (types, length, strings) = (header + word(8)?, word(12)?, header + word(16)?);
        let mut found = vec![0];
        let mut at = types;
        while at < types + length {
            found.push(at);
            at += description(u32_at(&bytes, at + 4)?)?;
        }
        Some(Types { at: found, strings, bytes })
    }

    fn word(&self, at: usize) -> Option<u32> {
        u32_at(&self.bytes, at)
    }

    fn is_called(&self, name: u32, wanted: &str) -> bool {
        let text = self.bytes.get(self.strings + name as usize..).unwrap_or_default();
        text.strip_prefix(wanted.as_bytes()).is_some_and(|rest| rest.first() == Some(&0))
    }

    /// Bytes from the beginning of a structure to a member; `None` where the kernel has no such member.
    pub fn offset(&self, structure: &str, member: &str) -> Option<u32> {
        let is_it = |at: &usize| Some(kind(self.word(at + 4)?) == STRUCT && self.is_called(self.word(*at)?, structure));
        let at = self.at.iter().skip(1).find(|at| is_it(at) == Some(true))?;
        self.member(*at, member).filter(|bits| bits % 8 == 0).map(|bits| bits / 8)
    }

    /// In bits.
    fn member(&self, at: usize, wanted: &str) -> Option<u32> {
        let info = self.word(at + 4)?;
        let bit_fields = info >> 31 == 1;
        for number in 0..(info & 0xffff) as usize {
            let member = at + 12 + 12 * number;
            let (name, offset) = (self.word(member)?, self.word(member + 8)?);
            let offset = if bit_fields { offset & 0x00ff_ffff } else { offset };
            if name != 0 && self.is_called(name, wanted) {
                return Some(offset);
            }
            let inner = *self.at.get(self.word(member + 4)? as usize)?;
            if name == 0 && inner != 0 && matches!(kind(self.word(inner + 4)?), STRUCT | UNION) {
                if let Some(within) = self.member(inner, wanted) {
                    return Some(offset + within);
                }
            }
        }
        None
    }
}

fn kind(info: u32) -> u32 {
    (info >> 24) & 0x1f
}

/// Bytes of a type's description.
fn description(info: u32) -> Option<usize> {
    let entries = (info & 0xffff) as usize;
    let more = match kind(info) {
        INT | VAR | DECL_TAG => 4,
        ARRAY => 12,
        STRUCT | UNION | DATASEC | ENUM64 => 12 * entries,
        ENUM | FUNC_PROTO => 8 * entries,
        UNKNOWN.. => return None,
        _ => 0,
    };
    Some(12 + more)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_of_the_kernel_are_found() {
        let types = Types::of_kernel().unwrap();
        assert_eq!(types.offset("nf_hook_state", "in"), Some(8), "two bytes, then a pointer");
        assert_eq!(types.offset("nf_hook_state", "out"), Some(16));
        assert_eq!(types.offset("iphdr", "saddr"), Some(12), "inside an unnamed structure");
        assert_eq!(types.offset("net_device", "no_such_member"), None);
        assert_eq!(types.offset("no_such_structure", "in"), None);
    }

    #[test]
    fn what_is_no_btf_is_refused() {
        assert!(Types::parse(vec![0; 100]).is_none());
        assert!(Types::parse(vec![0x9f, 0xeb]).is_none());
    }
}
