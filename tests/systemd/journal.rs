//! What the journal has: each logged packet, refusal and stop with its fields, and what becomes of them while journald does nothing.

use std::net::Ipv4Addr;
use std::thread;
use std::time::Duration;

use netpol_tests::flood::Flood;
use netpol_tests::policy::{VERSION, allow_port, arriving, policy};
use netpol_tests::{Family, Packet, sock, wait};
use serde_json::Value;

use crate::machine::{Image, Machine};

const PATIENCE: Duration = Duration::from_secs(30);
const FILE: &str = "/etc/netpol.d/10-test.toml";

impl Machine {
    /// Process of its own journald, by its number in the machine.
    fn journald(&self) -> String {
        self.must(&["systemctl", "show", "--value", "-p", "MainPID", "systemd-journald.service"]).trim().to_owned()
    }

    /// Entries of the service that have these fields (`NAME=value`).
    fn entries(&self, fields: &[&str]) -> Vec<Value> {
        let command = ["journalctl", "--no-pager", "-o", "json", "-u", "netpol-ebpf.service"];
        let text = self.must(&[&command, fields].concat());
        text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{line}: {e}"))).collect()
    }

    /// The youngest of them, as soon as there is one.
    fn entry(&self, fields: &[&str]) -> Value {
        let found = wait::poll(PATIENCE, || self.entries(fields).pop());
        found.unwrap_or_else(|| panic!("no entry with {fields:?}:\n{}", self.journal()))
    }
}

fn has(entry: &Value, fields: &[(&str, &str)]) {
    for (name, value) in fields {
        assert_eq!(entry[name], *value, "{name} of {entry:#}");
    }
}

/// Line of the file that begins with this.
fn line_of(text: &str, beginning: &str) -> String {
    let at = text.lines().position(|line| line.starts_with(beginning)).unwrap_or_else(|| panic!("no `{beginning}` in {text}"));
    (at + 1).to_string()
}

/// Allows UDP 53, logs what it denies by the rule `no-telnet` (54) and by default, each packet of it.
fn logging(allowed: u16) -> String {
    let rule =
        "[[policy.ingress]]\nid = \"no-telnet\"\naction = \"deny\"\nprotocol = \"udp\"\ndestination = { ports = [54] }\nlog = true\n";
    let allow = allow_port("dns", "udp", allowed).replace("[[rule]]", "[[policy.ingress]]");
    (policy("arriving", "policy_types = [\"ingress\"]\nlog_default_deny = true") + rule + &allow).replacen(
        VERSION,
        &format!("{VERSION}[daemon]\nlog = {{ rate = \"10000000/s\", burst = 10000000 }}\n"),
        1,
    )
}

#[test]
fn denied_packet_is_an_entry_with_rule_place_and_tuple() {
    let Some(image) = Image::new() else { return };
    let text = logging(53);
    image.policy("10-test.toml", &text);
    let machine = image.boot();
    for (family, name) in [(Family::V4, "ipv4"), (Family::V6, "ipv6")] {
        let sender = sock::udp(&machine.src, family.at(1, 2, 0));
        let port = sender.local_addr().expect("its address").port().to_string();
        sender.send_to(b"telnet", family.at(1, 1, 54)).expect("it is sent");
        sender.send_to(b"other", family.at(1, 1, 55)).expect("it is sent");
        let (source, destination) = (family.at(1, 2, 0).ip().to_string(), family.at(1, 1, 0).ip().to_string());
        let generation = machine.status()["generation"].to_string();
        let common = [
            ("PRIORITY", "6"),
            ("SYSLOG_IDENTIFIER", "netpol-ebpf"),
            ("_TRANSPORT", "journal"),
            ("NETPOL_LOG_TARGET", "packet"),
            ("NETPOL_VERDICT", "drop"),
            ("NETPOL_POLICY", "arriving"),
            ("NETPOL_FILE", FILE),
            ("NETPOL_INTERFACE", "left"),
            ("NETPOL_HOOK", "ingress"),
            ("NETPOL_DIRECTION", "ingress"),
            ("NETPOL_FAMILY", name),
            ("NETPOL_PROTOCOL", "udp"),
            ("NETPOL_SOURCE", &source),
            ("NETPOL_SPORT", &port),
            ("NETPOL_DESTINATION", &destination),
            ("NETPOL_GENERATION", &generation),
        ];
        let family = format!("NETPOL_FAMILY={name}");
        let by_rule = machine.entry(&["NETPOL_RULE=no-telnet", &family]);
        has(&by_rule, &common);
        has(&by_rule, &[("NETPOL_REASON", "rule"), ("NETPOL_DPORT", "54"), ("NETPOL_LINE", &line_of(&text, "[[policy.ingress]]"))]);
        let message = by_rule["MESSAGE"].as_str().expect("text");
        assert!(message.starts_with("drop (rule) left ingress hook: udp "), "{message}");
        let by_default = machine.entry(&["NETPOL_REASON=default", &family]);
        has(&by_default, &common);
        has(&by_default, &[("NETPOL_DPORT", "55"), ("NETPOL_LINE", &line_of(&text, "[[policy]]"))]);
        assert_eq!(by_default["NETPOL_RULE"], Value::Null, "{by_default:#}");
    }
}

#[test]
fn refused_ruleset_is_an_entry_with_the_place_of_its_first_error() {
    let Some(image) = Image::new() else { return };
    let good = arriving(&allow_port("dns", "udp", 53)).replacen(VERSION, &format!("{VERSION}[daemon]\nreload = \"manual\"\n"), 1);
    image.policy("10-test.toml", &good);
    let machine = image.boot();
    let bad = good.replace("\"allow\"", "\"alow\"");
    machine.save("10-test.toml", &bad);
    assert_ne!(machine.service("reload").code, 0, "refused");
    let line = line_of(&bad, "action = ");
    let refused = machine.entry(&["PRIORITY=3", &format!("NETPOL_FILE={FILE}")]);
    let generation = machine.status()["generation"].to_string();
    has(&refused, &[("NETPOL_LINE", &line), ("NETPOL_COLUMN", "10"), ("NETPOL_GENERATION", &generation), ("_TRANSPORT", "journal")]);
    let message = refused["MESSAGE"].as_str().expect("text");
    assert!(message.starts_with("refused, generation ") && message.contains("action = \"alow\""), "whole, in one entry: {message}");

    let failing = "[[test]]\nname = \"shut\"\ninterface = \"left\"\ndirection = \"ingress\"\nexpect = \"deny\"\n\
                   packet = { protocol = \"udp\", source = \"10.1.0.2:9\", destination = \"10.1.0.1:53\" }\n";
    let text = format!("{good}{failing}");
    machine.save("10-test.toml", &text);
    assert_ne!(machine.service("reload").code, 0, "refused");
    let line = line_of(&text, "[[test]]");
    let refused = machine.entry(&["PRIORITY=3", &format!("NETPOL_LINE={line}")]);
    has(&refused, &[("NETPOL_FILE", FILE)]);
    assert!(refused["MESSAGE"].as_str().is_some_and(|text| text.contains("test \"shut\" failed")), "{refused:#}");
}

#[test]
fn file_whose_name_is_an_entry_forges_none() {
    let Some(image) = Image::new() else { return };
    image.policy("10-test.toml", &arriving(&allow_port("dns", "udp", 53)));
    let name = "20-x\nNETPOL_VERDICT=allow\nMESSAGE=all is well\n\n.toml";
    image.policy(name, "version = 1\n[[policy]]\nname = 7\n");
    let machine = image.boot();
    let refused = machine.entry(&["PRIORITY=3", "NETPOL_LINE=2"]);
    has(&refused, &[("NETPOL_FILE", &format!("/etc/netpol.d/{name}"))]);
    assert_eq!(refused["NETPOL_VERDICT"], Value::Null, "{refused:#}");
    assert!(machine.entries(&["NETPOL_VERDICT=allow"]).is_empty() && machine.entries(&["MESSAGE=all is well"]).is_empty());
}

#[test]
fn last_words_are_found_by_the_unit_also_where_journald_reads_them_late() {
    let Some(image) = Image::new() else { return };
    image.policy("10-test.toml", &logging(53));
    let machine = image.boot();
    let journald = machine.journald();
    for stops in 1..=3 {
        if stops == 3 {
            // By then journald has forgotten what it knew of the process.
            thread::sleep(Duration::from_secs(6));
            machine.must(&["kill", "-STOP", &journald]);
            machine.must(&["systemctl", "--no-block", "stop", "netpol-ebpf.service"]);
            thread::sleep(Duration::from_secs(1));
            machine.must(&["kill", "-CONT", &journald]);
        }
        machine.service("stop").expect(0);
        let said = || machine.journal().matches("stopping; the kernel goes on enforcing").count();
        wait::until("the stop is in the journal of the unit", Duration::from_secs(5), || said() == stops);
        machine.service("start").expect(0);
    }
}

fn lost(machine: &Machine) -> u64 {
    machine.status()["log"]["lines"].as_u64().expect("a number")
}

#[test]
fn journald_that_is_stopped_holds_up_nothing_and_is_told_later_what_it_missed() {
    let Some(image) = Image::new() else { return };
    // Its own limit of entries would take more than we lose.
    image.file("/etc/systemd/journald.conf.d/10-test.conf", "[Journal]\nRateLimitIntervalSec=0\n");
    image.policy("10-test.toml", &logging(53));
    let machine = image.boot();
    let process = machine.property("MainPID");
    let journald = machine.journald();
    machine.must(&["kill", "-STOP", &journald]);
    let denied: Vec<Packet> = (0..100).map(|n| Packet::udp(Family::V4.at(1, 2, 1000 + n), Family::V4.at(1, 1, 54))).collect();
    let flood = Flood::with_pauses(&machine.src, "eth0", &denied, Some(Duration::from_millis(2)));
    wait::until("the journal's queue and ours are full", Duration::from_secs(60), || lost(&machine) > 0);

    assert!(machine.arrives(Family::V4, 53) && !machine.arrives(Family::V6, 56), "verdicts go on");
    machine.save("10-test.toml", &logging(56));
    wait::until("a saved file goes live", PATIENCE, || machine.arrives(Family::V4, 56));
    machine.save("10-test.toml", "version = 2\n");
    assert_ne!(machine.service("reload").code, 0, "a refused one fails its reload");
    machine.save("10-test.toml", &logging(57));
    machine.service("reload").expect(0);
    assert!(machine.arrives(Family::V6, 57) && !machine.arrives(Family::V6, 56), "a reload too");
    flood.stop();
    let missed = lost(&machine);

    machine.must(&["kill", "-CONT", &journald]);
    let told = machine.entry(&["PRIORITY=4", "NETPOL_LOG_TARGET=netpol_ebpf::report"]);
    let message = told["MESSAGE"].as_str().expect("text");
    assert!(message.ends_with("lines of this log were lost: nobody took them in time"), "{message}");
    let sender = sock::udp(&machine.src, (Ipv4Addr::new(10, 1, 0, 2), 4000).into());
    let after = || {
        sender.send_to(b"telnet", Family::V4.at(1, 1, 54)).expect("it is sent");
        !machine.entries(&["NETPOL_SPORT=4000"]).is_empty()
    };
    wait::until("entries come again", PATIENCE, after);
    assert_eq!(lost(&machine), missed, "and no more are lost");
    assert_eq!(machine.property("MainPID"), process, "the same process all along");
}

#[test]
fn journald_that_is_started_again_gets_the_next_entries() {
    let Some(image) = Image::new() else { return };
    image.policy("10-test.toml", &logging(53));
    let machine = image.boot();
    for (port, how) in [(4001, &["restart"][..]), (4002, &["kill", "--signal=KILL"])] {
        machine.must(&[&["systemctl"], how, &["systemd-journald.service"]].concat());
        let sender = sock::udp(&machine.src, (Ipv4Addr::new(10, 1, 0, 2), port).into());
        let arrived = || {
            sender.send_to(b"telnet", Family::V4.at(1, 1, 54)).expect("it is sent");
            !machine.entries(&[&format!("NETPOL_SPORT={port}")]).is_empty()
        };
        wait::until("an entry after the restart", PATIENCE, arrived);
    }
    assert_eq!(machine.property("NRestarts"), "0");
}

#[test]
fn journal_whose_socket_cannot_be_reached_gets_lines() {
    let Some(image) = Image::new() else { return };
    image.unit("netpol-ebpf.service.d/10-test.conf", "[Service]\nInaccessiblePaths=/run/systemd/journal/socket\n");
    image.policy("10-test.toml", &logging(53));
    let machine = image.boot();
    let lines = machine.entries(&["_TRANSPORT=stdout", "SYSLOG_IDENTIFIER=netpol-ebpf"]);
    let texts: Vec<&str> = lines.iter().filter_map(|line| line["MESSAGE"].as_str()).collect();
    assert!(texts.iter().any(|text| text.starts_with("[WARN  netpol_ebpf] the journal's socket cannot be reached")), "{texts:?}");
    assert!(texts.contains(&"[INFO  netpol_ebpf::cli::run] ready: generation 1: 2 rules on 1 interfaces"), "{texts:?}");
}
