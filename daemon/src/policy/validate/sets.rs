//! `[[set]]`: elements and set files become sorted prefixes; names become numbers.

use std::collections::HashMap;
use std::sync::Arc;

use super::address::{Refused, element};
use super::ranges::Ranges;
use super::words;
use crate::policy::model::{Set, SetId};
use crate::schema::diagnose::{Diagnostic, Place, Severity};
use crate::schema::document::{Document, SetBlock};
use crate::schema::place::{At, Report, Span};
use crate::schema::suggest;
use crate::source::{SetFile, Snapshot};

/// Errors of one set file that are shown one by one.
const MAX_SHOWN: usize = 20;

/// All sets, and which of them anything refers to.
#[derive(Debug, Default)]
pub(super) struct SetTable {
    pub(super) sets: Vec<Set>,
    names: HashMap<String, SetId>,
    spans: Vec<Span>,
    used: Vec<bool>,
}

impl SetTable {
    /// Reads every `[[set]]` of every file.
    pub(super) fn read(documents: &[Document], snapshot: &mut Snapshot, report: &mut Report) -> SetTable {
        let mut table = SetTable::default();
        for block in documents.iter().flat_map(|document| &document.sets) {
            table.add(block, snapshot, report);
        }
        table
    }

    fn add(&mut self, block: &SetBlock, snapshot: &mut Snapshot, report: &mut Report) {
        let name = block.name.as_ref().and_then(|name| words::name(report, "set name", name));
        refuse_unsupported(block, report);
        let (nets, element_count) = content(block, snapshot, report);
        let (Some(name), Some(written)) = (name, &block.name) else { return };
        if let Some(first) = self.names.get(&name) {
            let first = report.place(self.spans[first.0 as usize]);
            report
                .error(written.span, format!("the set `{name}` is defined twice"))
                .label("defined again here")
                .also(first, "first defined here");
            return;
        }
        let written_content = block.elements.is_some() || block.files.is_some();
        if nets.is_empty() && element_count == Some(0) && written_content {
            report.warning(block.span, format!("the set `{name}` is empty: it matches nothing"));
        }
        let id = SetId(self.sets.len() as u32);
        self.names.insert(name.clone(), id);
        self.spans.push(written.span);
        self.used.push(false);
        self.sets.push(Set {
            name,
            origin: report.origin(block.span),
            nets,
            element_count: element_count.unwrap_or(0),
            dynamic: None,
            added: Vec::new(),
        });
    }

    /// Number of a set by the name that somebody wrote; counts as a use.
    pub(super) fn find(&mut self, report: &mut Report, name: &At<String>) -> Option<SetId> {
        if let Some(&id) = self.names.get(&name.value) {
            self.used[id.0 as usize] = true;
            return Some(id);
        }
        if !report.incomplete {
            let known: Vec<&str> = self.sets.iter().map(|set| set.name.as_str()).collect();
            let help = suggest::help(&name.value, "sets", &known);
            report.error(name.span, format!("there is no set `{}`", name.value)).help(help);
        }
        None
    }

    /// The set of a number that [`SetTable::find`] gave.
    pub(super) fn get(&self, id: SetId) -> &Set {
        &self.sets[id.0 as usize]
    }

    /// Warns of sets that nothing names.
    pub(super) fn warn_unused(&self, report: &mut Report) {
        for ((set, span), _) in self.sets.iter().zip(&self.spans).zip(&self.used).filter(|(_, used)| !**used) {
            report.warning(*span, format!("nothing uses the set `{}`", set.name));
        }
    }
}

fn refuse_unsupported(block: &SetBlock, report: &mut Report) {
    if let Some(dynamic) = block.dynamic.as_ref().filter(|dynamic| dynamic.value) {
        report
            .error(dynamic.span, "`dynamic = true` is not supported in this version")
            .help("change the set's file; a saved file is live at once");
    }
    if let Some(on_missing) = &block.on_missing {
        words::choose(report, "on_missing", on_missing, &[("error", ())], &["empty"]);
    }
    if block.elements.is_none() && block.files.is_none() && block.name.is_some() && !report.has_error_within(block.span) {
        report.error(block.span, "a set needs `elements` or `files`");
    }
}

/// Prefixes of a set and how many elements were written; no count where something was refused.
fn content(block: &SetBlock, snapshot: &mut Snapshot, report: &mut Report) -> (Vec<ipnet::IpNet>, Option<usize>) {
    let mut ranges = Ranges::default();
    let mut count = 0;
    let mut good = true;
    for written in block.elements.iter().flat_map(|elements| &elements.value) {
        match element(&written.value) {
            Ok(run) => ranges.push(run),
            Err(refusal) => {
                words::refuse(report, written.span, refusal);
                good = false;
            }
        }
        count += 1;
    }
    for pattern in block.files.iter().flat_map(|files| &files.value) {
        let numbers = match snapshot.set_files(&pattern.value) {
            Ok(numbers) => numbers,
            Err(problem) => {
                report.error(pattern.span, format!("set file `{}`: {}", pattern.value, problem.message)).help = problem.help;
                good = false;
                continue;
            }
        };
        for file in numbers.into_iter().filter_map(|number| snapshot.set_file(number)) {
            match read_file(file, &mut ranges) {
                Ok(elements) => count += elements,
                Err(errors) => {
                    good = false;
                    let named = report.place(pattern.span);
                    errors.into_iter().for_each(|mut error| {
                        error.also(named.clone(), "the file is named here");
                        report.push(error);
                    });
                }
            }
        }
    }
    (ranges.normal().nets(), good.then_some(count))
}

/// Adds the elements of a file, one a line; `#` begins a comment.
fn read_file(file: &SetFile, ranges: &mut Ranges) -> Result<usize, Vec<Diagnostic>> {
    let path: Arc<str> = Arc::from(file.path.as_str());
    if let Some(problem) = &file.problem {
        let refusal = Refused { message: format!("{}: {}", file.path, problem.message), help: problem.help.clone() };
        let offset = problem.offset.unwrap_or(0);
        let line = file.text[..offset].matches('\n').count() + 1;
        return Err(vec![said(&path, &file.text, line, offset..offset, refusal)]);
    }
    let (mut count, mut wrong, mut errors) = (0, 0, Vec::new());
    let mut start = 0;
    for (index, line) in file.text.split('\n').enumerate() {
        let bare = line.split_once('#').map_or(line, |(before, _)| before);
        let text = bare.trim();
        if !text.is_empty() {
            count += 1;
            match element(text) {
                Ok(run) => ranges.push(run),
                Err(refusal) => {
                    wrong += 1;
                    if wrong <= MAX_SHOWN + 1 {
                        let at = start + (bare.len() - bare.trim_start().len());
                        errors.push(said(&path, &file.text, index + 1, at..at + text.len(), refusal));
                    }
                }
            }
        }
        start += line.len() + 1;
    }
    if wrong > MAX_SHOWN {
        let first_unshown = errors.pop().and_then(|error| error.place);
        let message = format!("and {} more lines of this file, from here on, that cannot be read", wrong - MAX_SHOWN);
        errors.push(Diagnostic { severity: Severity::Error, message, place: first_unshown, related: Vec::new(), help: None });
    }
    if errors.is_empty() { Ok(count) } else { Err(errors) }
}

fn said(path: &Arc<str>, text: &str, line: usize, at: std::ops::Range<usize>, refusal: Refused) -> Diagnostic {
    let first = text[..at.start].rfind('\n').map_or(0, |newline| newline + 1);
    let column = text[first..at.start].chars().count() + 1;
    let place = Place { file: Arc::clone(path), start: at.start, end: at.end, line: line as u32, column: column as u32, label: None };
    Diagnostic { severity: Severity::Error, message: refusal.message, place: Some(place), related: Vec::new(), help: refusal.help }
}
