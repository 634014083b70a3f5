//! The one binary: the daemon and the administrator's tool. Logging, one command, error chain, exit code.

use std::process::ExitCode;

use netpol_ebpf::cli;

fn main() -> ExitCode {
    let mut logger = env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("info"));
    // Under systemd the journal has the time already.
    if std::env::var_os("JOURNAL_STREAM").is_some() {
        logger.format_timestamp(None);
    } else {
        logger.format_timestamp_millis();
    }
    logger.init();
    match cli::main() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(cli::UNREACHABLE)
        }
    }
}
