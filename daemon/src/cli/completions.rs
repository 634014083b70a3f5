//! `completions SHELL`: a completion script, made from the same definition as the arguments themselves.

use clap::CommandFactory;
use clap_complete::Shell;

use super::{Cli, DONE, print};

/// Prints it.
pub(super) fn completions(shell: Shell) -> anyhow::Result<u8> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "netpol-ebpf", &mut script);
    print::text(&String::from_utf8(script)?)?;
    Ok(DONE)
}
