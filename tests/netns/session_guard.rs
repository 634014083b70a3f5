//! `apply` does not cut off the session that it is typed in.

use std::time::Duration;

use netpol_tests::cli::{self, DONE, REFUSED};
use netpol_tests::policy::{VERSION, allow_port, arriving};
use netpol_tests::sock::{self, Connection};
use netpol_tests::{Bench, Family};

const FILE: &str = "10-test.toml";

fn by_hand(rules: &str) -> String {
    format!("{VERSION}[daemon]\nreload = \"manual\"\n{}", arriving(rules).trim_start_matches(VERSION))
}

/// `apply` as typed in an SSH session.
fn apply_in(bench: &Bench, connection: &Connection, arguments: &[&str]) -> cli::Answer {
    let remote = connection.client.local_addr().expect("its own end");
    let local = connection.client.peer_addr().expect("the other end");
    let variable = format!("{} {} {} {}", remote.ip(), remote.port(), local.ip(), local.port());
    let mut command = bench.net.dut.command("timeout");
    command.arg("60").arg(cli::binary()).arg("apply").args(arguments).args(bench.net.options());
    command.env("NO_COLOR", "1").env("SSH_CONNECTION", variable).output().expect("apply").into()
}

#[test]
fn ruleset_that_cuts_the_own_session_is_declined_except_on_trial() {
    for f in Family::BOTH {
        let Some(bench) = Bench::start(&by_hand(&allow_port("ssh", "tcp", 22))) else { return };
        let listener = sock::listen(&bench.net.dut, f.at(1, 1, 22));
        let mut session = Connection::open(&bench.net.src, &listener, f.at(1, 1, 22)).expect("a session");
        bench.net.write(FILE, &by_hand(&allow_port("web", "tcp", 80)));
        let answer = apply_in(&bench, &session, &[]).expect(REFUSED);
        assert!(answer.err.contains("session") && answer.err.contains("10-test.toml"), "{}", answer.text());
        assert!(session.lives(), "{f:?}: it goes on");
        apply_in(&bench, &session, &["--confirm", "60s"]).expect(DONE);
        assert!(session.is_cut(), "{f:?}: on trial it is cut");
        bench.cli().run(&["rollback"]).expect(DONE);
        assert!(session.exchange(Duration::from_secs(20)), "{f:?}: and lives again");
        bench.net.write(FILE, &by_hand(&(allow_port("ssh", "tcp", 22) + &allow_port("web", "tcp", 80))));
        apply_in(&bench, &session, &[]).expect(DONE);
        assert!(session.lives());
    }
}

#[test]
fn guard_can_be_turned_off() {
    let Some(bench) = Bench::start(&by_hand(&allow_port("ssh", "tcp", 22))) else { return };
    let f = Family::V4;
    let listener = sock::listen(&bench.net.dut, f.at(1, 1, 22));
    let mut session = Connection::open(&bench.net.src, &listener, f.at(1, 1, 22)).expect("a session");
    let off = by_hand(&allow_port("web", "tcp", 80)).replace("[daemon]\n", "[daemon]\nlive_session_guard = false\n");
    bench.net.write(FILE, &off);
    apply_in(&bench, &session, &[]).expect(DONE);
    assert!(session.is_cut());
}

/// Rules before `ssh`, a dynamic set, and the ruleset's own `ssh` rule.
fn by_set(before: &str, port: u16) -> String {
    let friends = "[[rule]]\naction = \"allow\"\nprotocol = \"tcp\"\nsource = { sets = [\"friends\"] }\n";
    by_hand(&(before.to_owned() + &allow_port("more", "tcp", port) + friends)) + "[[set]]\nname = \"friends\"\ndynamic = true\n"
}

#[test]
fn session_that_a_set_lets_in_and_one_whose_rule_has_expired_are_told_apart() {
    let Some(bench) = Bench::start(&by_set("", 80)) else { return };
    let f = Family::V4;
    bench.cli().run(&["set", "add", "friends", &f.host(1, 2).to_string()]).expect(DONE);
    let listener = sock::listen(&bench.net.dut, f.at(1, 1, 22));
    let mut session = Connection::open(&bench.net.src, &listener, f.at(1, 1, 22)).expect("a session");
    bench.net.write(FILE, &by_set("", 81));
    apply_in(&bench, &session, &[]).expect(DONE);
    assert!(session.lives(), "it is let in by an element that was added");
    let expired = allow_port("ssh", "tcp", 22) + "expires = 2001-01-01T00:00:00Z\n";
    bench.net.write(FILE, &by_hand(&expired));
    apply_in(&bench, &session, &[]).expect(REFUSED);
    assert!(session.lives(), "a rule that has expired lets nobody in");
}
