//! A thousand interfaces plugged in while both sides send (on a machine that is busy with other things as many as fit into a minute or
//! so, but with `NETPOL_SOAK=1`): nothing passes one of them before it is under policy.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use netpol_tests::hot::{Hot, Hots, Passed, Sinks};
use netpol_tests::policy::VERSION;
use netpol_tests::{Bench, machine, say, wait};

const CREATIONS: u32 = 1000;
/// After this time no more are plugged in, but for the first hundred.
const LONG_ENOUGH: Duration = Duration::from_secs(75);
/// So many are there at once.
const AT_ONCE: u32 = 50;
/// Indexes that nothing else has.
const FIRST: u32 = 5000;

fn closed() -> String {
    format!("{VERSION}[[policy]]\nname = \"hot\"\ninterfaces = [\"hot*\"]\npolicy_types = [\"ingress\", \"egress\"]\n")
}

/// Where the last of our programs is pinned when it has been attached to an interface.
fn pin(bench: &Bench, index: u32) -> PathBuf {
    let layouts = std::fs::read_dir(bench.net.bpffs()).expect("the directory of pins");
    let layout = layouts.flatten().map(|entry| entry.path()).find(|path| path.join("links").is_dir());
    layout.unwrap_or_else(|| bench.net.bpffs()).join("links").join(format!("{index}-ingress"))
}

/// Our programs are on the interface, however this kernel attaches them: a filter has no pin, and takes longer to ask for.
fn is_attached(bench: &Bench, hot: &Hot, by_link: bool) -> bool {
    if by_link {
        return pin(bench, hot.index).exists();
    }
    ["ingress", "egress"].iter().all(|hook| bench.net.dut.must("tc", &format!("filter show dev {} {hook}", hot.name)).contains("bpf"))
}

/// Whether this kernel attaches by link, as the first interface shows.
fn attaches_by_link(bench: &Bench) -> bool {
    bench.net.dut.ip("link add hot-first type veth peer name first");
    let attach = wait::poll(Duration::from_secs(10), || Some(bench.cli().status()["interfaces"][0]["attach"].as_str()?.to_owned()));
    bench.net.dut.ip("link del hot-first");
    attach.expect("the first interface is enforced") == "tcx"
}

#[test]
fn nothing_passes_a_thousand_new_interfaces_before_they_are_enforced() {
    let Some(bench) = Bench::start(&closed()) else { return };
    let guarded = !bench.cli().warnings().contains("no guard");
    let by_link = attaches_by_link(&bench);
    let sinks = Sinks::new(&bench.net);
    let (started, all_of_them) = (Instant::now(), std::env::var_os("NETPOL_SOAK").is_some());
    let mut times = Vec::new();
    let (mut sent, mut all, mut open) = (0, Passed::default(), 0);
    for first in (FIRST..FIRST + CREATIONS).step_by(AT_ONCE as usize) {
        if !all_of_them && started.elapsed() > LONG_ENOUGH && first >= FIRST + 100 {
            break;
        }
        let hots = Hots::new(&bench.net, "hot", first, AT_ONCE);
        for hot in &hots.each {
            let traffic = hot.traffic();
            let begin = Instant::now();
            hot.plug();
            while !is_attached(&bench, hot, by_link) {
                assert!(begin.elapsed() < machine::patience(Duration::from_secs(30)), "{} is not enforced", hot.name);
                std::thread::sleep(Duration::from_micros(100));
            }
            times.push(begin.elapsed());
            std::thread::sleep(Duration::from_millis(2));
            let (frames, passed) = traffic.end(&sinks);
            sent += frames;
            open += u32::from(passed != Passed::NOTHING);
            for (total, more) in
                [(&mut all.delivered, passed.delivered), (&mut all.forwarded, passed.forwarded), (&mut all.left, passed.left)]
            {
                (0..2).for_each(|family| total[family] += more[family]);
            }
        }
    }
    times.sort_unstable();
    let at = |part: usize| format!("{:.1}", times[(times.len() - 1) * part / 100].as_secs_f64() * 1000.0);
    say::aloud(&format!(
        "{} interfaces plugged in under {sent} frames: enforced {} ms (median), {} ms (99 %), {} ms (max) after the request; \
         passed before, IPv4 and IPv6: delivered {:?}, forwarded {:?}, left {:?}, through {open} of the interfaces; refused by the guard: {}",
        times.len(),
        at(50),
        at(99),
        at(100),
        all.delivered,
        all.forwarded,
        all.left,
        bench.cli().drops("not_yet_enforced"),
    ));
    if guarded {
        assert_eq!(all, Passed::NOTHING, "packets passed interfaces that were not enforced yet");
        assert!(bench.cli().drops("not_yet_enforced") > 0, "no packet came before our programs: the test has seen nothing");
    }
}
