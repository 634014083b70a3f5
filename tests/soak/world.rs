//! The policy in its variants, what must hold under each of them, and the looks at it.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::net::UdpSocket;
use std::os::unix::process::CommandExt;
use std::time::{Duration, Instant};

use netpol_tests::cli::{DONE, KERNEL};
use netpol_tests::policy::{VERSION, policy};
use netpol_tests::standing::Standing;
use netpol_tests::{Bench, Daemon, Family, Net, Packet, sock, wait};
use serde_json::Value;

use crate::flood::Flood;

/// How long a step may take on a machine that is busy with other things; only what is stuck takes as long.
pub const PATIENCE: Duration = Duration::from_secs(180);
/// Connections that carry words all the time.
const STANDING: usize = 20;
/// Variants of the policy: each opens another port.
pub const VARIANTS: u16 = 3;

/// A failsafe entry: open under every policy, full tables or not.
pub const ALWAYS: u16 = 1000;
/// Named by no rule of any variant.
pub const NEVER: u16 = 2000;
/// Open in variant N: this plus N.
const VARIANT: u16 = 3000;
/// Open to members of the set.
const FRIENDS: u16 = 4000;
/// Logged, and refused.
pub const LOGGED: u16 = 5000;

/// The file of one variant. Its tests are what the plain judge has to say of the packets that are sent here for real.
pub fn text(variant: u16) -> String {
    let head = "[daemon]\nfailsafe.inbound = [{ protocol = \"udp\", port = 1000 }]\nlog = { rate = \"200/s\", burst = 200 }\n\
        [daemon.conntrack]\nmax_entries = 8192\nmax_half_open = 1024\nudp = \"5s\"\ntcp_syn = \"5s\"\ntcp_fin = \"5s\"\nicmp = \"5s\"\n\
        [[set]]\nname = \"friends\"\ndynamic = true\n[[set]]\nname = \"blocked\"\ndynamic = true\n";
    let rule = |id: &str, rest: &str| format!("[[policy.ingress]]\nid = \"{id}\"\n{rest}\n");
    let port = |protocol: &str, port: u16| format!("protocol = \"{protocol}\"\ndestination = {{ ports = [{port}] }}");
    let rules = rule("web", &format!("action = \"allow\"\n{}", port("tcp", 80)))
        + &rule("ping", "action = \"allow\"\nprotocol = \"icmp\"\nlimit = { rate = \"1000/s\", burst = 1000, per = \"source\" }")
        + &rule("variant", &format!("action = \"allow\"\n{}", port("udp", VARIANT + variant)))
        + &rule("friends", &format!("action = \"allow\"\nsource = {{ sets = [\"friends\"] }}\n{}", port("udp", FRIENDS)))
        + &rule("logged", &format!("action = \"deny\"\nlog = true\n{}", port("udp", LOGGED)));
    let test = |name: &str, port: u16, expect: &str| {
        format!(
            "[[test]]\nname = \"{name}\"\ninterface = \"left\"\ndirection = \"ingress\"\nexpect = \"{expect}\"\n\
             packet = {{ protocol = \"udp\", source = \"10.1.0.2:4000\", destination = \"10.1.0.1:{port}\" }}\n"
        )
    };
    let fate = |open: bool| if open { "allow" } else { "deny" };
    let tests = (0..VARIANTS).map(|n| test(&format!("variant {n}"), VARIANT + n, fate(n == variant)));
    let keys = "policy_types = [\"ingress\", \"egress\"]\ndefault_action = { ingress = \"deny\", egress = \"allow\" }\n\
        [policy.xdp]\nmode = \"off\"\ndeny_sets = [\"blocked\"]";
    let text = policy("soak", keys).replacen(VERSION, &format!("{VERSION}{head}"), 1) + &rules;
    text + &tests.collect::<String>() + &test("never", NEVER, "deny") + &test("always", ALWAYS, "allow")
}

/// Everything that is tried on.
pub struct World {
    /// Daemon and namespaces.
    pub bench: Bench,
    /// The variant that is live.
    pub variant: u16,
    /// What the set `friends` holds: the last byte of addresses 10.1.0.N.
    pub friends: BTreeSet<u8>,
    standing: Standing,
    flood: Flood,
    /// Receivers at the port that nothing may reach.
    never: [UdpSocket; 2],
    always: [(UdpSocket, UdpSocket); 2],
}

/// The daemon hears no Ctrl-C: it ends when it is told to.
pub fn start(net: &Net) -> Daemon {
    Daemon::start_under(net, &[], |command| {
        command.process_group(0);
    })
}

impl World {
    /// `None` where this process may not.
    pub fn new(rate: u32) -> Option<World> {
        let net = Net::new()?;
        net.write("10-test.toml", &text(0));
        net.write("20-hot.toml", &format!("{VERSION}[[policy]]\nname = \"hot\"\ninterfaces = [\"hot*\"]\npolicy_types = [\"ingress\"]\n"));
        let daemon = start(&net);
        let never = Family::BOTH.map(|f| sock::udp(&net.dut, f.at(1, 1, NEVER)));
        never.iter().for_each(|socket| socket.set_nonblocking(true).expect("non-blocking"));
        let always = Family::BOTH.map(|f| (sock::udp(&net.src, f.any(0)), sock::udp(&net.dut, f.at(1, 1, ALWAYS))));
        let standing = Standing::start(&net, STANDING, 80, Duration::from_millis(20));
        let flood = Flood::start(&net.src, rate);
        let (friends, bench) = (BTreeSet::new(), Bench::around(net, daemon));
        Some(World { bench, variant: 0, friends, standing, flood, never, always })
    }

    /// Fails unless everything holds that must always hold.
    pub fn check(&self, after: &str) {
        assert!(self.standing.live(), "after {after}: a standing connection was cut\n{}", self.last_words());
        for (f, never) in Family::BOTH.into_iter().zip(&self.never) {
            let got = never.recv_from(&mut [0; 64]);
            let nothing = got.as_ref().is_err_and(|error| error.kind() == ErrorKind::WouldBlock);
            assert!(nothing, "after {after}: {f:?}: a packet that every policy denies came through: {got:?}");
        }
        for (f, (from, to)) in Family::BOTH.into_iter().zip(&self.always) {
            // A frame may get lost in a queue of the kernel; three in a row do not.
            let passes = (0..3).any(|_| sock::datagram_passes(from, to, f.at(1, 1, ALWAYS)));
            assert!(passes, "after {after}: {f:?}: what every policy allows is lost\n{}", self.last_words());
        }
    }

    /// Fails unless the packets of the policy's own tests meet the fate that the plain judge foresaw.
    pub fn probe(&self, after: &str) {
        // A full table of half-open flows refuses what the rules allow: the flood rests.
        self.flood.rest(true);
        let room = || self.fates()[usize::from(self.variant)];
        wait::poll(Duration::from_secs(20), || room().then_some(()));
        let wanted: Vec<bool> = (0..VARIANTS).map(|n| n == self.variant).collect();
        assert_eq!(self.fates(), wanted, "after {after}: variant {}\n{}", self.variant, self.last_words());
        let f = Family::V4;
        for host in 10..20 {
            let arrives = || self.bench.arrives(&Packet::udp(f.at(1, host, 4000), f.at(1, 1, FRIENDS)));
            let friend = self.friends.contains(&host);
            // Room comes by and by; what is no member never gets any.
            let open = if friend { wait::poll(Duration::from_secs(20), || arrives().then_some(())).is_some() } else { arrives() };
            assert_eq!(open, friend, "after {after}: member {host} of {:?}", self.friends);
        }
        self.flood.rest(false);
    }

    fn fates(&self) -> Vec<bool> {
        let f = Family::V4;
        (0..VARIANTS).map(|n| self.bench.arrives(&Packet::udp(f.at(1, 2, 4000), f.at(1, 1, VARIANT + n)))).collect()
    }

    /// `status`, however long a busy machine takes for it.
    pub fn status(&self) -> Value {
        let mut said = String::new();
        let status = wait::poll(PATIENCE, || {
            let answer = self.bench.cli().run(&["status", "--json"]);
            said = answer.text();
            (answer.code == DONE).then(|| serde_json::from_str(&answer.out).expect("JSON"))
        });
        status.unwrap_or_else(|| panic!("no status: {said}\n{}", self.last_words()))
    }

    /// Runs a command that may be given twice: on a busy machine the first answer may have come too late.
    pub fn run(&self, arguments: &[&str]) {
        let begin = Instant::now();
        loop {
            let answer = self.bench.cli().run(arguments);
            let late = answer.code == KERNEL && answer.text().contains("temporarily unavailable");
            if !late || begin.elapsed() > PATIENCE {
                answer.expect(DONE);
                return;
            }
        }
    }

    /// Does something to the files and waits until what they say is live.
    pub fn change(&self, change: impl FnOnce(&Net)) {
        let before = self.status()["generation"].clone();
        change(&self.bench.net);
        wait::until("a new generation", PATIENCE, || self.status()["generation"] != before);
    }

    /// Waits until the daemon has nothing left to do: what the files say is live, without an error.
    pub fn settle(&mut self, what: &str) {
        assert!(self.bench.daemon.lives(), "{what}: the daemon has ended\n{}", self.last_words());
        let mut last = Value::Null;
        let settled = wait::poll(PATIENCE, || {
            last = self.status();
            (last["state"] == "ok").then_some(())
        });
        assert!(settled.is_some(), "{what}: not settled: {last}\n{}", self.last_words());
    }

    /// Words of standing connections, packets of the flood.
    pub fn traffic(&self) -> (u64, u64) {
        (self.standing.words(), self.flood.sent())
    }

    /// Fails unless each standing connection lives to the end; how many words they have carried.
    pub fn finish(self) -> u64 {
        drop(self.flood);
        self.standing.finish()
    }

    fn last_words(&self) -> String {
        let log = self.bench.daemon.log();
        let mut lines: Vec<&str> =
            log.lines().filter(|line| !line.contains("packet]") && !line.contains("could not be told")).rev().take(20).collect();
        lines.reverse();
        lines.join("\n")
    }
}
