//! The command line: exit codes, JSON, `check`, `apply`, `detach`.

use std::fs;

use netpol_tests::cli::{BAD, Cli, DONE, REFUSED};
use netpol_tests::policy::{VERSION, allow_port, arriving};
use netpol_tests::{Bench, Daemon, Family, Net};

use crate::matrix::udp_to;

const FAILING_TEST: &str = "[[test]]\nname = \"never true\"\ninterface = \"left\"\ndirection = \"ingress\"\n\
    packet = { protocol = \"udp\", source = \"10.1.0.2:1\", destination = \"10.1.0.1:53\" }\nexpect = \"deny\"\n";

fn good() -> String {
    arriving(&allow_port("dns", "udp", 53))
}

fn manual(policy: &str) -> String {
    policy.replacen(VERSION, &format!("{VERSION}[daemon]\nreload = \"manual\"\n"), 1)
}

#[test]
fn check_answers_0_for_good_1_for_a_failing_test_2_for_a_bad_file() {
    let Some(net) = Net::new() else { return };
    let check = || Cli(&net).run(&["check"]);
    net.write("10.toml", &good());
    check().expect(DONE);
    net.write("10.toml", &(good() + FAILING_TEST));
    let answer = check().expect(REFUSED);
    assert!(answer.text().contains("never true"), "names the test: {}", answer.text());
    net.write("10.toml", &good().replace("action", "actoin"));
    let answer = check().expect(BAD);
    let text = answer.text();
    assert!(text.contains("10.toml:8:1"), "names file, line and column: {text}");
    assert!(text.contains("actoin") && text.contains("action"), "shows the key and what may have been meant: {text}");
}

#[test]
fn check_of_a_directory_needs_no_daemon_and_reports_all_errors_of_all_files() {
    let Some(net) = Net::new() else { return };
    let elsewhere = net.scratch("elsewhere");
    fs::create_dir(&elsewhere).expect("a directory");
    fs::write(elsewhere.join("a.toml"), format!("{VERSION}[[policy]]\nname = \"a\"\ncolour = 1\nshape = 2\n")).expect("a file");
    fs::write(elsewhere.join("b.toml"), format!("{VERSION}[[set]]\nname = \"b\"\nelements = [\"10.0.0.0/33\"]\n")).expect("a file");
    let answer = Cli(&net).run(&["check", elsewhere.to_str().expect("a path")]).expect(BAD);
    for word in ["colour", "shape", "a.toml:4:1", "a.toml:5:1", "b.toml:4:", "10.0.0.0/33"] {
        assert!(answer.text().contains(word), "names {word}: {}", answer.text());
    }
}

#[test]
fn usage_errors_answer_2() {
    let Some(net) = Net::new() else { return };
    Cli(&net).run(&["frobnicate"]).expect(BAD);
    Cli(&net).run(&["status", "--colour"]).expect(BAD);
}

#[test]
fn status_has_the_promised_shape() {
    let Some(bench) = Bench::start(&good()) else { return };
    let status = bench.cli().status();
    assert!(status["version"].is_number() || status["version"].is_string(), "version: {status}");
    assert!(!status["generation"].is_null(), "generation: {status}");
    assert_eq!(status["state"], "ok", "{status}");
    assert!(status["warnings"].is_array(), "warnings: {status}");
    assert!(status["last_error"].is_null(), "last_error: {status}");
    let left = status["interfaces"].as_array().expect("interfaces").iter().find(|i| i["name"] == "left").expect("left");
    assert_eq!(left["ifindex"].as_u64(), Some(u64::from(bench.net.dut.index("left"))), "{left}");
    assert!(left["policies"].to_string().contains("arriving"), "policies: {left}");
    for key in ["hooks", "attach", "xdp"] {
        assert!(left.get(key).is_some(), "{key}: {left}");
    }
    let text = bench.cli().run(&["status"]).expect(DONE).out;
    assert!(text.contains("left"), "the text names the interface: {text}");
}

#[test]
fn status_without_a_daemon_says_so() {
    let Some(net) = Net::new() else { return };
    let answer = Cli(&net).run(&["status"]);
    assert_ne!(answer.code, DONE, "{}", answer.text());
    assert!(!answer.err.is_empty(), "says why");
}

#[test]
fn rules_name_their_place_in_text_and_json() {
    let Some(bench) = Bench::start(&good()) else { return };
    let rule = bench.cli().rule("dns");
    assert_eq!(rule["policy"], "arriving", "{rule}");
    assert_eq!(rule["direction"], "ingress", "{rule}");
    assert!(rule["file"].as_str().expect("file").ends_with("10-test.toml"), "{rule}");
    assert_eq!(rule["line"], 6, "the line of [[policy.ingress]]: {rule}");
    assert!(rule["packets"].is_u64() && rule["bytes"].is_u64() && rule.get("last_hit").is_some(), "{rule}");
    let text = bench.cli().run(&["rules"]).expect(DONE).out;
    assert!(text.contains("dns") && text.contains("10-test.toml:6"), "{text}");
}

#[test]
fn sets_are_listed_and_shown_with_their_prefixes() {
    let sets = "[[set]]\nname = \"friends\"\nelements = [\"10.1.0.2\", \"10.4.0.0-10.4.0.255\", \"fd00:1::2\"]\n";
    let rules = "[[rule]]\naction = \"allow\"\nsource = { sets = [\"friends\"] }\n";
    let Some(bench) = Bench::start(&(arriving(rules) + sets)) else { return };
    assert!(bench.cli().run(&["set", "list"]).expect(DONE).out.contains("friends"));
    let shown = bench.cli().run(&["set", "show", "friends"]).expect(DONE).out;
    for prefix in ["10.1.0.2", "10.4.0.0/24", "fd00:1::2"] {
        assert!(shown.contains(prefix), "{prefix}: {shown}");
    }
    assert_ne!(bench.cli().run(&["set", "show", "nobody"]).code, DONE, "an unknown set");
}

#[test]
fn common_options_may_stand_before_the_command() {
    let Some(bench) = Bench::start(&good()) else { return };
    let mut arguments = bench.net.options();
    arguments.extend(["status".to_owned(), "--json".to_owned()]);
    let output = bench.net.dut.command(&netpol_tests::cli::binary().display().to_string()).args(arguments).output().expect("the binary");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn apply_makes_the_directory_live_where_reload_is_manual() {
    let Some(bench) = Bench::start(&manual(&good())) else { return };
    bench.net.write("10-test.toml", &manual(&arriving(&allow_port("ntp", "udp", 123))));
    std::thread::sleep(std::time::Duration::from_millis(1500));
    assert!(!bench.arrives(&udp_to(Family::V4, 123)), "a saved file alone does nothing");
    bench.cli().run(&["apply"]).expect(DONE);
    assert!(bench.arrives(&udp_to(Family::V4, 123)), "live when the command is back");
    assert!(!bench.arrives(&udp_to(Family::V4, 53)));
}

#[test]
fn hangup_makes_the_directory_live_where_reload_is_manual() {
    let Some(bench) = Bench::start(&manual(&good())) else { return };
    bench.net.write("10-test.toml", &manual(&arriving(&allow_port("ntp", "udp", 123))));
    bench.daemon.reload();
    netpol_tests::wait::until("the new policy", std::time::Duration::from_secs(5), || bench.arrives(&udp_to(Family::V4, 123)));
}

#[test]
fn apply_refuses_what_is_bad_and_changes_nothing() {
    let Some(bench) = Bench::start(&manual(&good())) else { return };
    let generation = bench.cli().generation();
    for (what, text, code) in
        [("a failing test", manual(&(good() + FAILING_TEST)), REFUSED), ("a bad file", "version = 3\n".to_owned(), BAD)]
    {
        bench.net.write("10-test.toml", &text);
        let answer = bench.cli().run(&["apply"]);
        assert_eq!(answer.code, code, "{what}: {}", answer.text());
        assert_eq!(bench.cli().generation(), generation, "{what}");
        assert!(bench.arrives(&udp_to(Family::V4, 53)) && !bench.arrives(&udp_to(Family::V4, 54)), "{what}");
    }
}

#[test]
fn detach_takes_the_firewall_off_and_a_new_start_puts_it_on_again() {
    let Some(mut bench) = Bench::start(&good()) else { return };
    assert!(!bench.arrives(&udp_to(Family::V4, 54)));
    bench.cli().run(&["detach"]).expect(DONE);
    assert!(bench.arrives(&udp_to(Family::V4, 54)), "open, as was asked");
    if bench.daemon.lives() {
        bench.daemon.kill();
    }
    bench.daemon = Daemon::start(&bench.net);
    assert!(!bench.arrives(&udp_to(Family::V4, 55)), "under policy again");
}
