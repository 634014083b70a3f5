//! Names of ICMP types and codes (IANA; the spellings of nftables), one list a family.

use super::address::{Refused, refused};
use super::words::{keep, protocol_name};
use crate::policy::model::IcmpMatch;
use crate::schema::Scalar;
use crate::schema::document::IcmpBlock;
use crate::schema::place::Report;
use crate::schema::suggest;

/// Protocol number of ICMP, which exists in IPv4 only.
pub(super) const ICMP: u8 = 1;
/// Protocol number of ICMPv6.
pub(super) const ICMPV6: u8 = 58;

type Names = &'static [(&'static str, u8)];

const TYPES4: Names = &[
    ("echo-reply", 0),
    ("destination-unreachable", 3),
    ("source-quench", 4),
    ("redirect", 5),
    ("echo-request", 8),
    ("router-advertisement", 9),
    ("router-solicitation", 10),
    ("time-exceeded", 11),
    ("parameter-problem", 12),
    ("timestamp-request", 13),
    ("timestamp-reply", 14),
    ("info-request", 15),
    ("info-reply", 16),
    ("address-mask-request", 17),
    ("address-mask-reply", 18),
];

const TYPES6: Names = &[
    ("destination-unreachable", 1),
    ("packet-too-big", 2),
    ("time-exceeded", 3),
    ("parameter-problem", 4),
    ("echo-request", 128),
    ("echo-reply", 129),
    ("mld-listener-query", 130),
    ("mld-listener-report", 131),
    ("mld-listener-done", 132),
    ("nd-router-solicit", 133),
    ("nd-router-advert", 134),
    ("nd-neighbor-solicit", 135),
    ("nd-neighbor-advert", 136),
    ("nd-redirect", 137),
    ("router-renumbering", 138),
    ("node-information-query", 139),
    ("node-information-reply", 140),
    ("ind-neighbor-solicit", 141),
    ("ind-neighbor-advert", 142),
    ("mld2-listener-report", 143),
];

const UNREACHABLE4: Names = &[
    ("net-unreachable", 0),
    ("host-unreachable", 1),
    ("prot-unreachable", 2),
    ("port-unreachable", 3),
    ("frag-needed", 4),
    ("net-prohibited", 9),
    ("host-prohibited", 10),
    ("admin-prohibited", 13),
];

const UNREACHABLE6: Names =
    &[("no-route", 0), ("admin-prohibited", 1), ("addr-unreachable", 3), ("port-unreachable", 4), ("policy-fail", 5), ("reject-route", 6)];

/// Reads `icmp` for a protocol that is [`ICMP`] or [`ICMPV6`].
pub(super) fn icmp(report: &mut Report, protocol: u8, block: &IcmpBlock) -> Option<IcmpMatch> {
    let types = if protocol == ICMP { TYPES4 } else { TYPES6 };
    let kind = block.icmp_type.as_ref()?;
    let what = format!("{} type", protocol_name(protocol));
    let icmp_type = keep(report, kind.span, number(&what, &kind.value, types));
    let code = match &block.code {
        None => None,
        Some(code) => {
            let names = match (protocol, icmp_type?) {
                (ICMP, 3) => UNREACHABLE4,
                (ICMPV6, 1) => UNREACHABLE6,
                _ => &[],
            };
            let what = format!("code of {} type {}", protocol_name(protocol), icmp_type?);
            Some(keep(report, code.span, number(&what, &code.value, names))?)
        }
    };
    icmp_type.map(|icmp_type| IcmpMatch { icmp_type, code })
}

fn number(what: &str, value: &Scalar, names: Names) -> Result<u8, Refused> {
    match value {
        Scalar::Integer(number) => u8::try_from(*number).map_err(|_range| refused(format!("{what} {number} is not between 0 and 255"))),
        Scalar::Word(word) => names.iter().find(|(name, _)| name == word).map(|(_, number)| *number).ok_or_else(|| {
            let known: Vec<&str> = names.iter().map(|(name, _)| *name).collect();
            let help = if known.is_empty() { "write it as a number".to_owned() } else { suggest::help(word, "known names", &known) };
            refused(format!("unknown {what} `{word}`")).help(help)
        }),
    }
}
