//! Echo replies and ICMP errors: only what belongs to a flow.

use netpol_tests::policy::policy;
use netpol_tests::{Bench, Family, Hook, Packet};

/// Both directions isolated; echo requests and UDP 53 may arrive, nothing may leave but answers.
fn start() -> Option<Bench> {
    let rules = "[[policy.ingress]]\naction = \"allow\"\nprotocol = \"icmp\"\n\
                 [[policy.ingress]]\naction = \"allow\"\nprotocol = \"icmpv6\"\n\
                 [[policy.ingress]]\naction = \"allow\"\ndestination = { ports = [53] }\n";
    Bench::start(&policy("i", &format!("policy_types = [\"ingress\", \"egress\"]\n{rules}")))
}

#[test]
fn echo_reply_passes_for_its_request_and_identifier_only() {
    let Some(bench) = start() else { return };
    for f in Family::BOTH {
        let (request, reply) = f.echo();
        let answer = |id| Packet::echo(f.host(1, 1), f.host(1, 2), reply, id);
        bench.refused(Hook::Egress, "no_connection", &answer(7), "before the request");
        assert!(bench.arrives(&Packet::echo(f.host(1, 2), f.host(1, 1), request, 7)));
        assert!(bench.leaves(&answer(7)), "{f:?}: the reply");
        bench.refused(Hook::Egress, "no_connection", &answer(8), "another identifier");
        bench.refused(Hook::Ingress, "no_connection", &Packet::echo(f.host(1, 2), f.host(1, 1), reply, 7), "a reply from the asking side");
        assert!(!bench.leaves(&Packet::echo(f.host(1, 1), f.host(1, 2), request, 7)), "{f:?}: a request of the other side");
    }
}

/// Errors of each family with type and code.
fn errors(f: Family) -> Vec<(&'static str, (u8, u8))> {
    match f {
        Family::V4 => {
            vec![("port unreachable", (3, 3)), ("fragmentation needed", (3, 4)), ("time exceeded", (11, 0)), ("parameter problem", (12, 0))]
        }
        Family::V6 => {
            vec![("port unreachable", (1, 4)), ("packet too big", (2, 0)), ("time exceeded", (3, 0)), ("parameter problem", (4, 0))]
        }
    }
}

#[test]
fn icmp_error_passes_when_it_quotes_a_live_flow() {
    let Some(bench) = start() else { return };
    for f in Family::BOTH {
        let question = Packet::udp(f.at(1, 2, 4000), f.at(1, 1, 53));
        assert!(bench.arrives(&question));
        for (what, kind) in errors(f) {
            let error = Packet::icmp_error(f.host(1, 1), f.host(1, 2), kind, &question);
            assert!(bench.leaves(&error), "{f:?}: {what} about what arrived");
            let router = Packet::icmp_error(f.host(9, 9), f.host(1, 2), kind, &question);
            assert!(bench.leaves(&router), "{f:?}: {what} by a router behind");
        }
        let answer = Packet::udp(f.at(1, 1, 53), f.at(1, 2, 4000));
        assert!(bench.leaves(&answer));
        for (what, kind) in errors(f) {
            assert!(bench.arrives(&Packet::icmp_error(f.host(8, 8), f.host(1, 1), kind, &answer)), "{f:?}: {what} about our answer");
        }
    }
}

#[test]
fn icmp_error_that_is_forged_is_refused() {
    let Some(bench) = start() else { return };
    for f in Family::BOTH {
        let question = Packet::udp(f.at(1, 2, 4000), f.at(1, 1, 53));
        assert!(bench.arrives(&question));
        assert!(bench.leaves(&Packet::udp(f.at(1, 1, 53), f.at(1, 2, 4000))));
        let kind = f.port_unreachable();
        let forged = |quote: &Packet, to: u8| Packet::icmp_error(f.host(8, 8), f.host(1, to), kind, quote);
        let unknown = Packet::udp(f.at(1, 1, 53), f.at(1, 2, 4001));
        bench.refused(Hook::Ingress, "no_connection", &forged(&unknown, 1), "quotes no flow");
        bench.refused(Hook::Ingress, "no_connection", &forged(&question, 1), "quotes the arriving packet, not ours");
        let answer = Packet::udp(f.at(1, 1, 53), f.at(1, 2, 4000));
        bench.refused(Hook::Ingress, "no_connection", &forged(&answer, 7), "goes to another than the quoted source");
        let header = if f == Family::V4 { 20 } else { 40 };
        let short = Packet::icmp(f.host(8, 8), f.host(1, 1), kind, [0; 4], &answer.l3()[..header + 4]);
        bench.refused(Hook::Ingress, "no_connection", &short, "quotes less than 8 bytes of L4");
        let other = Packet::syn(f.at(1, 1, 53), f.at(1, 2, 4000));
        bench.refused(Hook::Ingress, "no_connection", &forged(&other, 1), "quotes another protocol");
    }
}

#[test]
fn icmp_error_about_an_echo_request_passes() {
    let Some(bench) = start() else { return };
    for f in Family::BOTH {
        let request = Packet::echo(f.host(1, 2), f.host(1, 1), f.echo().0, 9);
        assert!(bench.arrives(&request));
        assert!(bench.leaves(&Packet::icmp_error(f.host(1, 1), f.host(1, 2), f.port_unreachable(), &request)), "{f:?}");
        let other = Packet::echo(f.host(1, 2), f.host(1, 1), f.echo().0, 10);
        assert!(!bench.leaves(&Packet::icmp_error(f.host(1, 1), f.host(1, 2), f.port_unreachable(), &other)), "{f:?}: another identifier");
    }
}
