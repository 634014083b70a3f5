//! `[[set]]`: elements and set files become sorted prefixes; names become numbers.

use std::collections::HashMap;
use std::sync::Arc;

use super::address::{Refused, element};
use super::ranges::Ranges;
use super::words;
use crate::policy::model::{Dynamic, Set, SetId};
use crate::schema::diagnose::{Diagnostic, Place, Severity};
use crate::schema::document::{Document, SetBlock};
use crate::schema::place::{At, Report, Span};
use crate::schema::suggest;
use crate::source::{SetFile, Snapshot};

/// Prefixes that a dynamic set can hold where nothing is said.
const MAX_ENTRIES: u32 = 65_536;
/// Most that may be asked for (`NP_MAX_PREFIXES` of the programs' ABI).
const MOST_ENTRIES: u32 = 1 << 22;
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
        let may_miss = on_missing(block, report);
        let dynamic_asked = block.dynamic.as_ref().is_some_and(|dynamic| dynamic.value);
        if block.elements.is_none()
            && block.files.is_none()
            && !dynamic_asked
            && block.name.is_some()
            && !report.has_error_within(block.span)
        {
            report.error(block.span, "a set needs `elements` or `files`").help("only a set with `dynamic = true` can begin with nothing");
        }
        let (nets, element_count) = content(block, may_miss, snapshot, report);
        let dynamic = dynamic(block, &nets, report);
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
        if nets.is_empty() && element_count == Some(0) && written_content && !dynamic_asked {
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
            dynamic,
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

    /// Whether there is a set of that name; no use.
    pub(super) fn is_known(&self, name: &str) -> bool {
        self.names.contains_key(name)
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

/// Whether a glob of `files` may give no file.
fn on_missing(block: &SetBlock, report: &mut Report) -> bool {
    let Some(word) = &block.on_missing else { return false };
    let may_miss = words::choose(report, "on_missing", word, &[("error", false), ("empty", true)]).unwrap_or(false);
    if may_miss && block.files.is_none() {
        report.error(word.span, "`on_missing` without `files`").help("it says what a missing file means; name the files, or take it out");
    }
    may_miss
}

/// What may be done at run time; `None` for a set that cannot be changed, and where something was refused.
fn dynamic(block: &SetBlock, nets: &[ipnet::IpNet], report: &mut Report) -> Option<Dynamic> {
    let timeout = block.timeout.as_ref().map(|text| (text.span, words::keep(report, text.span, words::duration(&text.value))));
    let span = block.dynamic.as_ref().map(|dynamic| dynamic.span).unwrap_or(block.span);
    if !block.dynamic.as_ref().is_some_and(|dynamic| dynamic.value) {
        for (key, span) in [("timeout", timeout.map(|(span, _)| span)), ("max_entries", block.max_entries.as_ref().map(|max| max.span))] {
            let Some(span) = span else { continue };
            report
                .error(span, format!("`{key}` in a set that cannot be changed at run time"))
                .help(format!("add `dynamic = true`, or take `{key}` out"));
        }
        return None;
    }
    let written = u32::try_from(nets.len()).unwrap_or(u32::MAX);
    let (max_entries, span) = match &block.max_entries {
        None => (MAX_ENTRIES.max(written.saturating_mul(2)).min(MOST_ENTRIES), span),
        Some(max) => match u32::try_from(max.value).ok().filter(|number| (1..=MOST_ENTRIES).contains(number)) {
            Some(number) => (number, max.span),
            None => {
                let message = format!("`max_entries = {}` is out of range", max.value);
                report.error(max.span, message).help(format!("possible values: 1 to {MOST_ENTRIES}"));
                return None;
            }
        },
    };
    if written > max_entries {
        let message = format!("the set is written with {written} prefixes and can hold {max_entries}");
        report
            .error(span, message)
            .help(format!("raise `max_entries` to more than {written}, so that there is room for what is added at run time"));
        return None;
    }
    Some(Dynamic { timeout: timeout.and_then(|(_, seconds)| seconds), max_entries })
}

/// Prefixes of a set and how many elements were written; no count where something was refused.
fn content(block: &SetBlock, may_miss: bool, snapshot: &mut Snapshot, report: &mut Report) -> (Vec<ipnet::IpNet>, Option<usize>) {
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
            Ok(numbers) if numbers.is_empty() && !may_miss => {
                let message = format!("set file `{}`: no file matches {}", pattern.value, snapshot.full_pattern(&pattern.value));
                let help = "write `on_missing = \"empty\"` if the file may be missing; an empty file is always allowed";
                report.error(pattern.span, message).help(help);
                good = false;
                continue;
            }
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
