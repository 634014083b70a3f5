//! Whose interfaces a policy selects: by name in `interfaces`, or by their owner, `container` or `machine`.

use super::address::{Refused, refused};
use super::words;
use crate::policy::model::{Owner, OwnerKind};
use crate::schema::document::PolicyBlock;
use crate::schema::place::{At, Report, Span};

/// Longest name: container runtimes take 64 hexadecimal digits too, machined takes host names.
const MAX_NAME: usize = 128;

/// The owner of a policy that has one; `None` where something was refused.
pub(super) fn read(block: &PolicyBlock, report: &mut Report) -> Option<Option<Owner>> {
    let list = block.interfaces.as_ref().map(|list| ("interfaces", list.span));
    let (container, machine) = (block.container.as_ref(), block.machine.as_ref());
    let keys = [list, container.map(|name| ("container", name.span)), machine.map(|name| ("machine", name.span))];
    let mut given = keys.into_iter().flatten();
    if let (Some(first), Some(second)) = (given.next(), given.next()) {
        contradiction(first, second, report);
        return None;
    }
    let named = container.map(|name| (OwnerKind::Container, name)).or(machine.map(|name| (OwnerKind::Machine, name)));
    let Some((kind, written)) = named else { return Some(None) };
    words::keep(report, written.span, name(written)).map(|name| Some(Owner { kind, name }))
}

fn contradiction((first, first_span): (&str, Span), (second, span): (&str, Span), report: &mut Report) {
    let place = report.place(first_span);
    let diagnostic = report.error(span, format!("the policy has both `{first}` and `{second}`"));
    diagnostic
        .also(place, "the other one")
        .help("a policy selects interfaces by name, by container or by machine; write one policy for each");
}

fn name(written: &At<String>) -> Result<String, Refused> {
    let text = &written.value;
    let begins = text.starts_with(|c: char| c.is_ascii_alphanumeric());
    let good = text.chars().all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c));
    if begins && good && text.len() <= MAX_NAME {
        return Ok(text.clone());
    }
    let refusal = if text.is_empty() {
        refused("the name is empty".to_owned())
    } else {
        refused(format!("`{text}` cannot be the name of a container or machine"))
    };
    Err(refusal.help(format!(
        "write its name as the runtime lists it: at most {MAX_NAME} letters, digits, `_`, `-` and `.`; globs are not known here"
    )))
}
