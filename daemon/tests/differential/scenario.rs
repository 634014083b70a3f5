//! What is played: policies, then frames, then other policies. And how a scenario is told to a reader.

use std::fmt::{self, Write};

use netpol_ebpf::policy::model::Hook;

use crate::bench::LINKS;

/// One frame at one hook.
#[derive(Clone, PartialEq, Eq)]
pub struct Shot {
    /// Index into [`LINKS`].
    pub link: usize,
    pub hook: Hook,
    pub bytes: Vec<u8>,
    /// Part of a larger packet that the kernel has not cut yet.
    pub gso: bool,
}

impl fmt::Debug for Shot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}{} ", LINKS[self.link], self.hook, if self.gso { " gso" } else { "" })?;
        self.bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A policy in parts that can be left out.
#[derive(Debug, Clone, Default)]
pub struct PolicyText {
    /// `[[policy]]` and its keys.
    pub head: String,
    /// `[policy.xdp]`, or nothing.
    pub xdp: String,
    /// Rules.
    pub rules: Vec<String>,
}

/// A policy file in parts that can be left out.
#[derive(Debug, Clone, Default)]
pub struct Text {
    /// `[daemon]` and all below, and the sets.
    pub head: String,
    pub policies: Vec<PolicyText>,
}

impl Text {
    /// The file.
    pub fn toml(&self) -> String {
        let mut text = format!("version = 1\n{}", self.head);
        for policy in &self.policies {
            text.push_str(&policy.head);
            text.push_str(&policy.xdp);
            text.extend(policy.rules.iter().map(String::as_str));
        }
        text
    }
}

/// Policies and the frames that meet them.
#[derive(Debug, Clone)]
pub struct Stage {
    pub text: Text,
    pub shots: Vec<Shot>,
}

/// Where judge and programs differ.
#[derive(Debug, Clone)]
pub struct Mismatch {
    pub stage: usize,
    /// `None`: the flows at the end of the stage.
    pub shot: Option<usize>,
    pub what: String,
}

/// A scenario and its mismatch, for a reader who has to mend one of the two.
pub fn tell(stages: &[Stage], mismatch: &Mismatch) -> String {
    let mut text = String::new();
    for (position, stage) in stages.iter().enumerate() {
        let shots: Vec<String> = stage.shots.iter().map(|shot| format!("    {shot:?}")).collect();
        write!(text, "\n--- stage {position}\n{}\n{}\n", stage.text.toml(), shots.join("\n")).unwrap();
    }
    let place = mismatch.shot.map_or("at its end".to_owned(), |shot| format!("frame {shot}"));
    write!(text, "\nstage {}, {place}:\n{}\n", mismatch.stage, mismatch.what).unwrap();
    text
}
