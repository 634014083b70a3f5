//! Stage 5: connection state.
//!
//! Knows what a packet is to the connection table: part of a flow, an opener, or nothing that may pass. The rules are asked only
//! to judge a stale flow again.

mod flow;
pub(super) mod icmp;
mod table;
mod tcp;

pub use flow::{Flow, FlowKey, FlowState};
pub use table::Conntrack;
pub(super) use table::FragmentKey;

use super::clock::Moment;
use super::link::Link;
use super::packet::{Icmp, IpPacket, L4, Packet, Tcp};
use super::rules::{Asking, Ruling};
use super::{Decision, Objection, Verdict, rules, stages};
use crate::policy::model;
use crate::policy::reason::Reason;
use flow::Stamp;
use icmp::Kind;

/// What the connection table says about a packet.
pub(super) enum Finding {
    /// It belongs to a flow that may go on.
    Accepted,
    /// It is refused, where the hook is isolated.
    Refused(Reason),
    /// Its flow was judged again and has ended: refused at either hook.
    Ended(Box<Decision>),
    /// The rules decide; if they allow it, this flow is made.
    Judge(Option<Opening>),
}

/// A flow that a packet may open.
pub(super) struct Opening {
    key: FlowKey,
    state: FlowState,
}

/// The table and what a look-up in it needs.
pub(super) struct State<'a, 'p> {
    pub(super) link: &'a Link<'p>,
    pub(super) table: &'a mut Conntrack,
    pub(super) now: u64,
    /// Whether the packet's hook is isolated; where it is not, flows are followed and not judged.
    pub(super) isolated: bool,
    /// Filled with what policies in audit mode say against a flow that is judged again.
    pub(super) would_deny: &'a mut Vec<Objection>,
}

impl State<'_, '_> {
    fn settings(&self) -> &model::Conntrack {
        &self.link.set.daemon.conntrack
    }

    /// Looks at a packet that is no later fragment; its flow is brought up to date.
    pub(super) fn look(&mut self, packet: &Packet) -> Finding {
        let Some(ip) = packet.ip.as_ref().filter(|ip| !ip.is_later_fragment()) else { return Finding::Judge(None) };
        match &ip.l4 {
            L4::Icmp(message) => self.icmp(packet, ip, message),
            L4::Tcp(segment) => self.tcp(packet, segment),
            L4::Sctp { first_chunk, .. } if *first_chunk == Some(flow::SCTP_INIT) => self.always_judged(packet),
            L4::Sctp { .. } => self.answer_or(packet, Finding::Refused(Reason::NoConnection)),
            L4::Ports { .. } | L4::None => self.answer_or_open(packet),
        }
    }

    fn icmp(&mut self, packet: &Packet, ip: &IpPacket, message: &Icmp) -> Finding {
        match icmp::kind(ip.family(), message.icmp_type) {
            Kind::Request => self.answer_or_open(packet),
            Kind::Answer(_) => self.answer_or(packet, Finding::Refused(Reason::NoConnection)),
            Kind::Error => self.error(packet, ip, message),
            Kind::Redirect => Finding::Refused(Reason::IcmpRedirect),
            Kind::Other => Finding::Judge(None),
        }
    }

    /// An ICMP error is accepted if it goes to the sender of a packet of a live flow. The flow does not change.
    fn error(&mut self, packet: &Packet, ip: &IpPacket, message: &Icmp) -> Finding {
        let unrelated = Finding::Refused(Reason::NoConnection);
        let Some(quote) = message.quoted.as_ref().filter(|quote| quote.source == ip.destination) else { return unrelated };
        let Some(key) = FlowKey::of_quote(self.link.interface.ifindex, packet, quote) else { return unrelated };
        match self.current(&key) {
            Err(ended) => Finding::Ended(ended),
            Ok(true) => Finding::Accepted,
            Ok(false) => unrelated,
        }
    }

    fn tcp(&mut self, packet: &Packet, segment: &Tcp) -> Finding {
        if tcp::opens(segment.flags) {
            return self.always_judged(packet);
        }
        let Some(key) = self.key(packet) else { return Finding::Refused(Reason::Internal) };
        if tcp::is_syn_ack(segment.flags) && !self.is_answered_by(&key, packet, segment) {
            return Finding::Refused(Reason::NoConnection);
        }
        match self.current(&key) {
            Err(ended) => Finding::Ended(ended),
            Ok(true) => self.advance(&key, packet),
            Ok(false) if self.is_loose() => {
                let opening = Opening { key, state: FlowState::New };
                Finding::Judge(Some(opening).filter(|_| tcp::may_begin(segment.flags)))
            }
            Ok(false) => Finding::Refused(Reason::NoConnection),
        }
    }

    /// Whether a mid-stream packet may open a flow: always, or for a while after the interface came under policy.
    fn is_loose(&self) -> bool {
        self.settings().loose || self.now < self.link.interface.adopt_until
    }

    /// Whether there is a flow that the SYN-ACK answers.
    fn is_answered_by(&mut self, key: &FlowKey, packet: &Packet, segment: &Tcp) -> bool {
        let (settings, now) = (self.link.set.daemon.conntrack.clone(), self.now);
        let flow = self.table.live(key, &settings, now);
        flow.is_some_and(|flow| tcp::may_answer(flow, segment, flow.opener == packet.hook))
    }

    /// A packet that may open a flow and is judged by the rules even if there is one. A flow of another generation waits for a packet
    /// of its own to be judged again: this one does not pass because of it.
    fn always_judged(&self, packet: &Packet) -> Finding {
        let Some(key) = self.key(packet) else { return Finding::Refused(Reason::Internal) };
        Finding::Judge(Some(Opening { key, state: FlowState::New }))
    }

    fn answer_or_open(&mut self, packet: &Packet) -> Finding {
        let opening = self.key(packet).map(|key| Opening { key, state: FlowState::New });
        self.answer_or(packet, Finding::Judge(opening))
    }

    /// Part of a live flow, or else `otherwise`.
    fn answer_or(&mut self, packet: &Packet, otherwise: Finding) -> Finding {
        let Some(key) = self.key(packet) else { return otherwise };
        match self.current(&key) {
            Err(ended) => Finding::Ended(ended),
            Ok(true) => self.advance(&key, packet),
            Ok(false) => otherwise,
        }
    }

    fn key(&self, packet: &Packet) -> Option<FlowKey> {
        FlowKey::of(self.link.interface.ifindex, packet)
    }

    /// Whether there is a live flow. A stale one is judged again first: refused, it is deleted.
    fn current(&mut self, key: &FlowKey) -> Result<bool, Box<Decision>> {
        let (settings, now) = (self.link.set.daemon.conntrack.clone(), self.now);
        let (fresh, at) = (self.stamp(None), self.table.moment(now));
        let Some(flow) = self.table.live(key, &settings, now) else { return Ok(false) };
        let is_stale = flow.generation != fresh.generation || flow.epoch != fresh.epoch || at.is_over(flow.expires);
        if self.isolated && is_stale && !settings.keep_established {
            let ruling = judge_opening(self.link, &key.opening_packet(flow), at);
            self.would_deny.extend(ruling.would_deny);
            if ruling.decision.verdict != Verdict::Allow {
                self.table.remove(key);
                return Err(Box::new(ruling.decision));
            }
            flow.stamp(Stamp { expires: ruling.until, ..fresh });
        }
        Ok(true)
    }

    fn stamp(&self, expires: Option<u64>) -> Stamp {
        Stamp { generation: self.table.generation, epoch: self.table.set_epoch, expires }
    }

    /// Notes a packet of a live flow.
    fn advance(&mut self, key: &FlowKey, packet: &Packet) -> Finding {
        let (settings, now) = (self.link.set.daemon.conntrack.clone(), self.now);
        let Some(flow) = self.table.live(key, &settings, now) else { return Finding::Refused(Reason::Internal) };
        let forward = flow.opener == packet.hook;
        let (is_answered, state) = match packet.ip.as_ref().map(|ip| &ip.l4) {
            Some(L4::Tcp(segment)) => (tcp::ends_handshake(flow, segment, forward), tcp::advance(flow, segment, forward)),
            _ if forward => (false, flow.state),
            _ => (flow.state == FlowState::New, FlowState::Answered),
        };
        flow.seen = now;
        if is_answered && self.table.promote(key, &settings, now).is_err() {
            return Finding::Refused(Reason::ConntrackFull);
        }
        if let Some(flow) = self.table.live(key, &settings, now) {
            flow.state = state;
        }
        Finding::Accepted
    }

    /// Makes the flow of an opener that was accepted. What allowed it holds until `expires`.
    ///
    /// A SYN meets a flow that may still be alive: one that has ended, and an unanswered one of the same side, give way; any other
    /// stays as it is, so that a forged SYN ends nothing.
    pub(super) fn open(&mut self, opening: &Opening, packet: &Packet, expires: Option<u64>) -> Result<(), Reason> {
        let (settings, now) = (self.link.set.daemon.conntrack.clone(), self.now);
        if let Some(flow) = self.table.live(&opening.key, &settings, now) {
            let same_side = flow.opener == packet.hook;
            let gives_way = match flow.state {
                FlowState::New => same_side,
                FlowState::Closed => true,
                FlowState::Answered | FlowState::Established | FlowState::Closing => false,
            };
            if !gives_way {
                flow.seen = now;
                return Ok(());
            }
        }
        let flow = Flow::opened_by(packet, opening.state, now, self.stamp(expires));
        self.table.insert(opening.key, flow, &settings, now).map_err(|_full| Reason::ConntrackFull)
    }

    /// Failsafe: the packet passes whatever the state; its flow is noted, or made where there is none and room.
    pub(super) fn note_failsafe(&mut self, packet: &Packet) {
        let (Some(ip), Some(key)) = (packet.ip.as_ref(), self.key(packet)) else { return };
        let (settings, now) = (self.link.set.daemon.conntrack.clone(), self.now);
        let is_known = self.table.live(&key, &settings, now).is_some();
        let state = match &ip.l4 {
            L4::Tcp(segment) if tcp::opens(segment.flags) => Some(FlowState::New),
            L4::Tcp(segment) => tcp::may_begin(segment.flags).then_some(FlowState::New).filter(|_| !is_known),
            L4::Sctp { first_chunk, .. } => (*first_chunk == Some(flow::SCTP_INIT)).then_some(FlowState::New),
            _ => Some(FlowState::New).filter(|_| !is_known),
        };
        // What comes back is of no interest: neither a full table nor the connection's order refuses this packet.
        match state {
            Some(state) => self.open(&Opening { key, state }, packet, None).unwrap_or_default(),
            None if is_known => drop(self.advance(&key, packet)),
            None => {}
        }
    }
}

/// Judges the opening packet of a flow again: deny sets, failsafe, essentials, rules.
fn judge_opening(link: &Link<'_>, opening: &Packet, at: Moment) -> Ruling {
    let without_rules = |decision, step: &str| Ruling { decision, would_deny: Vec::new(), until: None, step: step.to_owned() };
    if let Some(reason) = stages::refused_arrival(link, opening, at) {
        return without_rules(Decision::drop(reason), "deny sets");
    }
    let passes = !link.isolated(opening.hook) || stages::failsafe(link, opening) || stages::essential(link, opening).is_some();
    if passes { without_rules(Decision::allow(), "no rule is asked") } else { rules::evaluate(link, opening, at, Asking::Again) }
}
