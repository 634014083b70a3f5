//! `set list` and `set show`.

use clap::Subcommand;

use super::{Common, answer, ask};
use crate::trigger::control::Request;

/// What to do with sets.
#[derive(Debug, Subcommand)]
pub enum SetCommand {
    /// Every set of the running ruleset
    List,
    /// The prefixes of one set
    Show {
        /// The set's name
        name: String,
    },
}

pub(super) fn set(common: &Common, command: SetCommand) -> anyhow::Result<u8> {
    let request = match command {
        SetCommand::List => Request::SetList,
        SetCommand::Show { name } => Request::SetShow { name },
    };
    answer(common, &ask(common, &request)?)
}
