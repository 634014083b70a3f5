//! Flows of UDP and of protocols without ports.

use netpol_tests::policy::policy;
use netpol_tests::{Bench, Family, Hook, Packet};

/// Both directions isolated, anything may arrive of UDP port 53 and GRE, nothing may leave but answers.
fn start() -> Option<Bench> {
    let rules = "[[policy.ingress]]\naction = \"allow\"\nprotocol = \"udp\"\ndestination = { ports = [53] }\n\
                 [[policy.ingress]]\naction = \"allow\"\nprotocol = \"gre\"\n\
                 [[policy.ingress]]\naction = \"allow\"\nprotocol = \"sctp\"\n";
    Bench::start(&policy("u", &format!("policy_types = [\"ingress\", \"egress\"]\n{rules}")))
}

#[test]
fn udp_answer_passes_and_every_change_of_the_tuple_does_not() {
    let Some(bench) = start() else { return };
    for f in Family::BOTH {
        let answer = |from: u16, to_host: u8, to: u16| Packet::udp(f.at(1, 1, from), f.at(1, to_host, to));
        bench.refused(Hook::Egress, "default", &answer(53, 2, 4000), "before the question");
        assert!(bench.arrives(&Packet::udp(f.at(1, 2, 4000), f.at(1, 1, 53))));
        let cases = [
            ("the answer", answer(53, 2, 4000), true),
            ("from another port", answer(54, 2, 4000), false),
            ("to another port", answer(53, 2, 4001), false),
            ("to another host", answer(53, 3, 4000), false),
            ("the answer again", answer(53, 2, 4000), true),
        ];
        bench.judge(Hook::Egress, &cases);
    }
}

#[test]
fn our_own_address_as_source_never_meets_our_flow() {
    let Some(bench) = start() else { return };
    for f in Family::BOTH {
        assert!(bench.arrives(&Packet::udp(f.at(1, 2, 4000), f.at(1, 1, 53))));
        assert!(!bench.arrives(&Packet::udp(f.at(1, 1, 53), f.at(1, 2, 4000))), "{f:?}: a mirrored packet arriving from outside");
    }
}

#[test]
fn protocols_without_ports_have_flows_by_addresses() {
    let Some(bench) = start() else { return };
    for f in Family::BOTH {
        let gre = |from: u8, to: u8| Packet::ip(f.host(1, from), f.host(1, to), 47, &[0; 24]);
        assert!(!bench.leaves(&gre(1, 2)), "{f:?}: before");
        assert!(bench.arrives(&gre(2, 1)));
        assert!(bench.leaves(&gre(1, 2)), "{f:?}: the answer");
        assert!(!bench.leaves(&gre(1, 3)), "{f:?}: to another host");
    }
}

#[test]
fn sctp_opens_with_init_only() {
    let Some(bench) = start() else { return };
    for f in Family::BOTH {
        let (a, b) = (f.at(1, 2, 4000), f.at(1, 1, 5000));
        bench.refused(Hook::Ingress, "no_connection", &Packet::sctp(a, b, 0), "DATA without a flow");
        assert!(bench.arrives(&Packet::sctp(a, b, 1)), "{f:?}: INIT");
        assert!(bench.leaves(&Packet::sctp(b, a, 2)), "{f:?}: INIT-ACK");
        assert!(bench.arrives(&Packet::sctp(a, b, 0)), "{f:?}: DATA");
        assert!(!bench.leaves(&Packet::sctp(b, a, 1)), "{f:?}: INIT of the other side is judged by its own rules");
    }
}
