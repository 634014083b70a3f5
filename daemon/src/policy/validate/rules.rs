//! `[[policy.ingress]]` and `[[policy.egress]]`: one rule, whose keys must not contradict each other.

use std::collections::HashMap;

use super::Reading;
use super::icmp::{self, ICMP, ICMPV6};
use super::moment::moment;
use super::never;
use super::peers;
use super::rates;
use super::words;
use crate::policy::model::{Action, Family, RejectWith, Rule, has_ports};
use crate::schema::document::{PolicyBlock, RuleBlock};
use crate::schema::place::{At, Report, Span};

/// TCP.
const TCP: u8 = 6;

/// What the keys `ip_version` and `protocol` say, and where.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Kind {
    pub(super) family: Option<Family>,
    /// The key that fixes the family.
    pub(super) family_span: Option<Span>,
    pub(super) protocol: Option<u8>,
    pub(super) protocol_span: Option<Span>,
}

/// Ids of all rules of a policy, ingress first: as given, or `<direction>-<position>`. One that is taken is an error.
pub(super) fn ids(block: &PolicyBlock, report: &mut Report) -> Vec<Option<String>> {
    let mut taken: HashMap<String, (Span, bool)> = HashMap::new();
    let numbered = |word: &'static str, rules: &[RuleBlock]| (1..=rules.len()).map(|n| format!("{word}-{n}")).collect::<Vec<_>>();
    let derived = [numbered("ingress", &block.ingress), numbered("egress", &block.egress)].concat();
    let rules: Vec<&RuleBlock> = block.ingress.iter().chain(&block.egress).collect();
    let mut ids = Vec::new();
    for (rule, derived) in rules.into_iter().zip(derived) {
        let given = rule.id.is_some();
        let (id, span) = match &rule.id {
            Some(id) => (words::name(report, "rule id", id), id.span),
            None => (Some(derived), rule.span),
        };
        let taken_by = id.as_ref().and_then(|id| taken.get(id).copied());
        match (id, taken_by) {
            (Some(id), Some((first, first_given))) => {
                let first = report.place(first);
                let message = if given && first_given {
                    format!("two rules of this policy have the id `{id}`")
                } else {
                    format!("the id `{id}` is given to one rule, and another without `id` is called so by its position")
                };
                report.error(span, message).also(first, "the other rule").help("give each rule an id of its own");
                ids.push(None);
            }
            (id, _) => {
                taken.extend(id.clone().map(|id| (id, (span, given))));
                ids.push(id);
            }
        }
    }
    ids
}

/// One rule; `None` where something was refused.
pub(super) fn rule(block: &RuleBlock, id: Option<String>, reading: &mut Reading<'_>, report: &mut Report) -> Option<Rule> {
    let actions = [("allow", Action::Allow), ("deny", Action::Deny), ("reject", Action::Reject), ("pass", Action::Pass)];
    let action = block.action.as_ref().and_then(|word| words::choose(report, "action", word, &actions));
    let kind = kind(block, report);
    let [source, destination] = [("source", &block.source), ("destination", &block.destination)]
        .map(|(what, peer)| peers::read(what, peer, kind.as_ref(), reading.sets, report));
    let icmp = icmp_match(block, kind.as_ref(), report);
    let tcp_flags = tcp_flags(block, kind.as_ref(), report);
    let vlan = block.vlan.as_ref().map(|tags| words::vlan(report, tags));
    let limit = block.limit.as_ref().map(|limit| rates::limit(limit, report));
    let reject_with = reject_with(block, action, kind.as_ref(), report);
    let expires = block.expires.as_ref().map(|text| words::keep(report, text.span, moment(&text.value)));
    let kind = kind?;
    let rule = Rule {
        id: id?,
        origin: report.origin(block.span),
        action: action?,
        family: kind.family,
        protocol: kind.protocol,
        source: source?,
        destination: destination?,
        icmp: icmp?,
        tcp_flags: tcp_flags?,
        vlan: words::optional(vlan)?,
        log: block.log.as_ref().is_some_and(|log| log.value),
        limit: words::optional(limit)?,
        reject_with: reject_with?,
        expires: words::optional(expires)?,
        comment: block.comment.as_ref().map(|comment| comment.value.clone()),
    };
    never::warn(&rule, block, reading, report);
    Some(rule)
}

/// Reads `ip_version` and `protocol`; `None` where one of them was refused.
fn kind(block: &RuleBlock, report: &mut Report) -> Option<Kind> {
    let version = match &block.ip_version {
        None => Some(None),
        Some(At { value: 4, span }) => Some(Some((Family::V4, *span))),
        Some(At { value: 6, span }) => Some(Some((Family::V6, *span))),
        Some(other) => {
            report.error(other.span, format!("there is no `ip_version = {}`", other.value)).help("possible values: 4, 6");
            None
        }
    };
    let protocol = match &block.protocol {
        None => Some(None),
        Some(written) => words::keep(report, written.span, words::protocol(&written.value)).map(|number| Some((number, written.span))),
    };
    let (version, protocol) = (version?, protocol?);
    let own = match protocol {
        Some((ICMP, span)) => Some((Family::V4, span)),
        Some((ICMPV6, span)) => Some((Family::V6, span)),
        _ => None,
    };
    if let (Some((stated, place)), Some((own, span))) = (version, own) {
        if stated != own {
            let (right, wrong) = if own == Family::V4 { ("icmpv6", "icmp is ICMP of IPv4") } else { ("icmp", "icmpv6 is ICMP of IPv6") };
            let place = report.place(place);
            let diagnostic = report.error(span, format!("{wrong}, but the rule has another `ip_version`"));
            diagnostic.also(place, "the rule's `ip_version`").help(format!("write `protocol = \"{right}\"`, or take `ip_version` out"));
            return None;
        }
    }
    let family = version.or(own);
    Some(Kind {
        family: family.map(|(family, _)| family),
        family_span: family.map(|(_, span)| span),
        protocol: protocol.map(|(number, _)| number),
        protocol_span: protocol.map(|(_, span)| span),
    })
}

/// `Some(None)` where the key is absent.
fn icmp_match(block: &RuleBlock, kind: Option<&Kind>, report: &mut Report) -> Option<Option<crate::policy::model::IcmpMatch>> {
    let Some(written) = &block.icmp else { return Some(None) };
    match kind?.protocol {
        Some(protocol @ (ICMP | ICMPV6)) => icmp::icmp(report, protocol, written).map(Some),
        _ => {
            let help = "add `protocol = \"icmp\"` or `protocol = \"icmpv6\"`: their types have different numbers";
            report.error(written.span, "`icmp` without the protocol icmp or icmpv6").help(help);
            None
        }
    }
}

/// `Some(None)` where the key is absent.
fn tcp_flags(block: &RuleBlock, kind: Option<&Kind>, report: &mut Report) -> Option<Option<crate::policy::model::TcpFlagsMatch>> {
    let Some(written) = &block.tcp_flags else { return Some(None) };
    let flags = words::keep(report, written.span, words::tcp_flags(&written.value));
    if let Some(protocol) = kind.and_then(|kind| kind.protocol).filter(|protocol| *protocol != 6) {
        let message = format!("`tcp_flags` in a rule for {}", words::protocol_name(protocol));
        report.error(written.span, message).help("only TCP has them");
        return None;
    }
    flags.map(Some)
}

/// `Some(None)` where the key is absent.
fn reject_with(block: &RuleBlock, action: Option<Action>, kind: Option<&Kind>, report: &mut Report) -> Option<Option<RejectWith>> {
    let Some(written) = &block.reject_with else { return Some(None) };
    let answers = [
        ("tcp-reset", RejectWith::TcpReset),
        ("port-unreachable", RejectWith::PortUnreachable),
        ("host-unreachable", RejectWith::HostUnreachable),
        ("admin-prohibited", RejectWith::AdminProhibited),
    ];
    let answer = words::choose(report, "reject_with", written, &answers);
    if let (Some(other), Some(word)) = (action.filter(|action| *action != Action::Reject), &block.action) {
        let place = report.place(word.span);
        let said = if other == Action::Deny { "a denied packet gets no answer" } else { "there is nothing to answer" };
        let diagnostic = report.error(written.span, format!("`reject_with` in a rule that does not reject: {said}"));
        diagnostic.also(place, "the rule's action").help("write `action = \"reject\"`, or take `reject_with` out");
        return None;
    }
    let other = kind.and_then(|kind| kind.protocol.zip(kind.protocol_span)).filter(|(protocol, _)| *protocol != TCP);
    if let (Some(RejectWith::TcpReset), Some((protocol, span))) = (answer, other) {
        let place = report.place(span);
        let diagnostic = report.error(written.span, format!("`tcp-reset` cannot answer {}", words::protocol_name(protocol)));
        diagnostic
            .also(place, "the rule's protocol")
            .help("only TCP knows resets; others are answered `port-unreachable` where nothing is said");
        return None;
    }
    answer.map(Some)
}

/// Reports port keys of a rule whose protocol has no ports.
pub(super) fn refuse_ports(kind: Option<&Kind>, key: &str, span: Span, report: &mut Report) -> bool {
    let Some((protocol, place)) = kind.and_then(|kind| kind.protocol.zip(kind.protocol_span)).filter(|(protocol, _)| !has_ports(*protocol))
    else {
        return false;
    };
    let place = report.place(place);
    let message = format!("`{key}` in a rule for {}, which has no ports", words::protocol_name(protocol));
    report.error(span, message).also(place, "the rule's protocol").help("ports exist in tcp, udp, sctp, dccp and udplite");
    true
}
