//! Answers to the control socket: facts of the reconciler and of the kernel, put into the forms of `report`.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::{Live, Reconciler, Refusal};
use crate::compile::ruleset::LinkPlan;
use crate::kernel::{self, CounterTotal, boot_time};
use crate::plan;
use crate::plan::action::hook_name;
use crate::plan::observed::{LinkObserved, Observed, TcAttachment, XdpObserved};
use crate::policy::model::{Action, Direction, EndpointKind, Hook, Policy, PolicySet};
use crate::policy::reason::Reason;
use crate::report;
use crate::report::rules::{RuleLine, unix_now};
use crate::report::status::{Interface, LogLosses, Packets, Status, Table, View};
use crate::trigger::control::Response;
use netpol_probes::abi;

impl Reconciler {
    /// `status`.
    ///
    /// # Errors
    /// When the kernel cannot be asked.
    pub fn status(&self) -> kernel::Result<Status> {
        let observed = self.kernel.as_ref().map(kernel::Kernel::observe).transpose()?.unwrap_or_default();
        let totals = self.kernel.as_ref().map(kernel::Kernel::counters).transpose()?.unwrap_or_default();
        let interfaces: Vec<Interface> =
            self.live.iter().flat_map(|live| live.ruleset.links.values().map(|link| interface(link, live, &observed, &totals))).collect();
        let standing =
            self.closed.iter().chain(&self.routes.error).chain(&self.warnings).chain(&self.not_kept).chain(&self.metrics_trouble);
        let standing = standing.chain(&self.watch_trouble);
        let mut warnings: Vec<String> = standing.cloned().collect();
        match &self.live {
            Some(live) => {
                warnings.extend(plan::warnings(&live.ruleset, &observed));
                if live.policies.policies.is_empty() {
                    warnings.push("there is no policy: no interface is under policy".into());
                }
                warnings.extend(live.warnings.iter().cloned());
                warnings.extend(live.expired_meanwhile(crate::policy::unix_now()));
                warnings.extend(live.idle_policies().map(idle));
            }
            None => warnings.push("detached: no interface is under policy until `netpol-ebpf apply`, a reload or a restart".into()),
        }
        if let Some(left) = self.trial_ends_in() {
            let left = left.as_secs_f64().ceil();
            warnings.push(format!("generation {} waits for confirmation: the former ruleset returns in {left} s", observed.word.running));
        }
        for interface in interfaces.iter().filter(|interface| interface.attach == "none") {
            warnings.push(format!("{} is NOT enforced: our programs are not attached", interface.name));
        }
        warnings.extend(self.flows.iter().filter(|table| table.flows * 10 >= table.room * 9).map(nearly_full));
        let set_problems = self.sets.problems();
        warnings.extend(set_problems.iter().cloned());
        let mut seen = BTreeSet::new();
        warnings.retain(|warning| seen.insert(warning.clone()));
        let healthy = self.last_error.is_none()
            && self.link_error.is_none()
            && self.routes.error.is_none()
            && self.closed.is_empty()
            && set_problems.is_empty()
            && self.live.as_ref().is_some_and(|live| live.origin == super::Origin::Directory)
            && interfaces.iter().all(|interface| interface.attach != "none");
        Ok(Status {
            version: 1,
            generation: observed.word.running,
            state: if healthy { "ok" } else { "degraded" }.into(),
            source: self.live.as_ref().map_or("none", |live| live.origin.word()).into(),
            directory: self.directories.config.display().to_string(),
            uncovered: uncovered(&observed, &interfaces),
            restored: self.neighbours.restored(),
            interfaces,
            warnings,
            last_error: self.last_error.clone().or_else(|| self.link_error.clone()),
            packets: self.packets()?,
            failsafe: self.live.as_ref().map(|live| failsafe(&live.policies)).unwrap_or_default(),
            flows: self.flows.iter().map(|fill| (fill.table.to_owned(), Table { flows: fill.flows, max: fill.room })).collect(),
            log: LogLosses { events: self.kernel.as_ref().map_or(Ok(0), kernel::Kernel::lost_events)?, lines: report::outlet::lost() },
        })
    }

    fn packets(&self) -> kernel::Result<Packets> {
        let Some(kernel) = &self.kernel else { return Ok(Packets::default()) };
        let mut packets = Packets::default();
        for hook in kernel.reasons()? {
            for (number, count) in (0u32..).zip(hook) {
                match Reason::from_number(number) {
                    Some(reason) if count > 0 => *packets.dropped.entry(reason.name().to_string()).or_default() += count,
                    Some(_) => {}
                    None => packets.accepted += count,
                }
            }
        }
        Ok(packets)
    }

    /// `rules`: every rule, then every policy's default that a chain uses.
    ///
    /// # Errors
    /// When the counters cannot be read.
    pub fn rules(&self) -> kernel::Result<Vec<RuleLine>> {
        let (Some(kernel), Some(live)) = (&self.kernel, &self.live) else { return Ok(Vec::new()) };
        let totals = kernel.counters()?;
        let core = &live.ruleset.core;
        let (now, boot) = (unix_now(), boot_time());
        let rules = core.rule_info.iter().enumerate().map(|(number, info)| {
            let total = totals.get(number).copied().unwrap_or_default();
            let rule = live
                .policies
                .policies
                .iter()
                .find(|p| p.name == info.policy)
                .and_then(|p| p.chain(info.direction))
                .and_then(|c| c.rules.iter().find(|r| r.id == info.id));
            RuleLine {
                version: 1,
                id: info.id.clone(),
                policy: info.policy.clone(),
                direction: direction_name(info.direction).into(),
                action: rule.map_or("", |rule| action_name(rule.action)).into(),
                file: info.origin.file.to_string(),
                line: info.origin.line,
                packets: total.packets,
                bytes: total.bytes,
                last_hit: wall_time(total.last_hit, now, boot),
                comment: rule.and_then(|rule| rule.comment.clone()),
            }
        });
        Ok(rules.collect())
    }

    /// `status` and `rules` as a page of metrics.
    pub fn metrics(&self) -> Response {
        let page = self.status().and_then(|status| Ok(report::metrics::text(&status, &self.rules()?)));
        match page {
            Ok(text) => Response { exit: 0, text, value: Value::Null },
            Err(error) => Response { exit: 3, text: error.to_string(), value: Value::Null },
        }
    }

    /// The answer to `apply`, and to a file event's outcome where somebody asks.
    pub fn applied(&self, result: &Result<(), Refusal>) -> Response {
        let generation = self.generation();
        match result {
            Ok(()) => {
                let links = self.live.as_ref().map_or(0, |live| live.ruleset.links.len());
                let mut text = format!("generation {generation} is live on {links} interfaces");
                let left = self.trial_ends_in().map(|left| left.as_secs_f64().ceil());
                if let Some(left) = left {
                    text += &format!("; `netpol-ebpf confirm` within {left} s, or the former ruleset returns");
                }
                let value = json!({ "version": 1, "applied": true, "generation": generation, "interfaces": links, "confirm_within": left });
                Response { exit: 0, value, text }
            }
            Err(refusal) => {
                let text = format!("{}\nrefused; generation {generation} goes on", refusal.text.trim_end());
                Response {
                    exit: refusal.exit(),
                    value: json!({ "version": 1, "applied": false, "generation": generation, "error": refusal.text }),
                    text,
                }
            }
        }
    }
}

/// What to say of a table of flows that will soon refuse new ones.
fn nearly_full(fill: &kernel::Fill) -> String {
    format!(
        "the table `{}` holds {} of {} flows: when it is full, new ones are refused (conntrack_full)",
        fill.table, fill.flows, fill.room
    )
}

/// What to say of a policy that selects nothing.
fn idle(policy: &Policy) -> String {
    match &policy.owner {
        Some(owner) => format!("policy `{}` waits: {owner} is not running, or has no interface here", policy.name),
        None => format!("policy `{}` selects no interface that is there now", policy.name),
    }
}

fn interface(link: &LinkPlan, live: &Live, observed: &Observed, totals: &[CounterTotal]) -> Interface {
    let there = observed.links.get(&link.ifindex).cloned().unwrap_or_default();
    let recorded = observed.records.contains_key(&(observed.word.running, link.ifindex));
    let mut hooks = Vec::new();
    for (hook, name) in [(Hook::Ingress, "ingress"), (Hook::Egress, "egress")] {
        if there.tc(hook).is_some() {
            hooks.push(name.to_string());
        }
    }
    if there.xdp.is_ours() {
        hooks.push("xdp".into());
    }
    Interface {
        name: link.name.clone(),
        ifindex: link.ifindex,
        policies: link.policies.clone(),
        hooks,
        attach: if recorded { attachment(&there) } else { "none" }.into(),
        xdp: match there.xdp {
            XdpObserved::Native { .. } => "native",
            XdpObserved::Generic { .. } => "generic",
            XdpObserved::None | XdpObserved::Foreign { .. } => "off",
        }
        .into(),
        foreign_ahead: foreign_ahead(&there),
        foreign_xdp: matches!(there.xdp, XdpObserved::Foreign { .. }),
        uncovered_ports: plan::uncovered_ports(link.ifindex, &live.ruleset, observed).into_iter().map(String::from).collect(),
        directions: views(link, live, totals),
    }
}

/// Hooks at which programs of others run before ours, and how many.
fn foreign_ahead(link: &LinkObserved) -> BTreeMap<String, usize> {
    let ahead = |hook| link.tc(hook).map(|tc| tc.ahead).filter(|ahead| *ahead > 0).map(|ahead| (hook_name(hook).to_string(), ahead));
    [Hook::Ingress, Hook::Egress].into_iter().filter_map(ahead).collect()
}

/// Interfaces that are there and not under policy.
fn uncovered(observed: &Observed, interfaces: &[Interface]) -> Vec<String> {
    let present = observed.links.values().filter(|link| link.present);
    present.map(|link| link.name.clone()).filter(|name| interfaces.iter().all(|interface| interface.name != *name)).collect()
}

/// How both tc programs hang there; "none" as soon as one is missing.
fn attachment(link: &LinkObserved) -> &'static str {
    match (&link.ingress, &link.egress) {
        (Some(ingress), Some(egress)) if ingress.attachment == TcAttachment::Tcx && egress.attachment == TcAttachment::Tcx => "tcx",
        (Some(_), Some(_)) => "clsact",
        _ => "none",
    }
}

fn views(link: &LinkPlan, live: &Live, totals: &[CounterTotal]) -> Vec<View> {
    let core = &live.ruleset.core;
    let kind = if link.record.flags & abi::NP_LINK_WORKLOAD == 0 { EndpointKind::Host } else { EndpointKind::Workload };
    [Direction::Ingress, Direction::Egress]
        .into_iter()
        .map(|direction| {
            let hook = kind.hook(direction);
            let number = link.record.chain[if hook == Hook::Ingress { 0 } else { 1 }] as usize;
            let chain = core.chains.get(number);
            View {
                direction: direction_name(direction).into(),
                hook: if hook == Hook::Ingress { "ingress" } else { "egress" }.into(),
                isolated: chain.is_some(),
                audit: live.audits(link, direction),
                policies: core.chain_info.get(number).map(|info| info.policies.clone()).unwrap_or_default(),
                default_origin: chain.and(core.chain_info.get(number)).map(|info| info.default_origin.to_string()),
                default_packets: chain.and(totals.get(core.rules.len() + number)).map_or(0, |total| total.packets),
                default: chain.map(|chain| if u32::from(chain.default_action) == abi::NP_ALLOW { "allow" } else { "deny" }.to_string()),
            }
        })
        .collect()
}

fn failsafe(policies: &PolicySet) -> Vec<String> {
    let daemon = &policies.daemon;
    let entries = daemon
        .failsafe_inbound
        .iter()
        .map(|entry| ("inbound", entry))
        .chain(daemon.failsafe_outbound.iter().map(|entry| ("outbound", entry)));
    entries
        .map(|(direction, entry)| {
            let nets: Vec<String> = entry.nets.iter().map(ToString::to_string).collect();
            let protocol = match entry.protocol {
                6 => "tcp".to_string(),
                17 => "udp".to_string(),
                number => number.to_string(),
            };
            let scope = if nets.is_empty() { String::new() } else { format!(" ({})", nets.join(", ")) };
            format!("{direction} {protocol}/{}{scope}", entry.port)
        })
        .collect()
}

/// Boot time of an event -> Unix time; 0 = never.
#[allow(clippy::cast_precision_loss)] // nanoseconds since boot, shown in seconds
fn wall_time(at: u64, now: f64, boot: u64) -> Option<f64> {
    (at != 0).then(|| ((now - boot.saturating_sub(at) as f64 / 1e9) * 1000.0).round() / 1000.0)
}

/// `ingress` or `egress`.
pub fn direction_name(direction: Direction) -> &'static str {
    match direction {
        Direction::Ingress => "ingress",
        Direction::Egress => "egress",
    }
}

fn action_name(action: Action) -> &'static str {
    match action {
        Action::Allow => "allow",
        Action::Deny => "deny",
        Action::Reject => "reject",
        Action::Pass => "pass",
    }
}
