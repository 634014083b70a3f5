//! Elements as commands bring them: single ones, whole lists, and where a written one stands.
//!
//! Knows the spelling that files use too. Knows nothing of what is live.

use std::sync::Arc;

use ipnet::IpNet;

use super::address::{Refused, Run, element};
use super::ranges::Ranges;
use super::words;
use crate::policy::model::Origin;
use crate::schema;
use crate::schema::place::Report;
use crate::source::Snapshot;

/// Lines of a list that are refused one by one.
const MAX_SHOWN: usize = 20;

/// The prefixes of an element: one for an address or a CIDR, as many as it takes for a range.
///
/// # Errors
/// One sentence that says what is wrong with it and what to write instead.
pub fn prefixes(text: &str) -> Result<Vec<IpNet>, String> {
    runs(text).map_err(sentence)
}

fn runs(text: &str) -> Result<Vec<IpNet>, Refused> {
    let mut ranges = Ranges::default();
    ranges.push(element(text)?);
    Ok(ranges.nets())
}

fn sentence(refusal: Refused) -> String {
    let help = refusal.help.map(|help| format!(" ({help})")).unwrap_or_default();
    format!("{}{help}", refusal.message)
}

/// The prefixes of a list: one element a line, `#` begins a comment. `tell` hears now and then how many bytes have been read.
///
/// # Errors
/// A line `FILE:LINE: message` for each of the first bad ones.
pub fn list(file: &str, text: &str, tell: &mut dyn FnMut(usize)) -> Result<Vec<IpNet>, Vec<String>> {
    let (mut nets, mut errors, mut wrong, mut read) = (Vec::new(), Vec::new(), 0, 0);
    for (number, line) in (1..).zip(text.split('\n')) {
        if number % 4096 == 0 {
            tell(read);
        }
        read += line.len() + 1;
        let Some(bare) = bare(line) else { continue };
        match runs(bare) {
            Ok(more) => nets.extend(more),
            Err(refusal) => {
                wrong += 1;
                if wrong <= MAX_SHOWN {
                    errors.push(format!("{file}:{number}: {}", sentence(refusal)));
                }
            }
        }
    }
    if wrong > MAX_SHOWN {
        errors.push(format!("{file}: and {} more lines that cannot be read", wrong - MAX_SHOWN));
    }
    if errors.is_empty() { Ok(nets) } else { Err(errors) }
}

/// A line without comment and blanks; `None` = nothing is left.
fn bare(line: &str) -> Option<&str> {
    let text = line.split_once('#').map_or(line, |(before, _)| before).trim();
    (!text.is_empty()).then_some(text)
}

/// A duration as policies spell it ("90s", "1h30m"), in seconds.
///
/// # Errors
/// One sentence.
pub fn duration(text: &str) -> Result<u64, String> {
    words::duration(text).map_err(sentence)
}

/// Where the element stands that brings a prefix into a set; `None` = it is not written there.
pub fn place_of_element(snapshot: &mut Snapshot, set: &str, net: &IpNet) -> Option<Origin> {
    let holds = |text: &str| element(text).is_ok_and(|run| contains(run, net));
    let mut report = Report::new(snapshot);
    let documents = schema::read(snapshot, &mut report);
    let named = |block: &&schema::document::SetBlock| block.name.as_ref().is_some_and(|name| name.value == set);
    let block = documents.iter().flat_map(|document| &document.sets).find(named)?;
    let in_line = block.elements.iter().flat_map(|elements| &elements.value).find(|written| holds(&written.value));
    if let Some(written) = in_line {
        return Some(report.origin(written.span));
    }
    for pattern in block.files.iter().flat_map(|files| &files.value) {
        for number in snapshot.set_files(&pattern.value).ok()? {
            let file = snapshot.set_file(number)?;
            let found = (1u32..).zip(file.text.split('\n')).find(|(_, line)| bare(line).is_some_and(holds));
            if let Some((line, _)) = found {
                return Some(Origin { file: Arc::from(file.path.as_str()), line, column: 1 });
            }
        }
    }
    None
}

fn contains(run: Run, net: &IpNet) -> bool {
    match (run, Run::of(net)) {
        (Run::V4(first, last), Run::V4(from, to)) => first <= from && to <= last,
        (Run::V6(first, last), Run::V6(from, to)) => first <= from && to <= last,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn list_bad_lines_are_named() {
        let nets = list("l", "# x\n10.0.0.1\n\n 10.0.0.4-10.0.0.7 # y\nfd00::/8", &mut |_| ()).unwrap();
        let nets: Vec<String> = nets.iter().map(IpNet::to_string).collect();
        assert_eq!(nets, ["10.0.0.1/32", "10.0.0.4/30", "fd00::/8"]);
        let errors = list("l", "10.0.0.1\n10.0.0.1/8\nx", &mut |_| ()).unwrap_err();
        assert_eq!(errors.len(), 2);
        assert!(errors[0].starts_with("l:2: `10.0.0.1/8` has host bits set (the network is"), "{errors:?}");
        assert_eq!(list("l", &"x\n".repeat(30), &mut |_| ()).unwrap_err().len(), 21);
    }

    #[test]
    fn written_element_is_found_in_policies_and_lists() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("l.txt"), "# list\n10.3.0.0/16\n").unwrap();
        let text = "version = 1\n[[set]]\nname = \"s\"\nelements = [\"10.1.0.1\",\n\"10.2.0.0-10.2.0.9\"]\nfiles = [\"l.txt\"]\n";
        let mut snapshot = Snapshot::of(Path::new(dir.path()), &[("a.toml".into(), text.into())]);
        let mut line = |net: &str| place_of_element(&mut snapshot, "s", &net.parse().unwrap()).map(|origin| origin.line);
        assert_eq!([line("10.1.0.1/32"), line("10.2.0.8/32"), line("10.3.9.0/24"), line("10.4.0.0/16")], [Some(4), Some(5), Some(2), None]);
    }
}
