//! `status`: from the daemon; without one, what the kernel itself goes on enforcing.

use serde_json::json;

use super::{Common, DONE, REFUSED, UNREACHABLE, ask, print};
use crate::kernel;
use crate::report::status::Status;
use crate::trigger::control::Request;

/// Exit codes: 0 the daemon answered, 3 it did not (what the kernel enforces is shown all the same).
pub(super) fn status(common: &Common) -> anyhow::Result<u8> {
    let response = match ask(common, &Request::Status) {
        Ok(response) => response,
        Err(error) => return without_daemon(common, &error),
    };
    if common.json {
        print::json(&response.value)?;
    } else if response.exit == DONE {
        let status: Status = serde_json::from_value(response.value)?;
        print::text(&status.text())?;
    } else {
        eprintln!("{}", response.text);
    }
    Ok(response.exit)
}

/// Exit codes: 0 a generation judges, 1 none does. Nothing is asked of the daemon.
pub(super) fn enforced(common: &Common) -> anyhow::Result<u8> {
    let running = kernel::inspect(&common.bpffs)?.is_some_and(|found| found.word.running != 0);
    Ok(if running { DONE } else { REFUSED })
}

fn without_daemon(common: &Common, error: &anyhow::Error) -> anyhow::Result<u8> {
    let found = kernel::inspect(&common.bpffs)?.unwrap_or_default();
    if common.json {
        let interfaces: Vec<_> = found.enforced.iter().map(|name| json!({ "name": name })).collect();
        let value = json!({
            "version": 1, "generation": found.word.running, "state": "degraded", "source": "kernel", "interfaces": interfaces,
            "warnings": [], "last_error": format!("{error:#}"),
        });
        print::json(&value)?;
    } else if found.enforced.is_empty() {
        print::text("nothing is enforced: no interface has a program of ours")?;
    } else {
        let (generation, names) = (found.word.running, found.enforced.join(", "));
        print::text(&format!("the kernel goes on enforcing generation {generation} on {names}"))?;
    }
    eprintln!("error: {error:#}");
    Ok(UNREACHABLE)
}
