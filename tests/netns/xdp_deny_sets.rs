//! Deny sets: the earliest and strongest refusal, in native and generic XDP and at tc.

use netpol_tests::policy::{VERSION, arriving, policy};
use netpol_tests::{Bench, Family, Hook, Packet};

const SET: &str = "[[set]]\nname = \"bad\"\nelements = [\"10.1.0.64/26\", \"fd00:1::40/122\"]\n";
const MODES: [&str; 4] = ["native", "generic", "off", "auto"];

/// A policy on `left` with the deny set and more keys, its rules to follow.
fn denying(mode: &str, keys: &str) -> String {
    format!(
        "{VERSION}{SET}[[policy]]\nname = \"x\"\ninterfaces = [\"left\"]\n{keys}\n[policy.xdp]\nmode = \"{mode}\"\ndeny_sets = [\"bad\"]\n"
    )
}

fn from(f: Family, host: u8) -> Packet {
    Packet::udp(f.at(1, host, 4000), f.at(1, 1, 53))
}

#[test]
fn source_in_a_deny_set_is_dropped_in_every_mode() {
    for mode in MODES {
        let Some(bench) = Bench::start(&denying(mode, "default_action = { ingress = \"allow\" }")) else { return };
        for f in Family::BOTH {
            bench.refused(Hook::Ingress, "deny_set", &from(f, 64), mode);
            bench.refused(Hook::Ingress, "deny_set", &from(f, 127), mode);
            assert!(bench.arrives(&from(f, 63)), "{f:?} {mode}: outside the set");
            assert!(bench.arrives(&from(f, 128)), "{f:?} {mode}: outside the set");
            assert!(!bench.arrives(&from(f, 64).vlan(7)), "{f:?} {mode}: inside a tag");
            assert!(!bench.arrives(&from(f, 64).tag(0x88a8, 7).vlan(8)), "{f:?} {mode}: inside two tags");
            assert!(bench.leaves(&from(f, 64)), "{f:?} {mode}: only arriving packets");
        }
    }
}

#[test]
fn deny_set_speaks_where_ingress_is_not_isolated() {
    for mode in MODES {
        let Some(bench) = Bench::start(&denying(mode, "policy_types = [\"egress\"]")) else { return };
        for f in Family::BOTH {
            assert!(!bench.arrives(&from(f, 64)), "{f:?} {mode}");
            assert!(bench.arrives(&from(f, 2)), "{f:?} {mode}");
        }
    }
}

#[test]
fn deny_set_beats_an_established_flow() {
    for mode in MODES {
        let allow = "[[rule]]\naction = \"allow\"\n";
        let Some(bench) = Bench::start(&arriving(allow)) else { return };
        for f in Family::BOTH {
            assert!(bench.arrives(&from(f, 70)) && bench.leaves(&Packet::udp(f.at(1, 1, 53), f.at(1, 70, 4000))));
        }
        bench.change(&(denying(mode, "") + "[[policy.ingress]]\naction = \"allow\"\n"));
        for f in Family::BOTH {
            bench.refused(Hook::Ingress, "deny_set", &from(f, 70), mode);
            assert!(bench.arrives(&from(f, 2)), "{f:?} {mode}: others");
        }
    }
}

#[test]
fn status_names_the_mode_of_xdp() {
    for (mode, word) in [("native", "native"), ("generic", "generic")] {
        let Some(bench) = Bench::start(&denying(mode, "default_action = { ingress = \"allow\" }")) else { return };
        let status = bench.cli().status();
        let interfaces = status["interfaces"].as_array().expect("interfaces");
        let left = interfaces.iter().find(|interface| interface["name"] == "left").expect("left");
        assert!(left["xdp"].to_string().to_lowercase().contains(word), "xdp of {left}");
    }
}

#[test]
fn deny_sets_of_several_policies_are_united() {
    let second = "[[set]]\nname = \"worse\"\nelements = [\"10.1.0.200\", \"fd00:1::c8\"]\n\
                  [[policy]]\nname = \"y\"\ninterfaces = [\"left\"]\npolicy_types = [\"ingress\"]\ndefault_action = { ingress = \"allow\" }\n\
                  [policy.xdp]\ndeny_sets = [\"worse\"]\n";
    let Some(bench) = Bench::start(&(denying("auto", "default_action = { ingress = \"allow\" }") + second)) else { return };
    for f in Family::BOTH {
        assert!(!bench.arrives(&from(f, 64)), "{f:?}: of the first policy");
        assert!(!bench.arrives(&from(f, 200)), "{f:?}: of the second policy");
        assert!(bench.arrives(&from(f, 2)), "{f:?}: of none");
    }
}

#[test]
fn deny_set_of_another_interface_does_not_count() {
    let text = denying("auto", "default_action = { ingress = \"allow\" }").replace("[\"left\"]", "[\"right\"]")
        + policy("l", "default_action = { ingress = \"allow\" }").trim_start_matches(VERSION);
    let Some(bench) = Bench::start(&text) else { return };
    for f in Family::BOTH {
        assert!(bench.arrives(&from(f, 64)), "{f:?}");
    }
}

#[test]
fn malformed_arrivals_are_dropped_on_request_where_ingress_is_not_isolated() {
    for mode in MODES {
        let text = policy("x", "policy_types = [\"egress\"]") + &format!("[policy.xdp]\nmode = \"{mode}\"\ndrop_malformed = true\n");
        let Some(bench) = Bench::start(&text) else { return };
        for f in Family::BOTH {
            bench.refused(Hook::Ingress, "malformed", &from(f, 2).version(9), mode);
            assert!(bench.arrives(&from(f, 2)), "{f:?} {mode}: a good one");
        }
    }
}
