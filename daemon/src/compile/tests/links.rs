//! Records of interfaces, and contradictions between policies.

use netpol_probes::abi;

use super::agree::link;
use crate::compile::names::name_of;
use crate::compile::ruleset::{DeviceKind, LinkFacts};
use crate::compile::{CompileError, compile};
use crate::policy::judge::fixture::{chain, host, named_set, policy, rule, set_of};
use crate::policy::model::*;

fn xdp(mode: XdpMode, deny_sets: Vec<SetId>) -> Option<Xdp> {
    Some(Xdp { mode, deny_sets, ..Xdp::default() })
}

fn two(first: Policy, second: Policy) -> PolicySet {
    let mut set = set_of(vec![first, second]);
    set.sets = vec![named_set("a", "10.0.0.0/8"), named_set("b", "192.0.2.0/24")];
    set
}

#[test]
fn a_host_and_a_workload_policy_contradict_each_other() {
    let workload = Policy { endpoint: EndpointKind::Workload, ..policy("b", 2) };
    let error = compile(&two(policy("a", 1), workload), &[link(1, "eth0")]).unwrap_err();
    let wanted = "interface eth0: endpoint is \"host\" in policy \"a\" (test.toml:1:1) and \"workload\" in policy \"b\" (test.toml:1:1)";
    assert_eq!(error.to_string(), wanted);
}

#[test]
fn xdp_modes_of_several_policies() {
    use XdpMode::*;
    for (first, second, wanted) in [
        (Auto, Auto, Some(Some(Auto))),
        (Auto, Native, Some(Some(Native))),
        (Generic, Auto, Some(Some(Generic))),
        (Off, Auto, Some(None)),
        (Native, Native, Some(Some(Native))),
        (Native, Generic, None),
        (Off, Native, None),
    ] {
        let one = |name, mode, id| Policy { xdp: xdp(mode, vec![SetId(id)]), ..policy(name, 1) };
        let compiled = compile(&two(one("a", first, 0), one("b", second, 1)), &[link(1, "eth0")]);
        match compiled {
            Ok(ruleset) => assert_eq!(Some(ruleset.links[&1].xdp), wanted),
            Err(error) => assert!(wanted.is_none() && matches!(error, CompileError::XdpConflict(_)), "{error}"),
        }
    }
}

#[test]
fn xdp_runs_on_ethernet_only_and_deny_sets_stay() {
    let mut set = host(vec![]);
    set.sets = vec![named_set("a", "10.0.0.0/8")];
    set.policies[0].interfaces.include.push(glob::Pattern::new("lo").unwrap());
    set.policies[0].xdp = xdp(XdpMode::Auto, vec![SetId(0)]);
    for (name, device, wanted) in
        [("eth0", DeviceKind::Ethernet, Some(XdpMode::Auto)), ("eth1", DeviceKind::Raw, None), ("lo", DeviceKind::Loopback, None)]
    {
        let ruleset = compile(&set, &[LinkFacts { device, ..link(1, name) }]).unwrap();
        assert_eq!((ruleset.links[&1].xdp, ruleset.links[&1].record.deny_groups), (wanted, 1), "{name}");
    }
}

#[test]
fn links_share_chains_and_switches_are_joined() {
    let isolated = Some(chain(DefaultAction::Deny, vec![rule("all", Action::Allow)]));
    let one = Policy { ingress: isolated, dhcp_client: true, ..policy("a", 1) };
    let two = two(one, Policy { icmpv6_essential: false, ethertypes: Some(vec![0x8863]), ..policy("b", 2) });
    let ruleset = compile(&two, &[link(2, "eth1"), link(1, "eth0"), link(3, "wlan0")]).unwrap();
    assert_eq!(ruleset.links.keys().copied().collect::<Vec<u32>>(), [1, 2]);
    let record = ruleset.links[&1].record;
    let other = ruleset.links[&2].record;
    assert_eq!(record, abi::np_link { name: name_of("eth0"), ..other });
    assert_eq!(other.name, name_of("eth1"));
    assert_eq!(record.chain, [0, abi::NP_NONE]);
    assert_eq!(record.flags, abi::NP_LINK_DHCP_CLIENT | abi::NP_LINK_ROUTER_ADVERTISEMENTS);
    assert_eq!(ruleset.core.ethertypes.iter().map(|(key, _)| key.ethertype).collect::<Vec<u16>>(), [0x8863]);
}

#[test]
fn too_many_failsafe_entries_and_deny_groups_are_refused() {
    let mut set = host(vec![]);
    let entry = |port| Failsafe { protocol: 6, port, nets: vec![], origin: super::random::origin(1) };
    set.daemon.failsafe_inbound = (1..=65).map(entry).collect();
    assert!(compile(&set, &[]).unwrap_err().to_string().contains("failsafe entries: 65, and no more than 64"));
    let mut set = set_of((0..65).map(|i| policy(&format!("p{i:02}"), i)).collect());
    for (policy, i) in set.policies.iter_mut().zip(0..) {
        policy.interfaces.include = vec![glob::Pattern::new(&format!("eth{i}")).unwrap()];
        policy.xdp = xdp(XdpMode::Off, vec![SetId(i)]);
        set.sets.push(named_set(&format!("s{i}"), "10.0.0.0/8"));
    }
    let links: Vec<LinkFacts> = (0..65).map(|i| link(i + 1, &format!("eth{i}"))).collect();
    assert!(compile(&set, &links).unwrap_err().to_string().contains("deny sets: 65, and no more than 64"));
    assert_eq!(compile(&set, &links[..64]).unwrap().links[&64].record.deny_groups, 1 << 63);
}

#[test]
fn classes_know_deny_groups_and_failsafe() {
    let mut set = host(vec![]);
    set.sets = vec![named_set("a", "10.0.0.0/8")];
    set.policies[0].xdp = xdp(XdpMode::Off, vec![SetId(0)]);
    let entry = |port, nets: &[&str]| Failsafe {
        protocol: 6,
        port,
        nets: nets.iter().map(|net| net.parse().unwrap()).collect(),
        origin: super::random::origin(1),
    };
    set.daemon.failsafe_inbound = vec![entry(22, &[]), entry(22, &["10.1.0.0/16"])];
    let core = compile(&set, &[link(1, "eth0")]).unwrap().core;
    let tables = super::evaluate::Tables::of(&core);
    let record = |address: &str| core.classes[tables.class(address.parse().unwrap()) as usize];
    let class = |deny_groups, failsafe, failsafe_nets| abi::np_class { deny_groups, failsafe, failsafe_nets, ..Default::default() };
    assert_eq!(record("192.0.2.1"), class(0, 0b01, 0));
    assert_eq!(record("10.2.0.1"), class(1, 0b01, 0));
    assert_eq!(record("10.1.0.1"), class(1, 0b11, 0b10));
    assert_eq!(record("2001:db8::1"), class(0, 0b01, 0));
    assert_eq!(core.failsafe, [(abi::np_failsafe_key { hook: 0, protocol: 6, port: 22 }, 0b11)]);
}
