//! `interfaces`: names and globs, and what the kernel would ever call an interface (`dev_valid_name` in net/core/dev.c).

use glob::Pattern;

use super::address::{Refused, refused};
use super::words;
use crate::policy::model::InterfaceSelector;
use crate::schema::document::Strings;
use crate::schema::place::Report;

/// IFNAMSIZ without the closing zero.
const MAX_NAME: usize = 15;

/// Reads the list of a policy.
pub(super) fn read(list: &Strings, report: &mut Report) -> Option<InterfaceSelector> {
    let list = list.as_ref()?;
    if list.value.is_empty() {
        report
            .error(list.span, "`interfaces` is empty: the policy selects nothing")
            .help("name at least one interface, or `*` for all but `lo`");
        return None;
    }
    let mut selector = InterfaceSelector { include: Vec::new(), exclude: Vec::new() };
    let mut good = true;
    for written in &list.value {
        let (text, into) = match written.value.strip_prefix('!') {
            Some(rest) => (rest, &mut selector.exclude),
            None => (written.value.as_str(), &mut selector.include),
        };
        match words::keep(report, written.span, pattern(text)) {
            Some(pattern) => into.push(pattern),
            None => good = false,
        }
    }
    if good && selector.include.is_empty() {
        report.error(list.span, "`interfaces` only excludes: the policy selects nothing").help("add `\"*\"` to select all others");
        return None;
    }
    for written in list.value.iter().filter(|written| good && is_literal(&written.value) && !written.value.starts_with('!')) {
        if !selector.selects(&written.value) {
            report.warning(written.span, format!("`{}` is named and excluded by the same list: it is not selected", written.value));
        }
    }
    good.then_some(selector)
}

/// A name without anything that a glob gives a meaning to.
pub(super) fn is_literal(text: &str) -> bool {
    !text.contains(['*', '?', '['])
}

/// Why the kernel would never call an interface so, if it would not.
pub(super) fn name(text: &str) -> Result<(), Refused> {
    if text.is_empty() {
        return Err(refused("an interface name is empty".to_owned()));
    }
    if text.len() > MAX_NAME {
        return Err(refused(format!("`{text}` is longer than {MAX_NAME} characters: no interface can have that name")));
    }
    if text == "." || text == ".." || text.contains(['/', ':']) || text.contains(char::is_whitespace) {
        return Err(refused(format!("`{text}` cannot be the name of an interface")));
    }
    Ok(())
}

fn pattern(text: &str) -> Result<Pattern, Refused> {
    let pattern = Pattern::new(text).map_err(|cause| refused(format!("`{text}` is a bad glob: {}", cause.msg)))?;
    if is_literal(text) {
        name(text)?;
        return Ok(pattern);
    }
    let (mut least, mut class) = (0, false);
    for c in text.chars() {
        match c {
            '[' if !class => class = true,
            ']' if class => (class, least) = (false, least + 1),
            '*' if !class => (),
            _ if !class => least += 1,
            _ => (),
        }
    }
    if least > MAX_NAME {
        return Err(refused(format!("`{text}` only matches names longer than {MAX_NAME} characters: no interface can have one")));
    }
    if text.contains(['/', ':']) || text.contains(char::is_whitespace) {
        return Err(refused(format!("`{text}` matches no name that an interface can have")));
    }
    Ok(pattern)
}
