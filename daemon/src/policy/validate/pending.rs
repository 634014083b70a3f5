//! Keys that are read and proven but that nothing acts on yet: refused here, and only here, so that nothing is ignored in silence.
//!
//! Whoever makes a key act takes its line out of [`PENDING`].

use crate::schema::document::Document;
use crate::schema::place::{Report, Span};

/// Where a key stands in a file.
type Places = fn(&Document) -> Vec<Span>;

const PENDING: [(&str, Places); 2] = [
    ("container", |document| document.policies.iter().filter_map(|block| Some(block.container.as_ref()?.span)).collect()),
    ("machine", |document| document.policies.iter().filter_map(|block| Some(block.machine.as_ref()?.span)).collect()),
];

/// Refuses every use of such a key.
pub(super) fn refuse(documents: &[Document], report: &mut Report) {
    for (key, places) in PENDING {
        for span in documents.iter().flat_map(places) {
            report.error(span, format!("nothing acts on `{key}` in this version")).help("take the key out");
        }
    }
}
