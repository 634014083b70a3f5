//! `expires`: until its moment a rule holds, from then on it does not, with a daemon and without one.

use std::time::{Duration, SystemTime};

use netpol_tests::cli::{Cli, DONE};
use netpol_tests::machine::patience;
use netpol_tests::moment::{in_seconds, past};
use netpol_tests::policy::{VERSION, arriving};
use netpol_tests::sock::{self, Connection};
use netpol_tests::{Bench, Daemon, Family, Hook, Net, Packet, Place};

/// Seconds that are long enough for a start on a busy machine.
fn life() -> u64 {
    patience(Duration::from_secs(8)).as_secs()
}

fn rule(id: &str, action: &str, more: &str) -> String {
    format!("[[rule]]\nid = \"{id}\"\naction = \"{action}\"\n{more}\n")
}

fn until(moment: &str) -> String {
    format!("expires = {moment}")
}

fn udp(f: Family, port: u16) -> Packet {
    Packet::udp(f.at(1, 2, port), f.at(1, 1, 53))
}

#[test]
fn rule_holds_until_its_moment_at_every_place() {
    let begin = SystemTime::now();
    let moment = in_seconds(life() as i64);
    let benches: Vec<(Place, Bench)> = Place::ALL
        .into_iter()
        .filter_map(|place| Some((place, Bench::start(&place.policy("p", &rule("short", "allow", &until(&moment))))?)))
        .collect();
    for (place, bench) in &benches {
        for f in Family::BOTH {
            assert!(bench.passes(place.hook, &udp(f, 1)), "{place:?} {f:?}: before");
        }
    }
    past(begin, life());
    for (place, bench) in &benches {
        for f in Family::BOTH {
            bench.refused(place.hook, "default", &udp(f, 2), &format!("{place:?}: a new flow afterwards"));
            bench.refused(place.hook, "default", &udp(f, 1), &format!("{place:?}: the flow that the rule had allowed"));
        }
        assert_eq!(bench.cli().hits("short"), 2, "{place:?}: one opener of each family");
    }
}

#[test]
fn rule_expires_without_a_daemon_and_takes_its_flows_along() {
    let begin = SystemTime::now();
    let moment = in_seconds(life() as i64);
    let rules = rule("short", "allow", &format!("protocol = \"udp\"\n{}", until(&moment)))
        + &rule("web", "allow", &format!("protocol = \"tcp\"\ndestination = {{ ports = [80] }}\nexpires = \"{moment}\""))
        + &rule("ssh", "allow", "protocol = \"tcp\"\ndestination = { ports = [22] }");
    let Some(mut bench) = Bench::start(&arriving(&rules)) else { return };
    let open = |bench: &Bench, f: Family, port| {
        let listener = sock::listen(&bench.net.dut, f.at(1, 1, port));
        Connection::open(&bench.net.src, &listener, f.at(1, 1, port)).expect("a connection")
    };
    let mut cut = Family::BOTH.map(|f| open(&bench, f, 80));
    let mut kept = Family::BOTH.map(|f| open(&bench, f, 22));
    for f in Family::BOTH {
        assert!(bench.arrives(&udp(f, 1)), "{f:?}: before");
    }
    bench.daemon.kill();
    assert!(cut.iter_mut().chain(&mut kept).all(Connection::lives), "before, without a daemon");
    past(begin, life());
    for f in Family::BOTH {
        assert!(!bench.arrives(&udp(f, 2)), "{f:?}: a new flow");
        assert!(!bench.arrives(&udp(f, 1)), "{f:?}: the flow that the rule had allowed");
    }
    assert!(cut.iter_mut().all(Connection::is_cut), "the connections that the rule had allowed");
    assert!(kept.iter_mut().all(Connection::lives), "and no others");
    bench.daemon = Daemon::start(&bench.net);
    assert!(!bench.arrives(&udp(Family::V4, 3)), "and a new daemon does not bring it back");
    assert!(kept.iter_mut().all(Connection::lives));
}

#[test]
fn flow_that_another_rule_allows_too_goes_on() {
    let begin = SystemTime::now();
    let moment = in_seconds(life() as i64);
    let rules = rule("short", "allow", &until(&moment)) + &rule("after", "allow", "source = { nets = [\"10.1.0.2\"] }");
    let Some(bench) = Bench::with_rules(&rules) else { return };
    for hook in Hook::BOTH {
        for f in Family::BOTH {
            let port = if hook == Hook::Ingress { 1 } else { 2 };
            assert!(bench.passes(hook, &udp(f, port)), "{f:?} {hook:?}: before");
        }
    }
    past(begin, life());
    for hook in Hook::BOTH {
        for f in Family::BOTH {
            let port = if hook == Hook::Ingress { 1 } else { 2 };
            assert_eq!(bench.passes(hook, &udp(f, port)), f == Family::V4, "{f:?} {hook:?}: by the second rule");
        }
    }
}

#[test]
fn denial_that_expires_leaves_the_rest() {
    let begin = SystemTime::now();
    let moment = in_seconds(life() as i64);
    let rules = rule("shut", "deny", &until(&moment)) + &rule("open", "allow", "");
    let Some(bench) = Bench::with_rules(&rules) else { return };
    for hook in Hook::BOTH {
        for f in Family::BOTH {
            bench.refused(hook, "rule", &udp(f, 1), "before");
        }
    }
    past(begin, life());
    for hook in Hook::BOTH {
        for f in Family::BOTH {
            assert!(bench.passes(hook, &udp(f, 1)), "{f:?} {hook:?}: afterwards");
        }
    }
}

#[test]
fn established_keep_lets_the_flows_of_an_expired_rule_go_on() {
    let begin = SystemTime::now();
    let moment = in_seconds(life() as i64);
    let text = arriving(&rule("short", "allow", &until(&moment))).replacen(
        VERSION,
        &format!("{VERSION}[daemon.conntrack]\nestablished = \"keep\"\nudp = \"1h\"\n"),
        1,
    );
    let Some(bench) = Bench::start(&text) else { return };
    for f in Family::BOTH {
        assert!(bench.arrives(&udp(f, 1)));
    }
    past(begin, life());
    for f in Family::BOTH {
        assert!(bench.arrives(&udp(f, 1)), "{f:?}: kept");
        assert!(!bench.arrives(&udp(f, 2)), "{f:?}: but no new one");
    }
}

#[test]
fn rule_that_has_expired_at_the_start_is_a_warning_with_its_place() {
    let rules = rule("old", "allow", &until("2020-01-01T00:00:00Z"))
        + &rule("dns", "allow", "destination = { ports = [53] }\nprotocol = \"udp\"\nsource = { ports = [9] }");
    let Some(bench) = Bench::start(&arriving(&rules)) else { return };
    let warnings = bench.cli().warnings();
    assert!(warnings.contains("expired") && warnings.contains("10-test.toml:9"), "{warnings}");
    assert_eq!(bench.cli().last_error(), "");
    for f in Family::BOTH {
        bench.refused(Hook::Ingress, "default", &udp(f, 1), "an expired rule");
        assert!(bench.arrives(&udp(f, 9)), "{f:?}: the others hold");
    }
    let check = bench.cli().run(&["check"]).expect(DONE).text();
    assert!(check.contains("expired") && check.contains("10-test.toml:9"), "check warns too: {check}");
    bench.change(&arriving(&rules.replace("2020-01-01", "2099-01-01")));
    assert!(bench.arrives(&udp(Family::V6, 2)), "prolonged");
    assert!(!bench.cli().warnings().contains("expired"), "and the warning is gone: {}", bench.cli().warnings());
}

#[test]
fn warning_appears_when_a_rule_expires_under_a_running_daemon() {
    let begin = SystemTime::now();
    let Some(bench) = Bench::start(&arriving(&rule("short", "allow", &until(&in_seconds(life() as i64))))) else { return };
    assert!(!bench.cli().warnings().contains("expired"), "{}", bench.cli().warnings());
    past(begin, life());
    netpol_tests::wait::until("the warning", Duration::from_secs(5), || bench.cli().warnings().contains("expired"));
}

#[test]
fn check_judges_tests_as_if_no_rule_had_expired() {
    let Some(net) = Net::new() else { return };
    let test = "[[test]]\nname = \"then\"\ninterface = \"left\"\ndirection = \"ingress\"\n\
        packet = { protocol = \"udp\", source = \"10.1.0.2:1\", destination = \"10.1.0.1:53\" }\nexpect = \"allow\"\nrule = \"old\"\n";
    net.write("10.toml", &(arriving(&rule("old", "allow", &until("2020-01-01T00:00:00Z"))) + test));
    Cli(&net).run(&["check"]).expect(DONE);
}
