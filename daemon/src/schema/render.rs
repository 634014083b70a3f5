//! Diagnostics as text: `error: …`, ` --> FILE:LINE:COL`, the line, the underline, `help: …`.

use annotate_snippets::{Level, Message, Renderer, Snippet};

use super::diagnose::{Diagnostic, Place, Severity};
use crate::source::Snapshot;

/// Lines longer than this are named, not shown.
const MAX_LINE: usize = 2000;
/// Places that lie further before the first word of their line are named, not shown.
const MAX_INDENT: usize = 10;
/// More diagnostics than this are counted, not shown.
const MAX_SHOWN: usize = 200;

/// All diagnostics as text for people, one blank line between two.
pub fn render(diagnostics: &[Diagnostic], snapshot: &Snapshot, color: bool) -> String {
    let renderer = if color { Renderer::styled() } else { Renderer::plain() };
    let mut out = String::new();
    for diagnostic in diagnostics.iter().take(MAX_SHOWN) {
        if !out.is_empty() {
            out.push('\n');
        }
        render_one(diagnostic, snapshot, &renderer, &mut out);
    }
    if diagnostics.len() > MAX_SHOWN {
        out.push_str(&format!("\nand {} more\n", diagnostics.len() - MAX_SHOWN));
    }
    out
}

fn render_one(diagnostic: &Diagnostic, snapshot: &Snapshot, renderer: &Renderer, out: &mut String) {
    let level = match diagnostic.severity {
        Severity::Error => Level::Error,
        Severity::Warning => Level::Warning,
    };
    let message = visible(&diagnostic.message);
    let places: Vec<Shown> = diagnostic.place.iter().chain(&diagnostic.related).map(|place| Shown::new(place, snapshot)).collect();
    let help = diagnostic.help.as_deref().map(visible);
    if let Some(primary) = places.first().filter(|shown| shown.line.is_none()) {
        let text = level.title(&message);
        out.push_str(&format!("{}\n --> {}\n", renderer.render(text), primary.position));
        for shown in &places[1..] {
            out.push_str(&format!(" ::: {}: {}\n", shown.position, shown.label.as_deref().unwrap_or("see also")));
        }
        out.extend(help.map(|help| format!("  = help: {help}\n")));
        return;
    }
    let mut text: Message<'_> = level.title(&message);
    for (index, shown) in places.iter().enumerate() {
        if let Some(line) = &shown.line {
            let mut annotation = if index == 0 { level } else { Level::Note }.span(shown.start..shown.end);
            if let Some(label) = &shown.label {
                annotation = annotation.label(label);
            }
            text = text.snippet(Snippet::source(line).line_start(shown.number).origin(&shown.file).annotation(annotation));
        }
    }
    if let Some(help) = &help {
        text = text.footer(Level::Help.title(help));
    }
    out.push_str(&renderer.render(text).to_string());
    out.push('\n');
    for shown in places.iter().filter(|shown| shown.line.is_none()) {
        out.push_str(&format!("  --> {}\n", shown.position));
    }
}

/// A place with its line, ready to be underlined.
struct Shown {
    file: String,
    position: String,
    number: usize,
    line: Option<String>,
    start: usize,
    end: usize,
    label: Option<String>,
}

impl Shown {
    fn new(place: &Place, snapshot: &Snapshot) -> Shown {
        let file = visible(&place.file);
        let position = format!("{file}:{}:{}", place.line, place.column);
        let label = place.label.as_deref().map(visible);
        let mut shown = Shown { file, position, number: place.line as usize, line: None, start: 0, end: 0, label };
        let Some(text) = snapshot.text(&place.file).filter(|text| place.start <= text.len()) else {
            return shown;
        };
        let first = text[..place.start].rfind('\n').map_or(0, |at| at + 1);
        let last = text[place.start..].find('\n').map_or(text.len(), |at| place.start + at);
        if (1..=MAX_LINE).contains(&(last - first)) {
            shown.start = place.start - first;
            shown.end = place.end.clamp(place.start, last) - first;
            let line = harmless(&text[first..last]);
            // What stands far before the first word of a long line would be cut away with the white space.
            let indent = line.len() - line.trim_start_matches(' ').len();
            shown.line = Some(line).filter(|_| indent <= shown.end + MAX_INDENT);
        }
        shown
    }
}

/// Text without characters that a terminal obeys or hides.
fn visible(text: &str) -> String {
    let hidden = |c: char| is_hidden(c) && c != '\n';
    text.chars().map(|c| if hidden(c) { c.escape_default().to_string() } else { c.to_string() }).collect()
}

/// The same for a line of a file, where every character must keep its length in bytes. White space becomes a space, as wide as it is
/// counted, or is shown where it is none that TOML knows.
fn harmless(line: &str) -> String {
    let replace = |c: char| match c.len_utf8() {
        _ if c == '\t' => ' ',
        _ if !is_hidden(c) && (c == ' ' || !c.is_whitespace()) => c,
        1 => '?',
        2 => '\u{b7}',
        3 => '\u{fffd}',
        _ => c,
    };
    line.chars().map(replace).collect()
}

/// Control characters except tab, and marks that reorder or hide text.
fn is_hidden(c: char) -> bool {
    (c.is_control() && c != '\t') || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}
