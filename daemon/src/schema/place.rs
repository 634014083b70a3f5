//! Byte ranges of policy files, and what they are called: file, line, column.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::diagnose::{Diagnostic, Place, Severity};
use crate::policy::model::Origin;
use crate::source::Snapshot;

/// A stretch of one policy file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span {
    /// Index into [`Snapshot::files`].
    pub file: usize,
    /// First byte.
    pub start: usize,
    /// Byte after the last.
    pub end: usize,
}

/// A value and where it is written.
#[derive(Debug, Clone, PartialEq)]
pub struct At<T> {
    /// The value.
    pub value: T,
    /// Its place.
    pub span: Span,
}

/// Bytes between two places of a file of which it is known how many characters stand before them.
const STRIDE: usize = 1024;
/// What the next block of a file begins with.
const HEAD: &str = "\n[[";

/// Text of a file with what it takes to name a place in it at once, however long its lines are and however many errors it has.
#[derive(Debug)]
struct Lines {
    path: Arc<str>,
    text: String,
    /// Beginnings of lines.
    starts: Vec<usize>,
    /// Where the [`HEAD`]s are.
    heads: Vec<usize>,
    /// Characters that begin before each [`STRIDE`]th byte.
    counts: Vec<usize>,
}

impl Lines {
    fn of(path: &str, text: &str) -> Lines {
        let mut counts = vec![0];
        for (number, bytes) in text.as_bytes().chunks(STRIDE).enumerate() {
            counts.push(counts[number] + beginnings(bytes));
        }
        Lines {
            path: Arc::from(path),
            starts: std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect(),
            heads: text.match_indices(HEAD).map(|(at, _)| at).collect(),
            text: text.to_owned(),
            counts,
        }
    }

    /// Characters before a byte that begins one.
    fn characters_before(&self, at: usize) -> usize {
        let stride = at / STRIDE;
        self.counts[stride] + beginnings(&self.text.as_bytes()[stride * STRIDE..at])
    }

    /// Where the block ends that this byte belongs to.
    fn end_of_block(&self, at: usize) -> usize {
        self.heads.get(self.heads.partition_point(|&head| head < at)).copied().unwrap_or(self.text.len())
    }
}

/// Bytes that begin a character.
fn beginnings(bytes: &[u8]) -> usize {
    bytes.iter().filter(|&&byte| byte & 0xc0 != 0x80).count()
}

/// Collects what there is to say and knows how to name places.
#[derive(Debug)]
pub struct Report {
    files: Vec<Lines>,
    /// File and first byte of every error.
    refused: BTreeSet<(usize, usize)>,
    /// In the order of discovery.
    pub diagnostics: Vec<Diagnostic>,
    /// Some file could not be read as TOML, so a name that is not found may stand there.
    pub incomplete: bool,
}

impl Report {
    /// An empty report on the files of a snapshot.
    pub fn new(snapshot: &Snapshot) -> Report {
        let lines = snapshot.files.iter().map(|file| Lines::of(&file.path, &file.text));
        Report { files: lines.collect(), refused: BTreeSet::new(), diagnostics: Vec::new(), incomplete: false }
    }

    /// Says an error; the result takes label, help and further places.
    pub fn error(&mut self, span: Span, message: impl Into<String>) -> &mut Diagnostic {
        self.say(Severity::Error, span, message.into())
    }

    /// Says a warning; the result takes label, help and further places.
    pub fn warning(&mut self, span: Span, message: impl Into<String>) -> &mut Diagnostic {
        self.say(Severity::Warning, span, message.into())
    }

    /// Whether anything was refused at exactly this place or in the block that it heads.
    pub fn has_error_within(&self, head: Span) -> bool {
        let end = self.files[head.file].end_of_block(head.end);
        self.refused.range((head.file, head.start)..(head.file, end)).next().is_some()
    }

    /// The same for a value that may be written in line: there its own braces are the bounds.
    pub fn has_error_in_table(&self, span: Span) -> bool {
        if self.files[span.file].text[span.start..].starts_with('{') {
            return self.refused.range((span.file, span.start)..(span.file, span.end)).next().is_some();
        }
        self.has_error_within(span)
    }

    fn say(&mut self, severity: Severity, span: Span, message: String) -> &mut Diagnostic {
        let place = self.place(span);
        if severity == Severity::Error {
            self.refused.insert((span.file, span.start));
        }
        self.push(Diagnostic { severity, message, place: Some(place), related: Vec::new(), help: None })
    }

    /// Takes a diagnostic that was made elsewhere.
    pub fn push(&mut self, diagnostic: Diagnostic) -> &mut Diagnostic {
        self.diagnostics.push(diagnostic);
        let last = self.diagnostics.len() - 1;
        &mut self.diagnostics[last]
    }

    /// Name of a place.
    pub fn place(&self, span: Span) -> Place {
        let lines = &self.files[span.file];
        let start = floor_boundary(&lines.text, span.start);
        let line = lines.starts.partition_point(|&first| first <= start);
        let column = lines.characters_before(start) - lines.characters_before(lines.starts[line - 1]) + 1;
        let end = floor_boundary(&lines.text, span.end).max(start);
        Place { file: Arc::clone(&lines.path), start, end, line: line as u32, column: column as u32, label: None }
    }

    /// The same for the model.
    pub fn origin(&self, span: Span) -> Origin {
        let Place { file, line, column, .. } = self.place(span);
        Origin { file, line, column }
    }
}

/// Largest beginning of a character that is not after `at`.
fn floor_boundary(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}
