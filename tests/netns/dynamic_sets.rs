//! Dynamic sets: changed at run time, effective with the next packet, kept whatever happens.

use std::fmt::Write as _;
use std::fs;
use std::time::{Duration, Instant};

use netpol_tests::cli::{BAD, DONE, REFUSED};
use netpol_tests::flood::Flood;
use netpol_tests::machine::patience;
use netpol_tests::policy::{VERSION, arriving};
use netpol_tests::sock::{self, Connection};
use netpol_tests::{Bench, Daemon, Family, Hook, Net, Packet, wait};
use serde_json::Value;

const ALLOW_FRIENDS: &str = "[[rule]]\nid = \"friends\"\naction = \"allow\"\nsource = { sets = [\"friends\"] }\n";

/// Only the members of `friends` may come in. No connection is adopted: in the first minute one that was cut would come to life
/// again by what the dut itself still sends.
fn friends(keys: &str) -> String {
    let adopt = "[daemon.conntrack]\nadopt_existing = false\n";
    arriving(ALLOW_FRIENDS) + &format!("{adopt}[[set]]\nname = \"friends\"\ndynamic = true\n{keys}\n")
}

/// Everybody but the members of `bad` may come in.
fn denying(mode: &str) -> String {
    format!(
        "{VERSION}[[set]]\nname = \"bad\"\ndynamic = true\n[[policy]]\nname = \"x\"\ninterfaces = [\"left\"]\npolicy_types = [\"ingress\"]\n\
         default_action = {{ ingress = \"allow\" }}\n[policy.xdp]\nmode = \"{mode}\"\ndeny_sets = [\"bad\"]\n"
    )
}

fn from(f: Family, host: u8) -> Packet {
    Packet::udp(f.at(1, host, 4000), f.at(1, 1, 53))
}

fn open(bench: &Bench, f: Family) -> Connection {
    let listener = sock::listen(&bench.net.dut, f.at(1, 1, 80));
    let mut connection = Connection::open(&bench.net.src, &listener, f.at(1, 1, 80)).expect("a connection");
    assert!(connection.lives());
    connection
}

fn shown(bench: &Bench, set: &str) -> Value {
    let answer = bench.cli().run(&["set", "show", set, "--json"]).expect(DONE);
    serde_json::from_str(&answer.out).expect("JSON")
}

fn listed(bench: &Bench, set: &str) -> Value {
    let answer = bench.cli().run(&["set", "list", "--json"]).expect(DONE);
    let all: Value = serde_json::from_str(&answer.out).expect("JSON");
    all.as_array().and_then(|sets| sets.iter().find(|listed| listed["name"] == set)).expect("the set").clone()
}

#[test]
fn added_element_lets_in_at_once_and_a_deleted_one_does_not() {
    let Some(bench) = Bench::start(&friends("")) else { return };
    let before = bench.cli().generation();
    for f in Family::BOTH {
        assert!(!bench.arrives(&from(f, 2)), "{f:?}: nobody is a friend");
        bench.cli().run(&["set", "add", "friends", &f.host(1, 2).to_string()]).expect(DONE);
        assert!(bench.arrives(&from(f, 2)), "{f:?}: added");
        assert!(!bench.arrives(&from(f, 3)), "{f:?}: its neighbour");
    }
    bench.cli().run(&["set", "add", "friends", "10.1.0.8/29", "fd00:1::20-fd00:1::27"]).expect(DONE);
    assert!(bench.arrives(&from(Family::V4, 15)) && !bench.arrives(&from(Family::V4, 16)), "a CIDR");
    assert!(bench.arrives(&from(Family::V6, 0x27)) && !bench.arrives(&from(Family::V6, 0x28)), "a range");
    for f in Family::BOTH {
        bench.cli().run(&["set", "del", "friends", &f.host(1, 2).to_string()]).expect(DONE);
        bench.refused(Hook::Ingress, "default", &from(f, 2), "deleted, and its flow with it");
    }
    assert_eq!(bench.cli().generation(), before, "no new generation");
}

#[test]
fn deletion_cuts_the_standing_connection() {
    let Some(bench) = Bench::start(&friends("")) else { return };
    bench.cli().run(&["set", "add", "friends", "10.1.0.2", "fd00:1::2"]).expect(DONE);
    let mut connections = Family::BOTH.map(|f| open(&bench, f));
    bench.cli().run(&["set", "add", "friends", "192.0.2.1"]).expect(DONE);
    assert!(connections.iter_mut().all(Connection::lives), "another element does not matter");
    bench.cli().run(&["set", "del", "friends", "10.1.0.2"]).expect(DONE);
    assert!(connections[0].is_cut(), "deleted");
    assert!(connections[1].lives(), "still in");
    bench.cli().run(&["set", "flush", "friends"]).expect(DONE);
    assert!(connections[1].is_cut(), "flushed");
}

#[test]
fn timeout_ends_access_and_connection_with_no_daemon_there() {
    let Some(mut bench) = Bench::start(&friends("timeout = \"1h\"")) else { return };
    let life = patience(Duration::from_secs(4));
    let lived = format!("{}s", life.as_secs());
    bench.cli().run(&["set", "add", "friends", "10.1.0.2", "fd00:1::2", "--timeout", &lived]).expect(DONE);
    bench.cli().run(&["set", "add", "friends", "10.1.0.7"]).expect(DONE);
    let begin = Instant::now();
    let mut connections = Family::BOTH.map(|f| open(&bench, f));
    bench.daemon.kill();
    assert!(connections.iter_mut().all(Connection::lives) && bench.arrives(&from(Family::V4, 2)), "not over yet");
    std::thread::sleep((life + Duration::from_millis(100)).saturating_sub(begin.elapsed()));
    for f in Family::BOTH {
        assert!(!bench.arrives(&from(f, 2)), "{f:?}: over");
    }
    assert!(connections.iter_mut().all(Connection::is_cut), "and the connection with it");
    assert!(bench.arrives(&from(Family::V4, 7)), "the set's own timeout is longer");
}

#[test]
fn wider_element_that_lives_longer_covers_one_that_is_over() {
    let Some(bench) = Bench::start(&friends("")) else { return };
    bench.cli().run(&["set", "add", "friends", "10.1.0.0/16", "fd00:1::/64"]).expect(DONE);
    bench.cli().run(&["set", "add", "friends", "10.1.0.2", "fd00:1::2", "--timeout", "1s"]).expect(DONE);
    std::thread::sleep(Duration::from_millis(1200));
    for f in Family::BOTH {
        assert!(bench.arrives(&from(f, 2)), "{f:?}: by the net around it");
    }
    bench.cli().run(&["set", "del", "friends", "10.1.0.0/16", "fd00:1::/64"]).expect(DONE);
    for f in Family::BOTH {
        assert!(!bench.arrives(&from(f, 2)), "{f:?}: by nothing");
    }
    wait::until("the sweep deletes what is over", Duration::from_secs(12), || listed(&bench, "friends")["added"] == 0);
}

#[test]
fn dynamic_deny_set_drops_at_xdp_and_at_tc() {
    for mode in ["native", "generic", "off", "auto"] {
        let Some(bench) = Bench::start(&denying(mode)) else { return };
        for f in Family::BOTH {
            assert!(bench.arrives(&from(f, 2)), "{f:?} {mode}: not in the set");
            bench.cli().run(&["set", "add", "bad", &f.host(1, 2).to_string(), "--timeout", "1h"]).expect(DONE);
            bench.refused(Hook::Ingress, "deny_set", &from(f, 2), mode);
            assert!(bench.arrives(&from(f, 3)), "{f:?} {mode}: another");
            bench.cli().run(&["set", "del", "bad", &f.host(1, 2).to_string()]).expect(DONE);
            assert!(bench.arrives(&from(f, 2)), "{f:?} {mode}: no longer");
        }
    }
}

#[test]
fn replaced_content_never_misses_what_both_hold() {
    let Some(bench) = Bench::start(&friends("")) else { return };
    let list = |name: &str, from: u32| {
        let mut text = String::from("# members\n10.1.0.2\nfd00:1::2\n");
        (0..3000u32).for_each(|n| writeln!(text, "198.51.{}.{}", (from + n) / 256 % 256, n % 256).expect("a String"));
        let path = bench.net.scratch(name);
        fs::write(&path, text).expect("a list");
        path.display().to_string()
    };
    let lists = [list("a.txt", 0), list("b.txt", 30_000)];
    bench.cli().run(&["set", "replace", "friends", &lists[0]]).expect(DONE);
    // Each replacement has every flow judged again: nothing is let in by what it was once.
    let packets: Vec<Packet> = (0..200u16).flat_map(|n| Family::BOTH.map(|f| Packet::udp(f.at(1, 2, 2000 + n), f.at(1, 1, 53)))).collect();
    let before = bench.cli().drops("default");
    let flood = Flood::start(&bench.net.src, "eth0", &packets);
    let begin = Instant::now();
    let mut replaced = 0;
    while begin.elapsed() < Duration::from_secs(5) {
        bench.cli().run(&["set", "replace", "friends", &lists[replaced % 2]]).expect(DONE);
        replaced += 1;
    }
    let sent = flood.stop();
    netpol_tests::say::aloud(&format!("{replaced} replacements of 3,002 elements under {} packets/s", sent.rate()));
    assert_eq!(bench.cli().drops("default"), before, "of {} packets", sent.frames);
    assert!(!bench.arrives(&from(Family::V4, 3)), "a stranger");
}

#[test]
fn elements_survive_restart_and_kill_and_reload() {
    let Some(mut bench) = Bench::start(&friends("elements = [\"10.1.0.9\"]")) else { return };
    let all = |bench: &Bench, when: &str| {
        for f in Family::BOTH {
            assert!(bench.arrives(&from(f, 2)), "{f:?} {when}: added");
            assert!(!bench.arrives(&from(f, 3)), "{f:?} {when}: a stranger");
        }
        assert!(bench.arrives(&from(Family::V4, 9)), "{when}: written");
        assert!(!bench.arrives(&from(Family::V4, 4)), "{when}: deleted");
    };
    bench.cli().run(&["set", "add", "friends", "10.1.0.2", "fd00:1::2", "10.1.0.4", "--timeout", "1h"]).expect(DONE);
    bench.cli().run(&["set", "del", "friends", "10.1.0.4"]).expect(DONE);
    all(&bench, "at once");
    let generation = bench.cli().generation();
    bench.daemon.kill();
    all(&bench, "with the daemon killed");
    bench.daemon = Daemon::start(&bench.net);
    all(&bench, "after kill -9");
    assert_eq!(bench.cli().generation(), generation, "adopted");
    bench.daemon.terminate();
    bench.daemon = Daemon::start(&bench.net);
    all(&bench, "after a restart");
    bench.change(&friends("elements = [\"10.1.0.9\", \"10.1.0.10\"]\ntimeout = \"2h\"").replace("friends\"\naction", "other\"\naction"));
    all(&bench, "after a reload");
    bench.cli().run(&["detach"]).expect(DONE);
    bench.cli().run(&["apply"]).expect(DONE);
    all(&bench, "with all maps made anew");
    let left = shown(&bench, "friends")["entries"].as_array().expect("entries").iter().filter_map(|e| e["remaining"].as_u64()).max();
    assert!(left.is_some_and(|left| (3500..=3600).contains(&left)), "{left:?} s left");
}

#[test]
fn set_that_comes_back_finds_what_was_added() {
    let Some(bench) = Bench::start(&friends("")) else { return };
    bench.cli().run(&["set", "add", "friends", "10.1.0.2"]).expect(DONE);
    bench.change(&arriving("[[rule]]\naction = \"deny\"\n"));
    bench.cli().run(&["set", "show", "friends"]).expect(REFUSED);
    bench.change(&friends(""));
    assert!(bench.arrives(&from(Family::V4, 2)));
}

#[test]
fn room_is_proven_before_anything_changes() {
    let Some(bench) = Bench::start(&friends("elements = [\"10.1.0.2\"]\nmax_entries = 3")) else { return };
    let refused = bench.cli().run(&["set", "add", "friends", "10.1.0.3", "10.1.0.4", "10.1.0.5"]).expect(REFUSED);
    assert!(refused.err.contains('4') && refused.err.contains("max_entries = 3"), "{}", refused.err);
    assert!(!bench.arrives(&from(Family::V4, 3)), "all or nothing");
    bench.cli().run(&["set", "add", "friends", "10.1.0.3", "10.1.0.4"]).expect(DONE);
    bench.cli().run(&["set", "add", "friends", "10.1.0.3"]).expect(DONE);
    let line = listed(&bench, "friends");
    assert_eq!((&line["dynamic"], &line["elements"], &line["max_entries"]), (&Value::Bool(true), &Value::from(3), &Value::from(3)));
    bench.change(&friends("elements = [\"10.1.0.2\"]\nmax_entries = 4"));
    bench.cli().run(&["set", "add", "friends", "10.1.0.5"]).expect(DONE);
    for host in 2..=5 {
        assert!(bench.arrives(&from(Family::V4, host)), "{host}");
    }
}

#[test]
fn wrong_requests_change_nothing_and_say_why() {
    let Some(bench) = Bench::start(&friends("elements = [\n  \"10.1.0.2\",\n]")) else { return };
    let text = |arguments: &[&str], code| bench.cli().run(arguments).expect(code).err;
    assert!(text(&["set", "add", "friends", "10.1.0.3", "10.1.0.300"], BAD).contains("10.1.0.300"));
    assert!(text(&["set", "add", "friends", "10.1.0.3", "--timeout", "soon"], BAD).contains("soon"));
    assert!(text(&["set", "add", "nobody", "10.1.0.3"], REFUSED).contains("nobody"));
    assert!(!bench.arrives(&from(Family::V4, 3)));
    let written = text(&["set", "del", "friends", "10.1.0.2"], REFUSED);
    assert!(written.contains("10-test.toml:") && written.contains("10.1.0.2"), "{written}");
    assert!(bench.arrives(&from(Family::V4, 2)));
    bench.cli().run(&["set", "add", "friends", "10.1.0.16/28"]).expect(DONE);
    let part = text(&["set", "del", "friends", "10.1.0.17", "10.1.0.16/28"], REFUSED);
    assert!(part.contains("10.1.0.16/28"), "{part}");
    assert!(bench.arrives(&from(Family::V4, 17)), "all or nothing");
    let list = bench.net.scratch("bad.txt");
    fs::write(&list, "# x\n10.1.0.5\n10.1.0.0/8\n").expect("a list");
    let bad = text(&["set", "replace", "friends", &list.display().to_string()], BAD);
    assert!(bad.contains("bad.txt:3"), "{bad}");
    assert!(bench.arrives(&from(Family::V4, 17)) && !bench.arrives(&from(Family::V4, 5)), "nothing has changed");
}

#[test]
fn changed_list_of_a_dynamic_set_needs_no_new_generation() {
    let Some(net) = Net::new() else { return };
    fs::write(net.policy_dir().join("l.txt"), "10.1.0.2\nfd00:1::2\n").expect("a list");
    let Some(bench) = Bench::start_in(net, &friends("files = [\"l.txt\"]")) else { return };
    bench.cli().run(&["set", "add", "friends", "10.1.0.7"]).expect(DONE);
    let before = bench.cli().generation();
    let mut connection = open(&bench, Family::V4);
    fs::write(bench.net.policy_dir().join("l.txt"), "10.1.0.3\nfd00:1::2\n").expect("a list");
    wait::until("the list is live", Duration::from_secs(5), || bench.arrives(&from(Family::V4, 3)));
    assert!(!bench.arrives(&from(Family::V4, 2)), "no longer in the list");
    // The kernel lets the exchange of a content return only after a grace period; only then running flows are told.
    wait::until("its connection is judged again", Duration::from_secs(5), || connection.is_cut());
    assert!(bench.arrives(&from(Family::V6, 2)) && bench.arrives(&from(Family::V4, 7)), "in both, and added");
    assert_eq!(bench.cli().generation(), before);
    let bad = bench.cli();
    fs::write(bench.net.policy_dir().join("l.txt"), "10.1.0.4\nnonsense\n").expect("a list");
    wait::until("an error", Duration::from_secs(5), || !bad.last_error().is_empty());
    assert!(bad.last_error().contains("l.txt:2"), "{}", bad.last_error());
    assert!(bench.arrives(&from(Family::V4, 3)) && !bench.arrives(&from(Family::V4, 4)), "the old content goes on");
    assert_eq!(bench.cli().generation(), before);
}

#[test]
fn changed_list_on_trial_returns_by_itself() {
    let Some(net) = Net::new() else { return };
    let list = net.policy_dir().join("l.txt");
    fs::write(&list, "10.1.0.2\nfd00:1::2\n").expect("a list");
    let policy = friends("files = [\"l.txt\"]").replace("adopt_existing", "adopt_existing = false\n[daemon]\nreload = \"manual\"\n#");
    let Some(mut bench) = Bench::start_in(net, &policy) else { return };
    fs::write(&list, "10.1.0.3\nfd00:1::2\n").expect("a list");
    let trial = patience(Duration::from_secs(4));
    bench.cli().run(&["apply", "--confirm", &format!("{}s", trial.as_secs())]).expect(DONE);
    bench.cli().run(&["set", "add", "friends", "10.1.0.7"]).expect(DONE);
    bench.daemon.kill();
    let on_trial = |bench: &Bench| [2, 3, 7].map(|host| bench.arrives(&from(Family::V4, host)));
    assert_eq!(on_trial(&bench), [false, true, true], "the changed list, and what was added");
    std::thread::sleep(trial + Duration::from_secs(1));
    assert_eq!(on_trial(&bench), [true, false, true], "the former list, and what was added");
    bench.daemon = Daemon::start(&bench.net);
    assert_eq!(on_trial(&bench), [true, false, true], "with a daemon again");
    assert!(bench.arrives(&from(Family::V6, 2)), "in both lists");
}

#[test]
fn damaged_journal_is_said_aloud_and_opens_nothing() {
    let Some(mut bench) = Bench::start(&friends("")) else { return };
    bench.cli().run(&["set", "add", "friends", "10.1.0.2"]).expect(DONE);
    bench.cli().run(&["set", "add", "friends", "10.1.0.3"]).expect(DONE);
    bench.daemon.kill();
    let journal = bench.net.state_dir().join("sets/friends");
    let text = fs::read_to_string(&journal).expect("the journal");
    fs::write(&journal, text.replace("10.1.0.2/32", "10.1.0.2/99")).expect("the journal");
    bench.daemon = Daemon::start(&bench.net);
    let status = bench.cli().status();
    assert_eq!(status["state"], "degraded");
    assert!(status["warnings"].to_string().contains("sets/friends:2"), "{status}");
    assert!(bench.arrives(&from(Family::V4, 3)) && bench.arrives(&from(Family::V4, 2)), "what the kernel still holds goes on");
    assert!(!bench.arrives(&from(Family::V4, 4)));
    bench.cli().run(&["set", "flush", "friends"]).expect(DONE);
    assert_eq!(bench.cli().status()["state"], "ok");
}

#[test]
fn journal_that_lost_a_deletion_lets_nobody_in_again() {
    let Some(mut bench) = Bench::start(&friends("")) else { return };
    bench.cli().run(&["set", "add", "friends", "10.1.0.2", "10.1.0.3"]).expect(DONE);
    bench.cli().run(&["set", "del", "friends", "10.1.0.2"]).expect(DONE);
    bench.daemon.kill();
    let journal = bench.net.state_dir().join("sets/friends");
    let text = fs::read_to_string(&journal).expect("the journal");
    fs::write(&journal, text.replace("- 10.1.0.2/32", "? 10.1.0.2/32")).expect("the journal");
    bench.daemon = Daemon::start(&bench.net);
    assert_eq!(bench.cli().status()["state"], "degraded");
    assert!(!bench.arrives(&from(Family::V4, 2)), "the kernel knows that it was taken out");
    assert!(bench.arrives(&from(Family::V4, 3)));
    bench.cli().run(&["set", "add", "friends", "10.1.0.4"]).expect(DONE);
    assert!(fs::read_to_string(&journal).expect("the journal").contains("? 10.1.0.2/32"), "the damaged line is still there");
}

#[test]
fn list_that_changes_during_a_trial_returns_with_the_former_ruleset() {
    let Some(net) = Net::new() else { return };
    let list = net.policy_dir().join("l.txt");
    fs::write(&list, "10.1.0.2\n").expect("a list");
    let manual = |text: String| text.replace("adopt_existing", "adopt_existing = false\n[daemon]\nreload = \"manual\"\n#");
    let policy = manual(friends("files = [\"l.txt\"]"));
    let Some(mut bench) = Bench::start_in(net, &policy) else { return };
    bench.net.write("10-test.toml", &policy.replace("action = \"allow\"\n", "action = \"allow\"\nprotocol = \"udp\"\n"));
    bench.cli().run(&["apply", "--confirm", "5s"]).expect(DONE);
    fs::write(&list, "10.1.0.3\n").expect("a list");
    bench.cli().run(&["apply"]).expect(DONE);
    bench.daemon.kill();
    let both = |bench: &Bench| [2, 3].map(|host| bench.arrives(&from(Family::V4, host)));
    assert_eq!(both(&bench), [false, true], "the changed list");
    std::thread::sleep(Duration::from_secs(6));
    assert_eq!(both(&bench), [true, false], "the former list, with nobody there");
}

#[test]
fn dynamic_set_beside_nets_and_in_not_sets_follows_the_algebra() {
    let rules = "[[rule]]\naction = \"allow\"\nsource = { nets = [\"10.1.0.32/28\", \"fd00:1::30/124\"], sets = [\"friends\"], not_sets = [\"bad\"] }\n";
    let sets = "[[set]]\nname = \"friends\"\ndynamic = true\n[[set]]\nname = \"bad\"\ndynamic = true\n";
    let Some(bench) = Bench::start(&(arriving(rules) + sets)) else { return };
    for f in Family::BOTH {
        assert!(bench.arrives(&from(f, if f == Family::V4 { 33 } else { 0x31 })), "{f:?}: by net");
        bench.cli().run(&["set", "add", "friends", &f.host(1, 2).to_string()]).expect(DONE);
        assert!(bench.arrives(&from(f, 2)), "{f:?}: by set");
        bench.cli().run(&["set", "add", "bad", &f.host(1, 2).to_string()]).expect(DONE);
        assert!(!bench.arrives(&from(f, 2)), "{f:?}: friend, but bad");
        bench.cli().run(&["set", "flush", "bad"]).expect(DONE);
        assert!(bench.arrives(&from(f, 2)), "{f:?}: bad no longer");
    }
}
