//! `set`: what sets hold, and changes of dynamic ones at run time.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use super::{BAD_POLICY, Common, DONE, answer, ask, print};
use crate::policy::elements;
use crate::report::sets::Shown;
use crate::source::MAX_SET_FILE;
use crate::trigger::control::{Lifetime, Request};

/// What to do with sets.
#[derive(Debug, Subcommand)]
pub enum SetCommand {
    /// Every set of the running ruleset
    List,
    /// The prefixes of one set, with the time that added ones have left
    Show {
        /// The set's name
        name: String,
    },
    /// Put elements into a dynamic set; one that is in already gets its time anew
    Add {
        /// The set's name
        name: String,
        /// Addresses, CIDRs, ranges (a-b), of both families
        #[arg(required = true, value_name = "ELEMENT")]
        elements: Vec<String>,
        #[command(flatten)]
        timeout: Timeout,
    },
    /// Take added elements out of a dynamic set
    Del {
        /// The set's name
        name: String,
        /// As they were added
        #[arg(required = true, value_name = "ELEMENT")]
        elements: Vec<String>,
    },
    /// Take everything that was added out of a dynamic set
    Flush {
        /// The set's name
        name: String,
    },
    /// Put a list in place of everything that was added to a dynamic set, at once
    Replace {
        /// The set's name
        name: String,
        /// One element a line; # begins a comment; - is standard input
        file: PathBuf,
        #[command(flatten)]
        timeout: Timeout,
    },
}

/// How long elements stay.
#[derive(Debug, Clone, Args)]
pub struct Timeout {
    /// How long they stay: "90s", "2h", "1h30m", "never"; the set's own timeout where unstated
    #[arg(long, value_name = "T", value_parser = lifetime)]
    timeout: Option<Lifetime>,
}

impl Timeout {
    fn lifetime(&self) -> Lifetime {
        self.timeout.unwrap_or(Lifetime::Usual)
    }
}

fn lifetime(text: &str) -> Result<Lifetime, String> {
    if text == "never" { Ok(Lifetime::Forever) } else { elements::duration(text).map(Lifetime::Seconds) }
}

pub(super) fn set(common: &Common, command: SetCommand) -> anyhow::Result<u8> {
    let request = match command {
        SetCommand::List => Request::SetList,
        SetCommand::Show { name } => return show(common, name),
        SetCommand::Add { name, elements, timeout } => Request::SetAdd { name, elements, lifetime: timeout.lifetime() },
        SetCommand::Del { name, elements } => Request::SetDel { name, elements },
        SetCommand::Flush { name } => Request::SetFlush { name },
        SetCommand::Replace { name, file, timeout } => match read_list(&file) {
            Ok(list) => Request::SetReplace { name, file: file.display().to_string(), list, lifetime: timeout.lifetime() },
            Err(error) => return refuse(common, &error),
        },
    };
    answer(common, &ask(common, &request)?)
}

fn show(common: &Common, name: String) -> anyhow::Result<u8> {
    let response = ask(common, &Request::SetShow { name })?;
    if response.exit != DONE {
        return answer(common, &response);
    }
    let shown: Shown = serde_json::from_value(response.value)?;
    print::text(&if common.json { shown.json()? } else { shown.text() })?;
    Ok(DONE)
}

fn refuse(common: &Common, error: &str) -> anyhow::Result<u8> {
    if common.json {
        print::json(&serde_json::json!({ "version": 1, "error": error }))?;
    } else {
        eprintln!("error: {error}");
    }
    Ok(BAD_POLICY)
}

/// A whole list; `-` is standard input.
fn read_list(path: &Path) -> Result<String, String> {
    let unreadable = |cause: std::io::Error| format!("{}: cannot be read: {cause}", path.display());
    let mut source: Box<dyn Read> =
        if path == Path::new("-") { Box::new(std::io::stdin()) } else { Box::new(File::open(path).map_err(unreadable)?) };
    let mut bytes = Vec::new();
    Read::take(&mut source, MAX_SET_FILE + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > MAX_SET_FILE {
        return Err(format!("{}: larger than {} MiB", path.display(), MAX_SET_FILE >> 20));
    }
    String::from_utf8(bytes).map_err(|cause| {
        let good = cause.utf8_error().valid_up_to();
        let line = cause.as_bytes().iter().take(good).filter(|byte| **byte == b'\n').count() + 1;
        format!("{}:{line}: not UTF-8 from here on", path.display())
    })
}
