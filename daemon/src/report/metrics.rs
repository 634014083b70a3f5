//! `status` and `rules` as metrics, in the text format of Prometheus (version 0.0.4).

use std::fmt::{Display, Write};

use super::rules::RuleLine;
use super::status::Status;

/// The media type of [`text`].
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Everything that is worth an alarm or a graph. Names and labels are only ever added.
pub fn text(status: &Status, rules: &[RuleLine]) -> String {
    let mut page = Page::default();
    page.family("netpol_generation", "gauge", "Number of the running ruleset; 0 = none.");
    page.sample("netpol_generation", &[], status.generation);
    page.family("netpol_degraded", "gauge", "1 = not everything that the policy directory says is enforced.");
    page.sample("netpol_degraded", &[], u8::from(status.state != "ok"));
    page.family("netpol_warnings", "gauge", "Warnings that status shows.");
    page.sample("netpol_warnings", &[], status.warnings.len());
    page.family("netpol_interface_enforced", "gauge", "1 = our programs judge the packets of the interface.");
    for interface in &status.interfaces {
        page.sample("netpol_interface_enforced", &[("interface", &interface.name)], u8::from(interface.attach != "none"));
    }
    neighbours(&mut page, status);
    page.family("netpol_packets_accepted_total", "counter", "Packets let through.");
    page.sample("netpol_packets_accepted_total", &[], status.packets.accepted);
    page.family("netpol_packets_dropped_total", "counter", "Packets dropped, by reason.");
    for (reason, packets) in &status.packets.dropped {
        page.sample("netpol_packets_dropped_total", &[("reason", reason)], packets);
    }
    page.family("netpol_flows", "gauge", "Flows in a table, counted every few seconds.");
    for (name, table) in &status.flows {
        page.sample("netpol_flows", &[("table", name)], table.flows);
    }
    page.family("netpol_flows_max", "gauge", "Flows that a table has room for; beyond, new ones are refused (conntrack_full).");
    for (name, table) in &status.flows {
        page.sample("netpol_flows_max", &[("table", name)], table.max);
    }
    page.family("netpol_log_events_lost_total", "counter", "Packets that were to be logged and found the ring full.");
    page.sample("netpol_log_events_lost_total", &[], status.log.events);
    page.family("netpol_log_lines_lost_total", "counter", "Lines of the log that were not taken from the daemon in time.");
    page.sample("netpol_log_lines_lost_total", &[], status.log.lines);
    page.family("netpol_rule_packets_total", "counter", "Packets that a rule judged.");
    for rule in rules {
        page.sample("netpol_rule_packets_total", &labels(rule), rule.packets);
    }
    page.family("netpol_rule_bytes_total", "counter", "Bytes of the packets that a rule judged.");
    for rule in rules {
        page.sample("netpol_rule_bytes_total", &labels(rule), rule.bytes);
    }
    page.text
}

/// What stands beside or before our programs, and what had to be put back.
fn neighbours(page: &mut Page, status: &Status) {
    page.family("netpol_interface_uncovered", "gauge", "1 = the interface is there and no policy selects it: its packets are not judged.");
    for name in &status.uncovered {
        page.sample("netpol_interface_uncovered", &[("interface", name)], 1);
    }
    page.family(
        "netpol_attachment_foreign_ahead",
        "gauge",
        "Programs of others that run before ours at a hook and can let packets pass it.",
    );
    for (interface, hook) in status.interfaces.iter().flat_map(|interface| ["ingress", "egress"].map(|hook| (interface, hook))) {
        let ahead = interface.foreign_ahead.get(hook).copied().unwrap_or(0);
        page.sample("netpol_attachment_foreign_ahead", &[("interface", &interface.name), ("hook", hook)], ahead);
    }
    page.family("netpol_xdp_foreign", "gauge", "1 = a program of others has XDP, which a policy wants for ours.");
    for interface in status.interfaces.iter().filter(|interface| interface.foreign_xdp) {
        page.sample("netpol_xdp_foreign", &[("interface", &interface.name)], 1);
    }
    page.family("netpol_bridge_ports_uncovered", "gauge", "Ports of a bridge under policy that no policy is on.");
    for interface in status.interfaces.iter().filter(|interface| !interface.uncovered_ports.is_empty()) {
        page.sample("netpol_bridge_ports_uncovered", &[("interface", &interface.name)], interface.uncovered_ports.len());
    }
    let restored = |what: &str| status.restored.get(what).copied().unwrap_or(0);
    page.family("netpol_attachments_restored_total", "counter", "Programs of ours that others took off and that were attached again.");
    for hook in ["ingress", "egress", "xdp"] {
        page.sample("netpol_attachments_restored_total", &[("hook", hook)], restored(hook));
    }
    page.family("netpol_heads_retaken_total", "counter", "Times our program was put before those of others again.");
    for hook in ["ingress", "egress"] {
        page.sample("netpol_heads_retaken_total", &[("hook", hook)], restored(&format!("{hook}_head")));
    }
    page.family("netpol_pins_restored_total", "counter", "Pins of ours that others removed and that were put back.");
    page.sample("netpol_pins_restored_total", &[], restored("pins"));
}

fn labels(rule: &RuleLine) -> [(&'static str, &str); 4] {
    [("policy", &rule.policy), ("direction", &rule.direction), ("rule", &rule.id), ("action", &rule.action)]
}

#[derive(Default)]
struct Page {
    text: String,
}

impl Page {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        self.write(format_args!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        let labels: Vec<String> = labels.iter().map(|(label, text)| format!("{label}=\"{}\"", escaped(text))).collect();
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        self.write(format_args!("{name}{labels} {value}\n"));
    }

    fn write(&mut self, what: std::fmt::Arguments<'_>) {
        // Writing to a String cannot fail.
        self.text.write_fmt(what).unwrap_or_default();
    }
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped_and_samples_stand_below_their_family() {
        let mut page = Page::default();
        page.family("a", "gauge", "An a.");
        page.sample("a", &[("l", "x\"y\\z\n")], 3);
        page.sample("a", &[], 4);
        assert_eq!(page.text, "# HELP a An a.\n# TYPE a gauge\na{l=\"x\\\"y\\\\z\\n\"} 3\na 4\n");
    }
}
