//! `[[test]]`: packets and the verdicts that are wanted, checked against what the policies could ever say.

use std::collections::HashMap;

use super::address::host;
use super::icmp::{self, ICMP, ICMPV6};
use super::interfaces;
use super::policies::Proven;
use super::words;
use crate::policy::model::{Direction, Expect, Family, Rule, TestCase, TestPacket, has_ports};
use crate::schema::document::{Document, PacketBlock, TestBlock};
use crate::schema::place::{At, Report, Span};
use crate::schema::suggest;

/// SYN: what a TCP packet of a test carries where nothing is said.
const SYN: u8 = 2;
/// TCP.
const TCP: u8 = 6;

/// All tests; those with errors are missing. `whole` says that no policy was refused, so that a rule which is not found is an error.
pub(super) fn read(documents: &[Document], policies: &[Proven<'_>], whole: bool, report: &mut Report) -> Vec<TestCase> {
    let mut names: HashMap<&str, Span> = HashMap::new();
    let mut tests = Vec::new();
    for block in documents.iter().flat_map(|document| &document.tests) {
        if let Some(name) = &block.name {
            if name.value.trim().is_empty() {
                report.error(name.span, "the name of a test is empty").help("say what the test proves; it is shown when the test fails");
            }
            if let Some(first) = names.get(name.value.as_str()) {
                let first = report.place(*first);
                let message = format!("two tests have the name `{}`", name.value);
                report.error(name.span, message).label("again here").also(first, "first here");
            } else {
                names.insert(&name.value, name.span);
            }
        }
        if let Some(test) = one(block, report) {
            if whole {
                against_policies(block, &test, policies, report);
            }
            tests.push(test);
        }
    }
    tests
}

fn one(block: &TestBlock, report: &mut Report) -> Option<TestCase> {
    let interface = block.interface.as_ref().and_then(|interface| {
        words::keep(report, interface.span, interfaces::name(&interface.value))?;
        if !interfaces::is_literal(&interface.value) {
            report.error(interface.span, format!("`{}` is a glob", interface.value)).help("a packet is seen at one interface; name it");
            return None;
        }
        Some(interface.value.clone())
    });
    let direction = block.direction.as_ref().and_then(|word| words::direction(report, "direction", word));
    let expects = [("allow", Expect::Allow), ("deny", Expect::Deny), ("reject", Expect::Reject)];
    let expect = block.expect.as_ref().and_then(|word| words::choose(report, "expect", word, &expects));
    let rule = block.rule.as_ref().map(|rule| rule.value.clone());
    let packet = block.packet.as_ref().and_then(|packet| self::packet(packet, report));
    let after: Vec<_> = block.after.iter().map(|packet| self::packet(packet, report)).collect();
    let after = after.into_iter().collect::<Option<Vec<_>>>();
    Some(TestCase {
        name: block.name.as_ref()?.value.clone(),
        origin: report.origin(block.span),
        interface: interface?,
        direction: direction?,
        packet: packet?,
        after: after?,
        expect: expect?,
        rule,
    })
}

fn packet(block: &PacketBlock, report: &mut Report) -> Option<TestPacket> {
    let protocol = block.protocol.as_ref().and_then(|protocol| words::keep(report, protocol.span, words::protocol(&protocol.value)));
    let vlan = block.vlan.as_ref().map(|tags| words::vlan(report, tags));
    let protocol = protocol?;
    let [source, destination] = [&block.source, &block.destination].map(|written| {
        let written = written.as_ref()?;
        words::keep(report, written.span, host(&written.value, has_ports(protocol)))
    });
    let icmp = icmp_of(block, protocol, report);
    let tcp_flags = match &block.tcp_flags {
        None => Some(if protocol == TCP { SYN } else { 0 }),
        Some(written) if protocol == TCP => words::keep(report, written.span, words::exact_tcp_flags(&written.value)),
        Some(written) => {
            report.error(written.span, format!("`tcp_flags` in a packet of {}", words::protocol_name(protocol))).help("only TCP has them");
            None
        }
    };
    let (source, destination) = (source?, destination?);
    if source.is_ipv4() != destination.is_ipv4() {
        report.error(block.span, "the packet goes from one IP version to the other").help("give `source` and `destination` of one family");
        return None;
    }
    let own = match protocol {
        ICMP => Some(Family::V4),
        ICMPV6 => Some(Family::V6),
        _ => None,
    };
    if own.is_some_and(|own| (own == Family::V4) != source.is_ipv4()) {
        let (wrong, right) = if source.is_ipv4() { ("icmpv6", "icmp") } else { ("icmp", "icmpv6") };
        let span = block.protocol.as_ref().map_or(block.span, |protocol| protocol.span);
        report
            .error(span, format!("the packet is {wrong}, but its addresses are of the other IP version"))
            .help(format!("write `\"{right}\"`"));
        return None;
    }
    Some(TestPacket {
        origin: report.origin(block.span),
        protocol,
        source,
        destination,
        icmp: icmp?,
        tcp_flags: tcp_flags?,
        vlan: words::optional(vlan)?,
    })
}

/// `Some(None)` for protocols without; a packet of ICMP must say what it is.
fn icmp_of(block: &PacketBlock, protocol: u8, report: &mut Report) -> Option<Option<(u8, u8)>> {
    match (&block.icmp, protocol) {
        (Some(written), ICMP | ICMPV6) => icmp::icmp(report, protocol, written).map(|icmp| Some((icmp.icmp_type, icmp.code.unwrap_or(0)))),
        (None, ICMP | ICMPV6) => {
            let message = format!("a packet of {} needs `icmp`", words::protocol_name(protocol));
            report.error(block.span, message).help("write for example `icmp = { type = \"echo-request\" }`");
            None
        }
        (Some(written), _) => {
            let message = format!("`icmp` in a packet of {}", words::protocol_name(protocol));
            report.error(written.span, message).help("only icmp and icmpv6 have types");
            None
        }
        (None, _) => Some(None),
    }
}

/// What can be said about a test without judging its packet.
fn against_policies(block: &TestBlock, test: &TestCase, policies: &[Proven<'_>], report: &mut Report) {
    let selecting: Vec<_> = policies.iter().filter(|proven| proven.policy.interfaces.selects(&test.interface)).collect();
    if let Some(interface) = block.interface.as_ref().filter(|_| selecting.is_empty()) {
        let message = format!("no policy selects `{}`: nothing is refused there, so the test proves nothing", test.interface);
        report.warning(interface.span, message);
    }
    let Some(id) = &block.rule else { return };
    let chains = selecting.iter().filter_map(|proven| proven.policy.chain(test.direction));
    let rules: Vec<&Rule> = chains.flat_map(|chain| &chain.rules).collect();
    let bare = selecting.iter().find_map(|proven| id.value.strip_prefix(&format!("{}/", proven.policy.name))).unwrap_or(&id.value);
    if rules.iter().all(|rule| rule.id != bare) {
        unknown_rule(id, test, &rules, report);
    }
}

fn unknown_rule(id: &At<String>, test: &TestCase, rules: &[&Rule], report: &mut Report) {
    let word = if test.direction == Direction::Ingress { "ingress" } else { "egress" };
    let known: Vec<&str> = rules.iter().map(|rule| rule.id.as_str()).collect();
    let message = format!("no {word} rule of `{}` has the id `{}`", test.interface, id.value);
    report.error(id.span, message).help(suggest::help(&id.value, "rules there", &known));
}
