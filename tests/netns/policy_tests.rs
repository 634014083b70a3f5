//! `[[test]]` blocks: judged by `check` and before a ruleset goes live.

use netpol_tests::cli::{BAD, Cli, DONE, REFUSED};
use netpol_tests::policy::{allow_port, arriving, policy};
use netpol_tests::{Bench, Family, Net};

use crate::matrix::udp_to;

fn block(packet: &str, more: &str, expect: &str) -> String {
    format!(
        "[[test]]\nname = \"the test\"\ninterface = \"left\"\ndirection = \"ingress\"\npacket = {packet}\nexpect = \"{expect}\"\n{more}\n"
    )
}

const DNS: &str = "{ protocol = \"udp\", source = \"10.1.0.2:1\", destination = \"10.1.0.1:53\" }";
const NTP: &str = "{ protocol = \"udp\", source = \"[fd00:1::2]:1\", destination = \"[fd00:1::1]:123\" }";

#[test]
fn failing_test_block_refuses_the_ruleset_and_is_named() {
    let Some(bench) = Bench::start(&arriving(&allow_port("dns", "udp", 53))) else { return };
    let error = bench.change_badly(&(arriving(&allow_port("ntp", "udp", 123)) + &block(NTP, "", "deny")));
    assert!(error.contains("the test"), "{error}");
    for f in Family::BOTH {
        assert!(bench.arrives(&udp_to(f, 53)), "{f:?}: the former policy goes on");
        assert!(!bench.arrives(&udp_to(f, 123)), "{f:?}");
    }
    bench.change(&(arriving(&allow_port("ntp", "udp", 123)) + &block(NTP, "", "allow")));
    assert!(bench.arrives(&udp_to(Family::V4, 123)), "with a true test it goes live");
    assert_eq!(bench.cli().last_error(), "", "and the error is gone");
}

#[test]
fn test_blocks_state_verdict_rule_and_history() {
    let Some(net) = Net::new() else { return };
    let text = policy(
        "t",
        "policy_types = [\"ingress\", \"egress\"]\n[[policy.ingress]]\nid = \"dns\"\naction = \"allow\"\nprotocol = \"udp\"\ndestination = { ports = [53] }\n[[policy.ingress]]\nid = \"other\"\naction = \"deny\"\nprotocol = \"gre\"",
    );
    let syn = "{ protocol = \"tcp\", source = \"10.1.0.2:1\", destination = \"10.1.0.1:53\", tcp_flags = \"syn\" }";
    let answer = "{ protocol = \"udp\", source = \"10.1.0.1:53\", destination = \"10.1.0.2:1\" }";
    let leaving = |more: &str, expect: &str| block(answer, more, expect).replace("\"ingress\"\npacket", "\"egress\"\npacket");
    let cases = [
        (block(DNS, "", "allow"), DONE),
        (block(DNS, "rule = \"dns\"", "allow"), DONE),
        (block(DNS, "rule = \"other\"", "allow"), REFUSED),
        (block(DNS, "rule = \"nobody\"", "allow"), BAD),
        (block(DNS, "", "deny"), REFUSED),
        (block(NTP, "", "deny"), DONE),
        (block(syn, "", "deny"), DONE),
        (block(&DNS.replace(" }", ", vlan = 7 }"), "", "deny"), DONE),
        (leaving("", "deny"), DONE),
        (leaving(&format!("after = [{DNS}]"), "allow"), DONE),
    ];
    for (block, code) in cases {
        net.write("10.toml", &format!("{text}\n{block}"));
        let answer = Cli(&net).run(&["check"]);
        assert_eq!(answer.code, code, "{block}\n{}", answer.text());
    }
}
