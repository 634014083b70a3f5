//! Several policies on one interface: `order`, name, `pass`, defaults.

use netpol_tests::policy::VERSION;
use netpol_tests::{Bench, Family};

use crate::matrix::udp_to;

fn policy(name: &str, order: i32, default: &str, rules: &[(&str, u16)]) -> String {
    let mut text = format!(
        "[[policy]]\nname = \"{name}\"\norder = {order}\ninterfaces = [\"left\"]\ndefault_action = {{ ingress = \"{default}\" }}\n"
    );
    for (action, port) in rules {
        text += &format!("[[policy.ingress]]\naction = \"{action}\"\nprotocol = \"udp\"\ndestination = {{ ports = [{port}] }}\n");
    }
    text
}

fn judge(bench: &Bench, ports: &[(u16, bool)]) {
    for family in Family::BOTH {
        for (port, expected) in ports {
            assert_eq!(bench.arrives(&udp_to(family, *port)), *expected, "port {port}, {family:?}");
        }
    }
}

#[test]
fn policies_are_asked_by_order_and_pass_goes_to_the_next() {
    let text = VERSION.to_owned()
        + &policy("second", 20, "deny", &[("deny", 1), ("allow", 2), ("allow", 3), ("allow", 4)])
        + &policy("first", 10, "deny", &[("allow", 1), ("deny", 2), ("pass", 3), ("deny", 3)]);
    let Some(bench) = Bench::start(&text) else { return };
    judge(&bench, &[(1, true), (2, false), (3, true), (4, true), (5, false)]);
}

#[test]
fn policies_of_one_order_are_asked_by_name() {
    let text = VERSION.to_owned() + &policy("b", 10, "deny", &[("deny", 1)]) + &policy("a", 10, "deny", &[("allow", 1)]);
    let Some(bench) = Bench::start(&text) else { return };
    judge(&bench, &[(1, true)]);
}

#[test]
fn default_deny_of_any_policy_is_stronger_than_allow() {
    let one = VERSION.to_owned() + &policy("a", 10, "allow", &[("deny", 1)]) + &policy("b", 20, "deny", &[]);
    let Some(bench) = Bench::start(&one) else { return };
    judge(&bench, &[(1, false), (2, false)]);
    bench.change(&(VERSION.to_owned() + &policy("a", 10, "allow", &[("deny", 1)]) + &policy("b", 20, "allow", &[("deny", 3)])));
    judge(&bench, &[(1, false), (2, true), (3, false)]);
}

#[test]
fn pass_of_the_last_policy_ends_at_the_default() {
    let deny = VERSION.to_owned() + &policy("a", 10, "deny", &[("pass", 1), ("allow", 1)]);
    let Some(bench) = Bench::start(&deny) else { return };
    judge(&bench, &[(1, false)]);
    bench.change(&(VERSION.to_owned() + &policy("a", 10, "allow", &[("pass", 1), ("deny", 1)])));
    judge(&bench, &[(1, true)]);
}

#[test]
fn policies_in_several_files_are_one_ruleset() {
    let Some(net) = netpol_tests::Net::new() else { return };
    net.write("90-last.toml", &(VERSION.to_owned() + &policy("b", 10, "deny", &[("allow", 2)])));
    let text = VERSION.to_owned() + &policy("a", 5, "deny", &[("allow", 1)]);
    let Some(bench) = Bench::start_in(net, &text) else { return };
    judge(&bench, &[(1, true), (2, true), (3, false)]);
}

#[test]
fn rules_by_the_hundred_are_decided_by_the_first_match() {
    // Every port of three hundred has its own rule; odd ones are denied by it, and a later rule that allows all comes too late.
    let rules: Vec<(&str, u16)> = (1..=300).map(|port| (if port % 2 == 1 { "deny" } else { "allow" }, port)).collect();
    let mut text = VERSION.to_owned() + &policy("many", 10, "deny", &rules);
    text += "[[policy.ingress]]\naction = \"allow\"\nprotocol = \"udp\"\ndestination = { ports = [\"1-400\"] }\n";
    let Some(bench) = Bench::start(&text) else { return };
    judge(&bench, &[(1, false), (2, true), (151, false), (152, true), (299, false), (300, true), (301, true), (400, true), (401, false)]);
}
