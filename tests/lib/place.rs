//! The four places where a policy speaks: a kind of endpoint with a direction, and the hook of `left` that serves it.

use crate::bench::Hook;
use crate::policy::policy;

/// Where rules are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// `host` or `workload`.
    pub endpoint: &'static str,
    /// Direction of the policy.
    pub direction: &'static str,
    /// Hook of `left` at which that direction is judged.
    pub hook: Hook,
}

impl Place {
    /// All four.
    pub const ALL: [Place; 4] = [
        Place { endpoint: "host", direction: "ingress", hook: Hook::Ingress },
        Place { endpoint: "host", direction: "egress", hook: Hook::Egress },
        Place { endpoint: "workload", direction: "ingress", hook: Hook::Egress },
        Place { endpoint: "workload", direction: "egress", hook: Hook::Ingress },
    ];

    /// Those where packets arrive from the wire.
    pub const ARRIVING: [Place; 2] = [Place::ALL[0], Place::ALL[3]];

    /// A file with one policy of this endpoint that isolates this direction only; each `[[rule]]` becomes a rule of it.
    pub fn policy(&self, name: &str, rules: &str) -> String {
        let keys = format!("endpoint = \"{}\"\npolicy_types = [\"{}\"]", self.endpoint, self.direction);
        policy(name, &keys) + &self.rules(rules)
    }

    /// Each `[[rule]]` as a rule of this direction.
    pub fn rules(&self, rules: &str) -> String {
        rules.replace("[[rule]]", &format!("[[policy.{}]]", self.direction))
    }
}
