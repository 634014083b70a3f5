//! What changes by itself or at run time: rules and elements that expire, dynamic sets, the adoption of running connections.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::*;
use crate::frame::*;
use crate::scenario::{Event, Life};

const SETS: &str = r#"
[[set]]
name = "x"
dynamic = true
elements = ["8.0.0.77"]
[[set]]
name = "y"
dynamic = true
[[set]]
name = "z"
dynamic = true
[[policy]]
name = "host"
interfaces = ["h0"]
default_action = { ingress = "deny", egress = "deny" }
[policy.xdp]
mode = "MODE"
deny_sets = ["y"]
[[policy.ingress]]
action = "allow"
source = { sets = ["x"], nets = ["2001:db8:86dd::77"], not_sets = ["z"] }
"#;

fn from(source: &str) -> Shot {
    let here = if source.contains(':') { HERE6 } else { HERE };
    arrives("h0", &between(source, here, UDP, &ports((1, 53), 8)))
}

fn after(event: Event, step: Step) -> Step {
    (Shot { before: vec![event], ..step.0 }, step.1)
}

fn now(set: &'static str, members: &[(&'static str, Life)]) -> Event {
    Event::Set(set, members.to_vec())
}

fn wait(ms: u64) -> Event {
    Event::Wait(Duration::from_millis(ms))
}

const BOTH: [(&str, Life); 2] = [("8.0.0.0/28", Life::Forever), ("2001:db8:86dd::/80", Life::Long)];

fn set_steps() -> Vec<Step> {
    let over = [("8.0.0.0/28", Life::Over), ("2001:db8:86dd::/80", Life::Over)];
    vec![
        (from("8.0.0.77"), "ok"),
        (from("2001:db8:86dd::77"), "ok"),
        (from(PEER), "default"),
        after(now("x", &BOTH), (from(PEER), "ok")),
        (from(PEER6), "ok"),
        (from("8.0.0.77"), "ok"),
        // An exception ends the flow of a member; the next opener is refused by the same set.
        after(now("z", &[("8.0.0.1/32", Life::Long)]), (from(PEER), "default")),
        (from("8.0.0.2"), "ok"),
        after(now("z", &over), (from(PEER), "ok")),
        after(now("x", &over), (from(PEER), "default")),
        (from(PEER6), "default"),
        // The shorter prefix lives longer.
        after(now("x", &[("8.0.0.0/24", Life::Forever), ("8.0.0.1/32", Life::Over)]), (from(PEER), "ok")),
        // The next packet meets the deny set, whatever its flow.
        after(now("y", &BOTH), (from(PEER), "deny_set")),
        (from(PEER6), "deny_set"),
        (from("8.0.0.77"), "ok"),
        after(now("y", &over), (from(PEER), "ok")),
    ]
}

/// Flows are judged again after a change, also those that nothing has changed for.
fn answers(bench: &mut Bench, toml: &str) -> usize {
    let back = leaves("h0", &between(HERE, PEER, UDP, &ports((53, 1), 8)));
    let steps = vec![
        after(now("x", &BOTH), (from(PEER), "ok")),
        (back.clone(), "ok"),
        after(now("x", &[("8.0.0.1/32", Life::Long)]), (back.clone(), "ok")),
        after(now("y", &[("8.0.0.1/32", Life::Long)]), (back.clone(), "deny_set")),
        (back, "default"),
    ];
    play(bench, "answers and dynamic sets", &[(toml, steps)])
}

fn brief(bench: &mut Bench, toml: &str) -> usize {
    let members = [("8.0.0.0/28", Life::Brief(300)), ("2001:db8:86dd::/80", Life::Brief(300))];
    let kept = toml.replace("[[set]]\nname = \"x\"", "[daemon.conntrack]\nestablished = \"keep\"\n[[set]]\nname = \"x\"");
    let steps = |reason| {
        vec![
            after(now("x", &members), (from(PEER), "ok")),
            (from(PEER6), "ok"),
            after(wait(400), (from(PEER), reason)),
            (from(PEER6), reason),
            (from("8.0.0.2"), "default"),
            after(now("y", &members), (from("8.0.0.77"), "ok")),
            (from("8.0.0.3"), "deny_set"),
            after(wait(400), (from("8.0.0.3"), "default")),
        ]
    };
    play(bench, "brief elements", &[(toml, steps("default"))])
        + play(bench, "brief elements and flows that are kept", &[(&kept, steps("ok"))])
        + play(
            bench,
            "elements in the next generation",
            &[(toml, vec![after(now("x", &BOTH), (from(PEER), "ok"))]), (toml, vec![(from(PEER), "ok"), (from(PEER6), "ok")])],
        )
}

/// RFC 3339, in UTC.
fn written(unix: u64) -> String {
    let (days, rest) = (unix / 86_400, unix % 86_400);
    // Civil date from days since 1970, as by the proleptic Gregorian calendar.
    let (mut year, mut left) = (1970, days);
    let leap = |year: u64| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    while left >= 365 + u64::from(leap(year)) {
        left -= 365 + u64::from(leap(year));
        year += 1;
    }
    let lengths = [31, 28 + u64::from(leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 0;
    while left >= lengths[month] {
        left -= lengths[month];
        month += 1;
    }
    format!("{year:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z", month + 1, left + 1, rest / 3600, rest / 60 % 60, rest % 60)
}

fn expiring(bench: &mut Bench) -> usize {
    let end = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() + 3;
    let toml = format!(
        "[[policy]]\nname = \"host\"\ninterfaces = [\"h0\"]\ndefault_action = {{ ingress = \"deny\" }}\n\
         [[policy.ingress]]\naction = \"deny\"\nexpires = 2001-01-01T00:00:00Z\n\
         [[policy.ingress]]\naction = \"allow\"\nexpires = {}\n",
        written(end)
    );
    let steps = vec![
        (from(PEER), "ok"),
        (from(PEER6), "ok"),
        (from(PEER), "ok"),
        after(wait(3200), (from(PEER), "default")),
        (from(PEER6), "default"),
        (from("8.0.0.2"), "default"),
    ];
    play(bench, "rules that end", &[(&toml, steps)])
}

fn adoption(bench: &mut Bench) -> usize {
    let text = |interface: &str, adopt: &str| {
        format!(
            "[daemon.conntrack]\nadopt_existing = {adopt}\n[[policy]]\nname = \"host\"\ninterfaces = [\"{interface}\"]\n\
             default_action = {{ ingress = \"deny\" }}\n\
             [[policy.ingress]]\naction = \"allow\"\nprotocol = \"tcp\"\ndestination = {{ ports = [80] }}\n"
        )
    };
    let there = |flags, port| arrives("h0", &between(PEER, HERE, TCP, &tcp((1000, port), flags, 100, 200, b"")));
    let strangers = vec![(there(ACK, 80), "no_connection")];
    let steps = vec![(there(RST, 80), "ok"), (there(SYN | ACK, 80), "no_connection"), (there(ACK, 81), "default"), (there(ACK, 80), "ok")];
    // A window opens when an interface comes under policy, so it was not before.
    play(bench, "no adoption", &[(&text("h1", "false"), vec![]), (&text("h0", "false"), strangers.clone())])
        + play(bench, "adoption of sockets", &[(&text("h1", "false"), vec![]), (&text("h0", "\"sockets\""), strangers)])
        + play(bench, "adoption", &[(&text("h1", "false"), vec![]), (&text("h0", "true"), steps)])
}

pub fn all(bench: &mut Bench) -> usize {
    let mut done = expiring(bench) + adoption(bench);
    for mode in ["generic", "off"] {
        let toml = SETS.replace("MODE", mode);
        done += play(bench, "dynamic sets", &[(&toml, set_steps())]) + answers(bench, &toml) + brief(bench, &toml);
    }
    done
}
