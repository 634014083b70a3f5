//! Interfaces that come, go, and change their names.

use std::time::Duration;

use netpol_tests::bench::Way;
use netpol_tests::policy::VERSION;
use netpol_tests::{Bench, Family, wait};

use crate::matrix::udp_to;

fn hot_policy() -> String {
    format!(
        "{VERSION}[[policy]]\nname = \"hot\"\ninterfaces = [\"hot*\"]\n\
         [[policy.ingress]]\naction = \"allow\"\nprotocol = \"udp\"\ndestination = {{ ports = [53] }}\n"
    )
}

fn plug(bench: &Bench, name: &str) {
    let src = bench.net.src.name();
    bench.net.dut.ip(&format!("link add {name} type veth peer name p-{name} netns {src}"));
    bench.net.dut.ip(&format!("link set {name} up"));
    bench.net.src.ip(&format!("link set p-{name} up"));
}

fn covered(bench: &Bench, name: &str) -> bool {
    let status = bench.cli().status();
    status["interfaces"].as_array().expect("interfaces").iter().any(|interface| interface["name"] == name)
}

fn way(bench: &Bench, peer: &str, name: &str) -> Way {
    Way::new(&bench.net.src, peer, &bench.net.dut, name, &[0x0800, 0x86dd])
}

#[test]
fn new_interface_that_a_glob_selects_is_soon_under_policy() {
    let Some(bench) = Bench::start(&hot_policy()) else { return };
    plug(&bench, "hot0");
    wait::until("hot0 is under policy", Duration::from_secs(5), || covered(&bench, "hot0"));
    let way = way(&bench, "p-hot0", "hot0");
    for f in Family::BOTH {
        assert!(way.passes(&bench.net.dut, "hot0", &udp_to(f, 53)), "{f:?}: allowed");
        assert!(!way.passes(&bench.net.dut, "hot0", &udp_to(f, 54)), "{f:?}: denied");
    }
}

#[test]
fn interface_deleted_and_made_again_is_a_new_one_under_policy() {
    let Some(bench) = Bench::start(&hot_policy()) else { return };
    for round in 0..5 {
        plug(&bench, "hot0");
        let index = u64::from(bench.net.dut.index("hot0"));
        let here = || {
            let status = bench.cli().status();
            status["interfaces"].as_array().expect("interfaces").iter().any(|i| i["name"] == "hot0" && i["ifindex"] == index)
        };
        wait::until("the new hot0 is under policy", Duration::from_secs(5), here);
        let way = way(&bench, "p-hot0", "hot0");
        assert!(!way.passes(&bench.net.dut, "hot0", &udp_to(Family::V4, 54)), "round {round}");
        assert!(way.passes(&bench.net.dut, "hot0", &udp_to(Family::V6, 53)), "round {round}");
        bench.net.dut.ip("link del hot0");
    }
    wait::until("hot0 is no longer in the status", Duration::from_secs(5), || !covered(&bench, "hot0"));
}

#[test]
fn renamed_interface_is_judged_by_its_new_name() {
    let Some(bench) = Bench::start(&hot_policy()) else { return };
    plug(&bench, "cold0");
    let way = way(&bench, "p-cold0", "cold0");
    let passes = || way.passes(&bench.net.dut, "unused", &udp_to(Family::V4, 54));
    assert!(passes(), "no policy selects cold0");
    let rename = |from: &str, to: &str| {
        bench.net.dut.ip(&format!("link set {from} down"));
        bench.net.dut.ip(&format!("link set {from} name {to}"));
        bench.net.dut.ip(&format!("link set {to} up"));
    };
    rename("cold0", "hot7");
    wait::until("hot7 is under policy", Duration::from_secs(5), || covered(&bench, "hot7"));
    wait::until("hot7 denies", Duration::from_secs(5), || !passes());
    rename("hot7", "cold1");
    wait::until("cold1 is free", Duration::from_secs(5), || !covered(&bench, "cold1") && passes());
}

#[test]
fn policy_for_an_absent_interface_waits_for_it_with_a_warning() {
    let Some(bench) = Bench::start(&hot_policy()) else { return };
    let warnings = bench.cli().status()["warnings"].to_string();
    assert!(warnings.contains("hot"), "a policy that selects nothing is a warning: {warnings}");
    plug(&bench, "hot0");
    wait::until("hot0 is under policy", Duration::from_secs(5), || covered(&bench, "hot0"));
    wait::until("no warning", Duration::from_secs(5), || !bench.cli().status()["warnings"].to_string().contains("hot"));
}

#[test]
fn interface_that_host_and_workload_policies_claim_is_closed_and_the_others_follow() {
    let contested = format!(
        "{VERSION}[[policy]]\nname = \"host\"\ninterfaces = [\"hot*\"]\ndefault_action = {{ ingress = \"allow\" }}\n\
         [[policy]]\nname = \"box\"\ninterfaces = [\"*x0\"]\nendpoint = \"workload\"\ndefault_action = {{ ingress = \"allow\" }}\n"
    );
    let Some(bench) = Bench::start(&contested) else { return };
    plug(&bench, "hotx0");
    plug(&bench, "hot1");
    wait::until("both are under policy", Duration::from_secs(5), || covered(&bench, "hotx0") && covered(&bench, "hot1"));
    assert!(!way(&bench, "p-hotx0", "hotx0").passes(&bench.net.dut, "hotx0", &udp_to(Family::V4, 53)), "the contested one is closed");
    assert!(way(&bench, "p-hot1", "hot1").passes(&bench.net.dut, "hot1", &udp_to(Family::V4, 53)), "the other one is judged as written");
    let status = bench.cli().status();
    assert_eq!(status["state"], "degraded");
    assert!(status["warnings"].to_string().contains("hotx0"), "{status}");
    bench.net.dut.ip("link del hotx0");
    wait::until("all is well again", Duration::from_secs(5), || bench.cli().status()["state"] == "ok");
}

#[test]
fn error_of_the_files_outlives_events_of_interfaces() {
    let Some(bench) = Bench::start(&hot_policy()) else { return };
    let error = bench.change_badly("version = 1\nnonsense = true\n");
    plug(&bench, "hot0");
    wait::until("hot0 is under policy", Duration::from_secs(5), || covered(&bench, "hot0"));
    assert_eq!(bench.cli().last_error(), error);
    assert_eq!(bench.cli().status()["state"], "degraded");
}
