//! What interfaces are told besides chains: anti-spoof checks, rates of sources, dynamic deny sets, cookies; and who may tell it.

use netpol_probes::abi;

use super::agree::link;
use super::conditions::dynamic_set;
use super::evaluate::{Tables, World};
use crate::compile::compile;
use crate::compile::ruleset::{AuditInfo, DeviceKind, LinkFacts, Ruleset, SetSlot};
use crate::policy::judge::fixture::{chain, host, named_set, origin, peer, policy, set_of};
use crate::policy::model::*;

const NONE: u32 = abi::NP_NONE;

fn one(set: &PolicySet) -> Ruleset {
    compile(set, &[link(1, "eth0")]).unwrap()
}

fn error(set: &PolicySet) -> String {
    compile(set, &[link(1, "eth0")]).unwrap_err().to_string()
}

fn anti_spoof() -> AntiSpoof {
    AntiSpoof {
        check_reverse_path: ReversePath::Off,
        allowed_sources: None,
        allowed_macs: Vec::new(),
        arp: false,
        bogons: false,
        origin: origin(),
    }
}

fn sources(nets: &str, sets: &[u32]) -> AntiSpoof {
    let sets = sets.iter().map(|id| SetId(*id)).collect();
    AntiSpoof { allowed_sources: Some(SourceList { nets: peer(nets, "").nets, sets }), ..anti_spoof() }
}

/// Policies that isolate ingress, each with checks of its own.
fn checking(checks: Vec<AntiSpoof>) -> PolicySet {
    let named = checks.into_iter().zip(1..);
    let one = |(checks, order)| Policy {
        ingress: Some(chain(DefaultAction::Deny, Vec::new())),
        anti_spoof: Some(checks),
        ..policy(&format!("p{order}"), order)
    };
    set_of(named.map(one).collect())
}

fn with_xdp(xdps: Vec<Xdp>) -> PolicySet {
    let named = xdps.into_iter().zip(1..);
    set_of(named.map(|(xdp, order)| Policy { xdp: Some(xdp), ..policy(&format!("p{order}"), order) }).collect())
}

#[test]
fn a_source_must_be_in_every_list_and_equal_lists_are_one() {
    let mut set =
        checking(vec![sources("10.0.0.0/8", &[0, 1]), sources("10.1.0.0/16", &[]), sources("10.0.0.0/8", &[1, 0, 0]), sources("", &[1])]);
    set.sets = vec![named_set("fixed", "192.0.2.0/24"), dynamic_set("changing", "")];
    let Ruleset { core, links } = one(&set);
    let record = links[&1].record;
    assert_eq!(record.flags & abi::NP_LINK_ANTI_SPOOF, abi::NP_LINK_ANTI_SPOOF);
    assert_eq!(record.source_checks, abi::np_list { first: 0, count: 3 });
    assert_eq!(core.sets, [SetSlot::Dynamic { name: "changing".to_owned(), max_entries: 100 }]);
    let world = World { sets: [("changing".to_owned(), peer("203.0.113.0/24 10.1.0.0/16", "").nets)].into(), ..World::default() };
    let tables = Tables::of(&core);
    let allowed = |address: &str| {
        let address = address.parse().unwrap();
        let groups = core.classes[tables.class(address) as usize].source_groups;
        core.source_checks
            .iter()
            .map(|check| groups & check.group != 0 || tables.in_list(check.sets, address, &world))
            .collect::<Vec<bool>>()
    };
    // In order: only the dynamic set; 10/8 with both sets; 10.1/16.
    assert_eq!(core.source_checks.iter().map(|check| check.group.count_ones()).collect::<Vec<u32>>(), [0, 1, 1]);
    assert_eq!(allowed("10.1.0.1"), [true, true, true]);
    assert_eq!(allowed("10.2.0.1"), [false, true, false]);
    assert_eq!(allowed("192.0.2.1"), [false, true, false]);
    assert_eq!(allowed("203.0.113.1"), [true, true, false]);
    assert_eq!(allowed("198.51.100.1"), [false, false, false]);
}

#[test]
fn too_many_source_lists_are_refused_with_the_interface() {
    let lists = |count: u32| checking((0..count).map(|i| sources(&format!("10.{i}.0.0/16"), &[])).collect());
    assert_eq!(one(&lists(4)).links[&1].record.source_checks.count, 4);
    assert_eq!(error(&lists(5)), "different lists of allowed sources on interface eth0: 5, and no more than 4 are possible");
    let mut set = checking((0..65).map(|i| sources(&format!("10.{i}.0.0/16"), &[])).collect());
    for (policy, i) in set.policies.iter_mut().zip(0..) {
        policy.interfaces.include = vec![glob::Pattern::new(&format!("eth{i}")).unwrap()];
    }
    let links: Vec<LinkFacts> = (0..65).map(|i| link(i + 1, &format!("eth{i}"))).collect();
    assert!(compile(&set, &links).unwrap_err().to_string().contains("lists of allowed sources: 65, and no more than 64"));
    assert_eq!(compile(&set, &links[..64]).unwrap().core.source_checks.len(), 64);
}

#[test]
fn mac_lists_are_intersected_and_none_left_means_none_allowed() {
    let macs = |list: &[u8]| AntiSpoof { allowed_macs: list.iter().map(|last| [2, 0, 0, 0, 0, *last]).collect(), ..anti_spoof() };
    let Ruleset { core, links } = one(&checking(vec![macs(&[1, 2, 3]), anti_spoof(), macs(&[3, 2, 9])]));
    assert_eq!(links[&1].record.mac_group, 0);
    assert_eq!(core.macs.iter().map(|(key, _)| (key.group, key.mac[5])).collect::<Vec<_>>(), [(0, 2), (0, 3)]);
    let Ruleset { core, links } = one(&checking(vec![macs(&[1]), macs(&[2])]));
    assert_eq!((links[&1].record.mac_group, core.macs), (0, Vec::new()));
    assert_eq!(links[&1].record.flags & abi::NP_LINK_ANTI_SPOOF, abi::NP_LINK_ANTI_SPOOF);
    let tunnel = LinkFacts { device: DeviceKind::Raw, ..link(1, "eth0") };
    let record = compile(&checking(vec![macs(&[1])]), &[tunnel]).unwrap().links[&1].record;
    assert_eq!((record.mac_group, record.flags & abi::NP_LINK_ANTI_SPOOF), (NONE, 0));
}

#[test]
fn strict_beats_loose_and_flags_are_joined() {
    let path = |check_reverse_path| AntiSpoof { check_reverse_path, ..anti_spoof() };
    let spoof_flags = |checks| {
        one(&checking(checks)).links[&1].record.flags & (0x1fff & !(abi::NP_LINK_ICMPV6_ESSENTIAL | abi::NP_LINK_ROUTER_ADVERTISEMENTS))
    };
    assert_eq!(spoof_flags(vec![anti_spoof()]), 0);
    let loose = abi::NP_LINK_ANTI_SPOOF | abi::NP_LINK_REVERSE_LOOSE;
    assert_eq!(spoof_flags(vec![path(ReversePath::Off), path(ReversePath::Loose)]), loose);
    let strict = abi::NP_LINK_ANTI_SPOOF | abi::NP_LINK_REVERSE_STRICT;
    assert_eq!(spoof_flags(vec![path(ReversePath::Strict), path(ReversePath::Loose)]), strict);
    let both = vec![AntiSpoof { arp: true, ..anti_spoof() }, AntiSpoof { bogons: true, ..anti_spoof() }];
    assert_eq!(spoof_flags(both), abi::NP_LINK_ANTI_SPOOF | abi::NP_LINK_ARP | abi::NP_LINK_BOGONS);
}

#[test]
fn checks_are_on_only_where_arriving_packets_are_isolated() {
    let mut set = checking(vec![AntiSpoof { arp: true, ..sources("10.0.0.0/8", &[]) }]);
    set.policies[0].egress = set.policies[0].ingress.take();
    let Ruleset { core, links } = one(&set);
    assert_eq!((links[&1].record.flags & abi::NP_LINK_ANTI_SPOOF, core.source_checks.len()), (0, 0));
    set.policies[0].endpoint = EndpointKind::Workload;
    assert_eq!(one(&set).core.source_checks.len(), 1);
}

#[test]
fn bogons_are_told_apart_only_where_that_is_asked() {
    let mut set = checking(vec![AntiSpoof { bogons: true, ..anti_spoof() }]);
    let core = one(&set).core;
    let tables = Tables::of(&core);
    let bogon = |address: &str| core.classes[tables.class(address.parse().unwrap()) as usize].traits == u64::from(abi::NP_TRAIT_BOGON);
    assert!(["10.0.0.1", "192.0.0.8", "2001:db8::1", "fc00::1", "2001:1::4"].into_iter().all(bogon));
    assert!(!["8.8.8.8", "192.0.0.9", "169.254.0.1", "fe80::1", "2a00::1", "64:ff9b::1"].into_iter().any(bogon));
    set.policies[0].anti_spoof = None;
    assert_eq!(one(&set).core.classes.len(), 1);
}

#[test]
fn the_lowest_rate_of_a_source_wins_for_packets_and_for_syns() {
    let rate = |events, burst| Some(Rate { events, period: 1_000_000_000, burst });
    let limited = |packets, syns| Xdp { rate_limit: RateLimit { packets, syns }, ..Xdp::default() };
    let set = with_xdp(vec![limited(rate(100, 10), rate(10, 99)), limited(rate(50, 900), None), limited(rate(50, 800), rate(20, 1))]);
    let Ruleset { core, links } = compile(&set, &[link(1, "eth0"), link(2, "eth1")]).unwrap();
    let (record, other) = (links[&1].record, links[&2].record);
    let limit = |index: u32| (core.limits[index as usize].cost, core.limits[index as usize].depth, core.limits[index as usize].per);
    assert_eq!(limit(record.limit_packets), (20_000_000, 800 * 20_000_000, abi::NP_PER_SOURCE));
    assert_eq!(limit(record.limit_syns), (100_000_000, 99 * 100_000_000, abi::NP_PER_SOURCE));
    assert_eq!((other.limit_packets, other.limit_syns, core.limits.len()), (record.limit_packets, record.limit_syns, 2));
    assert_eq!(links[&1].xdp, Some(XdpMode::Auto));
}

#[test]
fn dynamic_deny_sets_are_looked_up_and_static_ones_are_in_the_classes() {
    let denying = |sets: &[u32]| Xdp { deny_sets: sets.iter().map(|id| SetId(*id)).collect(), ..Xdp::default() };
    let mut set = with_xdp(vec![denying(&[0, 1]), denying(&[2, 1])]);
    set.sets = vec![named_set("fixed", "10.0.0.0/8"), dynamic_set("b", "10.1.0.0/16"), dynamic_set("a", "")];
    let Ruleset { core, links } = one(&set);
    let record = links[&1].record;
    assert_eq!((record.deny_groups, record.deny_sets, core.set_lists), (1, abi::np_list { first: 0, count: 2 }, vec![0, 1]));
    set.policies.pop();
    set.policies[0].xdp = Some(denying(&[1]));
    let Ruleset { core, links } = one(&set);
    assert_eq!((links[&1].record.deny_groups, links[&1].xdp, core.addresses4.len()), (0, Some(XdpMode::Auto), 0));
    set.sets = (0..9).map(|i| dynamic_set(&format!("s{i}"), "")).collect();
    set.policies[0].xdp = Some(denying(&(0..9).collect::<Vec<u32>>()));
    assert!(error(&set).starts_with("dynamic sets among the deny sets of interface eth0 ("), "{}", error(&set));
}

#[test]
fn cookies_are_sent_where_xdp_is_wanted() {
    let range = |first, last| PortRange { first, last };
    let cookies = |mode, ports: &[PortRange]| Xdp { mode, syn_cookies: ports.to_vec(), ..Xdp::default() };
    let set = with_xdp(vec![cookies(XdpMode::Auto, &[range(80, 80), range(443, 444)]), cookies(XdpMode::Native, &[range(443, 443)])]);
    let Ruleset { core, links } = one(&set);
    let (record, xdp) = (links[&1].record, links[&1].xdp);
    assert_eq!((record.cookie_group, record.flags & abi::NP_LINK_SYN_COOKIES, xdp), (0, abi::NP_LINK_SYN_COOKIES, Some(XdpMode::Native)));
    assert_eq!(core.cookie_ports.iter().map(|(key, _)| key.port).collect::<Vec<u16>>(), [80, 443, 444]);
    let Ruleset { core, links } = one(&with_xdp(vec![cookies(XdpMode::Off, &[range(80, 80)])]));
    assert_eq!((links[&1].record.cookie_group, links[&1].record.flags & abi::NP_LINK_SYN_COOKIES, core.cookie_ports.len()), (NONE, 0, 0));
    assert!(error(&with_xdp(vec![cookies(XdpMode::Auto, &[range(1, 4097)])])).contains("SYN cookies"));
}

#[test]
fn a_policy_in_audit_mode_gives_nothing_but_a_chain_of_its_own() {
    let mut set = host(vec![]);
    set.sets = vec![named_set("fixed", "10.0.0.0/8")];
    let ingress = Some(chain(DefaultAction::Deny, Vec::new()));
    let xdp = Xdp {
        mode: XdpMode::Native,
        deny_sets: vec![SetId(0)],
        drop_malformed: true,
        syn_cookies: vec![PortRange { first: 1, last: 9 }],
        ..Xdp::default()
    };
    let audit = Policy {
        mode: Mode::Audit,
        egress: ingress.clone(),
        ingress,
        dhcp_client: true,
        icmpv6_essential: false,
        log_default_deny: true,
        ethertypes: Some(vec![0x8863]),
        anti_spoof: Some(AntiSpoof { bogons: true, arp: true, ..anti_spoof() }),
        xdp: Some(xdp),
        ..policy("audit", 1)
    };
    let alone = one(&set);
    set.policies.insert(0, audit);
    let Ruleset { core, links } = one(&set);
    let (record, before) = (links[&1].record, alone.links[&1].record);
    let (ingress, egress) = (record.chain[0], record.audit_chain[1]);
    assert_eq!((record.audit_chain[0], record.chain[1]), (NONE, NONE));
    assert_eq!(abi::np_link { chain: before.chain, audit_chain: before.audit_chain, ..record }, before);
    assert_eq!((links[&1].xdp, &core.ethertypes, core.classes.len()), (None, &alone.core.ethertypes, 1));
    let (ingress, egress) = (core.chains[ingress as usize], core.chains[egress as usize]);
    assert_eq!((u32::from(ingress.default_action), u32::from(egress.default_action)), (abi::NP_DENY, abi::NP_ALLOW));
    assert_eq!((ingress.log_default, ingress.audit_denies, egress.audit_denies), (0, 1, 1));
    let mut counters = [ingress.default_counter, egress.default_counter, ingress.audit_counter, egress.audit_counter];
    counters.sort_unstable();
    assert_eq!((counters, core.counters(), core.chain_info.len()), ([0, 1, 2, 3], 4, 2));
    assert_eq!(alone.core.counters(), 1);
}

#[test]
fn every_new_table_is_in_the_digest() {
    let digest = |change: &dyn Fn(&mut crate::compile::ruleset::Core)| {
        let mut core = crate::compile::ruleset::Core::default();
        change(&mut core);
        core.digest()
    };
    let changed = [
        digest(&|_| ()),
        digest(&|core| core.sets.push(SetSlot::Literal(Vec::new()))),
        digest(&|core| core.set_lists.push(0)),
        digest(&|core| core.source_checks.push(abi::np_source_check::default())),
        digest(&|core| core.macs.push((abi::np_mac_key::default(), 1))),
        digest(&|core| core.cookie_ports.push((abi::np_cookie_key::default(), 1))),
        digest(&|core| core.limits.push(abi::np_limit::default())),
        digest(&|core| core.conditions.push(abi::np_condition::default())),
        digest(&|core| core.condition_expiry.push(None)),
        digest(&|core| core.audit_info.push(AuditInfo { policy: String::new(), default_origins: [None, None] })),
    ];
    assert_eq!(std::collections::BTreeSet::from(changed).len(), changed.len());
}
