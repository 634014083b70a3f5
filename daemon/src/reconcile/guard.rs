//! The guard of the live session: `apply` does not cut off the administrator who called it.
//!
//! Only the session in which the command was typed counts: a ruleset against somebody else's connection must go live.

use std::sync::Arc;

use super::{Candidate, Reconciler, Refusal};
use crate::policy::judge::{self, Judgement, Verdict};
use crate::policy::model::{Direction, Element, Expect, Origin as Place, TestCase, TestPacket, Vlan};
use crate::sets::Added;
use crate::trigger::control::Session;

/// SYN of the TCP flag byte.
const SYN: u8 = 2;

impl Reconciler {
    /// `apply`: reads the directory and makes it live, unless that would end the session that asks for it.
    ///
    /// # Errors
    /// The first stage that refused. The running generation is as it was.
    pub fn apply(&mut self, session: Option<&Session>) -> Result<(), Refusal> {
        self.reload_sparing(true, session)
    }

    /// Refuses what would not let the session in.
    pub(super) fn spare(&mut self, session: &Session, candidate: &Candidate) -> Result<(), Refusal> {
        if !candidate.policies.daemon.live_session_guard || candidate.policies.daemon.conntrack.keep_established {
            return Ok(());
        }
        let Some((interface, vlan)) = self.interface_of(session)? else { return Ok(()) };
        match self.refused(candidate, session, &interface, vlan) {
            Some(why) => Err(self.note(Refusal::would_cut(session, &interface, &why))),
            None => Ok(()),
        }
    }

    /// The policed interface that the session runs over, and its tags there.
    fn interface_of(&self, session: &Session) -> Result<Option<(String, Option<Vlan>)>, Refusal> {
        let (Some(kernel), Some(live)) = (&self.kernel, &self.live) else { return Ok(None) };
        let place = kernel.tcp_flow(session.remote, session.local)?;
        Ok(place.and_then(|(ifindex, [outer, inner])| {
            let vlan = (outer != 0).then_some(Vlan { outer, inner });
            Some((live.ruleset.links.get(&ifindex)?.name.clone(), vlan))
        }))
    }

    /// Why the new ruleset would not let the session in, with what dynamic sets hold and what has expired by now.
    fn refused(&self, candidate: &Candidate, session: &Session, interface: &str, vlan: Option<Vlan>) -> Option<String> {
        let now = self.sets.now();
        let mut policies = (*candidate.policies).clone();
        for set in policies.sets.iter_mut().filter(|set| set.dynamic.is_some()) {
            let live = self.sets.added(&set.name).into_iter().flat_map(Added::iter).filter(|(_, expiry)| !expiry.is_over(now));
            set.added = live.map(|(net, _)| Element { net, expires: None }).collect();
        }
        let moment = i64::try_from(now).unwrap_or(i64::MAX).saturating_mul(1_000_000);
        refused(&judge::judge_test_at(&policies, &opening(session, interface, vlan), moment))
    }
}

/// The session as if it began now.
fn opening(session: &Session, interface: &str, vlan: Option<Vlan>) -> TestCase {
    let origin = Place { file: Arc::from("(the session of this command)"), line: 1, column: 1 };
    let packet = TestPacket {
        origin: origin.clone(),
        protocol: 6,
        source: session.remote,
        destination: session.local,
        icmp: None,
        tcp_flags: SYN,
        vlan,
    };
    TestCase {
        name: "live session".into(),
        origin,
        interface: interface.to_owned(),
        direction: Direction::Ingress,
        packet,
        after: Vec::new(),
        expect: Expect::Allow,
        rule: None,
    }
}

/// What refuses it, if anything does.
fn refused(judgement: &Judgement) -> Option<String> {
    let by_rule = judgement.rule.as_ref().map(|rule| format!("the rule {}/{} ({})", rule.policy, rule.id, rule.origin));
    let by_default = judgement.default.as_ref().map(|default| format!("the default of {} ({})", default.policy, default.origin));
    let by_stage = judgement.reason.map_or_else(String::new, |reason| reason.to_string());
    (judgement.verdict != Verdict::Allow).then(|| by_rule.or(by_default).unwrap_or(by_stage))
}

impl Refusal {
    fn would_cut(session: &Session, interface: &str, why: &str) -> Self {
        let Session { remote, local } = session;
        let text = format!(
            "this would cut off the session that you work in ({remote} to {local} on {interface}): {why} refuses it\n\
             let it in, or use `netpol-ebpf apply --confirm`, or write `live_session_guard = false` in [daemon]"
        );
        Refusal::new(super::Kind::Declined, text)
    }
}
