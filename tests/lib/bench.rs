//! The usual question: with this policy on `left`, does this packet pass this hook?
//!
//! No timeouts decide: behind each packet goes an ARP frame, which every policy lets through; when it has arrived, the packet
//! before it has been judged.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use crate::cli::Cli;
use crate::daemon::Daemon;
use crate::net::Net;
use crate::ns::Namespace;
use crate::packet::Packet;
use crate::wire::{ALL, ARP, Observer, Sender, fence};
use crate::{policy, sys};

/// Where on `left` a packet is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hook {
    /// It arrives from `src`.
    Ingress,
    /// It leaves towards `src`.
    Egress,
}

impl Hook {
    /// Both.
    pub const BOTH: [Hook; 2] = [Hook::Ingress, Hook::Egress];
}

/// A world, a daemon and a way through each hook.
#[derive(Debug)]
pub struct Bench {
    /// The daemon.
    pub daemon: Daemon,
    ways: Ways,
    /// The namespaces and directories.
    pub net: Net,
}

impl Bench {
    /// Starts the daemon with one policy file; `None` where the test must be skipped.
    pub fn start(policy: &str) -> Option<Bench> {
        Bench::start_in(Net::new()?, policy)
    }

    /// The same in a world that the test has prepared.
    pub fn start_in(net: Net, policy: &str) -> Option<Bench> {
        net.write("10-test.toml", policy);
        let daemon = Daemon::start(&net);
        let refused = Cli(&net).last_error();
        assert_eq!(refused, "", "the test's own policy is good");
        Some(Bench::around(net, daemon))
    }

    /// Puts the ways around a daemon that runs already.
    pub fn around(net: Net, daemon: Daemon) -> Bench {
        let ways = Ways::new(&net);
        Bench { daemon, ways, net }
    }

    /// A bench whose policy isolates both directions of `left` with these rules.
    pub fn with_rules(rules: &str) -> Option<Bench> {
        Bench::start(&policy::both_ways(rules))
    }

    /// From now on frames are sent from pages: beyond the Ethernet header nothing lies in the linear part of an skb.
    pub fn in_pages(mut self) -> Bench {
        self.ways.ingress.sender = Sender::of_pages(&self.net.src, "eth0");
        self.ways.egress.sender = Sender::of_pages(&self.net.dut, "left");
        self
    }

    /// The command line.
    pub fn cli(&self) -> Cli<'_> {
        Cli(&self.net)
    }

    /// Whether a packet passes a hook of `left`.
    pub fn passes(&self, hook: Hook, packet: &Packet) -> bool {
        self.ways.passes(&self.net, hook, packet)
    }

    /// How many frames of a burst pass a hook. They are sent at once, in order, by one CPU.
    pub fn through(&self, hook: Hook, packets: &[Packet]) -> usize {
        let frames = self.deliver(hook, packets);
        frames.iter().filter(|frame| packets.iter().any(|packet| frame.ends_with(&packet.l3()))).count()
    }

    /// The frames that come out behind a hook when these packets are sent at once, in order, by one CPU.
    pub fn deliver(&self, hook: Hook, packets: &[Packet]) -> Vec<Vec<u8>> {
        self.ways.deliver(&self.net, hook, packets)
    }

    /// Whether a packet from `src` gets past `left`.
    pub fn arrives(&self, packet: &Packet) -> bool {
        self.passes(Hook::Ingress, packet)
    }

    /// Whether a packet of the dut gets out of `left`.
    pub fn leaves(&self, packet: &Packet) -> bool {
        self.passes(Hook::Egress, packet)
    }

    /// Saves another policy in place of the first one and waits until it is enforced.
    pub fn change(&self, policy: &str) {
        let before = self.cli().generation();
        self.net.write("10-test.toml", policy);
        self.cli().wait_for_other(&before);
    }

    /// Saves a policy that must not go live: waits for the error and answers with its text.
    pub fn change_badly(&self, policy: &str) -> String {
        let before: Value = self.cli().generation();
        self.net.write("10-test.toml", policy);
        crate::wait::until("an error in the status", Duration::from_secs(10), || !self.cli().last_error().is_empty());
        assert_eq!(self.cli().generation(), before, "a refused ruleset leaves the running generation alone");
        self.cli().last_error()
    }

    /// Fails the test unless the packet is dropped at the hook and exactly this reason's counter rises, by one.
    /// The kernels of the bench send a frame of their own now and then: what rose with it is measured once more.
    pub fn refused(&self, hook: Hook, reason: &str, packet: &Packet, what: &str) {
        let wanted = BTreeMap::from([(reason.to_owned(), 1)]);
        let rose = self.reasons_of(hook, packet, what);
        if rose.values().sum::<u64>() > 1 && rose.contains_key(reason) {
            assert_eq!(self.reasons_of(hook, packet, what), wanted, "{what} at {hook:?}, after {rose:?}");
        } else {
            assert_eq!(rose, wanted, "{what} at {hook:?}");
        }
    }

    fn reasons_of(&self, hook: Hook, packet: &Packet, what: &str) -> BTreeMap<String, u64> {
        let before = self.cli().status();
        assert!(!self.passes(hook, packet), "{what}: passes {hook:?}");
        reasons_that_rose(&before, &self.cli().status())
    }

    /// Judges a table of packets: what it is, the packet, whether it passes.
    pub fn judge(&self, hook: Hook, cases: &[(&str, Packet, bool)]) {
        for (what, packet, expected) in cases {
            let verb = if *expected { "passes" } else { "is refused" };
            assert_eq!(self.passes(hook, packet), *expected, "{what} {verb} at {hook:?}");
        }
    }
}

/// A way through each hook of `left`. Also works where no firewall runs, which proves that the observers see.
#[derive(Debug)]
pub struct Ways {
    ingress: Way,
    egress: Way,
}

impl Ways {
    /// Opens senders and observers.
    pub fn new(net: &Net) -> Ways {
        Ways {
            ingress: Way::new(&net.src, "eth0", &net.dut, "left", &[0x0800, 0x86dd, 0x8100, 0x88a8, 0x0004]),
            egress: Way::new(&net.dut, "left", &net.src, "eth0", &[ALL]),
        }
    }

    /// Whether a packet gets from one side of the hook to the other.
    pub fn passes(&self, net: &Net, hook: Hook, packet: &Packet) -> bool {
        let wanted = packet.l3();
        self.deliver(net, hook, std::slice::from_ref(packet)).iter().any(|frame| frame.ends_with(&wanted))
    }

    /// The frames that come out behind a hook when these packets are sent.
    pub fn deliver(&self, net: &Net, hook: Hook, packets: &[Packet]) -> Vec<Vec<u8>> {
        match hook {
            Hook::Ingress => self.ingress.deliver(&net.dut, "left", packets),
            Hook::Egress => self.egress.deliver(&net.src, "eth0", packets),
        }
    }
}

/// From a sender to observers behind the hook.
#[derive(Debug)]
pub struct Way {
    sender: Sender,
    fence: Observer,
    observers: RefCell<BTreeMap<u16, Observer>>,
}

impl Way {
    /// From an interface to its other end; the observers see those protocols there.
    pub fn new(from: &Namespace, out: &str, to: &Namespace, at: &str, protocols: &[u16]) -> Way {
        let observers = protocols.iter().map(|protocol| (*protocol, Observer::open(to, at, *protocol))).collect();
        Way { sender: Sender::open(from, out), fence: Observer::open(to, at, ARP), observers: RefCell::new(observers) }
    }

    /// Whether a packet comes out behind the hook of that interface.
    pub fn passes(&self, to: &Namespace, at: &str, packet: &Packet) -> bool {
        let wanted = packet.l3();
        self.deliver(to, at, std::slice::from_ref(packet)).iter().any(|frame| frame.ends_with(&wanted))
    }

    /// The frames that come out behind the hook of that interface, from the senders of these packets.
    pub fn deliver(&self, to: &Namespace, at: &str, packets: &[Packet]) -> Vec<Vec<u8>> {
        let mut observers = self.observers.borrow_mut();
        if !observers.contains_key(&ALL) {
            for protocol in packets.iter().map(Packet::protocol_on_wire) {
                observers.entry(protocol).or_insert_with(|| Observer::open(to, at, protocol));
            }
        }
        for observer in observers.values() {
            observer.drain();
        }
        let (sender, fence) = (&self.sender, fence());
        // One CPU: frames cannot overtake each other.
        std::thread::scope(|scope| {
            scope.spawn(|| {
                sys::stay_on_cpu(0).expect("a CPU to stay on");
                for frame in packets.iter().map(Packet::frame) {
                    sender.send(&frame);
                }
                sender.send(&fence.frame());
            });
        });
        assert!(self.fence.wait_for(&fence.l3(), Duration::from_secs(5)), "ARP passes every policy, but did not arrive");
        let fence = fence.frame();
        let ours = |frame: &Vec<u8>| packets.iter().any(|packet| frame[6..12] == packet.sender()) && *frame != fence;
        observers.values().flat_map(Observer::drain).filter(ours).collect()
    }
}

/// Every drop counter of the status that differs, with its difference.
fn reasons_that_rose(before: &Value, after: &Value) -> BTreeMap<String, u64> {
    let (before, after) = (crate::cli::reasons(before), crate::cli::reasons(after));
    after
        .into_iter()
        .map(|(reason, packets)| {
            let rise = packets - before.get(&reason).copied().unwrap_or(0);
            (reason, rise)
        })
        .filter(|(_, rise)| *rise > 0)
        .collect()
}
