//! L4 reduction: family, protocol, ports, ICMP type, TCP flags and tags -> one small class.
//!
//! A class is the list of predicates that are true; two packets of one class are alike to every rule. For a later fragment a
//! predicate counts as true when it could be: the program sees from the rule's flags that it cannot be decided.

mod classes;
mod combine;
mod destination;
mod predicate;
mod sweep;

use netpol_probes::abi;

use super::CompileError;
use classes::Interned;
pub(super) use predicate::{Part, Predicate};

/// Contents of the `l4_*` maps, and what the rows need to know of the classes.
pub(super) struct L4 {
    pub(super) protocols: Vec<abi::np_protocol>,
    pub(super) tables: Vec<Box<abi::np_port_table>>,
    pub(super) flags: Vec<u32>,
    pub(super) vlans: Vec<(abi::np_vlan_key, u32)>,
    pub(super) dims: abi::np_l4_dims,
    pub(super) combine: Vec<u32>,
    /// Classes there are; class 0 is "no predicate is true".
    pub(super) count: u32,
    /// By predicate: classes in which it is true, rising.
    pub(super) classes: Vec<Vec<u32>>,
    /// By class.
    pub(super) parts: Vec<Part>,
}

/// Reduces a list of distinct predicates.
pub(super) fn reduce(predicates: &[Predicate]) -> Result<L4, CompileError> {
    let source = classes::source(predicates);
    let flags = classes::flags(predicates);
    let vlans = classes::vlans(predicates);
    let mut tables = destination::Tables::default();
    let source_table = source.table.map(|table| tables.add(table));
    let destination = destination::reduce(predicates, source_table, &mut tables)?;
    let combined = combine::combine(predicates, &destination.classes, &source.of, &flags.of, &vlans)?;
    let mut of_predicate = vec![Vec::new(); predicates.len()];
    for ((_, list), class) in combined.classes.lists().iter().zip(0..) {
        list.iter().for_each(|predicate| of_predicate[*predicate as usize].push(class));
    }
    Ok(L4 {
        protocols: destination.protocols,
        tables: tables.finish(),
        flags: flags.table,
        vlans: vlans.iter().zip(2..).map(|(vlan, class)| (abi::np_vlan_key { outer: vlan.outer, inner: vlan.inner }, class)).collect(),
        dims: combined.dims,
        combine: combined.table,
        count: combined.classes.lists().len() as u32,
        classes: of_predicate,
        parts: combined.classes.lists().iter().map(|(part, _)| *part).collect(),
    })
}

/// An L4 class: how much of the packet is there, and the predicates that are true or, where they read what is missing, could be.
type Seen = (Part, Vec<u32>);
