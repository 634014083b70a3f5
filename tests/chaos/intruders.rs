//! Other tools on our interface: what they cannot remove stays, what they can is put back within a second, and nothing of it is silent.

use std::process::Stdio;
use std::time::{Duration, Instant};

use netpol_tests::foreign::{ACCEPT, Foreign, NEXT, programs_at};
use netpol_tests::policy::{VERSION, allow_port, arriving, both_ways};
use netpol_tests::{Bench, Daemon, Family, Hook, Net, Packet, say, wait};

/// Far more than the time after which the daemon looks; fails only where it never does.
const PATIENCE: Duration = Duration::from_secs(10);

fn to_port(f: Family, port: u16) -> Packet {
    Packet::udp(f.at(1, 2, 4000), f.at(1, 1, port))
}

/// The hook judges as written, in both families: port 53 passes, port 54 does not.
fn judged(bench: &Bench, hook: Hook) -> bool {
    Family::BOTH.iter().all(|f| bench.passes(hook, &to_port(*f, 53)) && !bench.passes(hook, &to_port(*f, 54)))
}

fn policy() -> String {
    let text = both_ways(&allow_port("dns", "udp", 53));
    format!("{VERSION}[daemon]\nmetrics = {{ listen = \"127.0.0.1:9472\" }}\n{}", text.trim_start_matches(VERSION))
}

/// A daemon that attaches by clsact, as on kernels before 6.6.
fn by_clsact() -> Option<Bench> {
    let net = Net::new()?;
    net.write("10-test.toml", &policy());
    let daemon = Daemon::try_start_as(&net, &["--attach", "clsact"]).expect("a start");
    let bench = Bench::around(net, daemon);
    assert_eq!(attachment(&bench), "clsact");
    Some(bench)
}

fn attachment(bench: &Bench) -> String {
    let status = bench.cli().status();
    let left = status["interfaces"].as_array().expect("interfaces").iter().find(|link| link["name"] == "left").expect("left").clone();
    left["attach"].as_str().expect("a word").to_owned()
}

fn name(hook: Hook) -> &'static str {
    if hook == Hook::Ingress { "ingress" } else { "egress" }
}

fn restored(bench: &Bench, what: &str) -> u64 {
    bench.cli().status()["restored"][what].as_u64().unwrap_or(0)
}

/// Runs `tc` on `left`; whether it succeeded.
fn tc(bench: &Bench, line: &str) -> bool {
    let mut command = bench.net.dut.command("tc");
    command.args(line.split(' ')).stderr(Stdio::null()).status().expect("tc").success()
}

/// Waits until both ports are judged as written again; prints how long that took.
fn wait_judged(bench: &Bench, hook: Hook, what: &str) {
    let begin = Instant::now();
    wait::until(&format!("judged again after {what}"), PATIENCE, || judged(bench, hook));
    say::aloud(&format!("{what}: judged as written again after {} ms", begin.elapsed().as_millis()));
}

#[test]
fn foreign_program_before_ours_is_put_behind_three_times_and_then_told() {
    let Some(bench) = Bench::start(&policy()) else { return };
    for hook in Hook::BOTH {
        let mut others = Vec::new();
        for _ in 0..3 {
            let Some(other) = Foreign::ahead(&bench.net.dut, "left", hook, ACCEPT) else { return };
            others.push(other);
            wait_judged(&bench, hook, &format!("a foreign program at the head of {}", name(hook)));
        }
        wait::until("the count", PATIENCE, || restored(&bench, &format!("{}_head", name(hook))) == 3);
        assert_eq!(programs_at(&bench.net.dut, "left", hook).len(), 4, "one of ours, three of theirs");
        assert_eq!(bench.daemon.lines_with(&["left", "ran before ours at", name(hook)]).len(), 3, "{}", bench.daemon.log());

        // The fourth time it is left to them: two tools that displace each other for ever serve nobody.
        let Some(fourth) = Foreign::ahead(&bench.net.dut, "left", hook, ACCEPT) else { return };
        wait::until("a warning in the log", PATIENCE, || {
            !bench.daemon.lines_with(&["left", "run before ours", name(hook), "left to them"]).is_empty()
        });
        let unjudged = Family::BOTH.map(|f| bench.passes(hook, &to_port(f, 54)));
        assert_eq!(unjudged, [true; 2], "the limit: what is accepted before us is not judged");
        let status = bench.cli().status();
        assert_eq!(status["interfaces"][0]["foreign_ahead"][name(hook)], 1, "{status}");
        assert!(status["warnings"].to_string().contains("can let packets pass it"), "{status}");
        let sample = format!("netpol_attachment_foreign_ahead{{interface=\"left\",hook=\"{}\"}}", name(hook));
        let page = bench.cli().metrics(9472);
        assert!(page.contains(&format!("{sample} 1\n")), "{page}");
        assert!(page.contains(&format!("netpol_heads_retaken_total{{hook=\"{}\"}} 3\n", name(hook))), "{page}");
        drop(fourth);
        wait_judged(&bench, hook, "the foreign program's end");
        wait::until("no warning", PATIENCE, || !bench.cli().warnings().contains("run before ours"));
        assert!(bench.cli().metrics(9472).contains(&format!("{sample} 0\n")));
    }
    assert_eq!(bench.cli().status()["state"], "ok");
}

#[test]
fn taking_the_head_back_loses_no_packet_and_lets_none_past() {
    let Some(bench) = Bench::start(&policy()) else { return };
    for hook in Hook::BOTH {
        // This one leaves the verdict to the next program, so that ours alone decides at every moment.
        let kinds = [(Family::V4, 53), (Family::V6, 53), (Family::V4, 54), (Family::V6, 54)].map(|(f, port)| to_port(f, port));
        let burst: Vec<Packet> = kinds.iter().cloned().cycle().take(400).collect();
        let Some(_other) = Foreign::ahead(&bench.net.dut, "left", hook, NEXT) else { return };
        let end = Instant::now() + PATIENCE;
        loop {
            let frames = bench.deliver(hook, &burst);
            let came = kinds.each_ref().map(|packet| frames.iter().filter(|frame| frame.ends_with(&packet.l3())).count());
            assert_eq!(came, [100, 100, 0, 0], "port 53 passes, 54 does not, in both families, at any moment");
            if restored(&bench, &format!("{}_head", name(hook))) == 1 {
                break;
            }
            assert!(Instant::now() < end, "the head was never taken back");
        }
    }
}

#[test]
fn link_that_is_detached_by_force_is_attached_again() {
    let Some(bench) = Bench::start(&policy()) else { return };
    if attachment(&bench) != "tcx" {
        say::aloud("SKIPPED link_that_is_detached_by_force_is_attached_again: this kernel has no TCX");
        return;
    }
    for hook in Hook::BOTH {
        let links = netpol_tests::residue::files_below(&bench.net.bpffs());
        let pin = links.iter().find(|path| path.ends_with(format!("links/{}-{}", bench.net.dut.index("left"), name(hook)))).expect("a pin");
        netpol_tests::sys_bpf::force_detach(pin).expect("BPF_LINK_DETACH");
        wait_judged(&bench, hook, &format!("bpftool link detach at {}", name(hook)));
        wait::until("the count", PATIENCE, || restored(&bench, name(hook)) == 1);
        assert_eq!(bench.daemon.lines_with(&["left", "took our program off", name(hook)]).len(), 1, "{}", bench.daemon.log());
    }
    let page = bench.cli().metrics(9472);
    assert!(page.contains("netpol_attachments_restored_total{hook=\"ingress\"} 1\n"), "{page}");
}

#[test]
fn tc_touches_nothing_of_ours_where_we_attach_by_tcx() {
    let Some(bench) = Bench::start(&policy()) else { return };
    if attachment(&bench) != "tcx" {
        say::aloud("SKIPPED tc_touches_nothing_of_ours_where_we_attach_by_tcx: this kernel has no TCX");
        return;
    }
    for line in ["qdisc del dev left clsact", "qdisc add dev left clsact", "qdisc del dev left clsact"] {
        // Without a clsact of its own the first deletion has nothing to delete.
        tc(&bench, line);
        assert!(Hook::BOTH.iter().all(|hook| judged(&bench, *hook)), "at once after tc {line}");
    }
}

#[test]
fn clsact_that_others_delete_or_use_before_us_is_put_right() {
    let Some(bench) = by_clsact() else { return };
    assert!(Hook::BOTH.iter().all(|hook| judged(&bench, *hook)));
    assert!(tc(&bench, "qdisc del dev left clsact"));
    Hook::BOTH.iter().for_each(|hook| wait_judged(&bench, *hook, "tc qdisc del clsact"));
    wait::until("the counts", PATIENCE, || Hook::BOTH.iter().all(|hook| restored(&bench, name(*hook)) == 1));
    assert!(bench.cli().metrics(9472).contains("netpol_attachments_restored_total{hook=\"egress\"} 1\n"));
    for hook in Hook::BOTH {
        let at = name(hook);
        // Ours is filter 0x6e70 of priority 1. Theirs accepts every packet.
        let accept = "bpf bytecode 1,6\u{a0}0\u{a0}0\u{a0}4294967295,";
        let filter = |verb: &str, place: &str| {
            let line = format!("filter {verb} dev left {at} protocol all prio 1 handle {place} {accept}");
            let mut command = bench.net.dut.command("tc");
            command.args(line.split(' ').map(|word| word.replace('\u{a0}', " ")));
            assert!(command.status().expect("tc").success(), "tc {line}");
        };
        filter("replace", "0x6e70");
        wait_judged(&bench, hook, &format!("tc filter replace in our place at {at}"));
        wait::until("the count", PATIENCE, || restored(&bench, at) == 2);
        filter("add", "0x1");
        wait_judged(&bench, hook, &format!("tc filter add before ours at {at}"));
        wait::until("the count", PATIENCE, || restored(&bench, &format!("{at}_head")) == 1);
        assert!(tc(&bench, &format!("filter del dev left {at} protocol all prio 1 handle 0x6e70 bpf")));
        wait_judged(&bench, hook, &format!("tc filter del of ours at {at}"));
        wait::until("the count", PATIENCE, || restored(&bench, at) == 3);
    }
    assert_eq!(bench.daemon.lines_with(&["took our program off"]).len(), 6, "{}", bench.daemon.log());
}

#[test]
fn daemon_that_attaches_in_another_way_than_the_former_leaves_one_program_a_hook() {
    let Some(mut bench) = by_clsact() else { return };
    let filters = |bench: &Bench| bench.net.dut.must("tc", "filter show dev left ingress").matches("0x6e70").count();
    assert_eq!(filters(&bench), 1);
    bench.daemon.kill();
    bench.daemon = Daemon::start(&bench.net);
    assert!(Hook::BOTH.iter().all(|hook| judged(&bench, *hook)));
    let tcx = usize::from(attachment(&bench) == "tcx");
    assert_eq!((filters(&bench), programs_at(&bench.net.dut, "left", Hook::Ingress).len()), (1 - tcx, tcx));
    bench.daemon.kill();
    bench.daemon = Daemon::try_start_as(&bench.net, &["--attach", "clsact"]).expect("a start");
    assert!(Hook::BOTH.iter().all(|hook| judged(&bench, *hook)));
    assert_eq!((filters(&bench), programs_at(&bench.net.dut, "left", Hook::Ingress).len()), (1, 0));
}

/// Denies the addresses of `src` by XDP where it may, else at tc.
fn deny_set(mode: &str) -> String {
    let set = "[[set]]\nname = \"bad\"\nelements = [\"10.1.0.2\", \"fd00:1::2\"]\n";
    format!(
        "{VERSION}[daemon]\nmetrics = {{ listen = \"127.0.0.1:9472\" }}\n{set}[[policy]]\nname = \"x\"\ninterfaces = [\"left\"]\n\
         default_action = {{ ingress = \"allow\" }}\n[policy.xdp]\nmode = \"{mode}\"\ndeny_sets = [\"bad\"]\n"
    )
}

/// The addresses of the set are denied, and no others.
fn denied(bench: &Bench) -> bool {
    let from = |f: Family, n: u8| Packet::udp(f.at(1, n, 4000), f.at(1, 1, 54));
    Family::BOTH.iter().all(|f| !bench.arrives(&from(*f, 2)) && bench.arrives(&from(*f, 3)))
}

fn xdp(bench: &Bench) -> String {
    bench.cli().status()["interfaces"][0]["xdp"].as_str().expect("a word").to_owned()
}

#[test]
fn xdp_program_of_ours_is_neither_taken_off_nor_replaced() {
    for mode in ["native", "generic"] {
        let Some(bench) = Bench::start(&deny_set(mode)) else { return };
        assert_eq!(xdp(&bench), mode);
        for line in ["link set left xdp off", "-force link set left xdp off", "-force link set left xdpgeneric off"] {
            let mut command = bench.net.dut.command("ip");
            let status = command.args(line.split(' ')).stderr(Stdio::null()).status().expect("ip");
            assert!(denied(&bench), "denied at once after ip {line} ({status})");
            assert_eq!(xdp(&bench), mode, "ip {line}");
        }
        let error = Foreign::xdp(&bench.net.dut, "left").expect_err("ours has the place");
        assert!(matches!(error.raw_os_error(), Some(libc::EBUSY | libc::EEXIST)), "{error}");
    }
}

#[test]
fn foreign_xdp_program_is_left_alone_told_and_followed_by_ours_when_it_goes() {
    let Some(net) = Net::new() else { return };
    let other = Foreign::xdp(&net.dut, "left").expect("nobody is there yet");
    let Some(bench) = Bench::start_in(net, &deny_set("generic")) else { return };
    assert!(denied(&bench), "tc makes the check");
    assert_eq!((xdp(&bench).as_str(), &bench.cli().status()["interfaces"][0]["foreign_xdp"]), ("off", &true.into()));
    assert!(bench.cli().warnings().contains("of somebody else is attached; tc makes the checks"), "{}", bench.cli().warnings());
    assert!(bench.cli().metrics(9472).contains("netpol_xdp_foreign{interface=\"left\"} 1\n"));
    wait::until("a warning in the log", PATIENCE, || !bench.daemon.lines_with(&["left", "XDP", "somebody else"]).is_empty());
    drop(other);
    wait::until("ours is attached", PATIENCE, || xdp(&bench) == "generic");
    assert!(denied(&bench));
    assert!(!bench.cli().metrics(9472).contains("netpol_xdp_foreign{"));
}

/// In either way of attaching tc programs: without TCX the XDP link is the only link of ours on the interface.
#[test]
fn xdp_link_that_is_detached_is_attached_again_and_told() {
    for attach in [&[][..], &["--attach", "clsact"]] {
        let Some(net) = Net::new() else { return };
        net.write("10-test.toml", &deny_set("generic"));
        let daemon = Daemon::try_start_as(&net, attach).expect("a start");
        let bench = Bench::around(net, daemon);
        let pins = netpol_tests::residue::files_below(&bench.net.bpffs());
        let pin = pins.iter().find(|path| path.to_string_lossy().ends_with("-xdp")).expect("a pin");
        netpol_tests::sys_bpf::force_detach(pin).expect("BPF_LINK_DETACH");
        wait::until("it is attached again", PATIENCE, || restored(&bench, "xdp") == 1);
        assert_eq!(xdp(&bench), "generic", "{attach:?}");
        assert!(denied(&bench), "{attach:?}");
    }
}

#[test]
fn arriving_policy_alone_does_not_mind_a_foreign_program_behind_it() {
    let Some(bench) = Bench::start(&arriving(&allow_port("dns", "udp", 53))) else { return };
    let Some(other) = Foreign::ahead(&bench.net.dut, "left", Hook::Egress, NEXT) else { return };
    wait::until("the head of egress", PATIENCE, || restored(&bench, "egress_head") == 1);
    drop(other);
    assert!(judged(&bench, Hook::Ingress));
}
