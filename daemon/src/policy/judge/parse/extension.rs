//! Stage 1: the chain of IPv6 extension headers (RFC 8200), up to the protocol or a fragment.

use super::super::packet::{Fragment, PROTOCOL_UNKNOWN};
use super::{Reason, long, word};

const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
/// "No next header".
pub(super) const NO_NEXT_HEADER: u8 = 59;
/// Headers that are walked; more are refused.
const MAX_HEADERS: usize = 8;

/// Where the walk ended.
pub(super) struct End<'a> {
    /// The protocol, or [`PROTOCOL_UNKNOWN`] in a later fragment that goes on with another extension header.
    pub(super) protocol: u16,
    /// Set if a fragment header makes this packet a fragment.
    pub(super) fragment: Option<Fragment>,
    /// What follows the last header that was walked.
    pub(super) payload: &'a [u8],
}

/// Hop-by-hop, routing, fragment, destination. AH and ESP are protocols to us.
pub(super) fn is_extension(header: u8) -> bool {
    matches!(header, 0 | ROUTING | FRAGMENT | 60)
}

/// Mobility, HIP and shim6 are protocols to those who receive them, and to some of them headers that others follow. So that neither is
/// hidden from the rules, nothing may follow (RFC 6275, 6.1.1; RFC 7401, 5.1).
pub(super) fn check_last(protocol: u16, payload: &[u8]) -> Result<(), Reason> {
    if !matches!(protocol, 135 | 139 | 140) {
        return Ok(());
    }
    let header = payload.get(..8).ok_or(Reason::Malformed)?;
    if header[0] == NO_NEXT_HEADER { Ok(()) } else { Err(Reason::ExtensionHeaders) }
}

/// Walks from the IPv6 header's next header on.
pub(super) fn walk(first: u8, payload: &[u8]) -> Result<End<'_>, Reason> {
    let (mut next, mut rest, mut fragment) = (first, payload, None);
    let mut walked = 0;
    while is_extension(next) {
        walked += 1;
        if walked > MAX_HEADERS {
            return Err(Reason::ExtensionHeaders);
        }
        let header = one(next, rest).ok_or(Reason::Malformed)?;
        if is_refused_routing(next, header) {
            return Err(Reason::RoutingHeader);
        }
        let is_fragment_header = next == FRAGMENT;
        next = header[0];
        rest = &rest[header.len()..];
        if let Some(found) = is_fragment_header.then(|| read_fragment(header)).flatten() {
            fragment = Some(found);
            if found.offset > 0 {
                let protocol = if is_extension(next) { PROTOCOL_UNKNOWN } else { u16::from(next) };
                return Ok(End { protocol, fragment, payload: rest });
            }
        }
    }
    Ok(End { protocol: u16::from(next), fragment, payload: rest })
}

/// A routing header of type 0 (RFC 5095), or one with segments left: where those lead, the rules are not asked about.
pub(super) fn is_refused_routing(kind: u8, header: &[u8]) -> bool {
    kind == ROUTING && (header.get(2) == Some(&0) || header.get(3) != Some(&0))
}

/// The bytes of one header; `None` if it overruns the payload.
pub(super) fn one(kind: u8, rest: &[u8]) -> Option<&[u8]> {
    let units = if kind == FRAGMENT { 1 } else { usize::from(*rest.get(1)?) + 1 };
    rest.get(..units * 8)
}

/// The fragment that a fragment header speaks of; `None` for an atomic fragment (offset 0, nothing follows: RFC 6946).
pub(super) fn read_fragment(header: &[u8]) -> Option<Fragment> {
    let field = word(header, 2)?;
    let (offset, more) = (field & 0xFFF8, field & 1 != 0);
    let id = long(header, 4)?;
    (offset > 0 || more).then_some(Fragment { id, protocol: 0, offset, more, l4: [0; 20], l4_length: 0 })
}
