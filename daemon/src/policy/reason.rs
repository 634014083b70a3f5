//! Why a packet was dropped, by name.
//!
//! Knows the numbers of `enum np_reason` and the words that scripts and dashboards see. Knows no packet and no policy.
//! Used by the judge and by every report; the programs count under the same numbers.

use std::fmt;

use netpol_probes::abi;

/// One reason for one drop. The names are those of `abi.h`, and so is the order: append only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u32)]
#[allow(missing_docs)] // abi.h says what each one means
pub enum Reason {
    Malformed = abi::NP_R_MALFORMED,
    ExtensionHeaders = abi::NP_R_EXTENSION_HEADERS,
    SourceRoute = abi::NP_R_SOURCE_ROUTE,
    RoutingHeader = abi::NP_R_ROUTING_HEADER,
    LoopbackAddress = abi::NP_R_LOOPBACK_ADDRESS,
    MulticastSource = abi::NP_R_MULTICAST_SOURCE,
    UnspecifiedSource = abi::NP_R_UNSPECIFIED_SOURCE,
    LlcIp = abi::NP_R_LLC_IP,
    Ethertype = abi::NP_R_ETHERTYPE,
    Fragment = abi::NP_R_FRAGMENT,
    FragmentConflict = abi::NP_R_FRAGMENT_CONFLICT,
    FragmentsRefused = abi::NP_R_FRAGMENTS_REFUSED,
    DenySet = abi::NP_R_DENY_SET,
    NoConnection = abi::NP_R_NO_CONNECTION,
    ConntrackFull = abi::NP_R_CONNTRACK_FULL,
    IcmpRedirect = abi::NP_R_ICMP_REDIRECT,
    Rule = abi::NP_R_RULE,
    Default = abi::NP_R_DEFAULT,
    TailCall = abi::NP_R_TAIL_CALL,
    Internal = abi::NP_R_INTERNAL,
    Unreadable = abi::NP_R_UNREADABLE,
    Reject = abi::NP_R_REJECT,
    RateLimit = abi::NP_R_RATE_LIMIT,
    ReversePath = abi::NP_R_REVERSE_PATH,
    AllowedSources = abi::NP_R_ALLOWED_SOURCES,
    AllowedMacs = abi::NP_R_ALLOWED_MACS,
    Arp = abi::NP_R_ARP,
    Bogon = abi::NP_R_BOGON,
    SynCookie = abi::NP_R_SYN_COOKIE,
    NotYetEnforced = abi::NP_R_NOT_YET_ENFORCED,
}

impl Reason {
    /// Every reason, by number.
    pub const ALL: [Reason; abi::NP_R_REASONS as usize - 1] = [
        Reason::Malformed,
        Reason::ExtensionHeaders,
        Reason::SourceRoute,
        Reason::RoutingHeader,
        Reason::LoopbackAddress,
        Reason::MulticastSource,
        Reason::UnspecifiedSource,
        Reason::LlcIp,
        Reason::Ethertype,
        Reason::Fragment,
        Reason::FragmentConflict,
        Reason::FragmentsRefused,
        Reason::DenySet,
        Reason::NoConnection,
        Reason::ConntrackFull,
        Reason::IcmpRedirect,
        Reason::Rule,
        Reason::Default,
        Reason::TailCall,
        Reason::Internal,
        Reason::Unreadable,
        Reason::Reject,
        Reason::RateLimit,
        Reason::ReversePath,
        Reason::AllowedSources,
        Reason::AllowedMacs,
        Reason::Arp,
        Reason::Bogon,
        Reason::SynCookie,
        Reason::NotYetEnforced,
    ];

    /// The number under which the programs count it.
    pub const fn number(self) -> u32 {
        self as u32
    }

    /// The reason of a number that a program wrote; `None` for 0 (let through) and for numbers of a later version.
    pub fn from_number(number: u32) -> Option<Reason> {
        Reason::ALL.into_iter().find(|reason| reason.number() == number)
    }

    /// The stable word that people and scripts see.
    pub const fn name(self) -> &'static str {
        match self {
            Reason::Malformed => "malformed",
            Reason::ExtensionHeaders => "extension_headers",
            Reason::SourceRoute => "source_route",
            Reason::RoutingHeader => "routing_header",
            Reason::LoopbackAddress => "loopback_address",
            Reason::MulticastSource => "multicast_source",
            Reason::UnspecifiedSource => "unspecified_source",
            Reason::LlcIp => "llc_ip",
            Reason::Ethertype => "ethertype",
            Reason::Fragment => "fragment",
            Reason::FragmentConflict => "fragment_conflict",
            Reason::FragmentsRefused => "fragments_refused",
            Reason::DenySet => "deny_set",
            Reason::NoConnection => "no_connection",
            Reason::ConntrackFull => "conntrack_full",
            Reason::IcmpRedirect => "icmp_redirect",
            Reason::Rule => "rule",
            Reason::Default => "default",
            Reason::TailCall => "tail_call",
            Reason::Internal => "internal",
            Reason::Unreadable => "unreadable",
            Reason::Reject => "reject",
            Reason::RateLimit => "rate_limit",
            Reason::ReversePath => "reverse_path",
            Reason::AllowedSources => "allowed_sources",
            Reason::AllowedMacs => "allowed_macs",
            Reason::Arp => "arp",
            Reason::Bogon => "bogon",
            Reason::SynCookie => "syn_cookie",
            Reason::NotYetEnforced => "not_yet_enforced",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_without_gaps_and_lead_back() {
        for (position, reason) in Reason::ALL.into_iter().enumerate() {
            assert_eq!(reason.number() as usize, position + 1);
            assert_eq!(Reason::from_number(reason.number()), Some(reason));
        }
        assert_eq!(Reason::from_number(0), None);
        assert_eq!(Reason::from_number(abi::NP_R_REASONS), None);
    }
}
