//! Holds the objects' own map definitions against the table that the daemon makes maps from, and the lists of maps and
//! programs against what stands in the objects.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod elf;

use std::collections::BTreeMap;

use elf::{Section, number, sections, text};
use netpol_probes::{Loader, MaxEntries, Object, every_object, map};

/// Five words: type, key size, value size, entries, flags.
type Definition = [u32; 5];

/// Symbols that stand in a section, with their place in it.
fn symbols(elf: &[u8], all: &[Section], section: usize) -> Vec<(String, usize)> {
    const SYMBOL_TABLE: u32 = 2;
    let table = all.iter().find(|s| s.kind == SYMBOL_TABLE).expect("symbol table");
    let strings = all[table.link].offset;
    (table.offset..table.offset + table.size)
        .step_by(24)
        .filter(|at| number(elf, at + 6, 2) == section)
        .map(|at| (text(elf, strings + number(elf, at, 4)), number(elf, at + 8, 8)))
        .filter(|(name, _)| !name.is_empty())
        .collect()
}

fn definitions(object: &Object) -> BTreeMap<String, Definition> {
    let elf = object.bytes;
    let all = sections(elf);
    let mut found = BTreeMap::new();
    for (index, section) in all.iter().enumerate() {
        let alone = section.name.strip_prefix("maps/");
        if section.name != "maps" && alone.is_none() {
            continue;
        }
        assert_eq!(alone.is_some(), object.loader == Loader::Redbpf, "{}: section {}", object.name, section.name);
        for (name, at) in symbols(elf, &all, index) {
            assert!(alone.is_none_or(|alone| alone == name), "{}: map {name} in section {}", object.name, section.name);
            let words = std::array::from_fn(|word| u32::try_from(number(elf, section.offset + at + 4 * word, 4)).unwrap());
            found.insert(name, words);
        }
    }
    found
}

#[test]
fn every_definition_agrees_with_the_table() {
    for object in every_object() {
        for (name, [kind, key, value, entries, flags]) in definitions(&object) {
            let spec = map(&name).unwrap_or_else(|| panic!("{}: the table has no map {name}", object.name));
            let place = format!("{} in {}", name, object.name);
            assert_eq!((spec.kind as u32, spec.key_size, spec.value_size, spec.flags), (kind, key, value, flags), "{place}");
            match spec.max_entries {
                MaxEntries::Fixed(fixed) => assert_eq!(fixed, entries, "{place}"),
                MaxEntries::Measured => assert_eq!(1, entries, "{place}: measured maps stand as 1"),
            }
            if object.loader == Loader::Redbpf {
                assert_ne!(spec.max_entries, MaxEntries::Measured, "{place}: redbpf cannot replace a map of another size");
            }
        }
    }
}

#[test]
fn objects_name_exactly_their_maps() {
    for object in every_object() {
        let mut named: Vec<&str> = object.maps.to_vec();
        named.sort_unstable();
        let found: Vec<String> = definitions(&object).into_keys().collect();
        assert_eq!(named, found, "{}", object.name);
    }
}

#[test]
fn objects_name_exactly_their_programs() {
    for object in every_object() {
        let prefix = match (object.loader, object.name) {
            (Loader::Redbpf, _) => "xdp/",
            (_, "guard") => "netfilter/",
            _ => "classifier/",
        };
        let mut found: Vec<String> =
            sections(object.bytes).iter().filter_map(|section| section.name.strip_prefix(prefix).map(str::to_owned)).collect();
        let mut named: Vec<&str> = object.programs.to_vec();
        found.sort_unstable();
        named.sort_unstable();
        assert_eq!(named, found, "{}", object.name);
        assert!(named.iter().all(|name| name.len() <= 15), "{}: the kernel keeps 15 characters", object.name);
    }
}

#[test]
fn objects_are_aligned_and_hold_no_data() {
    for object in every_object() {
        assert_eq!(object.bytes.as_ptr().align_offset(8), 0, "{}", object.name);
        for section in sections(object.bytes) {
            let data = [".data", ".bss", ".rodata", ".text"].iter().any(|name| section.name.starts_with(name));
            assert!(!data || section.size == 0, "{}: {} has {} bytes", object.name, section.name, section.size);
        }
    }
}

/// What the headers of the layout say, without comments and white space, as FNV-1a.
fn layout() -> u64 {
    let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("bpf");
    let mut headers: Vec<_> = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    headers.retain(|path| path.file_name().unwrap().to_str().unwrap().starts_with("abi") && path.extension().is_some_and(|e| e == "h"));
    headers.sort();
    assert!(headers.len() > 3, "{headers:?}");
    let mut hash = 0xcbf2_9ce4_8422_2325u64;
    for header in headers {
        let text = std::fs::read_to_string(header).unwrap();
        let mut rest = text.as_str();
        let mut code = String::new();
        while let Some((before, comment)) = rest.split_once("/*") {
            code.push_str(before);
            rest = comment.split_once("*/").unwrap().1;
        }
        code.push_str(rest);
        let code = code.lines().map(|line| line.split("//").next().unwrap());
        for byte in code.flat_map(str::bytes).filter(|byte| !byte.is_ascii_whitespace()) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    hash
}

/// A table of another layout under the same number would be read as if it were ours: whoever changes a header decides about the number.
#[test]
fn another_layout_has_another_number() {
    const KNOWN: (u32, u64) = (4, 0x0187_21e5_f20b_5653);
    let number = if cfg!(feature = "other-abi") { KNOWN.0 } else { netpol_probes::abi::NP_ABI };
    assert_eq!((number, layout()), KNOWN, "a header of the layout has changed: raise NP_ABI where a map's bytes have, then note both here");
}
