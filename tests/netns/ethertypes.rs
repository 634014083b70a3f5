//! What passes besides IPv4, IPv6 and ARP.

use netpol_tests::policy::policy;
use netpol_tests::{Bench, Hook, Packet};

const EAPOL: u16 = 0x888e;
const LLDP: u16 = 0x88cc;

fn frame(ethertype: u16) -> Packet {
    Packet::other(ethertype, &[1; 46])
}

/// 802.3 with these LLC bytes.
fn llc(content: &[u8]) -> Packet {
    let mut content = content.to_vec();
    content.resize(46, 0);
    Packet::other(46, &content)
}

fn spanning_tree() -> Packet {
    llc(&[0x42, 0x42, 0x03])
}

#[test]
fn ethertypes_of_a_host_by_default_are_eapol_lldp_and_spanning_tree() {
    let Some(bench) = Bench::with_rules("[[rule]]\naction = \"allow\"\n") else { return };
    for hook in Hook::BOTH {
        let cases = [
            ("EAPOL", frame(EAPOL), true),
            ("LLDP", frame(LLDP), true),
            ("spanning tree", spanning_tree(), true),
            ("PPPoE", frame(0x8863), false),
            ("MPLS", frame(0x8847), false),
            ("other LLC", llc(&[0xaa, 0xaa, 0x03, 0, 0, 0x0c, 0x20, 0x00]), false),
            ("NetBIOS LLC", llc(&[0xf0, 0xf0, 0x03]), false),
        ];
        bench.judge(hook, &cases);
    }
}

#[test]
fn ethertypes_listed_pass_and_replace_the_default() {
    let text = policy("e", "policy_types = [\"ingress\", \"egress\"]\nethertypes = [\"lldp\", 0x8863]");
    let Some(bench) = Bench::start(&text) else { return };
    for hook in Hook::BOTH {
        let cases = [
            ("LLDP", frame(LLDP), true),
            ("PPPoE", frame(0x8863), true),
            ("EAPOL", frame(EAPOL), false),
            ("spanning tree", spanning_tree(), false),
        ];
        bench.judge(hook, &cases);
    }
}

#[test]
fn ethertypes_of_a_workload_by_default_are_none() {
    let Some(bench) = Bench::start(&policy("w", "endpoint = \"workload\"\npolicy_types = [\"ingress\", \"egress\"]")) else { return };
    for hook in Hook::BOTH {
        bench.judge(hook, &[("EAPOL", frame(EAPOL), false), ("LLDP", frame(LLDP), false), ("spanning tree", spanning_tree(), false)]);
    }
}

#[test]
fn ethertype_not_listed_is_dropped_by_that_reason() {
    let Some(bench) = Bench::with_rules("[[rule]]\naction = \"allow\"\n") else { return };
    for hook in Hook::BOTH {
        bench.refused(hook, "ethertype", &frame(0x8847), "MPLS");
    }
}

#[test]
fn ip_inside_llc_is_always_refused() {
    let Some(bench) = Bench::with_rules("[[rule]]\naction = \"allow\"\n") else { return };
    for hook in Hook::BOTH {
        bench.refused(hook, "llc_ip", &llc(&[0xaa, 0xaa, 0x03, 0, 0, 0, 0x08, 0x00, 0x45]), "IPv4 in SNAP");
        bench.refused(hook, "llc_ip", &llc(&[0xaa, 0xaa, 0x03, 0, 0, 0, 0x86, 0xdd, 0x60]), "IPv6 in SNAP");
        bench.refused(hook, "llc_ip", &llc(&[0x06, 0x06, 0x03, 0x45]), "IPv4 in LLC");
    }
}
