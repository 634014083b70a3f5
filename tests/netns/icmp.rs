//! `icmp = { type, code }`.

use netpol_tests::{Bench, Packet};

use crate::matrix::everywhere;

#[test]
fn type_and_code_by_number_match_exactly() {
    // Types that are neither requests, answers nor errors: judged by the rules packet by packet.
    let rules = r#"
        [[rule]]
        action = "allow"
        protocol = "icmp"
        icmp = { type = 40, code = 2 }
        [[rule]]
        action = "allow"
        protocol = "icmp"
        icmp = { type = 42 }
        [[rule]]
        action = "allow"
        protocol = "icmpv6"
        icmp = { type = 200, code = 2 }
        [[rule]]
        action = "allow"
        protocol = "icmpv6"
        icmp = { type = 201 }
    "#;
    let Some(bench) = Bench::with_rules(rules) else { return };
    everywhere(&bench, |f| {
        let message = |kind, code| Packet::icmp(f.host(1, 2), f.host(1, 1), (kind, code), [0; 4], b"probe");
        let (narrow, wide) = if f.icmp() == 1 { (40, 42) } else { (200, 201) };
        vec![
            ("type and code", message(narrow, 2), true),
            ("another code", message(narrow, 1), false),
            ("code 0", message(narrow, 0), false),
            ("any code", message(wide, 0), true),
            ("any other code", message(wide, 255), true),
            ("another type", message(wide + 2, 2), false),
        ]
    });
}

#[test]
fn echo_request_by_name_lets_only_requests_open() {
    let rules = r#"
        [[rule]]
        action = "allow"
        protocol = "icmp"
        icmp = { type = "echo-request" }
        [[rule]]
        action = "allow"
        protocol = "icmpv6"
        icmp = { type = "echo-request" }
    "#;
    let Some(bench) = Bench::with_rules(rules) else { return };
    everywhere(&bench, |f| {
        let echo = |kind, id| Packet::echo(f.host(1, 2), f.host(1, 1), kind, id);
        let (request, reply) = f.echo();
        vec![("request", echo(request, 1), true), ("unasked reply", echo(reply, 2), false)]
    });
}
