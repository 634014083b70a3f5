//! Stage 1: the packet that an ICMP error quotes.
//!
//! A quote that cannot be read is no quote: the error then belongs to no flow.

use std::net::IpAddr;

use super::super::packet::{ICMP, ICMPV6, Quote, QuotedL4};
use super::{extension, ip, word};
use crate::policy::model::has_ports;

/// What must be there of the quoted L4 header (RFC 792).
const QUOTED_BYTES: usize = 8;
/// Extension headers that are walked inside a quote.
const MAX_HEADERS: usize = 8;

/// Reads the quote of an error that came from an address of the same family.
pub(super) fn read(error_source: IpAddr, bytes: &[u8]) -> Option<Quote> {
    match error_source {
        IpAddr::V4(_) => version4(bytes),
        IpAddr::V6(_) => version6(bytes),
    }
}

fn version4(bytes: &[u8]) -> Option<Quote> {
    let header = bytes.get(..20)?;
    let length = usize::from(header[0] & 0x0F) * 4;
    if header[0] >> 4 != 4 || length < 20 || word(header, 6)? & 0x1FFF != 0 {
        return None;
    }
    let l4 = ports(header[9], u16::from(header[9]) == ICMP, bytes.get(length..)?)?;
    let (source, destination) = (ip::address4(header, 12), ip::address4(header, 16));
    Some(Quote { source: source.into(), destination: destination.into(), protocol: header[9], l4 })
}

fn version6(bytes: &[u8]) -> Option<Quote> {
    let header = bytes.get(..40)?;
    if header[0] >> 4 != 6 {
        return None;
    }
    let (mut protocol, mut rest, mut walked) = (header[6], &bytes[40..], 0);
    while extension::is_extension(protocol) {
        walked += 1;
        let one = extension::one(protocol, rest)?;
        let later = protocol == 44 && extension::read_fragment(one).is_some_and(|fragment| fragment.offset > 0);
        let refused_itself = extension::is_refused_routing(protocol, one);
        if later || refused_itself || walked > MAX_HEADERS {
            return None;
        }
        (protocol, rest) = (one[0], &rest[one.len()..]);
    }
    let l4 = ports(protocol, u16::from(protocol) == ICMPV6, rest)?;
    let (source, destination) = (ip::address6(header, 8), ip::address6(header, 24));
    Some(Quote { source: source.into(), destination: destination.into(), protocol, l4 })
}

fn ports(protocol: u8, is_icmp: bool, l4: &[u8]) -> Option<QuotedL4> {
    let l4 = l4.get(..QUOTED_BYTES)?;
    if is_icmp {
        return Some(QuotedL4::Icmp { icmp_type: l4[0], identifier: word(l4, 4)? });
    }
    if has_ports(protocol) {
        return Some(QuotedL4::Ports { source: word(l4, 0)?, destination: word(l4, 2)? });
    }
    Some(QuotedL4::None)
}
