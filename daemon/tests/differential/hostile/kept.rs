//! Frames that were found once, in files of their own: each is replayed on each run.
//!
//! A file holds a policy, a line `--- frames`, and a line a frame: what is to be said of it (`ok`, the name of a reason, or `?` where
//! only judge and programs have to agree), then the frame as a mismatch prints it. Lines that begin with `#` say why it is kept.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use netpol_ebpf::policy::model::Hook;
use netpol_ebpf::policy::reason::Reason;

use crate::bench::{Bench, LINKS, ROOM};
use crate::scenario::{Mismatch, Shot, Stage, Text, tell};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/differential/hostile/kept");
const FRAMES: &str = "--- frames\n";

/// A file that shows this mismatch again.
pub fn write(stages: &[Stage], mismatch: &Mismatch) -> String {
    let stage = &stages[mismatch.stage];
    let mut text = String::from("# Say here what it is about.\n");
    text.push_str(stage.text.toml().trim_start_matches("version = 1\n"));
    text.push_str(FRAMES);
    stage.shots.iter().for_each(|shot| writeln!(text, "? {shot:?}").unwrap());
    text
}

fn frame(line: &str) -> (String, Shot) {
    let words: Vec<&str> = line.split_whitespace().collect();
    let link = LINKS.iter().position(|link| *link == words[1]).unwrap_or_else(|| panic!("no such link: {line}"));
    let hook = if words[2] == "Ingress" { Hook::Ingress } else { Hook::Egress };
    let hex = words.last().unwrap();
    let bytes = (0..hex.len() / 2).map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap()).collect();
    (words[0].to_owned(), Shot { link, hook, bytes, gso: words.contains(&"gso"), before: Vec::new() })
}

fn replay(bench: &mut Bench, path: &Path) -> usize {
    let text = fs::read_to_string(path).unwrap();
    let (policy, frames) = text.split_once(FRAMES).unwrap_or_else(|| panic!("{}: no frames", path.display()));
    let (wanted, shots): (Vec<String>, Vec<Shot>) = frames.lines().filter(|line| !line.starts_with('#')).map(frame).unzip();
    let possible: Vec<bool> = shots.iter().map(|shot| bench.is_possible(shot)).collect();
    assert!(possible.iter().all(|possible| *possible), "{}: a frame cannot be run: {possible:?}", path.display());
    let stages = [Stage { text: Text { head: policy.to_owned(), policies: Vec::new() }, paths: Vec::new(), shots }];
    let said = bench.play(&stages).unwrap_or_else(|mismatch| panic!("{}{}", path.display(), tell(&stages, &mismatch)));
    for (number, (wanted, said)) in wanted.iter().zip(&said).enumerate() {
        let said = said.map_or("ok", Reason::name);
        assert!(wanted == "?" || wanted == said, "{}: frame {number}: {said} instead of {wanted}", path.display());
    }
    said.len()
}

#[test]
fn frames_that_were_found_once() {
    if !crate::may_run() {
        return;
    }
    let mut bench = Bench::new("kept", ROOM);
    let mut files: Vec<_> = fs::read_dir(FOLDER).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty());
    let frames: usize = files.iter().map(|file| replay(&mut bench, file)).sum();
    println!("{frames} kept frames of {} files judged alike", files.len());
}
