//! TCP: what opens, answers, carries on and ends a flow.

use std::thread::sleep;
use std::time::Duration;

use netpol_tests::flags::{ACK, FIN, PSH, RST, SYN};
use netpol_tests::policy::{VERSION, policy};
use netpol_tests::{Bench, Family, Hook, Packet};

/// Both directions isolated; TCP port 80 may arrive, nothing may leave but answers.
fn start(conntrack: &str) -> Option<Bench> {
    let rules = "[[policy.ingress]]\naction = \"allow\"\nprotocol = \"tcp\"\ndestination = { ports = [80] }\n";
    let text = policy("t", &format!("policy_types = [\"ingress\", \"egress\"]\n{rules}"));
    Bench::start(&text.replacen(VERSION, &format!("{VERSION}[daemon.conntrack]\nadopt_existing = false\n{conntrack}\n"), 1))
}

/// One connection from host 2 to port 80; the client's numbers begin at 1000, the server's at 5000.
#[derive(Clone, Copy)]
struct Talk {
    family: Family,
    port: u16,
}

impl Talk {
    fn client(self, flags: u8, seq: u32, ack: u32) -> Packet {
        Packet::tcp(self.family.at(1, 2, self.port), self.family.at(1, 1, 80), flags, seq, ack)
    }

    fn server(self, flags: u8, seq: u32, ack: u32) -> Packet {
        Packet::tcp(self.family.at(1, 1, 80), self.family.at(1, 2, self.port), flags, seq, ack)
    }

    fn shake_hands(self, bench: &Bench) {
        assert!(bench.arrives(&self.client(SYN, 1000, 0)), "{:?}: SYN", self.family);
        assert!(bench.leaves(&self.server(SYN | ACK, 5000, 1001)), "{:?}: SYN-ACK", self.family);
        assert!(bench.arrives(&self.client(ACK, 1001, 5001)), "{:?}: ACK", self.family);
    }
}

fn talks(port: u16) -> [Talk; 2] {
    Family::BOTH.map(|family| Talk { family, port })
}

#[test]
fn handshake_of_an_allowed_port_passes_both_ways() {
    let Some(bench) = start("") else { return };
    for talk in talks(4000) {
        talk.shake_hands(&bench);
        assert!(bench.arrives(&talk.client(ACK | PSH, 1001, 5001)), "data in");
        assert!(bench.leaves(&talk.server(ACK | PSH, 5001, 1001)), "data out");
    }
}

#[test]
fn segments_without_a_flow_are_refused() {
    let Some(bench) = start("") else { return };
    for talk in talks(4000) {
        for (what, flags) in [("ACK", ACK), ("SYN-ACK", SYN | ACK), ("FIN-ACK", FIN | ACK), ("RST", RST), ("nothing", 0)] {
            bench.refused(Hook::Ingress, "no_connection", &talk.client(flags, 1000, 5000), what);
            bench.refused(Hook::Egress, "no_connection", &talk.server(flags, 1000, 5000), what);
        }
        bench.refused(Hook::Egress, "default", &talk.server(SYN, 1, 0), "a SYN out");
    }
}

#[test]
fn syn_ack_passes_only_as_the_answer_to_that_syn() {
    let Some(bench) = start("") else { return };
    for talk in talks(4000) {
        assert!(bench.arrives(&talk.client(SYN, 1000, 0)));
        bench.refused(Hook::Egress, "no_connection", &talk.server(SYN | ACK, 5000, 1002), "acknowledges something else");
        assert!(!bench.arrives(&talk.client(SYN | ACK, 1000, 1)), "a SYN-ACK from the opening side");
        assert!(bench.leaves(&talk.server(SYN | ACK, 5000, 1001)), "the answer");
    }
}

#[test]
fn syn_on_a_live_flow_is_judged_by_the_rules() {
    let Some(bench) = start("") else { return };
    for talk in talks(4000) {
        talk.shake_hands(&bench);
        bench.refused(Hook::Egress, "default", &talk.server(SYN, 9000, 0), "the other side may not open");
        assert!(bench.arrives(&talk.client(ACK, 1001, 5001)), "and the flow lives on");
    }
}

#[test]
fn simultaneous_open_needs_a_rule_in_both_directions() {
    let Some(bench) = start("") else { return };
    for talk in talks(4000) {
        assert!(bench.arrives(&talk.client(SYN, 1000, 0)));
        bench.refused(Hook::Egress, "default", &talk.server(SYN, 5000, 0), "the crossing SYN");
    }
}

#[test]
fn rst_ends_a_flow_only_with_the_exact_number() {
    let Some(bench) = start("tcp_fin = \"1s\"") else { return };
    for talk in talks(4000) {
        talk.shake_hands(&bench);
        assert!(bench.leaves(&talk.server(ACK, 5001, 1001)));
        bench.arrives(&talk.client(RST, 777_777, 0));
        sleep(Duration::from_millis(1500));
        assert!(bench.arrives(&talk.client(ACK, 1001, 5001)), "{:?}: a blind RST ends nothing", talk.family);
        bench.arrives(&talk.client(RST, 1001, 0));
        sleep(Duration::from_millis(1500));
        bench.refused(Hook::Ingress, "no_connection", &talk.client(ACK, 1001, 5001), "after the RST");
    }
}

#[test]
fn fins_of_both_sides_end_a_flow() {
    let Some(bench) = start("tcp_fin = \"1s\"") else { return };
    for talk in talks(4000) {
        talk.shake_hands(&bench);
        assert!(bench.arrives(&talk.client(FIN | ACK, 1001, 5001)));
        assert!(bench.leaves(&talk.server(ACK, 5001, 1002)));
        assert!(bench.leaves(&talk.server(FIN | ACK, 5001, 1002)));
        assert!(bench.arrives(&talk.client(ACK, 1002, 5002)), "the last ACK");
        sleep(Duration::from_millis(1500));
        bench.refused(Hook::Ingress, "no_connection", &talk.client(ACK, 1002, 5002), "after the end");
    }
}

#[test]
fn closed_tuple_can_open_again_at_once() {
    let Some(bench) = start("") else { return };
    for talk in talks(4000) {
        talk.shake_hands(&bench);
        assert!(bench.leaves(&talk.server(ACK, 5001, 1001)));
        assert!(bench.arrives(&talk.client(RST, 1001, 0)));
        talk.shake_hands(&bench);
    }
}
