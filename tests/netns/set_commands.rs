//! `set list/show/add/del/flush/replace`: exit codes, forms, refusals. What packets see of sets stands elsewhere.

use std::fs;
use std::thread::sleep;
use std::time::Duration;

use netpol_tests::cli::{Answer, BAD, Cli, DONE, KERNEL, REFUSED};
use netpol_tests::machine::patience;
use netpol_tests::policy::{VERSION, arriving};
use netpol_tests::{Bench, Family, Net, Packet};
use serde_json::Value;

const SETS: &str = "[[set]]\nname = \"live\"\ndynamic = true\nelements = [\"10.1.0.8/29\", \"fd00:1::8\"]\n\
                    [[set]]\nname = \"small\"\ndynamic = true\nmax_entries = 4\nelements = [\"10.7.0.1\"]\n\
                    [[set]]\nname = \"fixed\"\nelements = [\"10.1.0.64\"]\n\
                    [[set]]\nname = \"hourly\"\ndynamic = true\ntimeout = \"1h\"\n";
const RULES: &str = "[[rule]]\naction = \"allow\"\nsource = { sets = [\"live\"] }\n[[rule]]\naction = \"allow\"\nsource = { sets = [\"small\"] }\n\
                     [[rule]]\naction = \"allow\"\nsource = { sets = [\"fixed\"] }\n[[rule]]\naction = \"allow\"\nsource = { sets = [\"hourly\"] }\n";

fn text() -> String {
    arriving(RULES) + SETS
}

fn start() -> Option<Bench> {
    Bench::start(&text())
}

fn set(bench: &Bench, arguments: &[&str]) -> Answer {
    bench.cli().run(&[&["set"], arguments].concat())
}

fn shown(bench: &Bench, name: &str) -> String {
    set(bench, &["show", name]).expect(DONE).out
}

fn json(answer: &Answer) -> Value {
    serde_json::from_str(&answer.out).unwrap_or_else(|e| panic!("{e}: {}", answer.text()))
}

fn passes(bench: &Bench, f: Family, host: u8) -> bool {
    bench.arrives(&Packet::udp(f.at(1, host, 4000), f.at(1, 1, 53)))
}

#[test]
fn added_elements_are_shown_count_and_go_again() {
    let Some(bench) = start() else { return };
    let before = shown(&bench, "live");
    set(&bench, &["add", "live", "10.1.0.99", "10.4.0.0/24", "fd00:1::63", "fd00:4::/64", "10.5.0.1-10.5.0.2"]).expect(DONE);
    let now = shown(&bench, "live");
    for element in ["10.1.0.8/29", "fd00:1::8", "10.1.0.99", "10.4.0.0/24", "fd00:1::63", "fd00:4::/64", "10.5.0.1", "10.5.0.2"] {
        assert!(now.contains(element), "{element}: {now}");
    }
    assert!(passes(&bench, Family::V4, 99) && passes(&bench, Family::V6, 99), "effective when the command is back");
    set(&bench, &["del", "live", "10.1.0.99", "fd00:1::63"]).expect(DONE);
    assert!(!passes(&bench, Family::V4, 99) && !passes(&bench, Family::V6, 99));
    let now = shown(&bench, "live");
    assert!(!now.contains("10.1.0.99") && !now.contains("fd00:1::63") && now.contains("10.4.0.0/24"), "{now}");
    set(&bench, &["flush", "live"]).expect(DONE);
    assert_eq!(shown(&bench, "live"), before, "flush leaves what is written");
    assert!(passes(&bench, Family::V4, 8) && passes(&bench, Family::V6, 8));
}

#[test]
fn replace_reads_a_file_and_leaves_what_is_written() {
    let Some(bench) = start() else { return };
    let file = bench.net.scratch("list.txt");
    let path = file.to_str().expect("a path");
    set(&bench, &["add", "live", "10.1.0.99"]).expect(DONE);
    fs::write(&file, "# friends\n10.1.0.100\n\nfd00:1::64 # one\n10.6.0.0/24\n").expect("a list");
    set(&bench, &["replace", "live", path]).expect(DONE);
    for (f, host, expected) in
        [(Family::V4, 99, false), (Family::V4, 100, true), (Family::V6, 100, true), (Family::V4, 8, true), (Family::V6, 8, true)]
    {
        assert_eq!(passes(&bench, f, host), expected, "{f:?} {host}");
    }
    let before = shown(&bench, "live");
    fs::write(&file, "10.1.0.101\n10.1.0.300\n").expect("a list");
    let answer = set(&bench, &["replace", "live", path]);
    assert_eq!(answer.code, BAD, "{}", answer.text());
    assert!(answer.err.contains("list.txt:2") && answer.err.contains("10.1.0.300"), "names file and line: {}", answer.err);
    let missing = set(&bench, &["replace", "live", "/nonexistent/list"]);
    assert!([REFUSED, BAD].contains(&missing.code) && missing.err.contains("/nonexistent/list"), "{}", missing.text());
    assert_eq!(shown(&bench, "live"), before, "nothing changed after a refusal");
    fs::write(&file, "").expect("a list");
    let empty = set(&bench, &["replace", "live", path]);
    assert!(empty.code == DONE && !passes(&bench, Family::V4, 100), "an empty list empties what was added: {}", empty.text());
}

#[test]
fn refused_changes_say_why_and_change_nothing() {
    let Some(bench) = start() else { return };
    set(&bench, &["add", "live", "10.1.0.99"]).expect(DONE);
    let state = |bench: &Bench| ["live", "small", "fixed", "hourly"].map(|name| shown(bench, name));
    let before = state(&bench);
    let cases: [(&[&str], i32, &[&str]); 14] = [
        (&["add", "nobody", "10.1.0.1"], REFUSED, &["nobody"]),
        (&["del", "nobody", "10.1.0.1"], REFUSED, &["nobody"]),
        (&["flush", "nobody"], REFUSED, &["nobody"]),
        (&["show", "nobody"], REFUSED, &["nobody"]),
        (&["add", "fixed", "10.1.0.1"], REFUSED, &["fixed", "dynamic"]),
        (&["del", "fixed", "10.1.0.64"], REFUSED, &["fixed", "dynamic"]),
        (&["flush", "fixed"], REFUSED, &["fixed", "dynamic"]),
        (&["add", "live", "10.1.0.256"], BAD, &["10.1.0.256"]),
        (&["add", "live", "10.1.0.50", "good.example"], BAD, &["good.example"]),
        (&["add", "live", "10.1.0.50", "--timeout", "soon"], BAD, &["soon"]),
        (&["del", "live", "10.1.0.99", "10.1.0.8/29"], REFUSED, &["10.1.0.8/29", "10-test.toml:"]),
        (&["add", "small", "10.7.0.2", "10.7.0.4", "10.7.0.6", "10.7.0.8"], REFUSED, &["small", "4"]),
        (&["add", "live"], BAD, &[]),
        (&["del", "live"], BAD, &[]),
    ];
    for (arguments, code, words) in cases {
        let answer = set(&bench, arguments);
        assert_eq!(answer.code, code, "{arguments:?}: {}", answer.text());
        for word in words {
            assert!(answer.err.contains(word), "{arguments:?} names {word}: {}", answer.err);
        }
        assert_eq!(state(&bench), before, "{arguments:?}: nothing changed");
        assert!(passes(&bench, Family::V4, 99) && !passes(&bench, Family::V4, 50), "{arguments:?}: for packets neither");
    }
    set(&bench, &["add", "small", "10.7.0.2", "10.7.0.4", "10.7.0.6"]).expect(DONE);
    assert_eq!(set(&bench, &["add", "small", "10.7.0.8"]).code, REFUSED, "full");
    set(&bench, &["add", "small", "10.7.0.2"]).expect(DONE);
    set(&bench, &["del", "small", "10.7.0.2"]).expect(DONE);
    set(&bench, &["add", "small", "10.7.0.8"]).expect(DONE);
}

#[test]
fn deleting_what_is_not_there_is_told() {
    let Some(bench) = start() else { return };
    let answer = set(&bench, &["del", "live", "10.1.0.200"]);
    assert_eq!(answer.code, REFUSED, "{}", answer.text());
    assert!(answer.err.contains("10.1.0.200"), "{}", answer.err);
}

#[test]
fn json_forms_carry_a_version_and_name_what_they_speak_of() {
    let Some(bench) = start() else { return };
    let added = set(&bench, &["add", "live", "10.1.0.99", "fd00:1::63", "--json"]).expect(DONE);
    assert!(json(&added)["version"].is_number(), "{}", added.out);
    let listed = json(&set(&bench, &["list", "--json"]).expect(DONE));
    let sets = listed.as_array().or_else(|| listed["sets"].as_array()).unwrap_or_else(|| panic!("a list: {listed}")).clone();
    for (name, dynamic) in [("live", true), ("small", true), ("fixed", false), ("hourly", true)] {
        let set = sets.iter().find(|set| set["name"] == name).unwrap_or_else(|| panic!("{name}: {listed}"));
        assert_eq!(set["dynamic"], dynamic, "{set}");
        assert!(set["file"].as_str().is_some_and(|file| file.ends_with("10-test.toml")) && set["line"].is_u64(), "{set}");
    }
    let shown = json(&set(&bench, &["show", "live", "--json"]).expect(DONE));
    assert_eq!((&shown["name"], &shown["dynamic"]), (&Value::from("live"), &Value::from(true)), "{shown}");
    for element in ["10.1.0.8/29", "10.1.0.99", "fd00:1::63"] {
        assert!(shown.to_string().contains(element), "{element}: {shown}");
    }
    let refused = set(&bench, &["add", "fixed", "10.1.0.1", "--json"]);
    assert_eq!(refused.code, REFUSED);
    let error = json(&refused);
    assert!(error["version"].is_number() && error["error"].as_str().is_some_and(|error| error.contains("fixed")), "{error}");
}

#[test]
fn timeouts_are_taken_from_the_command_or_from_the_set() {
    let Some(bench) = start() else { return };
    let life = patience(Duration::from_secs(3));
    let lived = format!("{}s", life.as_secs());
    set(&bench, &["add", "live", "10.1.0.100"]).expect(DONE);
    set(&bench, &["add", "hourly", "10.1.0.101"]).expect(DONE);
    set(&bench, &["add", "live", "10.1.0.99", "fd00:1::63", "--timeout", &lived]).expect(DONE);
    set(&bench, &["add", "hourly", "10.1.0.102", "--timeout", &lived]).expect(DONE);
    for host in 99..=102 {
        assert!(passes(&bench, Family::V4, host), "{host}: {}", shown(&bench, "live"));
    }
    assert!(passes(&bench, Family::V6, 99));
    let hourly = shown(&bench, "hourly");
    let line = hourly.lines().find(|line| line.contains("10.1.0.101")).unwrap_or_else(|| panic!("10.1.0.101: {hourly}"));
    assert!(line.split_whitespace().count() > 1, "says how long it lives: {line}");
    sleep(life + Duration::from_millis(600));
    for (host, expected) in [(99, false), (100, true), (101, true), (102, false)] {
        assert_eq!(passes(&bench, Family::V4, host), expected, "{host}");
    }
    assert!(!passes(&bench, Family::V6, 99));
    assert!(!shown(&bench, "live").contains("10.1.0.99"), "{}", shown(&bench, "live"));
    set(&bench, &["add", "live", "10.1.0.99", "--timeout", &lived]).expect(DONE);
    sleep(life / 2);
    set(&bench, &["add", "live", "10.1.0.99", "--timeout", "1h"]).expect(DONE);
    sleep(life / 2 + Duration::from_millis(600));
    assert!(passes(&bench, Family::V4, 99), "added again: the life begins anew");
}

#[test]
fn written_element_never_expires_whatever_is_added() {
    let Some(bench) = start() else { return };
    let answer = set(&bench, &["add", "live", "10.1.0.8/29", "--timeout", "1s"]);
    assert!([DONE, REFUSED].contains(&answer.code), "{}", answer.text());
    sleep(Duration::from_millis(1600));
    assert!(passes(&bench, Family::V4, 8));
    assert!(shown(&bench, "live").contains("10.1.0.8/29"));
}

#[test]
fn added_elements_outlive_reload_kill_and_restart() {
    let Some(mut bench) = start() else { return };
    set(&bench, &["add", "live", "10.1.0.99", "fd00:1::63"]).expect(DONE);
    set(&bench, &["add", "live", "10.1.0.100", "--timeout", "1h"]).expect(DONE);
    bench.change(&(text() + "[[policy.ingress]]\naction = \"deny\"\nprotocol = \"gre\"\n").replace(SETS, "").replacen(
        VERSION,
        &format!("{VERSION}{SETS}"),
        1,
    ));
    let check = |bench: &Bench, what: &str| {
        for (f, host, expected) in [(Family::V4, 99, true), (Family::V6, 99, true), (Family::V4, 100, true), (Family::V4, 98, false)] {
            assert_eq!(passes(bench, f, host), expected, "{what}: {f:?} {host}");
        }
    };
    check(&bench, "reloaded");
    bench.daemon.kill();
    check(&bench, "without a daemon");
    bench.daemon = netpol_tests::Daemon::start(&bench.net);
    check(&bench, "with a new daemon");
    assert!(shown(&bench, "live").contains("10.1.0.100"));
    set(&bench, &["del", "live", "10.1.0.99"]).expect(DONE);
    bench.daemon.kill();
    bench.daemon = netpol_tests::Daemon::start(&bench.net);
    assert!(!passes(&bench, Family::V4, 99), "what was deleted stays deleted");
}

#[test]
fn set_commands_without_a_daemon_answer_3() {
    let Some(net) = Net::new() else { return };
    for arguments in [&["set", "list"][..], &["set", "add", "live", "10.1.0.1"], &["set", "flush", "live"]] {
        let answer = Cli(&net).run(arguments);
        assert_eq!(answer.code, KERNEL, "{arguments:?}: {}", answer.text());
        assert!(!answer.err.is_empty(), "says why");
    }
}

#[test]
fn test_blocks_know_written_elements_only() {
    let Some(bench) = start() else { return };
    set(&bench, &["add", "live", "10.1.0.99"]).expect(DONE);
    let test = |host: u8, expect: &str| {
        format!(
            "[[test]]\nname = \"host {host}\"\ninterface = \"left\"\ndirection = \"ingress\"\n\
             packet = {{ protocol = \"udp\", source = \"10.1.0.{host}:1\", destination = \"10.1.0.1:53\" }}\nexpect = \"{expect}\"\n"
        )
    };
    let other = text().replace("[\"fixed\"]", "[\"fixed\"], ports = [7]");
    bench.change(&(other + &test(99, "deny") + &test(8, "allow")));
    assert!(passes(&bench, Family::V4, 99), "although it lives in truth");
}
