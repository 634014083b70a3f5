//! Rates: how often something may happen.
//!
//! Knows the arithmetic and what has a rate of its own. Knows no policy and no packet; time is passed in.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};

use crate::policy::model::{Direction, Rate};

/// Bits of an IPv6 address that count: a sender chooses the others as it likes.
const IPV6_COUNTED: u32 = 64;

/// What has a rate of its own.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Bucket {
    /// IP packets that one source sends to an interface.
    Packets(u32, IpAddr),
    /// TCP SYNs that one source sends to an interface.
    Syns(u32, IpAddr),
    /// A rule of a policy, by its id; for one address where its limit says so.
    Rule(String, Direction, String, Option<IpAddr>),
}

/// Theoretical arrival times (the generic cell rate algorithm, ITU-T I.371), ns.
#[derive(Debug, Clone, Default)]
pub(super) struct Rates {
    arrivals: BTreeMap<Bucket, u64>,
}

impl Rates {
    /// Whether one more event is within the rate; then it is counted.
    pub(super) fn take(&mut self, bucket: Bucket, rate: Rate, now: u64) -> bool {
        let arrival = self.arrivals.entry(bucket).or_default();
        let next = now.max(*arrival).saturating_add(rate.cost());
        let within = next - now <= rate.depth();
        if within {
            *arrival = next;
        }
        within
    }
}

/// The address by which a sender or receiver is counted: an IPv6 address by its /64.
pub(super) fn counted(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => Ipv6Addr::from(u128::from(v6) >> IPV6_COUNTED << IPV6_COUNTED).into(),
    }
}
