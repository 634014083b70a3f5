//! A thousand interfaces plugged in while both sides send: nothing passes one of them before it is under policy.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use netpol_tests::hot::{Hot, Leaving, Passed, Sinks};
use netpol_tests::policy::VERSION;
use netpol_tests::{Bench, say, wait};

const CREATIONS: u32 = 1000;
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

#[test]
fn nothing_passes_a_thousand_new_interfaces_before_they_are_enforced() {
    let Some(bench) = Bench::start(&closed()) else { return };
    let guarded = !bench.cli().warnings().contains("no guard");
    let sinks = Sinks::new(&bench.net);
    let mut times = Vec::new();
    let (mut sent, mut all, mut open) = (0, Passed::default(), 0);
    for index in FIRST..FIRST + CREATIONS {
        let hot = Hot::new(&bench.net, &format!("hot{}", index - FIRST), index);
        let (watch, flood, _leaving) = (hot.watch(), hot.flood(), Leaving::start(&bench.net, index));
        wait::until("the flood runs", Duration::from_secs(5), || flood.rounds() > 5);
        let begin = Instant::now();
        hot.plug();
        let enforced = loop {
            if pin(&bench, index).exists() {
                break begin.elapsed();
            }
            assert!(begin.elapsed() < Duration::from_secs(30), "hot{index} is not enforced after 30 s");
            std::thread::sleep(Duration::from_micros(100));
        };
        times.push(enforced);
        std::thread::sleep(Duration::from_millis(2));
        sent += flood.stop().frames;
        let passed = sinks.passed(Some(&watch));
        open += u32::from(passed != Passed::default());
        for (total, more) in [(&mut all.delivered, passed.delivered), (&mut all.forwarded, passed.forwarded), (&mut all.left, passed.left)] {
            (0..2).for_each(|family| total[family] += more[family]);
        }
    }
    times.sort_unstable();
    let at = |part: usize| format!("{:.1}", times[(times.len() - 1) * part / 100].as_secs_f64() * 1000.0);
    say::aloud(&format!(
        "{CREATIONS} interfaces plugged in under {sent} frames: enforced {} ms (median), {} ms (99 %), {} ms (max) after the request; \
         passed before, IPv4 and IPv6: delivered {:?}, forwarded {:?}, left {:?}, through {open} of the interfaces; refused by the guard: {}",
        at(50),
        at(99),
        at(100),
        all.delivered,
        all.forwarded,
        all.left,
        bench.cli().drops("not_yet_enforced"),
    ));
    if guarded {
        assert_eq!(all, Passed::default(), "packets passed interfaces that were not enforced yet");
        assert!(bench.cli().drops("not_yet_enforced") > 0, "no packet came before our programs: the test has seen nothing");
    }
}
