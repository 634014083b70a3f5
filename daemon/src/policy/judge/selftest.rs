//! The `[[test]]` blocks of a ruleset: each one is judged and compared with what its author expects.
//!
//! Knows how a few words in a test become packets of a plausible conversation. Used by `check`, by builds, and before a
//! ruleset goes live.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;

use super::packet::{
    ACK, ETHERTYPE_IPV4, ETHERTYPE_IPV6, FIN, ICMP, ICMPV6, Icmp, IpPacket, L4, Packet, Quote, QuotedL4, SYN, Sender, Tcp, UDP,
};
use super::parse::{address_refusal, icmpv6_without_source};
use super::state::icmp::{Kind, kind};
use super::{Conntrack, DefaultName, Interface, Judgement, RuleName, Verdict, family_of, judge};
use crate::policy::model::{Expect, Hook, Origin, PolicySet, TestCase, TestPacket, has_ports};
use crate::policy::reason::Reason;

/// Identifier of all ICMP requests and answers of a test.
const IDENTIFIER: u16 = 1;
/// Bytes that a packet of a test is said to have.
const LENGTH: u32 = 64;
/// Time between two packets of a test, ns.
const STEP: u64 = 1_000_000;

/// A `[[test]]` whose wish is not fulfilled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TestFailure {
    /// Name of the test.
    pub test: String,
    /// Where it is written.
    pub origin: Origin,
    /// The verdict that is wanted.
    pub expected: Expect,
    /// The verdict of the policies.
    pub got: Verdict,
    /// Why the packet is dropped, where it is.
    pub reason: Option<Reason>,
    /// The rule that decided.
    pub rule: Option<RuleName>,
    /// The default that decided.
    pub default: Option<DefaultName>,
    /// One sentence for people.
    pub message: String,
}

/// Judges every `[[test]]` and returns those that fail, in order of definition.
pub fn run_tests(set: &PolicySet) -> Vec<TestFailure> {
    set.tests.iter().filter_map(|test| failure(test, judge_test(set, test))).collect()
}

/// The verdict on a test's packet, after the packets that come first, long before any rule expires.
pub fn judge_test(set: &PolicySet, test: &TestCase) -> Judgement {
    judge_test_at(set, test, i64::MIN)
}

/// The same at a moment, Unix time in ns.
pub fn judge_test_at(set: &PolicySet, test: &TestCase, moment: i64) -> Judgement {
    let interface = Interface::named(&test.interface);
    let endpoint = set.policies.iter().find(|policy| policy.interfaces.selects(&test.interface)).map(|policy| policy.endpoint);
    let hook = endpoint.map_or(Hook::Ingress, |kind| kind.hook(test.direction));
    let mut conntrack = Conntrack::default();
    conntrack.wall_offset = moment;
    let mut conversation = Conversation::default();
    let mut now = STEP;
    for (number, packet) in test.after.iter().enumerate() {
        let hook = if same_direction(packet, &test.packet) { hook } else { hook.opposite() };
        judge(set, &interface, &mut conntrack, &conversation.packet(packet, hook, &test.after[..number], &interface), now);
        now += STEP;
    }
    judge(set, &interface, &mut conntrack, &conversation.packet(&test.packet, hook, &test.after, &interface), now)
}

/// Whether an earlier packet goes the way of the packet under test: from the same sender or to the same receiver, or else not the
/// other way round.
fn same_direction(earlier: &TestPacket, packet: &TestPacket) -> bool {
    let same = earlier.source.ip() == packet.source.ip() || earlier.destination.ip() == packet.destination.ip();
    let opposite = earlier.source.ip() == packet.destination.ip() || earlier.destination.ip() == packet.source.ip();
    same || !opposite
}

/// What the TCP ends of a test have sent so far.
#[derive(Default)]
struct Conversation {
    /// Next sequence number, by sender and receiver.
    next: BTreeMap<(SocketAddr, SocketAddr), u32>,
}

impl Conversation {
    /// The packet that a test speaks of. An ICMP error quotes the last packet before it that its receiver sent.
    fn packet(&mut self, packet: &TestPacket, hook: Hook, before: &[TestPacket], interface: &Interface) -> Packet {
        let (source, destination) = (packet.source.ip(), packet.destination.ip());
        let protocol = u16::from(packet.protocol);
        let l4 = match protocol {
            super::packet::TCP => L4::Tcp(self.segment(packet)),
            super::packet::SCTP => {
                let (source, destination) = (packet.source.port(), packet.destination.port());
                L4::Sctp { source, destination, first_chunk: Some(1) }
            }
            _ if has_ports(packet.protocol) => L4::Ports { source: packet.source.port(), destination: packet.destination.port() },
            ICMP if source.is_ipv4() => L4::Icmp(message(packet, before)),
            ICMPV6 if source.is_ipv6() => L4::Icmp(message(packet, before)),
            _ => L4::None,
        };
        let neighbour = matches!(&l4, L4::Icmp(message) if source.is_ipv6() && (133..=137).contains(&message.icmp_type));
        let ip = IpPacket { source, destination, protocol, hop_limit: if neighbour { 255 } else { 64 }, fragment: None, l4 };
        Packet {
            hook,
            tags: packet.vlan.map_or([0, 0], |vlan| [vlan.outer, vlan.inner]),
            ethertype: if source.is_ipv4() { ETHERTYPE_IPV4 } else { ETHERTYPE_IPV6 },
            length: LENGTH,
            // A test says nothing of stations: what is asked of them is not asked here.
            sender: Sender::default(),
            refusal: address_refusal(source, destination, has_no_source_yet(&ip), interface.device),
            ip: Some(ip),
        }
    }

    /// A segment that fits what both ends have sent before.
    fn segment(&mut self, packet: &TestPacket) -> Tcp {
        let (from, to) = (packet.source, packet.destination);
        let first = |port: u16| u32::from(port).wrapping_mul(0x1_0001);
        let acknowledgement = self.next.get(&(to, from)).copied().unwrap_or_default();
        let next = self.next.entry((from, to)).or_insert_with(|| first(from.port()));
        let sequence = *next;
        let sequence_length = u32::from(packet.tcp_flags & SYN != 0) + u32::from(packet.tcp_flags & FIN != 0);
        *next = next.wrapping_add(sequence_length);
        Tcp {
            source_port: from.port(),
            destination_port: to.port(),
            flags: packet.tcp_flags,
            sequence,
            acknowledgement: if packet.tcp_flags & ACK != 0 { acknowledgement } else { 0 },
            sequence_length,
        }
    }
}

fn message(packet: &TestPacket, before: &[TestPacket]) -> Icmp {
    let (icmp_type, code) = packet.icmp.unwrap_or_default();
    let is_error = kind(family_of(packet.source.ip()), icmp_type) == Kind::Error;
    let quoted = before.iter().rev().find(|earlier| is_error && earlier.source.ip() == packet.destination.ip());
    Icmp { icmp_type, code, identifier: IDENTIFIER, quoted: quoted.map(quote) }
}

fn quote(packet: &TestPacket) -> Quote {
    let l4 = match packet.icmp {
        Some((icmp_type, _)) => QuotedL4::Icmp { icmp_type, identifier: IDENTIFIER },
        None if has_ports(packet.protocol) => QuotedL4::Ports { source: packet.source.port(), destination: packet.destination.port() },
        None => QuotedL4::None,
    };
    Quote { source: packet.source.ip(), destination: packet.destination.ip(), protocol: packet.protocol, l4 }
}

/// DHCP, neighbour discovery and MLD may come from the unspecified address.
fn has_no_source_yet(ip: &IpPacket) -> bool {
    match &ip.l4 {
        L4::Icmp(message) => ip.source.is_ipv6() && icmpv6_without_source(message.icmp_type),
        _ => ip.source.is_ipv4() && ip.protocol == UDP && ip.ports() == Some((68, 67)),
    }
}

/// Compares a judgement with what the test wants.
fn failure(test: &TestCase, judgement: Judgement) -> Option<TestFailure> {
    let wanted = match test.expect {
        Expect::Allow => Verdict::Allow,
        Expect::Deny => Verdict::Deny,
        Expect::Reject => Verdict::Reject,
    };
    let decided = decider(&judgement);
    let mut message = String::new();
    if judgement.verdict != wanted {
        let (wanted, got) = (word(wanted), word(judgement.verdict));
        message = format!("expected {wanted}, but {decided} says {got}");
        if let Some(reason) = judgement.reason {
            // Writing to a String cannot fail.
            write!(message, " ({reason})").unwrap_or_default();
        }
    } else if let Some(rule) = test.rule.as_deref().filter(|rule| !is_called(judgement.rule.as_ref(), rule)) {
        message = format!("{} as expected, but {decided} decided, not rule \"{rule}\"", word(judgement.verdict));
    }
    (!message.is_empty()).then(|| TestFailure {
        test: test.name.clone(),
        origin: test.origin.clone(),
        expected: test.expect,
        got: judgement.verdict,
        reason: judgement.reason,
        rule: judgement.rule,
        default: judgement.default,
        message,
    })
}

fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Allow => "allow",
        Verdict::Deny => "deny",
        Verdict::Reject => "reject",
    }
}

/// A rule is called by its id, or by "policy/id".
fn is_called(rule: Option<&RuleName>, wanted: &str) -> bool {
    rule.is_some_and(|rule| {
        rule.id == wanted || wanted.strip_suffix(&rule.id).is_some_and(|rest| rest.strip_suffix('/') == Some(&rule.policy))
    })
}

/// Who decided, for people: a rule, a default, or else the stage that spoke last.
fn decider(judgement: &Judgement) -> String {
    match (&judgement.rule, &judgement.default) {
        (Some(rule), _) => format!("rule \"{}/{}\" ({})", rule.policy, rule.id, rule.origin),
        (None, Some(default)) => format!("the default of policy \"{}\" ({})", default.policy, default.origin),
        (None, None) => judgement.steps.last().map_or_else(|| "no policy".to_owned(), |step| format!("\"{step}\"")),
    }
}
