//! What an ICMP message is to a connection table: request, answer, error or something of its own.

use crate::policy::model::Family;

/// Part that a message plays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Kind {
    /// Opens a flow.
    Request,
    /// Belongs to a request of that type.
    Answer(u8),
    /// Quotes a packet of a flow.
    Error,
    /// Never accepted.
    Redirect,
    /// Judged by the rules, packet by packet.
    Other,
}

/// The part of a type in its family.
pub(in super::super) fn kind(family: Family, icmp_type: u8) -> Kind {
    match (family, icmp_type) {
        (Family::V4, 8 | 13 | 15 | 17) | (Family::V6, 128 | 139) => Kind::Request,
        (Family::V4, 0) => Kind::Answer(8),
        (Family::V4, 14 | 16 | 18) | (Family::V6, 129 | 140) => Kind::Answer(icmp_type - 1),
        (Family::V4, 3 | 4 | 11 | 12) | (Family::V6, 0..=127) => Kind::Error,
        (Family::V4, 5) | (Family::V6, 137) => Kind::Redirect,
        _ => Kind::Other,
    }
}
