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

impl Diagnostic {
    /// Sets what is said beside the underlined part.
    pub fn label(&mut self, label: impl Into<String>) -> &mut Diagnostic {
        if let Some(place) = &mut self.place {
            place.label = Some(label.into());
        }
        self
    }

    /// Sets what to do about it.
    pub fn help(&mut self, help: impl Into<String>) -> &mut Diagnostic {
        self.help = Some(help.into());
        self
    }

    /// Adds another place, with what it is.
    pub fn also(&mut self, mut place: Place, label: impl Into<String>) -> &mut Diagnostic {
        place.label = Some(label.into());
        self.related.push(place);
        self
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_form_names_the_place() {
        let place = Place { file: Arc::from("/etc/netpol.d/a.toml"), start: 12, end: 13, line: 2, column: 1, label: None };
        let said = Diagnostic { severity: Severity::Warning, message: "odd".into(), place: Some(place), related: Vec::new(), help: None };
        let wanted = r#"{"severity":"warning","message":"odd","file":"/etc/netpol.d/a.toml","line":2,"column":1,"help":null}"#;
        assert_eq!(serde_json::to_string(&said).unwrap(), wanted);
    }
}
