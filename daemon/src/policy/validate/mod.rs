//! Schema -> model: every error of every file, or a policy that can no longer be wrong.
//!
//! Knows the laws of the language as far as they concern what is written. Knows no interface that exists and no kernel; set files are
//! read through the snapshot. One topic a file; each reports what it refuses and goes on.

mod address;
mod anti_spoof;
mod audit;
mod daemon;
pub mod elements;
mod icmp;
mod interfaces;
mod moment;
mod never;
mod owner;
mod peers;
mod policies;
mod ranges;
mod rates;
mod rules;
mod sets;
mod shadow;
mod tests;
mod unreached;
mod words;
mod xdp;

use std::collections::HashMap;

use super::model::{EndpointKind, Failsafe, PolicySet};
use crate::schema;
use crate::schema::diagnose::{Diagnostic, Severity};
use crate::schema::document::Document;
use crate::schema::place::Report;
use crate::source::Snapshot;

/// What came of a directory.
#[derive(Debug)]
pub struct Loaded {
    /// The proven policies, or all errors in order of file and place.
    pub policies: Result<PolicySet, Vec<Diagnostic>>,
    /// What is allowed but probably not meant.
    pub warnings: Vec<Diagnostic>,
}

/// Reads the meaning of all files of a snapshot; set files are read through it. `now` is Unix time in seconds, for rules that expire.
pub fn load_at(snapshot: &mut Snapshot, now: i64) -> Loaded {
    let mut report = Report::new(snapshot);
    let documents = schema::read(snapshot, &mut report);
    let policies = validate(&documents, snapshot, now, &mut report);
    let numbers: HashMap<&str, usize> = snapshot.files.iter().map(|file| file.path.as_str()).zip(0..).collect();
    let order = |diagnostic: &Diagnostic| {
        let place = diagnostic.place.clone();
        let file = place.as_ref().and_then(|place| numbers.get(&*place.file).copied());
        (file.unwrap_or(usize::MAX), place)
    };
    report.diagnostics.sort_by_cached_key(order);
    let (errors, warnings): (Vec<_>, Vec<_>) =
        report.diagnostics.into_iter().partition(|diagnostic| diagnostic.severity == Severity::Error);
    Loaded { policies: if errors.is_empty() { Ok(policies) } else { Err(errors) }, warnings }
}

/// A duration as policies write it, in seconds.
///
/// # Errors
/// One sentence that quotes the text.
pub fn duration(text: &str) -> Result<u64, String> {
    words::duration(text).map_err(|refused| match refused.help {
        Some(help) => format!("{}; {help}", refused.message),
        None => refused.message,
    })
}

/// The failsafe entries (inbound, outbound) that can be understood in files that are refused.
pub fn salvage_failsafe(snapshot: &Snapshot) -> (Vec<Failsafe>, Vec<Failsafe>) {
    let mut report = Report::new(snapshot);
    let documents = schema::read(snapshot, &mut report);
    daemon::salvage(&documents, &mut report)
}

/// What rules are read with.
struct Reading<'a> {
    sets: &'a mut sets::SetTable,
    /// `loose` of connection tracking: mid-stream segments may open flows.
    loose: bool,
    /// Unix time in seconds.
    now: i64,
}

/// Everything that could be understood; it counts only if nothing was refused.
fn validate(documents: &[Document], snapshot: &mut Snapshot, now: i64, report: &mut Report) -> PolicySet {
    let mut sets = sets::SetTable::read(documents, snapshot, report);
    let daemon = daemon::read(documents, report);
    let written = documents.iter().map(|document| document.policies.len()).sum::<usize>();
    let mut reading = Reading { sets: &mut sets, loose: daemon.conntrack.loose, now };
    let proven = policies::read(documents, &mut reading, report);
    let whole = proven.len() == written && !report.incomplete;
    let tests = tests::read(documents, &proven, whole, report);
    if whole {
        sets.warn_unused(report);
        unreached::warn(&proven, report);
        let failsafe = documents.iter().filter_map(|document| document.daemon.as_ref()).find(|block| {
            let entries = block.failsafe_inbound.len() + block.failsafe_outbound.len();
            entries > 0
        });
        let workloads = !proven.is_empty() && proven.iter().all(|proven| proven.policy.endpoint == EndpointKind::Workload);
        if let Some(block) = failsafe.filter(|_| workloads) {
            report.warning(block.span, "failsafe entries protect host endpoints, and all policies are for workloads");
        }
    }
    let mut policies: Vec<_> = proven.into_iter().map(|proven| proven.policy).collect();
    policies.sort_by(|a, b| (a.order, &a.name).cmp(&(b.order, &b.name)));
    PolicySet { daemon, sets: sets.sets, policies, tests }
}
