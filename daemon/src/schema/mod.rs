//! TOML exactly as written, every value with its place. Knows keys and types; knows no meaning.
//!
//! Second stage of the control walk: [`read`] turns the files of a snapshot into [`document::Document`]s and reports everything that
//! can be said without knowing what a policy is. `policy::validate` goes on from there.

mod blocks;
pub mod diagnose;
pub mod document;
pub mod place;
mod reader;
mod render;
pub mod suggest;

use toml::de::DeTable;

pub use reader::{FlagOrWord, Scalar};
pub use render::render;

use crate::source::{Snapshot, SourceFile};
use document::Document;
use place::{Report, Span};
use reader::{Block, Reader};

/// The same keys and types as a JSON Schema, with a sentence on each: what editors read. A test holds it against the reader.
pub const JSON_SCHEMA: &str = include_str!("netpol.schema.json");

/// Reads all files; those that are no TOML are missing in the result and set [`Report::incomplete`].
pub fn read(snapshot: &Snapshot, report: &mut Report) -> Vec<Document> {
    snapshot.files.iter().enumerate().filter_map(|(number, file)| read_file(number, file, report)).collect()
}

fn read_file(number: usize, file: &SourceFile, report: &mut Report) -> Option<Document> {
    let errors_before = report.diagnostics.len();
    if let Some(problem) = &file.problem {
        let offset = problem.offset.unwrap_or(0);
        let message = if problem.offset.is_some() { problem.message.clone() } else { format!("{}: {}", file.path, problem.message) };
        let diagnostic = report.error(Span { file: number, start: offset, end: offset }, message);
        diagnostic.help = problem.help.clone();
    } else {
        let (top, errors) = DeTable::parse_recoverable(&file.text);
        if errors.is_empty() {
            let whole = Span { file: number, start: 0, end: 0 };
            let top = Block { entries: top.get_ref(), span: whole, what: "the file" };
            return Some(Reader { file: number, report }.document(top));
        }
        for error in errors {
            let span = error.span().unwrap_or(file.text.len()..file.text.len());
            report.error(Span { file: number, start: span.start, end: span.end }, format!("invalid TOML: {}", error.message()));
        }
    }
    report.incomplete |= report.diagnostics.len() > errors_before;
    None
}
