//! Writers that truncate, wait and write piece by piece, over and over: no half of a file ever goes live.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use netpol_tests::policy::{allow_port, arriving};
use netpol_tests::{Bench, Family, Packet, machine, say, wait};

/// Bytes that are written one at a time.
const STEPS: usize = 10_000;

/// Numbers between 0 and a limit, the same in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

/// Many rules, the telling one last: a file cut at a rule's end is valid and would deny it.
fn policy(rules: u16, telling: u16) -> String {
    let mut text = String::new();
    for port in 2000..2000 + rules {
        text += &allow_port(&format!("p{port}"), "udp", port);
    }
    arriving(&(text + &allow_port("always", "udp", 53) + &allow_port("telling", "udp", telling)))
}

struct Desk {
    bench: Bench,
    path: PathBuf,
    first: u64,
}

impl Desk {
    fn new(text: &str) -> Option<Desk> {
        let bench = Bench::start(text)?;
        let path = bench.net.policy_dir().join("10-test.toml");
        let first = bench.cli().generation().as_u64().expect("a number");
        Some(Desk { bench, path, first })
    }

    fn passes(&self, port: u16) -> bool {
        let f = Family::V4;
        self.bench.arrives(&Packet::udp(f.at(1, 2, 4000), f.at(1, 1, port)))
    }

    fn generations(&self) -> u64 {
        self.bench.cli().generation().as_u64().expect("a number") - self.first
    }

    fn enforced(&self, port: u16) {
        wait::until(&format!("the whole file with {port} is enforced"), Duration::from_secs(60), || self.passes(port));
    }

    /// Every generation that went live has all rules, and none was refused for being half there.
    fn never_half(&self, rules: usize) {
        let live = self.bench.daemon.lines_with(&["is live:"]);
        let whole = format!("is live: {rules} rules");
        assert!(live.iter().all(|line| line.contains(&whole)), "a half went live: {live:#?}");
        let refused = self.bench.daemon.lines_with(&["refused, generation"]);
        assert!(refused.is_empty(), "a half was judged: {refused:#?}");
    }
}

#[test]
fn slow_writer_never_loses_a_rule_that_is_in_every_version() {
    let Some(desk) = Desk::new(&policy(100, 1000)) else { return };
    let rounds = machine::times(8, 2) as u16;
    for round in 1..=rounds {
        let text = policy(100, 1000 + round);
        let mut file = File::create(&desk.path).expect("truncated");
        for piece in text.as_bytes().chunks(text.len() / 8 + 1) {
            sleep(Duration::from_millis(30));
            assert!(desk.passes(53), "round {round}: a rule of every version");
            file.write_all(piece).expect("write");
        }
        drop(file);
        desk.enforced(1000 + round);
        assert!(!desk.passes(1000 + round - 1), "round {round}: the former version is gone");
    }
    assert_eq!(desk.generations(), u64::from(rounds));
    desk.never_half(102);
}

#[test]
fn ten_thousand_single_bytes_are_as_many_generations_as_files_closed() {
    let Some(desk) = Desk::new(&policy(20, 1000)) else { return };
    let (mut dice, mut steps, mut files) = (Dice(5), 0, 0);
    while steps < STEPS {
        files += 1;
        let text = policy(20, 1000 + files);
        let mut file = File::create(&desk.path).expect("truncated");
        sleep(Duration::from_millis(50));
        for byte in text.as_bytes() {
            file.write_all(&[*byte]).expect("write");
            // Mostly at once, often a little later, seldom longer than anybody waits for more.
            match dice.below(200) {
                0 => sleep(Duration::from_millis(100 + dice.below(100))),
                1..20 => sleep(Duration::from_micros(dice.below(3000))),
                _ => {}
            }
            steps += 1;
        }
        assert!(desk.passes(53) && desk.passes(1000 + files - 1), "file {files}: the former version until the file is closed");
        assert_eq!(desk.generations(), u64::from(files) - 1, "file {files}: nothing went live before it was closed");
        drop(file);
        desk.enforced(1000 + files);
    }
    say::aloud(&format!("{steps} bytes written one by one: {files} files, {} generations", desk.generations()));
    assert_eq!(desk.generations(), u64::from(files));
    desk.never_half(22);
}

/// Saves whole, rests for about as long as the daemon waits for more, and begins the next save with half of it, at the end of a
/// rule. So a look at the directory that the first save has caused meets the half of the second.
fn save_and_begin_again(path: &Path, whole: &str, next: &str, rest: Duration) {
    std::fs::write(path, whole).expect("write");
    sleep(rest);
    let half = next[..next.len() / 2].rfind("[[policy").expect("a rule");
    let mut file = File::create(path).expect("truncated");
    file.write_all(&next.as_bytes()[..half]).expect("write");
    sleep(Duration::from_millis(120));
    file.write_all(&next.as_bytes()[half..]).expect("write");
}

#[test]
fn save_that_begins_when_the_one_before_is_being_read_is_not_read_by_halves() {
    let Some(desk) = Desk::new(&policy(40, 1000)) else { return };
    let (begin, mut telling) = (Instant::now(), 1000);
    for rest in (60..160).step_by(2) {
        telling += 2;
        save_and_begin_again(&desk.path, &policy(40, telling - 1), &policy(40, telling), Duration::from_millis(rest));
        assert!(desk.passes(53), "a rule of every version\n{}", desk.bench.daemon.log());
    }
    desk.enforced(telling);
    say::aloud(&format!("50 saves that meet the look at the one before, in {:?}: {} generations", begin.elapsed(), desk.generations()));
    desk.never_half(42);
}
