//! Which hook a direction is, and what is left alone.

use netpol_tests::policy::{VERSION, allow_port, arriving, leaving, policy};
use netpol_tests::{Bench, Family, Hook, Packet, sock};

use crate::matrix::udp_to;

#[test]
fn host_policy_ingress_judges_what_arrives_and_egress_what_leaves() {
    let Some(bench) = Bench::start(&arriving(&allow_port("in", "udp", 1))) else { return };
    for f in Family::BOTH {
        bench.judge(Hook::Ingress, &[("allowed in", udp_to(f, 1), true), ("not allowed in", udp_to(f, 2), false)]);
        bench.judge(Hook::Egress, &[("out is not isolated", udp_to(f, 2), true)]);
    }
    bench.change(&leaving(&allow_port("out", "udp", 1)));
    for f in Family::BOTH {
        bench.judge(Hook::Egress, &[("allowed out", udp_to(f, 1), true), ("not allowed out", udp_to(f, 3), false)]);
        bench.judge(Hook::Ingress, &[("in is not isolated", udp_to(f, 4), true)]);
    }
}

#[test]
fn workload_policy_ingress_judges_what_leaves_towards_the_workload() {
    let text = policy("w", "endpoint = \"workload\"")
        + "[[policy.ingress]]\naction = \"allow\"\nprotocol = \"udp\"\ndestination = { ports = [1] }\n"
        + "[[policy.egress]]\naction = \"allow\"\nprotocol = \"udp\"\ndestination = { ports = [2] }\n";
    let Some(bench) = Bench::start(&text) else { return };
    for f in Family::BOTH {
        bench.judge(Hook::Egress, &[("ingress rule", udp_to(f, 1), true), ("egress rule", udp_to(f, 2), false)]);
        bench.judge(Hook::Ingress, &[("ingress rule", udp_to(f, 1), false), ("egress rule", udp_to(f, 2), true)]);
    }
}

#[test]
fn direction_that_is_not_isolated_refuses_nothing_but_keeps_state() {
    let Some(bench) = Bench::start(&arriving("")) else { return };
    for f in Family::BOTH {
        let asked = Packet::udp(f.at(1, 1, 5353), f.at(1, 2, 53));
        assert!(bench.leaves(&asked));
        assert!(bench.arrives(&Packet::udp(f.at(1, 2, 53), f.at(1, 1, 5353))), "an answer needs no rule");
        assert!(!bench.arrives(&Packet::udp(f.at(1, 2, 54), f.at(1, 1, 5353))), "not an answer");
        let strange = Packet::tcp(f.at(1, 1, 1), f.at(1, 2, 2), 0x10, 1, 1);
        bench.judge(Hook::Egress, &[("mid-stream TCP", strange, true), ("bad version", udp_to(f, 1).version(9), true)]);
        bench.judge(Hook::Egress, &[("unlisted EtherType", Packet::other(0x8847, &[1; 46]), true)]);
    }
}

#[test]
fn interface_without_policy_is_untouched() {
    let Some(bench) = Bench::start(&arriving("")) else { return };
    for f in Family::BOTH {
        let inside = sock::udp(&bench.net.dut, f.any(5000));
        let (left, right) = (sock::udp(&bench.net.src, f.any(0)), sock::udp(&bench.net.dst, f.any(0)));
        assert!(sock::datagram_passes(&right, &inside, f.at(2, 1, 5000)), "right has no policy");
        assert!(!sock::datagram_passes(&left, &inside, f.at(1, 1, 5000)), "left denies");
    }
}

#[test]
fn globs_select_and_exclude_interfaces_but_never_the_loopback() {
    let text = format!("{VERSION}[[policy]]\nname = \"g\"\ninterfaces = [\"!right\", \"*\"]\npolicy_types = [\"ingress\"]\n");
    let Some(bench) = Bench::start(&text) else { return };
    let f = Family::V4;
    let inside = sock::udp(&bench.net.dut, f.any(5000));
    let ends = [("left", &bench.net.src, 1, false), ("right", &bench.net.dst, 2, true), ("loopback", &bench.net.dut, 1, true)];
    for (what, from, net, expected) in ends {
        let socket = sock::udp(from, f.any(0));
        assert_eq!(sock::datagram_passes(&socket, &inside, f.at(net, 1, 5000)), expected, "{what}");
    }
}

#[test]
fn default_action_allow_lets_pass_what_no_rule_denies() {
    let text = policy("d", "default_action = { ingress = \"allow\" }")
        + "[[policy.ingress]]\naction = \"deny\"\nprotocol = \"udp\"\ndestination = { ports = [9] }\n";
    let Some(bench) = Bench::start(&text) else { return };
    for f in Family::BOTH {
        bench.judge(Hook::Ingress, &[("denied", udp_to(f, 9), false), ("anything else", udp_to(f, 10), true)]);
    }
}

#[test]
fn answers_leave_an_isolated_egress_without_a_rule() {
    let both = arriving(&allow_port("in", "udp", 1)).replace("[\"ingress\"]", "[\"ingress\", \"egress\"]");
    let Some(bench) = Bench::start(&both) else { return };
    for f in Family::BOTH {
        assert!(bench.arrives(&udp_to(f, 1)));
        assert!(bench.leaves(&Packet::udp(f.at(1, 1, 1), f.at(1, 2, 4000))), "the answer");
        assert!(!bench.leaves(&Packet::udp(f.at(1, 1, 1), f.at(1, 2, 4001))), "to another port");
        assert!(!bench.leaves(&Packet::udp(f.at(1, 1, 1), f.at(1, 3, 4000))), "to another host");
    }
}
