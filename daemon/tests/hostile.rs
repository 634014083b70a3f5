//! Files that nobody means well with: whatever they hold, there is an answer, it comes soon, and nothing panics.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use netpol_ebpf::policy::load;
use netpol_ebpf::schema::render;
use netpol_ebpf::source::Snapshot;

/// Loads and renders one file; gives the errors as text, `None` where it was accepted.
fn errors_of(bytes: &[u8]) -> Option<String> {
    let mut snapshot = Snapshot::of(Path::new("/hostile"), &[("a.toml".to_owned(), bytes.to_vec())]);
    let loaded = load(&mut snapshot);
    let warnings = render(&loaded.warnings, &snapshot, true);
    assert!(loaded.warnings.is_empty() == warnings.is_empty());
    loaded.policies.err().map(|errors| {
        assert!(!errors.is_empty());
        assert!(errors.iter().all(|error| error.place.is_some()), "{errors:?}");
        render(&errors, &snapshot, false)
    })
}

fn refused_soon(bytes: &[u8]) -> String {
    let start = Instant::now();
    let text = errors_of(bytes).unwrap();
    assert!(start.elapsed() < Duration::from_secs(20), "{:?} for {} bytes", start.elapsed(), bytes.len());
    assert!(text.contains("/hostile/a.toml:"), "{text}");
    text
}

#[test]
fn deep_nesting_is_refused() {
    for (open, close) in [("[", "]"), ("{a=", "}")] {
        for depth in [100, 10_000, 300_000] {
            refused_soon(format!("version = 1\nx = {}1{}\n", open.repeat(depth), close.repeat(depth)).as_bytes());
            refused_soon(format!("version = 1\nx = {}", open.repeat(depth)).as_bytes());
        }
    }
    refused_soon(format!("version = 1\n{} = 1\n", vec!["a"; 200_000].join(".")).as_bytes());
    refused_soon(format!("version = 1\n[{}]\n", vec!["a"; 200_000].join(".")).as_bytes());
}

#[test]
fn huge_files_are_answered_soon() {
    refused_soon(format!("version = 1\nx = \"{}\"\n", "a".repeat(1_000_000)).as_bytes());
    refused_soon(format!("version = 1\n[[set]]\nname = \"s\"\nelements = [{}]\n", "\"bad\",".repeat(150_000)).as_bytes());
    refused_soon(format!("version = 1\n{}", "[[policy]]\n".repeat(90_000)).as_bytes());
    refused_soon(format!("version = 1\n{}", (0..90_000).map(|n| format!("k{n} = {n}\n")).collect::<String>()).as_bytes());
    let rules = "[[policy.ingress]]\naction = \"allow\"\n".repeat(25_000);
    let text = format!("version = 1\n[[policy]]\nname = \"p\"\ninterfaces = [\"eth0\"]\n{rules}");
    let start = Instant::now();
    assert_eq!(errors_of(text.as_bytes()), None);
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
}

#[test]
fn strange_bytes_are_refused_with_their_place() {
    assert!(refused_soon(b"version = 1\n# \0\n").contains("a.toml:2:3"));
    assert!(refused_soon(b"\xef\xbb\xbfversion = 1\n").contains("byte order mark"));
    assert!(refused_soon(b"version = 1\nx = \"\xff\"\n").contains("a.toml:2:6"));
    assert!(refused_soon(b"").contains("the file is empty"));
    assert!(refused_soon(&[0; 4096]).contains("NUL"));
    let escape = refused_soon(b"version = 1\n[[set]]\nname = \"\\u001b[2J\\u202e\"\n");
    assert!(!escape.contains(['\u{1b}', '\u{202e}']), "{escape:?}");
}

/// Cuts, doubles, swaps and overwrites pieces of good files.
#[test]
fn damaged_good_files_never_panic() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut good = Vec::new();
    for folder in [root.join("examples"), root.join("tests/golden/every-key-accepted"), root.join("tests/golden/unknown-values")] {
        let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        good.extend(files.filter(|path| path.extension().is_some_and(|end| end == "toml")).map(|path| fs::read(path).unwrap()));
    }
    let words: [&[u8]; 12] = [b"\"", b"[", b"]]", b"{", b"=", b"\n", b"\xc3", b"-1", b"\\u202e", b"99999999999999999999", b"\"\"", b"::/0"];
    let mut state = 1_u64;
    let mut random = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below.max(1)
    };
    for round in 0..1500 {
        let mut bytes = good[round % good.len()].clone();
        for _ in 0..=random(4) {
            let (from, length) = (random(bytes.len()), random(40));
            let to = (from + length).min(bytes.len());
            match random(4) {
                0 => drop(bytes.drain(from..to)),
                1 => bytes.truncate(from),
                2 => {
                    let piece = bytes[from..to].to_vec();
                    let at = random(bytes.len());
                    bytes.splice(at..at, piece);
                }
                _ => drop(bytes.splice(from..to, words[random(words.len())].iter().copied())),
            }
        }
        errors_of(&bytes);
    }
}
