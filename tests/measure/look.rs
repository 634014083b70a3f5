//! What it costs to look at our attachments again and again, while nothing happens.

use std::fs;
use std::thread::sleep;
use std::time::Duration;

use netpol_tests::net::batch;
use netpol_tests::policy::VERSION;
use netpol_tests::{Bench, say, wait};

use crate::alone;

const POLICY: &str = "[[policy]]\nname = \"hot\"\ninterfaces = [\"hot*\"]\n";
const WATCHED: Duration = Duration::from_secs(5);
/// The daemon's own interval.
const LOOK: Duration = Duration::from_millis(400);

/// CPU time of a process in ms, by its scheduler's statistics (all threads).
fn cpu(process: u32) -> f64 {
    let tasks = fs::read_dir(format!("/proc/{process}/task")).expect("its threads").flatten();
    let spent = |path: std::path::PathBuf| -> u64 {
        fs::read_to_string(path).ok().and_then(|text| text.split(' ').next()?.parse().ok()).unwrap_or(0)
    };
    tasks.map(|task| spent(task.path().join("schedstat"))).sum::<u64>() as f64 / 1e6
}

#[test]
fn idle_daemon_looks_at_its_attachments() {
    let _alone = alone();
    let Some(bench) = Bench::start(&format!("{VERSION}{POLICY}")) else { return };
    for links in [2, 1000] {
        let lines: String = (0..links).step_by(2).map(|n| format!("link add hot{n} type veth peer name hot{}\n", n + 1)).collect();
        batch(&bench.net.dut, &lines);
        // A busy daemon may keep the command waiting for too long.
        let covered = || {
            let answer = bench.cli().run(&["status", "--json"]);
            let status: serde_json::Value = serde_json::from_str(&answer.out).unwrap_or_default();
            if answer.code == 0 { status["interfaces"].as_array().map_or(0, Vec::len) } else { usize::MAX }
        };
        wait::until("all are under policy", Duration::from_secs(120), || covered() == links);
        sleep(Duration::from_secs(2));
        let before = cpu(bench.daemon.process());
        sleep(WATCHED);
        let spent = cpu(bench.daemon.process()) - before;
        let looks = WATCHED.as_secs_f64() / LOOK.as_secs_f64();
        say::aloud(&format!(
            "idle with {links} interfaces under policy: {:.2} ms of CPU a look, {:.2} % of a core",
            spent / looks,
            spent / WATCHED.as_secs_f64() / 10.0
        ));
        if links == 2 {
            bench.net.dut.ip("link del hot0");
            wait::until("it is gone", Duration::from_secs(20), || covered() == 0);
        }
    }
}
