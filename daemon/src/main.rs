//! The one binary: the daemon and the administrator's tool. Logging, one command, error chain, exit code.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

use env_logger::{Target, WriteStyle};
use netpol_ebpf::cli;
use netpol_ebpf::report::outlet::{self, Outlet};

/// How long the end waits for a reader of the log.
const LAST_WORDS: Duration = Duration::from_secs(2);

fn main() -> ExitCode {
    let mut logger = env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("info"));
    // Under systemd the journal has the time already.
    if std::env::var_os("JOURNAL_STREAM").is_some() {
        logger.format_timestamp(None);
    } else {
        logger.format_timestamp_millis();
    }
    // What the logger itself would find out, were it to write there itself.
    let told = |name: &str| std::env::var_os(name).is_some();
    if io::stderr().is_terminal() && !told("NO_COLOR") && !told("RUST_LOG_STYLE") {
        logger.write_style(WriteStyle::Always);
    }
    logger.target(Target::Pipe(Box::new(Outlet))).init();
    let code = cli::main().unwrap_or_else(|error| {
        // Whoever cannot be told has the exit code.
        writeln!(Outlet, "error: {error:#}").unwrap_or_default();
        ExitCode::from(cli::UNREACHABLE)
    });
    outlet::flush(LAST_WORDS);
    code
}
