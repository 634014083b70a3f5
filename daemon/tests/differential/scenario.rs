//! What is played: policies, then frames, then other policies. And how a scenario is told to a reader.

use std::fmt::{self, Write};
use std::time::Duration;

use netpol_ebpf::policy::model::Hook;
use netpol_ebpf::policy::reason::Reason;

use crate::bench::LINKS;

/// How long an element that is added at run time stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    Forever,
    /// Longer than any test.
    Long,
    /// It is over already.
    Over,
    /// So many milliseconds.
    Brief(u64),
}

/// What happens between two frames.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// These are the elements of a dynamic set from now on, besides the written ones.
    Set(&'static str, Vec<(&'static str, Life)>),
    Wait(Duration),
}

/// A route of the host: table, prefix, and where it leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path {
    pub table: u32,
    pub net: &'static str,
    pub goal: Goal,
}

/// Where a route leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Goal {
    /// To the host itself.
    Own,
    /// Out of these, as indexes into [`LINKS`].
    Out(Vec<usize>),
    Nowhere,
}

/// One frame at one hook.
#[derive(Clone, PartialEq, Eq)]
pub struct Shot {
    /// What happens before.
    pub before: Vec<Event>,
    /// Index into [`LINKS`].
    pub link: usize,
    pub hook: Hook,
    pub bytes: Vec<u8>,
    /// Part of a larger packet that the kernel has not cut yet.
    pub gso: bool,
}

impl fmt::Debug for Shot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.before.iter().try_for_each(|event| write!(f, "({event:?}) "))?;
        write!(f, "{} {:?}{} ", LINKS[self.link], self.hook, if self.gso { " gso" } else { "" })?;
        self.bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A policy in parts that can be left out.
#[derive(Debug, Clone, Default)]
pub struct PolicyText {
    /// `[[policy]]` and its keys.
    pub head: String,
    /// `[policy.xdp]` and `[policy.anti_spoof]`, where there are any.
    pub tables: Vec<String>,
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
            text.extend(policy.tables.iter().map(String::as_str));
            text.extend(policy.rules.iter().map(String::as_str));
        }
        text
    }
}

/// Policies and the frames that meet them.
#[derive(Debug, Clone)]
pub struct Stage {
    pub text: Text,
    pub paths: Vec<Path>,
    pub shots: Vec<Shot>,
}

/// Two opinions on the same frames.
pub trait Play {
    /// Plays all stages; what both said of each frame, or where they differ.
    fn play(&mut self, stages: &[Stage]) -> Result<Vec<Option<Reason>>, Mismatch>;
}

/// Where the two differ.
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
        let paths: Vec<String> = stage.paths.iter().map(|path| format!("    {path:?}")).collect();
        write!(text, "\n--- stage {position}\n{}\n{}\n{}\n", stage.text.toml(), paths.join("\n"), shots.join("\n")).unwrap();
    }
    let place = mismatch.shot.map_or("at its end".to_owned(), |shot| format!("frame {shot}"));
    write!(text, "\nstage {}, {place}:\n{}\n", mismatch.stage, mismatch.what).unwrap();
    text
}
