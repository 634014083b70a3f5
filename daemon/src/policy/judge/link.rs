//! An interface under its policies: what all policies that select it say together.
//!
//! Knows how several policies of one interface are joined, and that policies in audit mode have no say. Knows no packet.

use std::cmp::Reverse;

use super::Interface;
use crate::policy::model::{AntiSpoof, Chain, EndpointKind, Hook, Mode, Policy, PolicySet, Rate, RateLimit, ReversePath, SetId, Xdp};

/// EtherTypes that pass at a host endpoint where no policy states a list: EAPOL, LLDP, spanning tree.
pub const HOST_ETHERTYPES: [u16; 3] = [0x888E, 0x88CC, 0x0042];

/// An interface that at least one policy selects.
pub(super) struct Link<'a> {
    pub(super) set: &'a PolicySet,
    pub(super) interface: &'a Interface,
    /// In order, those in audit mode among them.
    policies: Vec<&'a Policy>,
    pub(super) kind: EndpointKind,
}

impl<'a> Link<'a> {
    /// The interface under the policies that select it; `None` if there is none.
    pub(super) fn of(set: &'a PolicySet, interface: &'a Interface) -> Option<Link<'a>> {
        let policies: Vec<&Policy> = set.policies.iter().filter(|policy| policy.selects(&interface.name, &interface.owners)).collect();
        let kind = policies.first()?.endpoint;
        Some(Link { set, interface, policies, kind })
    }

    /// The policies that have a say.
    fn enforcing(&self) -> impl Iterator<Item = &'a Policy> + '_ {
        self.policies.iter().copied().filter(|policy| policy.mode == Mode::Enforce)
    }

    /// The policies that isolate the direction of a hook, or would do so, in order.
    pub(super) fn chain(&self, hook: Hook) -> impl Iterator<Item = (&'a Policy, &'a Chain)> + '_ {
        let direction = self.kind.direction(hook);
        self.policies.iter().filter_map(move |policy| policy.chain(direction).map(|chain| (*policy, chain)))
    }

    /// Whether anything is refused at that hook.
    pub(super) fn isolated(&self, hook: Hook) -> bool {
        self.chain(hook).any(|(policy, _)| policy.mode == Mode::Enforce)
    }

    fn xdp(&self) -> impl Iterator<Item = &'a Xdp> + '_ {
        self.enforcing().filter_map(|policy| policy.xdp.as_ref())
    }

    /// The given checks of the sender, in order of their policies.
    pub(super) fn anti_spoof(&self) -> impl Iterator<Item = &'a AntiSpoof> + '_ {
        self.enforcing().filter_map(|policy| policy.anti_spoof.as_ref())
    }

    /// Strict if one policy says so.
    pub(super) fn reverse_path(&self) -> ReversePath {
        self.anti_spoof().map(|checks| checks.check_reverse_path).max().unwrap_or(ReversePath::Off)
    }

    /// The lowest rate that a policy sets one source; of equal ones that with the smaller burst.
    pub(super) fn rate_limit(&self, which: impl Fn(&RateLimit) -> Option<Rate>) -> Option<Rate> {
        self.xdp().filter_map(|xdp| which(&xdp.rate_limit)).max_by_key(|rate| (rate.cost(), Reverse(rate.depth())))
    }

    /// Sets whose members may not send to this interface, whatever the mode.
    pub(super) fn deny_sets(&self) -> impl Iterator<Item = SetId> + '_ {
        self.xdp().flat_map(|xdp| xdp.deny_sets.iter().copied())
    }

    pub(super) fn drops_malformed(&self) -> bool {
        self.xdp().any(|xdp| xdp.drop_malformed)
    }

    pub(super) fn drops_fragments(&self) -> bool {
        self.xdp().any(|xdp| xdp.drop_fragments)
    }

    /// Off as soon as one policy says off.
    pub(super) fn icmpv6_essential(&self) -> bool {
        self.enforcing().all(|policy| policy.icmpv6_essential)
    }

    /// On as soon as one policy says so.
    pub(super) fn dhcp_client(&self) -> bool {
        self.enforcing().any(|policy| policy.dhcp_client)
    }

    /// Whether frames of that EtherType pass: the union of what is stated, else the default of the endpoint kind.
    pub(super) fn lists_ethertype(&self, ethertype: u16) -> bool {
        let mut stated = self.enforcing().filter_map(|policy| policy.ethertypes.as_ref()).peekable();
        if stated.peek().is_none() {
            return self.kind == EndpointKind::Host && HOST_ETHERTYPES.contains(&ethertype);
        }
        stated.any(|list| list.contains(&ethertype))
    }
}
