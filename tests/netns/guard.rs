//! The moment between the creation of an interface and our attachment to it, stretched: the daemon is dead, or stands still.
//!
//! What policies select passes nothing in that time, what they do not select passes everything, and nothing else notices.

use std::fs;
use std::time::{Duration, Instant};

use netpol_tests::hot::{Hots, Passed, Sinks, Traffic};
use netpol_tests::policy::VERSION;
use netpol_tests::residue::files_below;
use netpol_tests::sock::{self, Connection};
use netpol_tests::{Bench, Daemon, Family, say, sys, sys_bpf, wait};

const INDEX: u32 = 6000;

fn closed(name: &str, interfaces: &str) -> String {
    format!("[[policy]]\nname = \"{name}\"\ninterfaces = [{interfaces}]\npolicy_types = [\"ingress\", \"egress\"]\n")
}

/// A bench with that policy, where the guard is; on other kernels a test of it says nothing.
fn guarded(policy: &str) -> Option<(Bench, Sinks)> {
    let bench = Bench::start(&format!("{VERSION}{policy}"))?;
    if bench.cli().warnings().contains("no guard") {
        say::aloud(&format!("SKIPPED {}: this kernel has no netfilter programs", std::thread::current().name().unwrap_or("?")));
        return None;
    }
    let sinks = Sinks::new(&bench.net);
    Some((bench, sinks))
}

fn stop(bench: &Bench) {
    sys::signal(bench.daemon.process(), libc::SIGSTOP).expect("SIGSTOP");
}

fn go_on(bench: &Bench) {
    sys::signal(bench.daemon.process(), libc::SIGCONT).expect("SIGCONT");
}

/// What passes an interface of that name from its first moment on.
fn passes_new(bench: &Bench, sinks: &Sinks, name: &str) -> Passed {
    let hots = Hots::new(&bench.net, name, INDEX, 1);
    let traffic = hots.each[0].traffic();
    hots.each[0].plug();
    std::thread::sleep(Duration::from_millis(200));
    traffic.end(sinks).1
}

fn covered(bench: &Bench, name: &str) -> bool {
    let status = bench.cli().status();
    status["interfaces"].as_array().expect("interfaces").iter().any(|interface| interface["name"] == name)
}

/// An interface that has come under policy, with its traffic.
fn enforced<'a>(bench: &Bench, hots: &Hots<'a>) -> Traffic {
    let traffic = hots.each[0].traffic();
    hots.each[0].plug();
    wait::until("it is under policy", Duration::from_secs(20), || covered(bench, &hots.each[0].name));
    traffic
}

#[test]
fn without_a_daemon_what_is_selected_passes_nothing_and_what_is_not_everything() {
    let Some((mut bench, sinks)) = guarded(&closed("hot", "\"hot*\", \"!hotel*\"")) else { return };
    for how in ["stands still", "is dead"] {
        if how == "is dead" {
            bench.daemon.kill()
        } else {
            stop(&bench)
        }
        assert_eq!(passes_new(&bench, &sinks, "hot"), Passed::NOTHING, "the daemon {how}");
        for name in ["cold", "hotel"] {
            let passed = passes_new(&bench, &sinks, name);
            assert!(passed.everything(), "the daemon {how}, {name}: {passed:?}");
        }
    }
    bench.daemon = Daemon::start(&bench.net);
    assert!(bench.cli().drops("not_yet_enforced") > 0, "{}", bench.cli().status());
}

#[test]
fn stopped_service_keeps_the_guard_and_detach_takes_it_off() {
    let Some((mut bench, sinks)) = guarded(&closed("hot", "\"hot*\"")) else { return };
    assert!(bench.daemon.terminate().success());
    assert_eq!(passes_new(&bench, &sinks, "hot"), Passed::NOTHING, "on_stop = \"keep\"");
    bench.cli().run(&["detach"]).expect(0);
    let passed = passes_new(&bench, &sinks, "hot");
    assert!(passed.everything(), "detached: {passed:?}");
    bench.daemon = Daemon::start(&bench.net);
    stop(&bench);
    assert_eq!(passes_new(&bench, &sinks, "hot"), Passed::NOTHING, "started again");
}

#[test]
fn pins_of_the_guard_that_are_removed_under_a_running_daemon_open_nothing_and_come_back() {
    let Some((mut bench, sinks)) = guarded(&closed("hot", "\"hot*\"")) else { return };
    let pins = || files_below(&bench.net.bpffs()).into_iter().filter(|pin| pin.to_string_lossy().contains("/guard-")).collect::<Vec<_>>();
    let before = pins();
    assert_eq!(before.len(), 4, "IPv4 and IPv6, in and out");
    stop(&bench);
    before.iter().for_each(|pin| fs::remove_file(pin).expect("rm"));
    assert_eq!(passes_new(&bench, &sinks, "hot"), Passed::NOTHING, "unpinned, and the daemon has not seen it");
    go_on(&bench);
    wait::until("the pins are back", Duration::from_secs(20), || pins() == before);
    bench.daemon.kill();
    assert_eq!(passes_new(&bench, &sinks, "hot"), Passed::NOTHING, "pinned again, the guard outlives the daemon");
}

#[test]
fn guard_that_is_detached_by_force_is_attached_again() {
    let Some((mut bench, sinks)) = guarded(&closed("hot", "\"hot*\"")) else { return };
    let pins = || files_below(&bench.net.bpffs()).into_iter().filter(|pin| pin.to_string_lossy().contains("/guard-"));
    let mut told = 0;
    for all in [false, true] {
        let begin = Instant::now();
        let taken =
            pins().filter(|pin| all || pin.ends_with("guard-in-4")).map(|pin| sys_bpf::force_detach(&pin).expect("detached")).count();
        told += taken;
        wait::until("it is told", Duration::from_secs(20), || bench.daemon.log().matches("(it was detached)").count() == told);
        say::aloud(&format!("{taken} links of the guard, detached by force, are attached again after {} ms", begin.elapsed().as_millis()));
    }
    bench.daemon.kill();
    assert_eq!(pins().count(), 4, "pinned again");
    assert_eq!(passes_new(&bench, &sinks, "hot"), Passed::NOTHING, "attached again, the guard outlives the daemon");
}

#[test]
fn interface_that_gets_a_selected_name_is_closed_at_once_and_open_again_with_the_old_one() {
    let Some((bench, sinks)) = guarded(&closed("hot", "\"hot*\"")) else { return };
    let hots = Hots::new(&bench.net, "cold", INDEX, 1);
    let traffic = hots.each[0].traffic();
    hots.each[0].plug();
    wait::until("cold0 passes everything", Duration::from_secs(20), || traffic.passes(&sinks).everything());
    stop(&bench);
    bench.net.dut.ip("link set cold0 name hot0");
    assert_eq!(traffic.passes(&sinks), Passed::NOTHING, "renamed, and the daemon has not seen it");
    go_on(&bench);
    wait::until("hot0 is under policy", Duration::from_secs(20), || covered(&bench, "hot0"));
    assert_eq!(traffic.passes(&sinks), Passed::NOTHING, "renamed and enforced");
    assert_eq!(traffic.passed(&sinks), Passed::NOTHING);
    bench.net.dut.ip("link set hot0 name cold0");
    wait::until("cold0 is free", Duration::from_secs(20), || traffic.passes(&sinks).everything());
}

#[test]
fn another_device_with_name_and_index_of_an_enforced_one_is_closed() {
    let open = "[[policy.ingress]]\naction = \"allow\"\n[[policy.egress]]\naction = \"allow\"\n";
    let Some((mut bench, sinks)) = guarded(&(closed("hot", "\"hot*\"") + open)) else { return };
    let hots = Hots::new(&bench.net, "hot", INDEX, 1);
    let traffic = enforced(&bench, &hots);
    wait::until("the rules let everything pass", Duration::from_secs(20), || traffic.passes(&sinks).everything());
    bench.daemon.kill();
    let passed = traffic.passes(&sinks);
    assert!(passed.everything(), "what is enforced goes on without a daemon: {passed:?}");
    assert!(traffic.end(&sinks).0 > 0);
    drop(hots);
    sinks.passed(None);
    assert_eq!(passes_new(&bench, &sinks, "hot"), Passed::NOTHING, "another device of that index and name");
    bench.daemon = Daemon::start(&bench.net);
    let hots = Hots::new(&bench.net, "hot", INDEX, 1);
    let traffic = enforced(&bench, &hots);
    wait::until("enforced again", Duration::from_secs(20), || traffic.passes(&sinks).everything());
}

#[test]
fn enforced_interface_that_was_away_in_another_namespace_is_closed_when_it_comes_back() {
    let Some((mut bench, sinks)) = guarded(&closed("hot", "\"hot*\"")) else { return };
    let hots = Hots::new(&bench.net, "hot", INDEX, 1);
    let traffic = enforced(&bench, &hots);
    bench.daemon.kill();
    let (dut, src) = (bench.net.dut.name(), bench.net.src.name());
    bench.net.dut.ip(&format!("link set hot0 netns {src}"));
    bench.net.src.ip(&format!("link set hot0 up netns {dut}"));
    assert_eq!(bench.net.dut.index("hot0"), INDEX);
    assert_eq!(traffic.passes(&sinks), Passed::NOTHING);
    assert_eq!(traffic.end(&sinks).1, Passed::NOTHING);
}

#[test]
fn reload_changes_what_is_guarded() {
    let Some((bench, sinks)) = guarded(&closed("hot", "\"hot*\"")) else { return };
    let now = |interfaces: &str, name: &str| {
        bench.change(&format!("{VERSION}{}", closed("hot", interfaces)));
        stop(&bench);
        let passed = passes_new(&bench, &sinks, name);
        go_on(&bench);
        wait::until("it is gone", Duration::from_secs(20), || !covered(&bench, &format!("{name}0")));
        passed
    };
    assert_eq!(now("\"hot*\", \"warm*\"", "warm"), Passed::NOTHING, "a glob came");
    let passed = now("\"hot*\"", "warm");
    assert!(passed.everything(), "a glob went: {passed:?}");
    assert_eq!(now("\"hot*\", \"warm0\"", "warm"), Passed::NOTHING, "a name came");
    let passed = now("\"hot*\", \"!hot0\"", "hot");
    assert!(passed.everything(), "an exception came: {passed:?}");
}

#[test]
fn only_the_directions_that_a_policy_could_refuse_are_guarded() {
    let one = |name: &str, keys: &str| format!("[[policy]]\nname = \"{name}\"\ninterfaces = [\"{name}*\"]\n{keys}\n");
    let set = "[[set]]\nname = \"bad\"\nelements = [\"192.0.2.0/24\"]\n";
    let policies = one("in", "policy_types = [\"ingress\"]")
        + &one("out", "policy_types = [\"egress\"]")
        + &one("box", "policy_types = [\"ingress\"]\nendpoint = \"workload\"")
        + &one("audit", "policy_types = [\"ingress\", \"egress\"]\nmode = \"audit\"")
        + &one("xdp", "[policy.xdp]\ndeny_sets = [\"bad\"]")
        + set;
    let Some((bench, sinks)) = guarded(&policies) else { return };
    stop(&bench);
    let cases = [("in", false, true), ("out", true, false), ("box", true, false), ("audit", true, true), ("xdp", false, true)];
    for (name, arrives, leaves) in cases {
        let passed = passes_new(&bench, &sinks, name);
        let none = |counts: [usize; 2]| counts == [0; 2];
        let arrived = if arrives { passed.arrived() } else { !none(passed.delivered) || !none(passed.forwarded) };
        let left = if leaves { passed.left.iter().all(|packets| *packets > 0) } else { !none(passed.left) };
        assert_eq!((arrived, left), (arrives, leaves), "{name}: {passed:?}");
    }
}

#[test]
fn interface_that_came_while_a_ruleset_was_on_trial_is_closed_when_the_former_returns() {
    let Some((mut bench, sinks)) = guarded(&closed("hot", "\"hot*\"")) else { return };
    bench.net.write("00-daemon.toml", &format!("{VERSION}[daemon]\nreload = \"manual\"\n"));
    wait::until("manual reload", Duration::from_secs(10), || bench.cli().run(&["apply"]).code == 0);
    bench.net.write("10-test.toml", &format!("{VERSION}{}", closed("hot", "\"warm*\"")));
    bench.cli().run(&["apply", "--confirm", "5s"]).expect(0);
    let hots = Hots::new(&bench.net, "hot", INDEX, 1);
    let traffic = hots.each[0].traffic();
    hots.each[0].plug();
    let passed = traffic.passes(&sinks);
    assert!(passed.everything(), "the ruleset on trial does not select it: {passed:?}");
    bench.daemon.kill();
    wait::until("the former ruleset counts again", Duration::from_secs(20), || traffic.passes(&sinks) == Passed::NOTHING);
    bench.daemon = Daemon::start(&bench.net);
    wait::until("hot0 is under policy", Duration::from_secs(20), || covered(&bench, "hot0"));
    assert_eq!(traffic.passes(&sinks), Passed::NOTHING);
}

#[test]
fn connections_of_other_interfaces_do_not_notice() {
    let web = "[[policy]]\nname = \"web\"\ninterfaces = [\"left\"]\n\
               [[policy.ingress]]\naction = \"allow\"\nprotocol = \"tcp\"\ndestination = { ports = [80] }\n";
    let Some((bench, sinks)) = guarded(&(closed("hot", "\"hot*\"") + web)) else { return };
    let mut connections = Family::BOTH.map(|f| {
        let listener = sock::listen(&bench.net.dut, f.at(1, 1, 80));
        Connection::open(&bench.net.src, &listener, f.at(1, 1, 80)).expect("a connection")
    });
    let mut sent = 0;
    for _ in 0..5 {
        let hots = Hots::new(&bench.net, "hot", INDEX, 1);
        let traffic = enforced(&bench, &hots);
        assert!(connections.iter_mut().all(Connection::lives));
        let (frames, passed) = traffic.end(&sinks);
        assert_eq!(passed, Passed::NOTHING);
        sent += frames;
    }
    assert!(sent > 0 && connections.iter_mut().all(Connection::lives));
}

/// The limit that ARCHITECTURE.md tells: what a bridge takes from its port, netfilter never sees as the port's.
#[test]
fn port_of_a_bridge_is_beyond_the_guard() {
    let Some((bench, sinks)) = guarded(&closed("hot", "\"hot*\"")) else { return };
    bench.net.dut.ip("link add name br0 address 02:00:00:00:09:01 type bridge");
    bench.net.dut.ip("link set br0 up");
    stop(&bench);
    let hots = Hots::new(&bench.net, "hot", INDEX, 1);
    let traffic = hots.each[0].traffic();
    hots.each[0].plug();
    assert_eq!(traffic.passes(&sinks), Passed::NOTHING, "not in the bridge yet");
    bench.net.dut.ip("link set hot0 master br0");
    let passed = traffic.passes(&sinks);
    assert!(passed.arrived(), "the host itself is reached through the bridge: {passed:?}");
    let begin = std::time::Instant::now();
    go_on(&bench);
    wait::until("hot0 is under policy", Duration::from_secs(20), || covered(&bench, "hot0"));
    let time = begin.elapsed();
    assert_eq!(traffic.passes(&sinks), Passed::NOTHING, "enforced");
    say::aloud(&format!("a bridged interface was open, {passed:?} in 100 ms, until it was enforced: {} ms", time.as_millis()));
}
