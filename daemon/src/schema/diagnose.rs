//! What is told to whoever wrote the files: message, place, help; as text with the line underlined, or for scripts.
//!
//! Knows places and words. Knows nothing of rules.

use std::sync::Arc;

use serde::ser::{Serialize, SerializeStruct, Serializer};

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The files are refused, all of them.
    Error,
    /// Accepted, said aloud, and kept in `status`.
    Warning,
}

/// A stretch of a file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// As shown to people.
    pub file: Arc<str>,
    /// First byte.
    pub start: usize,
    /// Byte after the last.
    pub end: usize,
    /// Line of `start`, from 1.
    pub line: u32,
    /// Column of `start` in characters, from 1.
    pub column: u32,
    /// Said beside the underlined part.
    pub label: Option<String>,
}

/// One thing to say about the files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// Error or warning.
    pub severity: Severity,
    /// One sentence.
    pub message: String,
    /// Where; `None` only where there is no file to name.
    pub place: Option<Place>,
    /// Other places that it takes to understand it, such as the first of two definitions.
    pub related: Vec<Place>,
    /// What to do about it.
    pub help: Option<String>,
}

impl Serialize for Diagnostic {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_struct("Diagnostic", 6)?;
        out.serialize_field("severity", &self.severity)?;
        out.serialize_field("message", &self.message)?;
        out.serialize_field("file", &self.place.as_ref().map(|p| &*p.file))?;
        out.serialize_field("line", &self.place.as_ref().map(|p| p.line))?;
        out.serialize_field("column", &self.place.as_ref().map(|p| p.column))?;
        out.serialize_field("help", &self.help)?;
        out.end()
    }
}
