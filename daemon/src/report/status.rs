//! `status`: what is enforced where, and what is wrong.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde::{Deserialize, Serialize};

/// The whole answer of `status`. Fields are only ever added.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Version of this form: 1.
    pub version: u32,
    /// Running generation; 0 = none.
    pub generation: u32,
    /// `ok` or `degraded`.
    pub state: String,
    /// What the running ruleset was made from: `directory`, `last-good`, `failsafe` or `kernel`; `none` after `detach`.
    pub source: String,
    /// The policy directory.
    pub directory: String,
    /// Interfaces under policy.
    pub interfaces: Vec<Interface>,
    /// Interfaces that are there and that no policy selects: their traffic is not touched.
    pub uncovered: Vec<String>,
    /// How often something of ours that others took was put back since the daemon started: programs of a hook (`ingress`, `egress`,
    /// `xdp`), the head of a hook (`ingress_head`, `egress_head`), `pins`; only what occurred.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub restored: BTreeMap<String, u64>,
    /// Whatever is not as it should be, but does not stop enforcement.
    pub warnings: Vec<String>,
    /// The last ruleset that was refused, and why; gone with the next good one.
    pub last_error: Option<String>,
    /// Packets seen by the programs: accepted, and dropped by reason.
    pub packets: Packets,
    /// How full the tables of flows are: `connections` and `half_open`. Counted every few seconds.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub flows: BTreeMap<String, Table>,
    /// Failsafe entries in force.
    pub failsafe: Vec<String>,
    /// What of the log was lost.
    #[serde(default)]
    pub log: LogLosses,
}

/// One table of flows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    /// Flows in it.
    pub flows: usize,
    /// Flows that it has room for: beyond, new ones are refused (`conntrack_full`).
    pub max: usize,
}

/// What of the log was lost. Verdicts and all other counters do not know of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLosses {
    /// Packets that were to be logged and found the ring full, since the programs were first loaded.
    pub events: u64,
    /// Lines that were not taken from the daemon in time, since it was started.
    pub lines: u64,
}

/// Packets by fate, over all interfaces since the programs were first loaded.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Packets {
    /// Let through.
    pub accepted: u64,
    /// Dropped, by reason; only reasons that occurred.
    pub dropped: BTreeMap<String, u64>,
}

/// One interface under policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interface {
    /// Name.
    pub name: String,
    /// Kernel's index.
    pub ifindex: u32,
    /// Selecting policies, in order.
    pub policies: Vec<String>,
    /// Hooks at which our programs run: `ingress`, `egress`, `xdp`.
    pub hooks: Vec<String>,
    /// `tcx`, `clsact` or `none`.
    pub attach: String,
    /// `native`, `generic` or `off`.
    pub xdp: String,
    /// Programs of others that run before ours and can let packets pass them, by hook; only where there are any.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub foreign_ahead: BTreeMap<String, usize>,
    /// XDP is taken by somebody else's program.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub foreign_xdp: bool,
    /// Of a bridge: its ports that no policy is on; what goes from one to another is not judged.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub uncovered_ports: Vec<String>,
    /// Both views of each direction.
    pub directions: Vec<View>,
}

/// One direction, from the protected thing and from the wire.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct View {
    /// `ingress` or `egress`, seen from the protected thing.
    pub direction: String,
    /// The tc hook that serves it.
    pub hook: String,
    /// Whether what no rule allows is refused here at all.
    pub isolated: bool,
    /// Policies of this direction, in order.
    pub policies: Vec<String>,
    /// Policies in audit mode that judge this direction and decide nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub audit: Vec<String>,
    /// `allow` or `deny`; `null` where not isolated.
    pub default: Option<String>,
    /// Where that default is written.
    pub default_origin: Option<String>,
    /// Packets that the default decided, over all interfaces with the same policies in this direction.
    pub default_packets: u64,
}

impl Status {
    /// The form for people.
    pub fn text(&self) -> String {
        let mut out = format!("generation {} ({}), made from {} {}\n", self.generation, self.state, self.source, self.directory);
        for interface in &self.interfaces {
            out.push_str(&interface.text());
        }
        if self.interfaces.is_empty() {
            out.push_str("no interface is under policy\n");
        }
        if !self.uncovered.is_empty() {
            line(&mut out, &format!("not under policy: {}", self.uncovered.join(", ")));
        }
        if !self.restored.is_empty() {
            let restored: Vec<String> = self.restored.iter().map(|(what, times)| format!("{what} {times}")).collect();
            line(&mut out, &format!("put back after others took it: {}", restored.join(", ")));
        }
        let dropped: u64 = self.packets.dropped.values().sum();
        let reasons: Vec<String> = self.packets.dropped.iter().map(|(reason, count)| format!("{reason} {count}")).collect();
        line(&mut out, &format!("packets: {} accepted, {dropped} dropped{}", self.packets.accepted, parenthesis(&reasons)));
        if !self.flows.is_empty() {
            let tables: Vec<String> = self.flows.iter().map(|(name, table)| format!("{name} {} of {}", table.flows, table.max)).collect();
            line(&mut out, &format!("flows: {}", tables.join(", ")));
        }
        if self.log != LogLosses::default() {
            let LogLosses { events, lines } = self.log;
            line(&mut out, &format!("log: {events} packets lost because the ring was full, {lines} lines because nobody took them"));
        }
        if !self.failsafe.is_empty() {
            line(&mut out, &format!("failsafe: {}", self.failsafe.join(", ")));
        }
        for warning in &self.warnings {
            line(&mut out, &format!("warning: {warning}"));
        }
        if let Some(error) = &self.last_error {
            line(&mut out, &format!("last error: {error}"));
        }
        out
    }
}

impl Interface {
    fn text(&self) -> String {
        let mut out = String::new();
        line(
            &mut out,
            &format!("{} ({}): {}, xdp {}; policies {}", self.name, self.ifindex, self.attach, self.xdp, self.policies.join(", ")),
        );
        for view in &self.directions {
            let fate = match &view.default {
                Some(default) => {
                    let origin = view.default_origin.as_deref().unwrap_or_default();
                    format!("by {}; default {default} ({origin}): {} packets", view.policies.join(", "), view.default_packets)
                }
                None => "not isolated".into(),
            };
            let audit = if view.audit.is_empty() { String::new() } else { format!("; audit only: {}", view.audit.join(", ")) };
            line(&mut out, &format!("  {} (the interface's {} hook): {fate}{audit}", view.direction, view.hook));
        }
        out
    }
}

fn line(out: &mut String, text: &str) {
    // Writing to a String cannot fail.
    writeln!(out, "{text}").unwrap_or_default();
}

fn parenthesis(parts: &[String]) -> String {
    if parts.is_empty() { String::new() } else { format!(" ({})", parts.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_shows_both_views_of_a_direction() {
        let status = Status {
            version: 1,
            generation: 7,
            state: "ok".into(),
            source: "directory".into(),
            directory: "/etc/netpol.d".into(),
            interfaces: vec![Interface {
                name: "ve-web".into(),
                ifindex: 9,
                policies: vec!["web".into()],
                hooks: vec!["ingress".into(), "egress".into()],
                attach: "tcx".into(),
                xdp: "off".into(),
                foreign_ahead: BTreeMap::new(),
                foreign_xdp: false,
                uncovered_ports: vec![],
                directions: vec![
                    View {
                        direction: "ingress".into(),
                        hook: "egress".into(),
                        isolated: true,
                        audit: vec![],
                        policies: vec!["web".into()],
                        default: Some("deny".into()),
                        default_origin: Some("a.toml:3:1".into()),
                        default_packets: 2,
                    },
                    View {
                        direction: "egress".into(),
                        hook: "ingress".into(),
                        isolated: false,
                        audit: vec![],
                        policies: vec![],
                        default: None,
                        default_origin: None,
                        default_packets: 0,
                    },
                ],
            }],
            uncovered: vec!["lo".into()],
            restored: [("ingress".to_string(), 2)].into(),
            flows: [("connections".to_string(), Table { flows: 12, max: 1024 })].into(),
            warnings: vec!["w".into()],
            last_error: None,
            packets: Packets { accepted: 3, dropped: [("default".to_string(), 2)].into() },
            failsafe: vec![],
            log: LogLosses { events: 5, lines: 0 },
        };
        assert_eq!(
            status.text(),
            "generation 7 (ok), made from directory /etc/netpol.d\n\
             ve-web (9): tcx, xdp off; policies web\n  \
             ingress (the interface's egress hook): by web; default deny (a.toml:3:1): 2 packets\n  \
             egress (the interface's ingress hook): not isolated\n\
             not under policy: lo\n\
             put back after others took it: ingress 2\n\
             packets: 3 accepted, 2 dropped (default 2)\n\
             flows: connections 12 of 1024\n\
             log: 5 packets lost because the ring was full, 0 lines because nobody took them\n\
             warning: w\n"
        );
    }
}
