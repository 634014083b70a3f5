//! The product of D, S, F and V, each cell reduced to the predicates that are true there.

use netpol_probes::abi;

use super::Seen;
use super::classes::{Field, Interned};
use super::destination::Class;
use super::predicate::{Part, Predicate};
use crate::compile::CompileError;
use crate::policy::model::Vlan;

/// Cells of the product that are built: 16 MiB of kernel memory.
const MAX_CELLS: usize = 1 << 22;

/// The product.
pub(super) struct Combined {
    pub(super) dims: abi::np_l4_dims,
    pub(super) table: Vec<u32>,
    pub(super) classes: Interned<Seen>,
}

/// Builds the product.
pub(super) fn combine(
    predicates: &[Predicate],
    destinations: &[Class],
    source: &Field,
    flags: &Field,
    vlans: &[Vlan],
) -> Result<Combined, CompileError> {
    let (s, f, v) = (source.of.len(), flags.of.len(), vlans.len() + 2);
    let total = destinations.len().saturating_mul(s).saturating_mul(f).saturating_mul(v);
    if total > MAX_CELLS {
        let what = format!(
            "combinations of {} kinds of destination port, {s} of source port, {f} of TCP flags and {v} of tags",
            destinations.len()
        );
        return Err(CompileError::TooMany { what, found: total, limit: MAX_CELLS });
    }
    let mut product = Product { predicates, source, flags, classes: Interned::beginning_with((Part::Whole, Vec::new())) };
    let mut table = vec![0; total];
    for (destination, cells) in destinations.iter().zip(table.chunks_mut(s * f * v)) {
        for tag in 0..v {
            let wanted = tag.checked_sub(2).map(|named| vlans[named]);
            let tagged_otherwise = tag == 1;
            let fits = |number: &u32| !tagged_otherwise && predicates[*number as usize].vlan == wanted;
            let list: Vec<u32> = destination.predicates.iter().copied().filter(fits).collect();
            product.fill(&list, destination.part, |source, flag| (source * f + flag) * v + tag, cells);
        }
    }
    let dims = abi::np_l4_dims { s: s as u32, f: f as u32, v: v as u32, total: total as u32 };
    Ok(Combined { dims, table, classes: product.classes })
}

struct Product<'a> {
    predicates: &'a [Predicate],
    source: &'a Field,
    flags: &'a Field,
    classes: Interned<Seen>,
}

impl Product<'_> {
    /// Fills the cells of one D and one V. A fragment carries neither source port nor flags: all predicates hold.
    fn fill(&mut self, list: &[u32], part: Part, cell: impl Fn(usize, usize) -> usize, cells: &mut [u32]) {
        let part = if list.is_empty() { Part::Whole } else { part };
        let fragment = part != Part::Whole;
        let reads_source = !fragment && list.iter().any(|number| self.predicates[*number as usize].source.is_some());
        let reads_flags = !fragment && list.iter().any(|number| self.predicates[*number as usize].flags.is_some());
        for source in 0..self.source.of.len() {
            for flag in 0..self.flags.of.len() {
                // A field that nobody reads here makes no difference: take what its first value gave.
                let (like_source, like_flag) = (if reads_source { source } else { 0 }, if reads_flags { flag } else { 0 });
                cells[cell(source, flag)] = if (source, flag) == (like_source, like_flag) {
                    let holds = |number: &u32| fragment || self.holds(*number, source, flag);
                    let true_here = list.iter().copied().filter(holds).collect();
                    self.classes.number((part, true_here))
                } else {
                    cells[cell(like_source, like_flag)]
                };
            }
        }
    }

    fn holds(&self, number: u32, source: usize, flag: usize) -> bool {
        let predicate = &self.predicates[number as usize];
        let accepts = |field: &Field, class: usize| field.of[class].binary_search(&number).is_ok();
        (predicate.source.is_none() || accepts(self.source, source)) && (predicate.flags.is_none() || accepts(self.flags, flag))
    }
}
