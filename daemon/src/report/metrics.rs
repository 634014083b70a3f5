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
    page.family("netpol_packets_accepted_total", "counter", "Packets let through.");
    page.sample("netpol_packets_accepted_total", &[], status.packets.accepted);
    page.family("netpol_packets_dropped_total", "counter", "Packets dropped, by reason.");
    for (reason, packets) in &status.packets.dropped {
        page.sample("netpol_packets_dropped_total", &[("reason", reason)], packets);
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
