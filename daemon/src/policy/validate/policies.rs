//! `[[policy]]`: what it selects, which directions it isolates, its switches; and what two policies must not say together.

use std::collections::HashMap;

use super::Reading;
use super::anti_spoof;
use super::audit;
use super::interfaces;
use super::owner;
use super::rules;
use super::shadow;
use super::words;
use super::xdp;
use crate::policy::model::{Chain, DefaultAction, Direction, EndpointKind, InterfaceSelector, Mode, Policy};
use crate::schema::Scalar;
use crate::schema::document::{DefaultActionBlock, Document, PolicyBlock, RuleBlock, Scalars};
use crate::schema::place::{At, Report, Span};
use crate::schema::suggest;

/// EtherTypes that have a name. Spanning tree has no EtherType: the number is the programs' own for it.
const ETHERTYPES: [(&str, u16); 3] = [("eapol", 0x888e), ("lldp", 0x88cc), ("stp", 0x0042)];
/// EtherTypes that are judged by their own rules, whatever a list says.
const JUDGED: [(u16, &str); 5] = [(0x0800, "IPv4"), (0x86dd, "IPv6"), (0x0806, "ARP"), (0x8100, "a VLAN tag"), (0x88a8, "a VLAN tag")];

/// A policy and the block that it comes from.
#[derive(Debug)]
pub(super) struct Proven<'a> {
    pub(super) policy: Policy,
    pub(super) block: &'a PolicyBlock,
}

/// All policies; those with errors are missing.
pub(super) fn read<'a>(documents: &'a [Document], reading: &mut Reading<'_>, report: &mut Report) -> Vec<Proven<'a>> {
    let mut names: HashMap<&str, Span> = HashMap::new();
    let mut proven = Vec::new();
    for block in documents.iter().flat_map(|document| &document.policies) {
        if let Some(name) = &block.name {
            if let Some(first) = names.get(name.value.as_str()) {
                let first = report.place(*first);
                let message = format!("the policy `{}` is defined twice", name.value);
                report.error(name.span, message).label("defined again here").also(first, "first defined here");
            } else {
                names.insert(&name.value, name.span);
            }
        }
        proven.extend(one(block, reading, report).map(|policy| Proven { policy, block }));
    }
    mixed_endpoints(&proven, report);
    proven
}

fn one(block: &PolicyBlock, reading: &mut Reading<'_>, report: &mut Report) -> Option<Policy> {
    let name = block.name.as_ref().and_then(|name| words::name(report, "policy name", name));
    let owner = owner::read(block, report);
    let owned = matches!(owner, Some(Some(_)));
    let interfaces = if owned { Some(InterfaceSelector::default()) } else { interfaces::read(&block.interfaces, report) };
    let endpoints = [("host", EndpointKind::Host), ("workload", EndpointKind::Workload)];
    let endpoint = match &block.endpoint {
        None if owned => Some(EndpointKind::Workload),
        None => Some(EndpointKind::Host),
        Some(word) => words::choose(report, "endpoint", word, &endpoints),
    };
    let mode = match &block.mode {
        None => Some(Mode::Enforce),
        Some(word) => words::choose(report, "mode", word, &[("enforce", Mode::Enforce), ("audit", Mode::Audit)]),
    };
    let isolated = isolated(block, report);
    let ids = rules::ids(block, report);
    let (ingress_ids, egress_ids) = ids.split_at(block.ingress.len());
    let chains = [(Direction::Ingress, &block.ingress, ingress_ids), (Direction::Egress, &block.egress, egress_ids)];
    let [ingress, egress] = chains.map(|(direction, rules, ids)| chain(block, direction, rules, ids, reading, report));
    let ethertypes = block.ethertypes.as_ref().map(|_| ethertypes(&block.ethertypes, report));
    let anti_spoof = block.anti_spoof.as_ref().map(|block| anti_spoof::read(block, reading.sets, report));
    let xdp = block.xdp.as_ref().map(|block| xdp::read(block, interfaces.as_ref(), reading.sets, report));
    if mode == Some(Mode::Audit) {
        audit::warn(block, report);
    } else if let (Some(block), Some(endpoint), Some(isolated)) = (&block.anti_spoof, endpoint, isolated) {
        anti_spoof::warn_idle(block.span, endpoint, isolated, report);
    }
    let flag = |value: &Option<At<bool>>, unstated: bool| value.as_ref().map_or(unstated, |value| value.value);
    let [isolates_ingress, isolates_egress] = isolated?;
    Some(Policy {
        name: name?,
        origin: report.origin(block.span),
        description: block.description.as_ref().map(|text| text.value.clone()),
        mode: mode?,
        order: block.order.as_ref().map_or(100, |order| order.value),
        interfaces: interfaces?,
        owner: owner?,
        endpoint: endpoint?,
        ingress: if isolates_ingress { Some(ingress?) } else { None },
        egress: if isolates_egress { Some(egress?) } else { None },
        dhcp_client: flag(&block.dhcp_client, false),
        icmpv6_essential: flag(&block.icmpv6_essential, true),
        log_default_deny: flag(&block.log_default_deny, false),
        ethertypes: words::optional(ethertypes)?,
        anti_spoof: words::optional(anti_spoof)?,
        xdp: words::optional(xdp)?,
    })
}

fn default_of(block: &DefaultActionBlock, direction: Direction) -> Option<&At<String>> {
    match direction {
        Direction::Ingress => block.ingress.as_ref(),
        Direction::Egress => block.egress.as_ref(),
    }
}

/// Which of ingress and egress the policy isolates.
fn isolated(block: &PolicyBlock, report: &mut Report) -> Option<[bool; 2]> {
    let directions = [(Direction::Ingress, "ingress", &block.ingress), (Direction::Egress, "egress", &block.egress)];
    let default = |direction| block.default_action.as_ref().and_then(|actions| default_of(actions, direction));
    let Some(types) = &block.policy_types else {
        let found = directions.map(|(direction, _, rules)| !rules.is_empty() || default(direction).is_some());
        if found == [false, false] && !block.xdp.as_ref().is_some_and(xdp::refuses) && !report.has_error_within(block.span) {
            let help = "add rules, a `default_action` or `policy_types`; an isolated direction refuses what no rule allows";
            let audit = block.mode.as_ref().is_some_and(|mode| mode.value == "audit");
            let verb = if audit { "judges" } else { "refuses" };
            report.warning(block.span, format!("the policy isolates no direction: by itself it {verb} nothing")).help(help);
        }
        return Some(found);
    };
    if types.value.is_empty() {
        report.error(types.span, "`policy_types` is empty").help("name `ingress`, `egress` or both, or leave the key out");
        return None;
    }
    let named: Vec<_> = types.value.iter().map(|word| words::direction(report, "policy_types", word)).collect();
    let named = named.into_iter().collect::<Option<Vec<_>>>()?;
    for (direction, word, rules) in directions.into_iter().filter(|(direction, ..)| !named.contains(direction)) {
        let place = report.place(types.span);
        let help = format!("add `\"{word}\"` to `policy_types`, or leave `policy_types` out");
        if let Some(rule) = rules.first() {
            let diagnostic = report.error(rule.span, format!("the policy has {word} rules, but `policy_types` leaves {word} out"));
            diagnostic.also(place, "the directions that the policy isolates").help(help);
        } else if let Some(default) = default(direction) {
            let diagnostic = report.error(default.span, format!("`default_action` names {word}, but `policy_types` leaves {word} out"));
            diagnostic.also(place, "the directions that the policy isolates").help(help);
        }
    }
    Some([named.contains(&Direction::Ingress), named.contains(&Direction::Egress)])
}

fn chain(
    block: &PolicyBlock,
    direction: Direction,
    blocks: &[RuleBlock],
    ids: &[Option<String>],
    reading: &mut Reading<'_>,
    report: &mut Report,
) -> Option<Chain> {
    let written: Vec<_> = blocks.iter().zip(ids).map(|(rule, id)| rules::rule(rule, id.clone(), reading, report)).collect();
    let default = block.default_action.as_ref().and_then(|actions| default_of(actions, direction));
    let choices = [("deny", DefaultAction::Deny), ("allow", DefaultAction::Allow)];
    let (default_action, default_span) = match default {
        None => (Some(DefaultAction::Deny), block.span),
        Some(word) if word.value == "reject" => {
            let help = "write `deny`, and end the rules with one that has only `action = \"reject\"`";
            report.error(word.span, "a default cannot be `reject`").help(help);
            (None, word.span)
        }
        Some(word) => (words::choose(report, "default_action", word, &choices), word.span),
    };
    let rules = written.into_iter().collect::<Option<Vec<_>>>()?;
    shadow::warn(&rules, blocks, reading.sets, report);
    Some(Chain { default_action: default_action?, default_origin: report.origin(default_span), rules })
}

fn ethertypes(list: &Scalars, report: &mut Report) -> Option<Vec<u16>> {
    let mut numbers = Vec::new();
    let mut good = true;
    for written in list.iter().flat_map(|list| &list.value) {
        let number = match &written.value {
            Scalar::Word(word) => ETHERTYPES.iter().find(|(name, _)| name == word).map(|(_, number)| *number).ok_or_else(|| {
                let help = suggest::help(word, "known names", &ETHERTYPES.map(|(name, _)| name));
                (format!("unknown EtherType `{word}`"), help + " (others are written as numbers, such as 0x8863)")
            }),
            Scalar::Integer(number) => match u16::try_from(*number) {
                Ok(number) if number >= 0x600 => match JUDGED.iter().find(|(judged, _)| *judged == number) {
                    Some((_, what)) => {
                        Err((format!("EtherType {number:#06x} is {what}"), "it is judged by its own stages; take it out".to_owned()))
                    }
                    None => Ok(number),
                },
                _ => Err((format!("{number} is not an EtherType"), "EtherTypes are 0x0600 to 0xffff".to_owned())),
            },
        };
        match number {
            Ok(number) => numbers.push(number),
            Err((message, help)) => {
                report.error(written.span, message).help(help);
                good = false;
            }
        }
    }
    good.then_some(numbers)
}

/// An interface that one policy names, and that a policy of the other endpoint kind selects too, is an error. Two globs that only
/// might meet are looked at again when the interfaces are known.
fn mixed_endpoints(proven: &[Proven<'_>], report: &mut Report) {
    for (number, later) in proven.iter().enumerate() {
        for former in proven[..number].iter().filter(|former| former.policy.endpoint != later.policy.endpoint) {
            let (a, b) = (&former.policy.interfaces, &later.policy.interfaces);
            let mut literals = a.include.iter().chain(&b.include).map(glob::Pattern::as_str).filter(|name| interfaces::is_literal(name));
            let Some(name) = literals.find(|name| a.selects(name) && b.selects(name)) else { continue };
            let first = report.place(list_span(former.block));
            let message =
                format!("`{name}` is selected by the host and the workload policies `{}` and `{}`", former.policy.name, later.policy.name);
            let diagnostic = report.error(list_span(later.block), message).also(first, "selected here with the other `endpoint`");
            diagnostic.help("one interface protects either this host or a workload; direction would mean two things on it");
        }
    }
}

fn list_span(block: &PolicyBlock) -> Span {
    block.interfaces.as_ref().map_or(block.span, |list| list.span)
}
