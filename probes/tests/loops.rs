//! Kernels before 6.3 walk a program's graph before anything else and refuse a loop whose last instruction is not a jump
//! (`check_cfg` in kernel/bpf/verifier.c). How a loop is laid out is the compiler's choice, so the objects are looked at.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod elf;

use elf::{number, sections};
use netpol_probes::every_object;

/// Where an instruction goes on, in the kernel's order, and whether it is a jump.
fn successors(code: &[u8], at: usize) -> (Vec<usize>, bool) {
    let instruction = &code[at * 8..at * 8 + 8];
    let (class, operation) = (instruction[0] & 0x07, instruction[0] & 0xf0);
    let offset = isize::from(i16::from_ne_bytes([instruction[2], instruction[3]]));
    let target = || at.checked_add_signed(offset + 1).unwrap();
    match (class, operation) {
        (5, 0x90) => (vec![], true),
        (5, 0x80) => (vec![at + 1], false),
        (5, 0x00) => (vec![target()], true),
        (5 | 6, _) => (vec![at + 1, target()], true),
        _ if instruction[0] == 0x18 => (vec![at + 2], false),
        _ => (vec![at + 1], false),
    }
}

/// The first back edge that is no jump.
fn refused(code: &[u8]) -> Option<(usize, usize)> {
    #[derive(Clone, Copy, PartialEq)]
    enum Seen {
        No,
        OnPath,
        Done,
    }
    let mut seen = vec![Seen::No; code.len() / 8];
    let mut path = vec![(0, 0)];
    seen[0] = Seen::OnPath;
    while let Some((at, next)) = path.pop() {
        let (targets, jumps) = successors(code, at);
        let Some(&target) = targets.get(next) else {
            seen[at] = Seen::Done;
            continue;
        };
        path.push((at, next + 1));
        match seen[target] {
            Seen::OnPath if !jumps => return Some((at, target)),
            Seen::No => {
                seen[target] = Seen::OnPath;
                path.push((target, 0));
            }
            _ => {}
        }
    }
    None
}

#[test]
fn every_loop_ends_with_a_jump() {
    for object in every_object() {
        for section in sections(object.bytes) {
            if section.name.starts_with("classifier/") || section.name.starts_with("xdp/") {
                let code = &object.bytes[section.offset..section.offset + section.size];
                assert_eq!(refused(code), None, "{}: kernel 6.1 would refuse {}", object.name, section.name);
            }
        }
    }
}

#[test]
fn a_loop_that_falls_into_its_head_is_found() {
    // 0: goto 2; 1: r0 = 0; 2: if r0 == 0 goto 1; 3: exit
    let code: Vec<u8> =
        [[0x05, 0, 1, 0, 0, 0, 0, 0], [0xb7, 0, 0, 0, 0, 0, 0, 0], [0x15, 0, 0xfe, 0xff, 0, 0, 0, 0], [0x95, 0, 0, 0, 0, 0, 0, 0]].concat();
    if cfg!(target_endian = "little") {
        assert_eq!(refused(&code), Some((1, 2)));
    }
    assert_eq!(number(&code, 0, 1), 5);
}
