//! An interface under its policies: what all policies that select it say together.
//!
//! Knows how several policies of one interface are joined. Knows no packet.

use super::Interface;
use crate::policy::model::{Chain, EndpointKind, Hook, Policy, PolicySet, SetId, Xdp};

/// EtherTypes that pass at a host endpoint where no policy states a list: EAPOL, LLDP, spanning tree.
pub const HOST_ETHERTYPES: [u16; 3] = [0x888E, 0x88CC, 0x0042];

/// An interface that at least one policy selects.
pub(super) struct Link<'a> {
    pub(super) set: &'a PolicySet,
    pub(super) interface: &'a Interface,
    /// In order.
    pub(super) policies: Vec<&'a Policy>,
    pub(super) kind: EndpointKind,
}

impl<'a> Link<'a> {
    /// The interface under the policies that select it; `None` if there is none.
    pub(super) fn of(set: &'a PolicySet, interface: &'a Interface) -> Option<Link<'a>> {
        let policies: Vec<&Policy> = set.policies.iter().filter(|policy| policy.interfaces.selects(&interface.name)).collect();
        let kind = policies.first()?.endpoint;
        Some(Link { set, interface, policies, kind })
    }

    /// The policies that isolate the direction of a hook, in order.
    pub(super) fn chain(&self, hook: Hook) -> impl Iterator<Item = (&'a Policy, &'a Chain)> + '_ {
        let direction = self.kind.direction(hook);
        self.policies.iter().filter_map(move |policy| policy.chain(direction).map(|chain| (*policy, chain)))
    }

    /// Whether anything is refused at that hook.
    pub(super) fn isolated(&self, hook: Hook) -> bool {
        self.chain(hook).next().is_some()
    }

    fn xdp(&self) -> impl Iterator<Item = &'a Xdp> + '_ {
        self.policies.iter().filter_map(|policy| policy.xdp.as_ref())
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
        self.policies.iter().all(|policy| policy.icmpv6_essential)
    }

    /// On as soon as one policy says so.
    pub(super) fn dhcp_client(&self) -> bool {
        self.policies.iter().any(|policy| policy.dhcp_client)
    }

    /// Whether frames of that EtherType pass: the union of what is stated, else the default of the endpoint kind.
    pub(super) fn lists_ethertype(&self, ethertype: u16) -> bool {
        let mut stated = self.policies.iter().filter_map(|policy| policy.ethertypes.as_ref()).peekable();
        if stated.peek().is_none() {
            return self.kind == EndpointKind::Host && HOST_ETHERTYPES.contains(&ethertype);
        }
        stated.any(|list| list.contains(&ethertype))
    }
}
