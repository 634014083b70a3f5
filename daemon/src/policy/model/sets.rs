//! `[[set]]`: named addresses, and what is added to them at run time.

use ipnet::IpNet;

use super::Origin;

/// Index into [`PolicySet::sets`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SetId(pub u32);

/// `[[set]]`: elements and the contents of its files, ranges turned into prefixes, duplicates and covered prefixes removed.
/// An address is in the set when it is in `nets` or in a live one of `added`.
#[derive(Debug, Clone, PartialEq)]
pub struct Set {
    /// Unique name.
    pub name: String,
    /// Where it was defined.
    pub origin: Origin,
    /// Sorted, disjoint prefixes of both families.
    pub nets: Vec<IpNet>,
    /// Elements as written (a range counts once), for `set list`.
    pub element_count: usize,
    /// `dynamic = true`: may be changed at run time.
    pub dynamic: Option<Dynamic>,
    /// Elements added at run time; empty in what is read from files.
    pub added: Vec<Element>,
}

/// What a dynamic set allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dynamic {
    /// Seconds that an element added at run time lives, where nothing else is said; `None` = for ever.
    pub timeout: Option<u64>,
    /// Prefixes that it can hold, written ones included.
    pub max_entries: u32,
}

/// A prefix that was added at run time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Element {
    /// The prefix.
    pub net: IpNet,
    /// Until when, on the clock of whoever asks (ns); `None` = for ever.
    pub expires: Option<u64>,
}
