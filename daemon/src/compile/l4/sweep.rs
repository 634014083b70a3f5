//! Spans of ports -> runs of ports that are seen alike.

use std::collections::BTreeSet;

use super::predicate::Span;

/// A run of ports, from `first` to the next run, and who holds it (rising).
pub(super) struct Run {
    pub(super) first: u16,
    pub(super) holders: Vec<u32>,
}

/// Cuts 0..=65535 into runs at the borders of all spans.
pub(super) fn runs<'a>(spans: impl Iterator<Item = (u32, &'a [Span])>) -> Vec<Run> {
    let mut borders: Vec<(u32, bool, u32)> = Vec::new();
    for (holder, spans) in spans {
        for (first, last) in spans {
            borders.push((u32::from(*first), true, holder));
            borders.push((u32::from(*last) + 1, false, holder));
        }
    }
    borders.sort_unstable();
    let mut runs = Vec::new();
    let mut holders = BTreeSet::new();
    if borders.first().is_none_or(|border| border.0 > 0) {
        runs.push(Run { first: 0, holders: Vec::new() });
    }
    for same in borders.chunk_by(|a, b| a.0 == b.0) {
        // One holder's spans are disjoint and do not touch, but ends sort before beginnings all the same.
        for (_, begins, holder) in same {
            if *begins {
                holders.insert(*holder);
            } else {
                holders.remove(holder);
            }
        }
        if let Ok(first) = u16::try_from(same[0].0) {
            runs.push(Run { first, holders: holders.iter().copied().collect() });
        }
    }
    runs
}

/// Fills a table, run by run.
pub(super) fn fill(runs: &[(u16, u16)], table: &mut [u16]) {
    for (position, (first, class)) in runs.iter().enumerate() {
        let end = runs.get(position + 1).map_or(table.len(), |next| usize::from(next.0));
        table[usize::from(*first)..end].fill(*class);
    }
}
