//! The command line: arguments, one file a command, exit codes.
//!
//! Commands are thin: they call the library or ask the daemon, and print. They decide nothing about policy.

mod apply;
pub mod check;
mod completions;
mod detach;
mod man;
mod print;
mod progress;
mod rules;
mod run;
mod schema;
mod session;
mod set;
mod status;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::kernel::{Form, Ways};
use crate::plan::observed::TcAttachment;
use crate::trigger::control::{self, Request, Response};

/// Exit code: done.
pub const DONE: u8 = 0;
/// Exit code: refused, or a difference or denial was found.
pub const REFUSED: u8 = 1;
/// Exit code: usage or bad policy.
pub const BAD_POLICY: u8 = 2;
/// Exit code: the kernel or the daemon could not be reached or changed.
pub const UNREACHABLE: u8 = 3;

/// Declarative host firewall: TOML policies, enforced by tc and XDP eBPF programs.
#[derive(Debug, Parser)]
#[command(name = "netpol-ebpf", version, about, max_term_width = 100)]
pub struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

/// Options that may stand before or after the command.
#[derive(Debug, Clone, Args)]
pub struct Common {
    /// Directory of the policies (*.toml)
    #[arg(long, global = true, value_name = "DIR", default_value = "/etc/netpol.d")]
    pub config_dir: PathBuf,
    /// Directory of the pinned programs and maps
    #[arg(long, global = true, value_name = "DIR", default_value = "/sys/fs/bpf/netpol-ebpf")]
    pub bpffs: PathBuf,
    /// Directory of the control socket
    #[arg(long, global = true, value_name = "DIR", default_value = "/run/netpol-ebpf")]
    pub runtime_dir: PathBuf,
    /// Directory of the last good ruleset
    #[arg(long, global = true, value_name = "DIR", default_value = "/var/lib/netpol-ebpf")]
    pub state_dir: PathBuf,
    /// Print JSON for scripts
    #[arg(long, global = true)]
    pub json: bool,
}

/// A way to attach tc programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Attach {
    Tcx,
    Clsact,
}

impl From<Attach> for TcAttachment {
    fn from(attach: Attach) -> TcAttachment {
        match attach {
            Attach::Tcx => TcAttachment::Tcx,
            Attach::Clsact => TcAttachment::Clsact,
        }
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The daemon, in the foreground (what the systemd unit starts)
    Run {
        /// How tc programs are attached, instead of as is best on this kernel: for tests of the other way
        #[arg(long, value_enum, hide = true)]
        attach: Option<Attach>,
        /// Judge as on a PREEMPT_RT kernel: for tests of that form of the programs
        #[arg(long, hide = true)]
        realtime: bool,
    },
    /// Parse, validate, lint, run the [[test]] blocks; needs no root and no kernel
    Check {
        /// Directory to check instead of --config-dir
        dir: Option<PathBuf>,
    },
    /// Make the directory's ruleset live now
    Apply(apply::ApplyArgs),
    /// Let the ruleset that was applied with --confirm count for good
    Confirm,
    /// Return to the former ruleset
    Rollback,
    /// Generation, interfaces and how they are attached, warnings, last error
    Status {
        /// Say nothing; exit with 0 where the kernel enforces a ruleset, with or without a daemon, else with 1
        #[arg(long)]
        enforced: bool,
    },
    /// Every rule with packets, bytes, last hit and its file:line
    Rules,
    /// Sets and their elements
    Set {
        #[command(subcommand)]
        command: set::SetCommand,
    },
    /// Take the firewall off all interfaces
    Detach,
    /// The JSON Schema of the policy files, for editors
    Schema,
    /// A completion script for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// The manual pages, as roff
    Man(man::ManArgs),
}

impl Cli {
    /// Whether this process is to be the daemon.
    pub fn is_daemon(&self) -> bool {
        matches!(self.command, Command::Run { .. })
    }

    /// Runs the command and gives its exit code.
    ///
    /// # Errors
    /// What it could not do; `main` prints the chain and exits with 3.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let common = self.common;
        let code = match self.command {
            Command::Run { attach, realtime } => {
                run::run(&common, Ways { attach: attach.map(Into::into), form: realtime.then_some(Form::Realtime) })?
            }
            Command::Check { dir } => check::command(dir.as_deref().unwrap_or(&common.config_dir), common.json)?,
            Command::Apply(args) => apply::apply(&common, args)?,
            Command::Confirm => apply::confirm(&common)?,
            Command::Rollback => apply::rollback(&common)?,
            Command::Status { enforced: true } => status::enforced(&common)?,
            Command::Status { enforced: false } => status::status(&common)?,
            Command::Rules => rules::rules(&common)?,
            Command::Set { command } => set::set(&common, command)?,
            Command::Detach => detach::detach(&common)?,
            Command::Schema => schema::schema()?,
            Command::Completions { shell } => completions::completions(shell)?,
            Command::Man(arguments) => man::man(&arguments)?,
        };
        Ok(ExitCode::from(code))
    }
}

/// Asks the daemon; an absent daemon is an error that names the socket.
fn ask(common: &Common, request: &Request) -> anyhow::Result<Response> {
    let mut bar = progress::Bar::new(common.json);
    control::ask(&common.runtime_dir, request, &mut |progress| bar.show(progress)).map_err(|error| {
        let socket = control::socket_path(&common.runtime_dir);
        anyhow::Error::new(error).context(format!("no daemon answers on {} (is netpol-ebpf running?)", socket.display()))
    })
}

/// Prints a response that needs no layout of its own: its text, or its value as JSON; errors go to standard error.
fn answer(common: &Common, response: &Response) -> anyhow::Result<u8> {
    if common.json {
        print::json(&response.value)?;
    } else if response.exit == DONE {
        print::text(&response.text)?;
    } else {
        eprintln!("{}", response.text.trim_end());
    }
    Ok(response.exit)
}
