//! `check`: everything that can be said about a directory without root and without a kernel.
//!
//! Knows the stages up to the proven model. Prints nothing itself: the caller has the report and the wish for colours.

use std::path::Path;

use crate::policy::model::PolicySet;
use crate::policy::{self, Loaded};
use crate::schema::diagnose::Diagnostic;
use crate::schema::render;
use crate::source::{self, Snapshot, SourceError};

/// What a directory holds and what there is to say about it.
#[derive(Debug)]
pub struct Checked {
    /// The files that were judged.
    pub snapshot: Snapshot,
    /// The proven policies; `None` = refused.
    pub policies: Option<PolicySet>,
    /// Errors first, then warnings; each in order of file and place.
    pub diagnostics: Vec<Diagnostic>,
}

impl Checked {
    /// The diagnostics as text for people; empty where there is nothing to say.
    pub fn text(&self, color: bool) -> String {
        render(&self.diagnostics, &self.snapshot, color)
    }
}

/// Reads and validates a policy directory.
///
/// # Errors
/// The directory itself cannot be read; what is wrong with its files stands in the result.
pub fn check(directory: &Path) -> Result<Checked, SourceError> {
    let mut snapshot = source::read(directory)?;
    let Loaded { policies, warnings } = policy::load(&mut snapshot);
    let (policies, mut diagnostics) = match policies {
        Ok(policies) => (Some(policies), Vec::new()),
        Err(errors) => (None, errors),
    };
    diagnostics.extend(warnings);
    Ok(Checked { snapshot, policies, diagnostics })
}
