//! The walk of one packet through the stages.
//!
//! Knows the order of the stages and where they may refuse. What each stage means is in its own file.

use super::link::Link;
use super::packet::{ETHERTYPE_ARP, Packet};
use super::rules::Asking;
use super::state::{Conntrack, Finding, FragmentKey, Opening, State};
use super::{Decision, Judgement, Objection, Verdict, rules, spoof, stages};
use crate::policy::model::Hook;
use crate::policy::reason::Reason;

/// One packet before the judge.
pub(super) struct Trial<'a, 'p> {
    pub(super) link: &'a Link<'p>,
    pub(super) conntrack: &'a mut Conntrack,
    pub(super) packet: &'a Packet,
    pub(super) now: u64,
    pub(super) would_deny: Vec<Objection>,
    pub(super) steps: Vec<String>,
}

impl Trial<'_, '_> {
    /// Judges the packet and remembers the verdict if it is a first fragment.
    pub(super) fn run(mut self) -> Judgement {
        let Decision { verdict, reason, rule, default } = self.decide();
        let Trial { would_deny, mut steps, .. } = self;
        steps.extend(would_deny.iter().map(|objection| format!("audit: {objection} would deny")));
        Judgement { verdict, reason, rule, default, would_deny, steps }
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
        let at = self.conntrack.moment(self.now);
        if let Some(reason) = stages::refused_arrival(self.link, self.packet, at) {
            return self.drop("deny sets", reason);
        }
        if stages::exceeds_rate(self.link, self.packet, &mut self.conntrack.rates, at) {
            return self.drop("rate of the source", Reason::RateLimit);
        }
        if let Some(reason) = self.forged() {
            return self.drop("anti-spoof", reason);
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

    /// Stage 2c.
    fn forged(&self) -> Option<Reason> {
        let is_asked = self.packet.hook == Hook::Ingress && self.isolated();
        is_asked.then(|| spoof::forged(self.link, self.packet, self.conntrack.moment(self.now))).flatten()
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
            return self.allow("ethertype: ARP passes");
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
        match stages::essential(link, packet) {
            _ if !isolated => self.watch(opening),
            Some(which) => self.allow(format!("essentials: {which}")),
            None => self.ask_rules(opening),
        }
    }

    /// Stage 7, and the flow that comes of it.
    fn ask_rules(&mut self, opening: Option<Opening>) -> Decision {
        let (decision, until) = self.rules();
        let opening = opening.filter(|_| decision.verdict == Verdict::Allow);
        let packet = self.packet;
        match opening.map(|opening| self.state().open(&opening, packet, until)) {
            Some(Err(reason)) => self.drop("state", reason),
            Some(Ok(())) | None => decision,
        }
    }

    /// A hook that no policy isolates: flows are made, and policies in audit mode judge what they would judge if they isolated it.
    fn watch(&mut self, opening: Option<Opening>) -> Decision {
        let (link, packet) = (self.link, self.packet);
        let is_later = packet.ip.as_ref().is_some_and(|ip| ip.is_later_fragment());
        if !is_later && !stages::failsafe(link, packet) && stages::essential(link, packet).is_none() {
            self.rules();
        }
        match opening.map(|opening| self.state().open(&opening, packet, None)) {
            Some(Err(_)) => self.allow("state: no room for a new connection, but this direction is not isolated"),
            Some(Ok(())) | None => self.allow("rules: this direction is not isolated"),
        }
    }

    /// What the rules say of the packet, and until when that holds.
    fn rules(&mut self) -> (Decision, Option<u64>) {
        let at = self.conntrack.moment(self.now);
        let ruling = rules::evaluate(self.link, self.packet, at, Asking::Packet(&mut self.conntrack.rates));
        self.say(ruling.step);
        self.would_deny.extend(ruling.would_deny);
        (ruling.decision, ruling.until)
    }

    fn state(&mut self) -> State<'_, '_> {
        let isolated = self.isolated();
        State { link: self.link, table: self.conntrack, now: self.now, isolated, would_deny: &mut self.would_deny }
    }
}
