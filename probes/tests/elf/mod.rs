//! As much of ELF as the tests read: section headers, numbers, names.

/// One section header.
#[allow(dead_code)] // not every test reads every field
pub struct Section {
    pub name: String,
    pub offset: usize,
    pub size: usize,
    pub link: usize,
    pub kind: u32,
}

/// A number of the file's byte order, which is the machine's.
pub fn number(bytes: &[u8], at: usize, size: usize) -> usize {
    let mut raw = [0u8; 8];
    raw[..size].copy_from_slice(&bytes[at..at + size]);
    if cfg!(target_endian = "big") {
        raw.rotate_right(8 - size);
    }
    usize::try_from(u64::from_ne_bytes(raw)).unwrap()
}

/// A string that ends with a zero byte.
pub fn text(bytes: &[u8], at: usize) -> String {
    bytes[at..].iter().take_while(|byte| **byte != 0).map(|byte| char::from(*byte)).collect()
}

/// Section headers of an ELF64 file (System V ABI, chapter 4).
pub fn sections(elf: &[u8]) -> Vec<Section> {
    let (table, size, count, names) = (number(elf, 40, 8), number(elf, 58, 2), number(elf, 60, 2), number(elf, 62, 2));
    let strings = number(elf, table + names * size + 24, 8);
    (0..count)
        .map(|i| table + i * size)
        .map(|at| Section {
            name: text(elf, strings + number(elf, at, 4)),
            kind: u32::try_from(number(elf, at + 4, 4)).unwrap(),
            offset: number(elf, at + 24, 8),
            size: number(elf, at + 32, 8),
            link: number(elf, at + 40, 4),
        })
        .collect()
}
