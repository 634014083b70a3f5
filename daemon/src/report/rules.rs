//! `rules`: what each rule is called, where it stands and what it has judged.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// One rule, or one policy's default, as scripts see it. Fields are only ever added.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RuleLine {
    /// Version of this form: 1.
    pub version: u32,
    /// Id in the policy.
    pub id: String,
    /// Policy's name.
    pub policy: String,
    /// `ingress` or `egress`, seen from the protected thing.
    pub direction: String,
    /// `allow`, `deny` or `pass`.
    pub action: String,
    /// File in which the rule stands.
    pub file: String,
    /// Line in it, from 1.
    pub line: u32,
    /// Packets that the rule judged (flow-opening, re-judged and denied ones).
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Unix time in seconds of the last one; `null` = never.
    pub last_hit: Option<f64>,
    /// The rule's comment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
}

impl RuleLine {
    /// The cells of the table for people.
    pub fn row(&self) -> Vec<String> {
        vec![
            self.policy.clone(),
            self.direction.clone(),
            self.id.clone(),
            self.action.clone(),
            self.packets.to_string(),
            self.bytes.to_string(),
            self.last_hit.map_or_else(|| "never".into(), |at| ago(unix_now() - at)),
            format!("{}:{}", self.file, self.line),
        ]
    }
}

/// Now, as Unix time in seconds.
pub fn unix_now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs_f64()
}

/// "12 s ago", in the largest unit that fits.
#[allow(clippy::cast_possible_truncation)] // seconds since something that happened on this machine
fn ago(seconds: f64) -> String {
    match seconds.max(0.0) as u64 {
        s @ 0..120 => format!("{s} s ago"),
        s @ 120..7200 => format!("{} min ago", s / 60),
        s @ 7200..172_800 => format!("{} h ago", s / 3600),
        s => format!("{} d ago", s / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::ago;

    #[test]
    fn ago_uses_the_largest_unit_that_fits() {
        assert_eq!([ago(3.2), ago(180.0), ago(7300.0), ago(1e6)], ["3 s ago", "3 min ago", "2 h ago", "11 d ago"]);
    }
}
