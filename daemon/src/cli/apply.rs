//! `apply`: the daemon reads the directory and makes it live now, for good or on trial. `confirm` and `rollback` end a trial.

use clap::Args;

use super::{Common, answer, ask, session};
use crate::policy;
use crate::trigger::control::{Request, Trial};

/// Options of `apply`.
#[derive(Debug, Args)]
pub(super) struct ApplyArgs {
    /// Return to the former ruleset unless `netpol-ebpf confirm` comes within this time (unstated: `confirm_timeout` of `[daemon]`)
    #[arg(long, value_name = "TIME", num_args = 0..=1, default_missing_value = "", value_parser = trial)]
    confirm: Option<Trial>,
}

fn trial(text: &str) -> Result<Trial, String> {
    if text.is_empty() {
        return Ok(Trial { seconds: None });
    }
    policy::duration(text).map(|seconds| Trial { seconds: Some(seconds) })
}

/// Exit codes: 0 live, 1 a `[[test]]` failed, 2 bad policy, 3 no daemon or the kernel refused.
pub(super) fn apply(common: &Common, args: ApplyArgs) -> anyhow::Result<u8> {
    answer(common, &ask(common, &Request::Apply { confirm: args.confirm, session: session::current() })?)
}

/// Exit codes: 0 the running ruleset counts for good, 1 nothing waits for confirmation, 3 no daemon or the kernel refused.
pub(super) fn confirm(common: &Common) -> anyhow::Result<u8> {
    answer(common, &ask(common, &Request::Confirm)?)
}

/// Exit codes: 0 the former ruleset is live, 1 there is none, 3 no daemon or the kernel refused.
pub(super) fn rollback(common: &Common) -> anyhow::Result<u8> {
    answer(common, &ask(common, &Request::Rollback)?)
}
