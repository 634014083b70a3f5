//! Stage 5 for TCP.

use super::*;
use crate::policy::judge::fixture::{peer, rule};
use crate::policy::model::{Action, Hook::*};

const CLIENT: &str = "203.0.113.9:40000";
const SERVER: &str = "198.51.100.1:80";

fn web() -> Vec<Rule> {
    vec![Rule { protocol: Some(6), destination: peer("", "80"), ..rule("web", Action::Allow) }]
}

fn established() -> Bench {
    let mut bench = Bench::both(web(), vec![]);
    assert_eq!(bench.say(&tcp(Ingress, CLIENT, SERVER, SYN, 100, 0)), None);
    assert_eq!(bench.say(&tcp(Egress, SERVER, CLIENT, SYN | ACK, 500, 101)), None);
    assert_eq!(bench.say(&tcp(Ingress, CLIENT, SERVER, ACK, 101, 501)), None);
    bench
}

fn state(bench: &Bench) -> Vec<FlowState> {
    bench.conntrack.connections().chain(bench.conntrack.half_open()).map(|(_, flow)| flow.state).collect()
}

#[test]
fn answers_of_an_allowed_flow_need_no_rule() {
    let mut bench = established();
    assert_eq!(state(&bench), [FlowState::Established]);
    assert_eq!(bench.conntrack.half_open().count(), 0);
    assert_eq!(bench.say(&tcp(Egress, SERVER, CLIENT, ACK, 501, 101)), None);
}

#[test]
fn a_segment_without_a_flow_is_no_connection_whatever_the_rules_say() {
    for flags in [ACK, ACK | FIN, RST, SYN | ACK, 0, SYN | FIN, SYN | RST] {
        let mut bench = Bench::ingress(vec![rule("all", Action::Allow)]);
        assert_eq!(bench.say(&tcp(Ingress, CLIENT, SERVER, flags, 1, 1)), Some(Reason::NoConnection), "{flags:#x}");
    }
}

#[test]
fn with_loose_a_mid_stream_segment_is_judged_and_a_reset_or_syn_ack_makes_nothing() {
    let mut bench = Bench::ingress(web());
    bench.set.daemon.conntrack.loose = true;
    assert_eq!(bench.say(&tcp(Ingress, CLIENT, SERVER, RST, 1, 1)), None);
    assert_eq!(state(&bench), []);
    assert_eq!(bench.say(&tcp(Ingress, CLIENT, SERVER, SYN | ACK, 1, 1)), Some(Reason::NoConnection));
    assert_eq!(bench.say(&tcp(Ingress, CLIENT, SERVER, ACK, 1, 1)), None);
    assert_eq!((state(&bench), bench.conntrack.connections().count()), (vec![FlowState::New], 0), "anybody can forge one");
    assert_eq!(bench.say(&tcp(Egress, SERVER, CLIENT, RST, 1, 1)), None);
    assert_eq!(bench.conntrack.connections().count(), 0, "and a reset is no answer");
    assert_eq!(bench.say(&tcp(Egress, SERVER, CLIENT, ACK, 1, 1)), None);
    assert_eq!((state(&bench), bench.conntrack.connections().count()), (vec![FlowState::Established], 1));
    assert_eq!(bench.say(&tcp(Ingress, CLIENT, "198.51.100.1:81", ACK, 1, 1)), Some(Reason::Default));
}

#[test]
fn a_syn_is_judged_by_the_rules_even_in_a_flow() {
    let mut bench = established();
    bench.set.policies[0].ingress.as_mut().unwrap().rules.clear();
    assert_eq!(bench.say(&tcp(Ingress, CLIENT, SERVER, SYN, 900, 0)), Some(Reason::Default));
    assert_eq!(bench.say(&tcp(Ingress, CLIENT, SERVER, ACK, 101, 501)), None);
}

#[test]
fn a_syn_ack_is_an_answer_to_exactly_that_syn() {
    let mut bench = Bench::both(web(), vec![]);
    bench.say(&tcp(Ingress, CLIENT, SERVER, SYN, 100, 0));
    assert_eq!(bench.say(&tcp(Ingress, CLIENT, SERVER, SYN | ACK, 1, 101)), Some(Reason::NoConnection));
    assert_eq!(bench.say(&tcp(Egress, SERVER, CLIENT, SYN | ACK, 500, 102)), Some(Reason::NoConnection));
    assert_eq!(bench.say(&tcp(Egress, SERVER, CLIENT, SYN | ACK, 500, 101)), None);
}

#[test]
fn a_flow_stays_half_open_until_the_opener_acknowledges_the_syn_ack() {
    let mut bench = Bench::both(web(), vec![]);
    bench.say(&tcp(Ingress, CLIENT, SERVER, SYN, 100, 0));
    bench.say(&tcp(Egress, SERVER, CLIENT, SYN | ACK, 500, 101));
    for blind in [7, 501 + 65_536, 1 << 30] {
        assert_eq!(bench.say(&tcp(Ingress, CLIENT, SERVER, ACK, 101, blind)), None);
        assert_eq!((bench.conntrack.half_open().count(), bench.conntrack.connections().count()), (1, 0));
    }
    assert_eq!(bench.say(&tcp(Ingress, CLIENT, SERVER, ACK, 101, 501)), None);
    assert_eq!((bench.conntrack.half_open().count(), bench.conntrack.connections().count()), (0, 1));
}

#[test]
fn a_reset_counts_only_in_sequence() {
    let mut bench = established();
    for sequence in [500, 501 + 65_536, 0x9000_0000] {
        assert_eq!(bench.say(&tcp(Egress, SERVER, CLIENT, RST, sequence, 0)), None);
        assert_eq!(state(&bench), [FlowState::Established]);
    }
    assert_eq!(bench.say(&tcp(Egress, SERVER, CLIENT, RST, 501, 0)), None);
    assert_eq!(state(&bench), [FlowState::Closed]);
}

#[test]
fn a_reset_proves_nothing_by_an_acknowledgement_that_its_own_side_has_sent() {
    let mut bench = established();
    assert_eq!(bench.say(&tcp(Ingress, CLIENT, SERVER, ACK, 7777, 4242)), None);
    assert_eq!(bench.say(&tcp(Ingress, CLIENT, SERVER, RST | ACK, 0x9000_0000, 4242)), None);
    assert_eq!(state(&bench), [FlowState::Established]);
}

#[test]
fn a_reset_nearly_in_sequence_is_believed_until_either_side_goes_on() {
    for (hook, source, destination) in [(Egress, SERVER, CLIENT), (Ingress, CLIENT, SERVER)] {
        let mut bench = established();
        let gives_up = |acknowledged| tcp(Egress, SERVER, CLIENT, RST | ACK, 777, acknowledged);
        for blind in [tcp(Egress, SERVER, CLIENT, RST, 777, 0), gives_up(103), gives_up(102_u32.wrapping_sub(65_536))] {
            assert_eq!(bench.say(&blind), None);
            assert_eq!(state(&bench), [FlowState::Established], "whoever gives up a connection knows what it was sent");
        }
        assert_eq!(bench.say(&gives_up(101_u32.wrapping_sub(300))), None);
        assert_eq!(state(&bench), [FlowState::Closing]);
        bench.say(&tcp(Ingress, CLIENT, SERVER, SYN, 9000, 0));
        assert_eq!(state(&bench), [FlowState::Closing], "a SYN begins nothing anew");
        assert_eq!(bench.say(&tcp(hook, source, destination, ACK, 1, 1)), None);
        assert_eq!(state(&bench), [FlowState::Established]);
    }
}

#[test]
fn a_reset_of_a_number_that_was_forged_as_acknowledged_ends_nothing() {
    let mut bench = established();
    assert_eq!(bench.say(&tcp(Egress, SERVER, CLIENT, ACK, 501, 101)), None);
    assert_eq!(bench.say(&tcp(Ingress, CLIENT, SERVER, ACK, 99, 70_000)), None);
    assert_eq!(bench.say(&tcp(Egress, SERVER, CLIENT, RST, 70_000, 0)), None);
    assert_eq!(state(&bench), [FlowState::Established]);
    assert_eq!(bench.say(&tcp(Ingress, CLIENT, SERVER, ACK, 101, 501)), None);
    assert_eq!(bench.say(&tcp(Egress, SERVER, CLIENT, RST, 501, 0)), None);
    assert_eq!(state(&bench), [FlowState::Closed]);
}

#[test]
fn a_fin_counts_when_the_other_side_acknowledges_it() {
    let mut bench = established();
    bench.say(&tcp(Ingress, CLIENT, SERVER, FIN | ACK, 101, 501));
    assert_eq!(state(&bench), [FlowState::Established]);
    bench.say(&tcp(Egress, SERVER, CLIENT, ACK, 501, 102));
    assert_eq!(state(&bench), [FlowState::Closing]);
    assert_eq!(bench.say(&tcp(Ingress, CLIENT, SERVER, SYN, 9000, 0)), None);
    assert_eq!(state(&bench), [FlowState::Closing], "a SYN takes no half-closed flow away");
    bench.say(&tcp(Egress, SERVER, CLIENT, FIN | ACK, 501, 102));
    bench.say(&tcp(Ingress, CLIENT, SERVER, ACK, 102, 502));
    assert_eq!(state(&bench), [FlowState::Closed]);
}

#[test]
fn a_flow_older_than_its_timeout_does_not_exist() {
    let mut bench = established();
    bench.now += 86_000 * SECOND;
    assert_eq!(bench.say(&tcp(Ingress, CLIENT, SERVER, ACK, 101, 501)), None);
    bench.now += 86_400 * SECOND;
    assert_eq!(bench.say(&tcp(Ingress, CLIENT, SERVER, ACK, 101, 501)), Some(Reason::NoConnection));
}

#[test]
fn a_full_table_refuses_new_flows_and_keeps_old_ones() {
    let mut bench = Bench::both(web(), vec![]);
    bench.set.daemon.conntrack.max_half_open = 1;
    assert_eq!(bench.say(&tcp(Ingress, CLIENT, SERVER, SYN, 100, 0)), None);
    assert_eq!(bench.say(&tcp(Ingress, "203.0.113.10:1", SERVER, SYN, 1, 0)), Some(Reason::ConntrackFull));
    assert_eq!(bench.say(&tcp(Egress, SERVER, CLIENT, SYN | ACK, 500, 101)), None);
    bench.set.daemon.conntrack.max_entries = 0;
    assert_eq!(bench.say(&tcp(Ingress, CLIENT, SERVER, ACK, 101, 501)), Some(Reason::ConntrackFull));
}

#[test]
fn a_new_deny_ends_the_flow_on_its_next_packet_both_ways() {
    let mut bench = established();
    let mut denied = bench.set.clone();
    denied.policies[0].ingress.as_mut().unwrap().rules[0].action = Action::Deny;
    bench.reload(denied);
    let judgement = bench.judge(&tcp(Egress, SERVER, CLIENT, ACK, 501, 101));
    assert_eq!((judgement.reason, judgement.rule.map(|rule| rule.id)), (Some(Reason::Rule), Some("web".to_owned())));
    assert_eq!(bench.say(&tcp(Ingress, CLIENT, SERVER, ACK, 101, 501)), Some(Reason::NoConnection));
}

#[test]
fn a_flow_that_is_still_allowed_lives_on_and_keep_asks_nobody() {
    let mut bench = established();
    bench.reload(bench.set.clone());
    assert_eq!(bench.say(&tcp(Egress, SERVER, CLIENT, ACK, 501, 101)), None);
    let mut denied = bench.set.clone();
    denied.policies[0].ingress.as_mut().unwrap().rules.clear();
    denied.daemon.conntrack.keep_established = true;
    bench.reload(denied);
    assert_eq!(bench.say(&tcp(Ingress, CLIENT, SERVER, ACK, 101, 501)), None);
}

#[test]
fn answers_to_what_an_unpoliced_direction_sent_need_no_rule() {
    let mut bench = Bench::ingress(vec![]);
    assert_eq!(bench.say(&tcp(Egress, SERVER, CLIENT, SYN, 100, 0)), None);
    assert_eq!(bench.say(&tcp(Ingress, CLIENT, SERVER, SYN | ACK, 500, 101)), None);
    assert_eq!(bench.say(&tcp(Egress, SERVER, "192.0.2.1:5", ACK, 1, 1)), None);
    assert_eq!(bench.say(&tcp(Ingress, "192.0.2.1:5", SERVER, ACK, 1, 1)), Some(Reason::NoConnection));
}
