//! A frame for somebody who has to understand it: every field that the judge read, and the bytes in lines.

use std::fmt::Write;

use netpol_ebpf::policy::judge::{Frame, parse};

use crate::bench::Bench;
use crate::scenario::Shot;

/// Bytes in a line.
const LINE: usize = 16;

/// The frame as the judge reads it, then its bytes.
pub fn view(bench: &Bench, shot: &Shot) -> String {
    let frame = Frame { hook: shot.hook, device: bench.device(shot.link), bytes: &shot.bytes, metadata_tag: None, gso: shot.gso };
    let mut text = format!("{:#?}\n", parse(&frame));
    for (number, line) in shot.bytes.chunks(LINE).enumerate() {
        write!(text, "{:04x} ", number * LINE).unwrap();
        line.iter().for_each(|byte| write!(text, " {byte:02x}").unwrap());
        text.push('\n');
    }
    text
}
