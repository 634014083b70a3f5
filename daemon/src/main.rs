//! The one binary: the daemon and the administrator's tool. Arguments, logging, one command, error chain, exit code.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use env_logger::{Builder, Env, Target, WriteStyle};
use netpol_ebpf::cli::{self, Cli};
use netpol_ebpf::kernel;
use netpol_ebpf::report::journald::{Journal, entry};
use netpol_ebpf::report::outlet::{self, Outlet};

/// How long the end waits for a reader of the log.
const LAST_WORDS: Duration = Duration::from_secs(2);

fn main() -> ExitCode {
    let cli = Cli::parse();
    start_logger(cli.is_daemon());
    let code = cli.run().unwrap_or_else(|error| {
        // Whoever cannot be told has the exit code.
        outlet::last_error(&format!("{error:#}")).unwrap_or_default();
        ExitCode::from(cli::UNREACHABLE)
    });
    outlet::flush(LAST_WORDS, kernel::unread);
    code
}

/// Entries with fields where standard error is the journal, lines everywhere else. Commands write lines always: journald asks the
/// kernel whose an entry is when it reads it, and a command may have ended by then.
fn start_logger(daemon: bool) {
    let mut logger = Builder::from_env(Env::default().default_filter_or("info"));
    logger.target(Target::Pipe(Box::new(Outlet)));
    match daemon.then(Journal::of_standard_error).flatten() {
        Some(Ok(journal)) => {
            outlet::use_journal(journal);
            // With any other style the logger would look for escape sequences in the entry, and take them out.
            logger.write_style(WriteStyle::Always).format(|entry, record| entry.write_all(&entry::of_record(record))).init();
        }
        other => {
            lines(&mut logger);
            logger.init();
            if let Some(Err(error)) = other {
                log::warn!("the journal's socket cannot be reached, its entries will have no fields: {error}");
            }
        }
    }
}

fn lines(logger: &mut Builder) {
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
}
