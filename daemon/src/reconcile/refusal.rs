//! Why a ruleset did not go live, with the exit code that `apply` gives for it and the fields that the journal has of it.

use std::fmt;
use std::path::Path;

use log::Level;
use log::kv::Value;

use super::sets::SetError;
use crate::compile::CompileError;
use crate::kernel;
use crate::policy::judge::TestFailure;
use crate::policy::model::Origin;
use crate::report::{self, fields};
use crate::schema::diagnose::{Diagnostic, Severity};
use crate::source::SourceError;

/// Which stage refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A `[[test]]` block failed.
    Tests,
    /// Nothing is wrong with the files: they were rolled back, or would cut off who applies them.
    Declined,
    /// The directory could not be read, or its policies are wrong.
    Policy,
    /// The kernel could not be reached or changed.
    Kernel,
}

/// A refused ruleset.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{text}")]
pub struct Refusal {
    /// Which stage.
    pub kind: Kind,
    /// For people; may have several lines.
    pub text: String,
    /// The files were moving: look again soon.
    pub passing: bool,
    /// Place of the first error, where there is one to name.
    pub place: Option<Origin>,
}

impl Refusal {
    pub(super) fn new(kind: Kind, text: String) -> Self {
        Refusal { kind, text, passing: false, place: None }
    }

    fn at(self, place: Option<Origin>) -> Self {
        Refusal { place, ..self }
    }

    /// Logs it as an error; `generation` goes on.
    pub fn log(&self, target: &str, generation: u32, line: fmt::Arguments<'_>) {
        let mut about = vec![("NETPOL_GENERATION", Value::from(generation))];
        about.extend(self.place.iter().flat_map(fields::place));
        fields::say(Level::Error, target, &about, line);
    }

    pub(super) fn source(error: &SourceError) -> Self {
        let passing = matches!(error, SourceError::BeingWritten { .. });
        Refusal { passing, ..Refusal::new(Kind::Policy, error.to_string()) }
    }

    pub(super) fn emptied(directory: &Path) -> Self {
        let text = format!(
            "there is no policy file in {} any more; whoever wants no policy writes a file that says only `version = 1`, or calls \
             `netpol-ebpf detach`",
            directory.display()
        );
        Refusal::new(Kind::Policy, text)
    }

    pub(super) fn rolled_back() -> Self {
        let text = "the directory's ruleset was rolled back: it stays out until the files change or `netpol-ebpf apply` is called";
        Refusal::new(Kind::Declined, text.to_string())
    }

    /// `text`: the diagnostics for people.
    pub(super) fn policy(diagnostics: &[Diagnostic], text: String) -> Self {
        let errors = diagnostics.iter().filter(|diagnostic| diagnostic.severity == Severity::Error);
        let place = errors.filter_map(|error| error.place.as_ref()).next();
        let place = place.map(|place| Origin { file: place.file.clone(), line: place.line, column: place.column });
        Refusal::new(Kind::Policy, text).at(place)
    }

    pub(super) fn compile(error: &CompileError) -> Self {
        let place = match error {
            CompileError::EndpointConflict(conflict) | CompileError::XdpConflict(conflict) => Some(conflict.first.origin.clone()),
            CompileError::TooMany { .. } => None,
        };
        Refusal::new(Kind::Policy, error.to_string()).at(place)
    }

    pub(super) fn tests(failures: &[TestFailure]) -> Self {
        let lines: Vec<String> = failures.iter().map(report::failure_line).collect();
        Refusal::new(Kind::Tests, lines.join("\n")).at(failures.first().map(|failure| failure.origin.clone()))
    }

    /// Not the kernel's fault as a whole: a ruleset that does not ask for the reverse path can be enforced.
    pub(super) fn routes(error: &kernel::Error) -> Self {
        Refusal::new(Kind::Policy, format!("check_reverse_path needs the routes of this host: {error}"))
    }

    /// Exit code by the table of the manual.
    pub fn exit(&self) -> u8 {
        match self.kind {
            Kind::Tests | Kind::Declined => 1,
            Kind::Policy => 2,
            Kind::Kernel => 3,
        }
    }
}

impl From<SetError> for Refusal {
    fn from(error: SetError) -> Self {
        let kind = if matches!(error, SetError::Full { .. }) { Kind::Policy } else { Kind::Kernel };
        Refusal::new(kind, error.to_string())
    }
}

impl From<kernel::Error> for Refusal {
    fn from(error: kernel::Error) -> Self {
        Refusal::new(Kind::Kernel, error.to_string())
    }
}
