//! The walk of one packet through the stages.
//!
//! Knows the order of the stages and where they may refuse. What each stage means is in its own file.

use super::link::Link;
use super::packet::{ETHERTYPE_ARP, Packet};
use super::state::{Conntrack, Finding, FragmentKey, State};
use super::{Decision, Judgement, Verdict, rules, stages};
use crate::policy::model::Hook;
use crate::policy::reason::Reason;

/// One packet before the judge.
pub(super) struct Trial<'a, 'p> {
    pub(super) link: &'a Link<'p>,
    pub(super) conntrack: &'a mut Conntrack,
    pub(super) packet: &'a Packet,
    pub(super) now: u64,
    pub(super) steps: Vec<String>,
}

impl Trial<'_, '_> {
    /// Judges the packet and remembers the verdict if it is a first fragment.
    pub(super) fn run(mut self) -> Judgement {
        let decision = self.decide();
        let Decision { verdict, reason, rule, default } = decision;
        Judgement { verdict, reason, rule, default, steps: self.steps }
    }

    fn isolated(&self) -> bool {
        self.link.isolated(self.packet.hook)
    }

    fn say(&mut self, step: impl Into<String>) {
        self.steps.push(step.into());
    }

    fn drop(&mut self, stage: &str, reason: Reason) -> Decision {
        self.say(format!("{stage}: drop, {reason}"));
        Decision::drop(reason)
    }

    fn allow(&mut self, step: impl Into<String>) -> Decision {
        self.say(step);
        Decision::allow()
    }

    fn decide(&mut self) -> Decision {
        if let Some(reason) = self.packet.refusal {
            return self.unreadable(reason);
        }
        if let Some(reason) = stages::refused_arrival(self.link, self.packet) {
            return self.drop("deny sets", reason);
        }
        if self.packet.ip.is_none() {
            return self.not_ip();
        }
        let datagram = FragmentKey::of(self.link.interface.ifindex, self.packet).filter(|_| self.isolated());
        if let Some(decision) = datagram.and_then(|key| self.known_datagram(&key)) {
            return decision;
        }
        let decision = self.judge_ip();
        let first = self.packet.ip.as_ref().filter(|ip| ip.is_first_fragment()).and_then(|ip| ip.fragment);
        if let (Some(key), Some(fragment)) = (datagram, first) {
            self.conntrack.remember(key, &fragment, &decision, self.now);
        }
        decision
    }

    /// Stage 1 has objected. That counts where the hook is isolated, and at ingress where a policy says so.
    fn unreadable(&mut self, reason: Reason) -> Decision {
        let earliest = reason == Reason::Malformed && self.packet.hook == Hook::Ingress && self.link.drops_malformed();
        if self.isolated() || earliest {
            return self.drop("parse", reason);
        }
        self.allow(format!("parse: {reason}, but this direction is not isolated: passes untouched"))
    }

    /// Stage 3.
    fn not_ip(&mut self) -> Decision {
        let ethertype = self.packet.ethertype;
        if ethertype == ETHERTYPE_ARP {
            return self.allow("ethertype: ARP always passes");
        }
        if !self.isolated() {
            return self.allow("ethertype: this direction is not isolated");
        }
        if self.link.lists_ethertype(ethertype) {
            return self.allow(format!("ethertype: {ethertype:#06x} is listed"));
        }
        self.drop("ethertype", Reason::Ethertype)
    }

    /// A fragment of a datagram whose first fragment is remembered: a later one follows it, another first one must be the same.
    fn known_datagram(&mut self, key: &FragmentKey) -> Option<Decision> {
        let fragment = self.packet.ip.as_ref()?.fragment?;
        let known = self.conntrack.remembered(key, self.now)?;
        if fragment.offset > 0 {
            let decision = known.decision.clone();
            self.say("fragment: follows the verdict of its first fragment");
            return Some(decision);
        }
        if known.agrees(&fragment) {
            return None;
        }
        self.conntrack.forget(key);
        Some(self.drop("fragment", Reason::FragmentConflict))
    }

    /// Stages 4 to 7.
    fn judge_ip(&mut self) -> Decision {
        let (link, packet, isolated) = (self.link, self.packet, self.isolated());
        if isolated && stages::failsafe(link, packet) {
            self.state().note_failsafe(packet);
            return self.allow("failsafe: always reachable");
        }
        let opening = match self.state().look(packet) {
            Finding::Accepted => return self.allow("state: belongs to a connection"),
            Finding::Ended(decision) => {
                self.say("state: its connection was judged again and has ended");
                return *decision;
            }
            Finding::Refused(reason) if isolated => return self.drop("state", reason),
            Finding::Refused(reason) => return self.allow(format!("state: {reason}, but this direction is not isolated")),
            Finding::Judge(opening) => opening,
        };
        let mut decision = Decision::allow();
        if isolated {
            if let Some(which) = stages::essential(link, packet) {
                return self.allow(format!("essentials: {which}"));
            }
            let (ruled, step) = rules::evaluate(link, packet);
            self.say(step);
            decision = ruled;
        } else {
            self.say("rules: this direction is not isolated");
        }
        let opening = opening.filter(|_| decision.verdict == Verdict::Allow);
        match opening.map(|opening| self.state().open(&opening, packet)) {
            Some(Err(reason)) if isolated => self.drop("state", reason),
            Some(Err(_)) => self.allow("state: no room for a new connection, but this direction is not isolated"),
            Some(Ok(())) | None => decision,
        }
    }

    fn state(&mut self) -> State<'_, '_> {
        let isolated = self.isolated();
        State { link: self.link, table: self.conntrack, now: self.now, isolated }
    }
}
