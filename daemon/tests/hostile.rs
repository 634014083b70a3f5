//! Files that nobody means well with: whatever they hold, there is an answer, it comes soon, and nothing panics.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use netpol_ebpf::policy::load;
use netpol_ebpf::schema::render;
use netpol_ebpf::source::Snapshot;

/// What is written over good bytes.
const WORDS: [&[u8]; 18] = [
    b"\"",
    b"[",
    b"]]",
    b"{",
    b"=",
    b"\n",
    b"\xc3",
    b"-1",
    b"\\u202e",
    b"99999999999999999999",
    b"\"\"",
    b"::/0",
    b"0/s",
    b"/",
    b"@",
    b"9999-12-31T23:59:60Z",
    b"0000-01-01T00:00:00-23:59",
    b"18446744073709551616/d",
];

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

/// CPU time of this thread, which other work on the machine does not change.
fn cpu_time() -> Duration {
    let stat = fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(stat.split(' ').next().unwrap().parse().unwrap())
}

/// Eight times as much of it may cost eight times as much, and not sixty-four times.
fn costs_grow_with_the_length(what: &str, few: usize, text: impl Fn(usize) -> String) {
    let cost = |count: usize| {
        let (text, start) = (text(count), cpu_time());
        errors_of(text.as_bytes());
        cpu_time() - start
    };
    cost(few);
    let (few, many) = (cost(few), cost(8 * few));
    assert!(many < 20 * few, "{what}: {few:?}, eight times as much: {many:?}");
}

#[test]
fn errors_in_long_lines_and_indented_blocks_cost_no_walk_each() {
    costs_grow_with_the_length("bad elements in one line", 25_000, |count| {
        format!("version = 1\n[[set]]\nname = \"s\"\nelements = [{}]\n", "\"\u{e4}\",".repeat(count))
    });
    costs_grow_with_the_length("rules in one line", 3_000, |count| {
        let rules = "{ action = \"allow\" }, ".repeat(count);
        format!("version = 1\n[[policy]]\nname = \"p\"\ninterfaces = [\"eth0\"]\ningress = [{rules}]\n")
    });
    costs_grow_with_the_length("policies that no line begins with", 5_000, |count| {
        format!("version = 1\n{}", " [[policy]]\n".repeat(count))
    });
    costs_grow_with_the_length("sets that no line begins with", 5_000, |count| {
        format!("version = 1\n{}", " [[set]]\n name = \"s\"\n".repeat(count))
    });
}

#[test]
fn hundred_thousand_files_are_answered_soon() {
    let files = |text: fn(usize) -> String| -> Vec<(String, Vec<u8>)> {
        (0..100_000).map(|n| (format!("{n:06}.toml"), text(n).into_bytes())).collect()
    };
    let load_all = |files: &[(String, Vec<u8>)]| {
        let start = Instant::now();
        let mut snapshot = Snapshot::of(Path::new("/hostile"), files);
        let loaded = load(&mut snapshot);
        let text = loaded.policies.as_ref().err().map(|errors| render(errors, &snapshot, false));
        assert!(start.elapsed() < Duration::from_secs(120), "{:?}", start.elapsed());
        (text, snapshot.digest())
    };
    assert_eq!(load_all(&files(|_| "version = 1\n".into())).0, None);
    assert!(load_all(&files(|_| String::new())).0.unwrap().contains("and 99800 more"));
    assert!(
        load_all(&files(|n| format!("version = 1\n[[set]]\nname = \"s\"\nelements = [\"10.0.{}.{}\"]\n", n % 250, n / 400))).0.is_some()
    );
}

#[test]
fn strange_bytes_are_refused_with_their_place() {
    assert!(refused_soon(b"version = 1\n# \0\n").contains("a.toml:2:3"));
    assert!(refused_soon(b"\xef\xbb\xbfversion = 1\n").contains("byte order mark"));
    assert!(refused_soon(b"version = 1\nx = \"\xff\"\n").contains("a.toml:2:6"));
    assert_eq!(errors_of(b"version = 1\r\n[daemon]\r\non_stop = \"keep\"\r\n"), None, "lines as other systems end them");
    assert!(refused_soon(b"version = 1\r\n\r\nx = 1\r\n").contains("a.toml:3:1"));
    assert!(refused_soon(b"version = 1\n[daemon]\non_stop = \"keep\"\non_stop = \"keep\"\n").contains("a.toml:4:1"));
    assert!(refused_soon(b"").contains("the file is empty"));
    assert!(refused_soon(&[0; 4096]).contains("NUL"));
    let escape = refused_soon(b"version = 1\n[[set]]\nname = \"\\u001b[2J\\u202e\"\n");
    assert!(!escape.contains(['\u{1b}', '\u{202e}']), "{escape:?}");
}

/// What is underlined is what is meant, however the line begins and however long it is.
#[test]
fn errors_in_long_lines_with_white_space_before_them_are_shown_or_named() {
    for space in ["\t", " ", "\u{a0}", "\u{3000}", "\t\u{2003} "] {
        for (before, after) in [(1, 1), (1, 200), (40, 1), (40, 200), (200, 200), (900, 900)] {
            let (before, after) = (space.repeat(before), space.repeat(after));
            for line in ["nonsense = 1", "\u{b}", "= \0", "x\u{a0}= [\"\u{301}\u{301}"] {
                let said = refused_soon(format!("version = 1\n{before}{line}{after}{line}{after}\n").as_bytes());
                assert!(said.contains("a.toml:2:"), "{said}");
            }
        }
    }
    let said = refused_soon(format!("version = 1\n\t\tnonsense = 1{}#\n", "\t".repeat(200)).as_bytes());
    let lines: Vec<&str> = said.lines().collect();
    let at = lines.iter().position(|line| line.contains("nonsense = 1")).expect("the line is shown");
    assert_eq!(lines[at].find("nonsense"), lines[at + 1].find('^'), "{said}");
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
                _ => drop(bytes.splice(from..to, WORDS[random(WORDS.len())].iter().copied())),
            }
        }
        errors_of(&bytes);
    }
}

#[test]
fn bad_rates_and_bursts_are_refused() {
    let rates = [
        "0/s",
        "-1/s",
        "1e9/s",
        "0x10/s",
        "100000001/s",
        "18446744073709551616/s",
        "340282366920938463463374607431768211456/d",
        "1/",
        "/s",
        "1/s/s",
        "1/week",
        " 1/s",
        "\\u00b2/s",
        "",
    ];
    for rate in rates {
        refused_in_rule(&format!("limit = {{ rate = \"{rate}\" }}"));
        refused_in_policy(&format!("xdp = {{ rate_limit = {{ packets = \"{rate}\" }} }}"));
        refused_in_policy(&format!("xdp = {{ rate_limit = {{ syns = \"{rate}\" }} }}"));
        refused_soon(format!("version = 1\n[daemon]\nlog = {{ rate = \"{rate}\" }}\n").as_bytes());
    }
    for burst in ["0", "-1", "4294967296", "9223372036854775807", "9223372036854775808", "1.5", "\"1\"", "true"] {
        refused_in_rule(&format!("limit = {{ rate = \"1/s\", burst = {burst} }}"));
        refused_in_policy(&format!("xdp = {{ rate_limit = {{ syns = \"1/s\", syns_burst = {burst} }} }}"));
    }
    refused_in_rule("limit = { rate = \"1/d\", burst = 4294967295 }");
}

#[test]
fn bad_moments_are_refused() {
    let moments = [
        "10000-01-01T00:00:00Z",
        "2026-02-29T00:00:00Z",
        "2026-12-31T24:00:00Z",
        "2026-12-31T00:00:00+24:00",
        "-001-01-01T00:00:00Z",
        "\\u0660",
        "",
    ];
    for moment in moments {
        refused_in_rule(&format!("expires = \"{moment}\""));
    }
    for moment in ["2026-12-31", "00:00:00", "2026-12-31T00:00:00", "10000-01-01T00:00:00Z", "0", "9e99", "inf", "[]"] {
        refused_in_rule(&format!("expires = {moment}"));
    }
}

#[test]
fn bad_senders_are_refused() {
    for mac in [
        "",
        ":::::",
        "aa:bb:cc:dd:ee",
        "aa:bb:cc:dd:ee:ff:00",
        "aa:bb:cc:dd:ee:+f",
        "g0:00:00:00:00:00",
        "ff:ff:ff:ff:ff:ff",
        "a\\u0301:bb:cc:dd:ee:ff",
    ] {
        refused_in_policy(&format!("anti_spoof = {{ allowed_macs = [\"{mac}\"] }}"));
    }
    for source in ["@", "@nosuch", "@@", "@ ", "@\\u202e", "", "::ffff:1.2.3.4", "10.0.0.1-10.0.0.2", "0.0.0.0/33"] {
        refused_in_policy(&format!("anti_spoof = {{ allowed_sources = [\"{source}\"] }}"));
    }
}

#[test]
fn bad_ports_and_sets_are_refused() {
    for ports in ["[]", "[-1]", "[65536]", "[\"1-65535\"]", "[\"2-1\"]", "true", "443", "[[]]", "[9223372036854775808]"] {
        refused_in_policy(&format!("xdp = {{ syn_cookies = {ports} }}"));
    }
    for set in [
        "max_entries = -1",
        "max_entries = 9223372036854775807",
        "timeout = \"0s\"",
        "timeout = \"-1h\"",
        "timeout = \"9999999999999999999d\"",
        "on_missing = \"\"",
    ] {
        refused_soon(format!("version = 1\n[[set]]\nname = \"s\"\ndynamic = true\n{set}\n").as_bytes());
    }
}

#[test]
fn keys_that_stand_twice_are_refused() {
    for line in [
        "limit = { rate = \"1/s\", rate = \"2/s\" }",
        "expires = 2030-01-01T00:00:00Z\nexpires = 2030-01-01T00:00:00Z",
        "limit.rate = \"1/s\"\nlimit = {}",
    ] {
        refused_in_rule(line);
    }
    for line in [
        "anti_spoof = { arp = true, arp = true }",
        "mode = \"audit\"\nmode = \"audit\"",
        "anti_spoof = {}\n[policy.anti_spoof]\narp = true",
    ] {
        refused_in_policy(line);
    }
}

#[test]
fn moments_at_the_ends_of_the_calendar_are_understood() {
    for moment in
        ["0000-01-01T00:00:00+23:59", "\"0000-01-01T00:00:00Z\"", "9999-12-31T23:59:60-23:59", "\"9999-12-31T23:59:59.999999999Z\""]
    {
        assert_eq!(errors_of(in_rule(&format!("expires = {moment}")).as_bytes()), None, "{moment}");
    }
}

fn in_rule(line: &str) -> String {
    in_policy(&format!("[[policy.ingress]]\naction = \"allow\"\n{line}"))
}

fn in_policy(line: &str) -> String {
    format!("version = 1\n[[policy]]\nname = \"p\"\ninterfaces = [\"eth0\"]\ndefault_action = {{ ingress = \"deny\" }}\n{line}\n")
}

fn refused_in_rule(line: &str) {
    refused_soon(in_rule(line).as_bytes());
}

fn refused_in_policy(line: &str) {
    refused_soon(in_policy(line).as_bytes());
}
