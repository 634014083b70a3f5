//! The compiled ruleset, walked as the programs walk it: all stages of a packet that no flow and no fragment is known of.
//!
//! Knows the record of an interface and the maps of a generation. Knows neither policy nor kernel. Written after `probes/bpf`, not after
//! the judge, so that it is a second opinion on what the compiler has made of a policy.

use std::collections::HashMap;
use std::net::IpAddr;

use netpol_ebpf::compile::routes::{ReversePaths, Way};
use netpol_ebpf::compile::ruleset::{Core, LinkPlan};
use netpol_ebpf::policy::judge::{Icmp, IpPacket, L4, LinkLayerOption, Packet};
use netpol_ebpf::policy::model::Hook;
use netpol_ebpf::policy::reason::Reason;
use netpol_probes::abi;

use crate::evaluate::{Said, Tables, World};

/// `buckets`, and the arrivals that stand in `limits`: by limit, scope, and the words of the address.
pub type Buckets = HashMap<(u64, u32, IpAddr), u64>;

/// One generation and what changes while it runs.
pub struct Walk<'a> {
    pub core: &'a Core,
    pub tables: Tables<'a>,
    pub routes: &'a ReversePaths,
    pub world: World,
    /// Boot time, ns.
    pub now: u64,
    pub buckets: Buckets,
}

/// A packet at an interface.
struct Seen<'a> {
    link: &'a LinkPlan,
    packet: &'a Packet,
}

impl Seen<'_> {
    fn has(&self, flag: u32) -> bool {
        self.link.record.flags & flag != 0
    }

    fn hook(&self) -> usize {
        if self.packet.hook == Hook::Ingress { 0 } else { 1 }
    }

    /// The chain that enforces; `None` = not isolated.
    fn chain(&self) -> Option<u32> {
        Some(self.link.record.chain[self.hook()]).filter(|chain| *chain != abi::NP_NONE)
    }
}

impl Walk<'_> {
    /// What the generation says of a packet.
    pub fn judge(&mut self, link: &LinkPlan, packet: &Packet) -> Said {
        let seen = Seen { link, packet };
        let said = |reason| Said { reason, rule: None, would_deny: Vec::new() };
        if let Some(reason) = packet.refusal {
            let early = seen.hook() == 0 && reason == Reason::Malformed && seen.has(abi::NP_LINK_DROP_MALFORMED);
            return said(Some(reason).filter(|_| early || seen.chain().is_some()));
        }
        let arrives = seen.hook() == 0;
        if let Some(reason) = packet.ip.as_ref().filter(|_| arrives).and_then(|ip| self.arrival(&seen, ip)) {
            return said(Some(reason));
        }
        if arrives && seen.chain().is_some() && seen.has(abi::NP_LINK_ANTI_SPOOF) {
            if let Some(reason) = self.forged(&seen) {
                return said(Some(reason));
            }
        }
        match (&packet.ip, seen.chain()) {
            (None, None) => said(None),
            (None, Some(_)) => said(Some(Reason::Ethertype).filter(|_| !self.passes_without_ip(&seen))),
            (Some(ip), Some(chain)) => self.isolated(&seen, ip, chain),
            (Some(ip), None) => self.watched(&seen, ip),
        }
    }

    /// Stages 4 to 7.
    fn isolated(&mut self, seen: &Seen<'_>, ip: &IpPacket, chain: u32) -> Said {
        let said = |reason| Said { reason, rule: None, would_deny: Vec::new() };
        if self.is_failsafe(seen, ip) {
            return said(None);
        }
        match self.refused_without_flow(ip) {
            Some(reason) => said(Some(reason)),
            None if is_essential(seen, ip) => said(None),
            None => self.rules(seen.packet, chain),
        }
    }

    /// A hook that no policy isolates: policies in audit mode may have something to say.
    fn watched(&mut self, seen: &Seen<'_>, ip: &IpPacket) -> Said {
        let chain = seen.link.record.audit_chain[seen.hook()];
        let quiet = chain == abi::NP_NONE || ip.is_later_fragment() || self.refused_without_flow(ip).is_some();
        if quiet || self.is_failsafe(seen, ip) || is_essential(seen, ip) {
            return Said { reason: None, rule: None, would_deny: Vec::new() };
        }
        Said { reason: None, rule: None, ..self.rules(seen.packet, chain) }
    }

    fn rules(&mut self, packet: &Packet, chain: u32) -> Said {
        let Walk { tables, world, core, buckets, now, .. } = self;
        tables.evaluate_with(chain, packet, world, &mut |index, ip| {
            let limit = core.limits[index as usize];
            match limit.per {
                abi::NP_PER_SOURCE => take(buckets, &limit, 0, counted(ip.source), *now),
                abi::NP_PER_DESTINATION => take(buckets, &limit, 0, counted(ip.destination), *now),
                _ => take(buckets, &limit, u32::MAX - index, IpAddr::from([0; 4]), *now),
            }
        })
    }

    fn class(&self, address: IpAddr) -> &abi::np_class {
        &self.core.classes[self.tables.class(address) as usize]
    }

    fn failsafe_bits(&self, hook: u32, ip: &IpPacket, port: u16) -> u64 {
        let key = |key: &abi::np_failsafe_key| (u32::from(key.hook), u16::from(key.protocol), key.port) == (hook, ip.protocol, port);
        self.core.failsafe.iter().find(|(one, _)| key(one)).map_or(0, |(_, bits)| *bits)
    }

    /// Stages 2 and 2b, of what arrives.
    fn arrival(&mut self, seen: &Seen<'_>, ip: &IpPacket) -> Option<Reason> {
        let (record, class) = (&seen.link.record, self.class(ip.source));
        let ports = ip.ports().filter(|_| !seen.has(abi::NP_LINK_WORKLOAD));
        let excused = ports.is_some_and(|(source, destination)| {
            let bits = self.failsafe_bits(abi::NP_HOOK_INGRESS, ip, destination) | self.failsafe_bits(abi::NP_HOOK_EGRESS, ip, source);
            bits & class.failsafe_nets != 0
        });
        if excused {
            return None;
        }
        if class.deny_groups & record.deny_groups != 0 || self.tables.in_list(record.deny_sets, ip.source, &self.world) {
            return Some(Reason::DenySet);
        }
        if ip.fragment.is_some() && seen.has(abi::NP_LINK_DROP_FRAGMENTS) {
            return Some(Reason::FragmentsRefused);
        }
        let is_syn = matches!(&ip.l4, L4::Tcp(tcp) if tcp.flags & 0x17 == 0x02);
        let (packets, syns) = (record.limit_packets, if is_syn { record.limit_syns } else { abi::NP_NONE });
        let mut limits = [packets, syns].into_iter().filter(|index| *index != abi::NP_NONE);
        let (ifindex, source, now) = (seen.link.ifindex, counted(ip.source), self.now);
        let within = limits.all(|index| take(&mut self.buckets, &self.core.limits[index as usize], ifindex, source, now));
        (!within).then_some(Reason::RateLimit)
    }

    /// Stage 2c.
    fn forged(&self, seen: &Seen<'_>) -> Option<Reason> {
        let (record, sender) = (&seen.link.record, &seen.packet.sender);
        let listed = |mac: [u8; 6]| self.core.macs.iter().any(|(key, _)| (key.group, key.mac) == (record.mac_group, mac));
        if record.mac_group != abi::NP_NONE && sender.mac.is_some_and(|mac| !listed(mac)) {
            return Some(Reason::AllowedMacs);
        }
        if let Some(ip) = &seen.packet.ip {
            let exempt = ip.source.is_unspecified() || is_dhcp(seen, ip);
            let wrong = if exempt { None } else { self.wrong_source(seen, ip) };
            if wrong.is_some() {
                return wrong;
            }
        }
        (seen.has(abi::NP_LINK_ARP) && self.claims_too_much(seen)).then_some(Reason::Arp)
    }

    fn wrong_source(&self, seen: &Seen<'_>, ip: &IpPacket) -> Option<Reason> {
        let link_local = is_link_local(ip.source);
        if seen.has(abi::NP_LINK_BOGONS) && u64::from(abi::NP_TRAIT_BOGON) & self.class(ip.source).traits != 0 && !link_local {
            return Some(Reason::Bogon);
        }
        if seen.link.record.source_checks.count > 0 && !is_link_talk(ip) && !self.is_source_allowed(seen, ip.source) {
            return Some(Reason::AllowedSources);
        }
        let (strict, loose) = (seen.has(abi::NP_LINK_REVERSE_STRICT), seen.has(abi::NP_LINK_REVERSE_LOOSE));
        let stays = match ip.destination {
            IpAddr::V4(address) => address.octets()[..3] == [224, 0, 0],
            IpAddr::V6(address) => address.segments()[0] == 0xFF02,
        };
        let asked = (strict || loose) && !seen.has(abi::NP_LINK_LOOPBACK) && !link_local && !stays;
        (asked && !self.has_route(seen, ip.source, strict)).then_some(Reason::ReversePath)
    }

    fn is_source_allowed(&self, seen: &Seen<'_>, address: IpAddr) -> bool {
        let list = seen.link.record.source_checks;
        let mut checks = self.core.source_checks[list.first as usize..(list.first + list.count) as usize].iter();
        let groups = self.class(address).source_groups;
        checks.all(|check| check.group & groups != 0 || self.tables.in_list(check.sets, address, &self.world))
    }

    fn has_route(&self, seen: &Seen<'_>, address: IpAddr, strict: bool) -> bool {
        let longest = self.routes.iter().filter(|(net, _)| net.contains(&address)).max_by_key(|(net, _)| net.prefix_len());
        match longest {
            Some((_, Way::Out(links))) => !strict || links.contains(&seen.link.ifindex),
            Some((_, Way::Refused)) | None => false,
        }
    }

    /// ARP and neighbour discovery that speak for another station, or for an address that is not the sender's.
    fn claims_too_much(&self, seen: &Seen<'_>) -> bool {
        let sender = &seen.packet.sender;
        let claimed: IpAddr = if seen.packet.ethertype == 0x0806 {
            match sender.arp {
                Some(arp) if sender.mac == Some(arp.mac) => arp.address.into(),
                _ => return true,
            }
        } else {
            let (Some(neighbour), Some(ip)) = (sender.neighbour, &seen.packet.ip) else { return false };
            let honest = match neighbour.option {
                LinkLayerOption::Absent => true,
                LinkLayerOption::Mac(mac) => sender.mac == Some(mac),
                LinkLayerOption::Unreadable => false,
            };
            let icmp_type = if let L4::Icmp(message) = &ip.l4 { message.icmp_type } else { 0 };
            let claims = icmp_type == 136 || (icmp_type == 135 && ip.source.is_unspecified());
            match neighbour.target {
                _ if !honest => return true,
                _ if !claims => return false,
                Some(target) => target,
                None => return true,
            }
        };
        !self.is_permitted(seen, claimed)
    }

    fn is_permitted(&self, seen: &Seen<'_>, claimed: IpAddr) -> bool {
        match claimed {
            IpAddr::V4(address) if address.is_unspecified() => true,
            IpAddr::V6(_) if is_link_local(claimed) => true,
            _ if seen.link.record.source_checks.count > 0 => self.is_source_allowed(seen, claimed),
            _ if seen.has(abi::NP_LINK_REVERSE_STRICT) => self.has_route(seen, claimed, true),
            _ => true,
        }
    }

    /// Stage 3.
    fn passes_without_ip(&self, seen: &Seen<'_>) -> bool {
        let (group, ethertype) = (seen.link.record.ethertype_group, seen.packet.ethertype);
        ethertype == 0x0806 || self.core.ethertypes.iter().any(|(key, _)| (key.group, key.ethertype) == (group, ethertype))
    }

    /// Stage 4.
    fn is_failsafe(&self, seen: &Seen<'_>, ip: &IpPacket) -> bool {
        let Some((_, port)) = ip.ports().filter(|_| !seen.has(abi::NP_LINK_WORKLOAD)) else { return false };
        let (hook, remote) = if seen.hook() == 0 { (abi::NP_HOOK_INGRESS, ip.source) } else { (abi::NP_HOOK_EGRESS, ip.destination) };
        self.failsafe_bits(hook, ip, port) & self.class(remote).failsafe != 0
    }

    /// Stage 5, where there is no flow.
    fn refused_without_flow(&self, ip: &IpPacket) -> Option<Reason> {
        let loose = self.core.slot.flags & abi::NP_SLOT_LOOSE != 0;
        match (&ip.l4, ip.source.is_ipv4()) {
            (L4::Tcp(tcp), _) if tcp.flags & 0x17 == 0x02 || (loose && tcp.flags & 0x16 != 0x12) => None,
            (L4::Tcp(_), _) => Some(Reason::NoConnection),
            (L4::Sctp { first_chunk, .. }, _) => Some(Reason::NoConnection).filter(|_| *first_chunk != Some(1)),
            (L4::Icmp(Icmp { icmp_type: 5, .. }), true) | (L4::Icmp(Icmp { icmp_type: 137, .. }), false) => Some(Reason::IcmpRedirect),
            (L4::Icmp(Icmp { icmp_type: 0 | 14 | 16 | 18 | 3 | 4 | 11 | 12, .. }), true) => Some(Reason::NoConnection),
            (L4::Icmp(Icmp { icmp_type: 129 | 140 | 0..=127, .. }), false) => Some(Reason::NoConnection),
            _ => None,
        }
    }
}

/// Stage 6.
fn is_essential(seen: &Seen<'_>, ip: &IpPacket) -> bool {
    let L4::Icmp(Icmp { icmp_type, code, .. }) = ip.l4 else { return is_dhcp(seen, ip) };
    if ip.source.is_ipv4() || !seen.has(abi::NP_LINK_ICMPV6_ESSENTIAL) {
        return false;
    }
    let near = ip.hop_limit == 255 && code == 0 && ip.fragment.is_none();
    match icmp_type {
        130..=132 | 143 => ip.hop_limit == 1 && (is_link_local(ip.source) || ip.source.is_unspecified()),
        133 | 135 | 136 => near,
        134 => near && seen.has(abi::NP_LINK_ROUTER_ADVERTISEMENTS) && !(seen.has(abi::NP_LINK_WORKLOAD) && seen.hook() == 0),
        _ => false,
    }
}

fn is_dhcp(seen: &Seen<'_>, ip: &IpPacket) -> bool {
    let from_client = (seen.hook() == 0) == seen.has(abi::NP_LINK_WORKLOAD);
    let (client, server) = if ip.source.is_ipv4() { (68, 67) } else { (546, 547) };
    let wanted = if from_client { (client, server) } else { (server, client) };
    let own_link = ip.source.is_ipv4() || is_link_local(if from_client { ip.source } else { ip.destination });
    own_link && seen.has(abi::NP_LINK_DHCP_CLIENT) && ip.protocol == 17 && seen.packet.tags[0] == 0 && ip.ports() == Some(wanted)
}

/// Who has no address yet must be able to speak.
fn is_link_talk(ip: &IpPacket) -> bool {
    let talk = match &ip.l4 {
        L4::Icmp(message) => matches!(message.icmp_type, 130..=137 | 143),
        L4::Ports { source: 546, destination: 547 } => ip.protocol == 17,
        _ => false,
    };
    talk && ip.source.is_ipv6() && is_link_local(ip.source)
}

fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.octets()[..2] == [169, 254],
        IpAddr::V6(address) => address.segments()[0] & 0xFFC0 == 0xFE80,
    }
}

/// An IPv6 host commands its whole /64.
fn counted(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => IpAddr::from((u128::from(address) >> 64 << 64).to_be_bytes()),
    }
}

/// The law of `np_bucket_key`.
fn take(buckets: &mut Buckets, limit: &abi::np_limit, scope: u32, address: IpAddr, now: u64) -> bool {
    let arrival = buckets.entry((limit.id, scope, address)).or_default();
    let next = now.max(*arrival) + limit.cost;
    let within = next - now <= limit.depth;
    if within {
        *arrival = next;
    }
    within
}
