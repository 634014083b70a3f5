//! The steps: one thing at a time is done to the daemon, while floods and connections run on.

use std::collections::BTreeMap;
use std::os::unix::net::UnixStream;
use std::thread::sleep;
use std::time::Duration;

use netpol_tests::policy::VERSION;
use netpol_tests::{Daemon, Family, wait};

use crate::world::{self, VARIANTS, World, text};

const FILE: &str = "10-test.toml";

/// Numbers between 0 and a limit, the same in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }

    fn nap(&mut self, most: u64) {
        sleep(Duration::from_millis(self.below(most)));
    }
}

/// What is done, at random.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Reload,
    BadFile,
    HangUps,
    Link,
    Sets,
    Replace,
    LargeSet,
    Connections,
    Trial,
    Commands,
    Clients,
    Freeze,
    Routes,
    Kill,
    KillInReload,
    Terminate,
}

/// Without an end of the daemon, then with one.
const STEPS: [Step; 16] = [
    Step::Reload,
    Step::BadFile,
    Step::HangUps,
    Step::Link,
    Step::Sets,
    Step::Replace,
    Step::LargeSet,
    Step::Connections,
    Step::Trial,
    Step::Commands,
    Step::Clients,
    Step::Freeze,
    Step::Routes,
    Step::Kill,
    Step::KillInReload,
    Step::Terminate,
];
const ENDS: u64 = 3;

/// The world and what was done to it.
pub struct Churn {
    world: World,
    dice: Dice,
    done: BTreeMap<Step, u32>,
    last: String,
}

impl Churn {
    /// Nothing yet.
    pub fn new(world: World) -> Churn {
        Churn { world, dice: Dice(20_261_127), done: BTreeMap::new(), last: "the start".into() }
    }

    /// The world.
    pub fn world(&self) -> &World {
        &self.world
    }

    /// The step that was done last, or is being done.
    pub fn last(&self) -> &str {
        &self.last
    }

    /// How many steps were done.
    pub fn steps(&self) -> u32 {
        self.done.values().sum()
    }

    /// One step, then a look at what it made. `ends`: the daemon may be ended.
    pub fn step(&mut self, ends: bool) {
        let most = STEPS.len() as u64 - if ends { 0 } else { ENDS };
        let step = STEPS[self.dice.below(most) as usize];
        self.last = format!("{step:?}");
        *self.done.entry(step).or_default() += 1;
        self.perform(step);
        self.world.settle(&self.last);
        self.world.probe(&self.last);
    }

    /// kill -9, and a new daemon.
    pub fn kill(&mut self) {
        self.world.bench.daemon.kill();
        self.world.check("kill -9, without a daemon");
        self.restart();
    }

    /// Ends everything; fails unless the standing connections still live.
    pub fn finish(self) -> String {
        let (steps, done) = (self.steps(), format!("{:?}", self.done));
        let (_, sent) = self.world.traffic();
        let words = self.world.finish();
        format!("{steps} steps {done} under {sent} hostile packets; all standing connections live after {words} words")
    }

    fn restart(&mut self) {
        self.world.bench.daemon = world::start(&self.world.bench.net);
        self.world.settle("a start");
    }

    fn daemon(&mut self) -> &mut Daemon {
        &mut self.world.bench.daemon
    }

    fn run(&self, arguments: &[&str]) {
        self.world.run(arguments);
    }

    fn write(&self, variant: u16) {
        self.world.bench.net.write(FILE, &text(variant));
    }

    /// Another variant, saved and waited for.
    fn change(&mut self) {
        let variant = self.other();
        self.world.change(|net| net.write(FILE, &text(variant)));
        self.world.variant = variant;
    }

    fn other(&mut self) -> u16 {
        (self.world.variant + 1 + self.dice.below(u64::from(VARIANTS) - 1) as u16) % VARIANTS
    }

    fn perform(&mut self, step: Step) {
        match step {
            Step::Reload => self.change(),
            Step::BadFile => self.bad_file(),
            Step::HangUps => {
                for _ in 0..20 {
                    self.daemon().reload();
                    self.dice.nap(5);
                }
            }
            Step::Link => self.link(),
            Step::Sets => self.sets(),
            Step::Replace => self.replace(),
            Step::LargeSet => self.large_set(),
            Step::Connections => self.connections(),
            Step::Trial => self.trial(),
            Step::Commands => [&["status"][..], &["rules"], &["set", "list"], &["set", "show", "friends"], &["apply"]]
                .iter()
                .for_each(|command| self.run(command)),
            Step::Clients => {
                let path = self.world.bench.net.runtime_dir().join("control.sock");
                let silent: Vec<UnixStream> = (0..20).map(|_| UnixStream::connect(&path).expect("the control socket")).collect();
                self.run(&["status"]);
                drop(silent);
            }
            Step::Freeze => {
                self.daemon().freeze(true);
                self.dice.nap(500);
                self.world.check("being frozen");
                self.daemon().freeze(false);
            }
            Step::Routes => {
                for n in 0..20 {
                    self.world.bench.net.dut.ip(&format!("route add 77.0.{n}.0/24 via 10.2.0.2"));
                }
                self.dice.nap(100);
                self.world.bench.net.dut.ip("route flush root 77.0.0.0/16");
            }
            Step::Kill => self.kill(),
            Step::KillInReload => {
                let variant = self.other();
                self.write(variant);
                self.dice.nap(400);
                self.world.variant = variant;
                self.kill();
            }
            Step::Terminate => {
                assert!(self.daemon().terminate().success(), "SIGTERM");
                self.world.check("SIGTERM, without a daemon");
                self.restart();
            }
        }
    }

    fn bad_file(&mut self) {
        let texts =
            ["version = 1\n[[policy]\n", "", "version = 1\n[[policy]]\nname = \"x\"\ninterfaces = [\"left\"]\nkey = 1\n", "\u{feff}"];
        let bad = texts[self.dice.below(texts.len() as u64) as usize];
        self.world.bench.net.write("30-bad.toml", bad);
        wait::until("a bad file is noticed", world::PATIENCE, || !self.world.status()["last_error"].is_null());
        self.world.probe("a bad file");
        self.world.bench.net.remove("30-bad.toml");
    }

    fn link(&mut self) {
        let dut = &self.world.bench.net.dut;
        dut.ip("link add hot0 type veth peer name cold0");
        dut.ip("link set hot0 up");
        self.dice.nap(200);
        dut.ip("link set hot0 down");
        dut.ip("link set hot0 name hot1");
        self.dice.nap(50);
        dut.ip("link del hot1");
    }

    fn sets(&mut self) {
        for _ in 0..5 {
            let host = 10 + self.dice.below(10) as u8;
            let element = format!("10.1.0.{host}");
            let verb = if self.world.friends.insert(host) {
                "add"
            } else {
                self.world.friends.remove(&host);
                "del"
            };
            self.run(&["set", verb, "friends", &element]);
        }
        self.run(&["set", "add", "blocked", "198.51.100.0/24", "--timeout", "1s"]);
    }

    fn replace(&mut self) {
        let hosts: Vec<u8> = (10..20).filter(|_| self.dice.below(2) == 0).collect();
        let list: String = hosts.iter().map(|host| format!("10.1.0.{host}\n")).collect();
        let path = self.world.bench.net.scratch("friends.txt");
        std::fs::write(&path, list).expect("the list");
        self.run(&["set", "replace", "friends", &path.display().to_string()]);
        self.world.friends = hosts.into_iter().collect();
    }

    fn large_set(&mut self) {
        let net = &self.world.bench.net;
        let list: String = (0..5000u32).map(|n| format!("30.{}.{}.{}\n", n >> 12, n >> 4 & 255, n % 16 * 16)).collect();
        std::fs::write(net.policy_dir().join("large.txt"), list).expect("the list");
        let rule = "[[policy.ingress]]\nid = \"large\"\naction = \"allow\"\nsource = { sets = [\"large\"] }\n";
        let policy = format!(
            "{VERSION}[[set]]\nname = \"large\"\nfiles = [\"large.txt\"]\n[[policy]]\nname = \"large\"\ninterfaces = [\"left\"]\n{rule}"
        );
        self.world.change(|net| net.write("25-large.toml", &policy));
        self.world.probe("a large set");
        self.world.change(|net| net.remove("25-large.toml"));
    }

    /// Real ones, opened and closed. A full table may refuse some.
    fn connections(&mut self) {
        let net = &self.world.bench.net;
        for n in 0..10 {
            let f = Family::BOTH[n % 2];
            match netpol_tests::sock::connect(&net.src, f.at(1, 1, 80)) {
                Ok(connection) => drop(connection),
                Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::TimedOut, "{error}"),
            }
        }
    }

    fn trial(&mut self) {
        let (former, variant, end) = (self.world.variant, self.other(), self.dice.below(3));
        self.write(variant);
        self.run(&["apply", "--confirm", if end == 2 { "2s" } else { "10m" }]);
        self.world.variant = variant;
        match end {
            0 => self.run(&["confirm"]),
            1 => {
                self.run(&["rollback"]);
                self.back_to(former);
            }
            _ => {
                let over = || self.world.status()["last_error"].as_str().is_some_and(|error| error.contains("rolled back"));
                wait::until("the trial is over", world::PATIENCE, over);
                self.back_to(former);
            }
        }
    }

    fn back_to(&mut self, former: u16) {
        self.world.variant = former;
        self.world.probe("a roll-back");
        self.write(former);
    }
}
