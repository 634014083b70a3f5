//! `check`: everything that can be said about a directory without root and without a kernel.
//!
//! Errors and warnings come from the files alone. Notes compare them with this host (interfaces that are there
//! now, where those can be listed; files that the daemon would not trust); they change no exit code, because the files may be meant for
//! another host.

use std::io::IsTerminal;
use std::path::Path;

use serde_json::{Value, json};

use super::{BAD_POLICY, DONE, REFUSED, print};
use crate::compile;
use crate::compile::ruleset::{DeviceKind, LinkFacts};
use crate::kernel;
use crate::policy::judge::{self, TestFailure};
use crate::policy::model::{InterfaceSelector, PolicySet};
use crate::policy::{self, Loaded};
use crate::report;
use crate::schema::diagnose::Diagnostic;
use crate::schema::render;
use crate::source::{self, Snapshot, SourceError, Trust};

/// What a directory holds and what there is to say about it.
#[derive(Debug)]
pub struct Checked {
    /// The files that were judged.
    pub snapshot: Snapshot,
    /// The proven policies; `None` = refused.
    pub policies: Option<PolicySet>,
    /// Errors first, then warnings; each in order of file and place.
    pub diagnostics: Vec<Diagnostic>,
}

impl Checked {
    /// The diagnostics as text for people; empty where there is nothing to say.
    pub fn text(&self, color: bool) -> String {
        render(&self.diagnostics, &self.snapshot, color)
    }
}

/// Reads and validates a policy directory.
///
/// # Errors
/// The directory itself cannot be read; what is wrong with its files stands in the result.
pub fn check(directory: &Path) -> Result<Checked, SourceError> {
    let mut snapshot = source::read(directory, Trust::Checked)?;
    let Loaded { policies, warnings } = policy::load(&mut snapshot);
    let (policies, mut diagnostics) = match policies {
        Ok(policies) => (Some(policies), Vec::new()),
        Err(errors) => (None, errors),
    };
    diagnostics.extend(warnings);
    Ok(Checked { snapshot, policies, diagnostics })
}

/// The command. Exit codes: 0 good, 1 a `[[test]]` failed, 2 the policies are refused.
pub(super) fn command(directory: &Path, as_json: bool) -> anyhow::Result<u8> {
    let checked = match check(directory) {
        Ok(checked) => checked,
        Err(error) => return unreadable(&error, as_json),
    };
    let failures = checked.policies.as_ref().map(judge::run_tests).unwrap_or_default();
    let compiled = checked.policies.as_ref().map(|policies| compile::compile(policies, &named_interfaces(policies)));
    let compile_error = compiled.and_then(Result::err).map(|error| error.to_string());
    let exit = match (&checked.policies, &compile_error) {
        (None, _) | (_, Some(_)) => BAD_POLICY,
        _ if failures.is_empty() => DONE,
        _ => REFUSED,
    };
    // Where the interfaces cannot be listed there is nothing to compare with, and that is no fault of the files.
    let present = kernel::interface_names().unwrap_or_default();
    let mut notes = source::refused_as_foreign(directory);
    notes.extend(checked.policies.iter().flat_map(|policies| idle_patterns(policies, &present)));
    if as_json {
        print::json(&as_value(&checked, &failures, compile_error.as_deref(), &notes, exit))?;
        return Ok(exit);
    }
    let color = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    eprint!("{}", checked.text(color));
    failures.iter().for_each(|failure| eprintln!("error: {}", report::failure_line(failure)));
    if let Some(error) = &compile_error {
        eprintln!("error: {error}");
    }
    notes.iter().for_each(|note| eprintln!("note: {note}"));
    if let (Some(policies), DONE) = (&checked.policies, exit) {
        print::text(&praise(policies))?;
    }
    Ok(exit)
}

fn unreadable(error: &SourceError, as_json: bool) -> anyhow::Result<u8> {
    if as_json {
        let diagnostic =
            json!({ "severity": "error", "message": error.to_string(), "file": null, "line": null, "column": null, "help": null });
        print::json(
            &json!({ "version": 1, "ok": false, "diagnostics": [diagnostic], "notes": [], "tests": { "passed": 0, "failed": [] } }),
        )?;
    } else {
        eprintln!("error: {error}");
    }
    Ok(BAD_POLICY)
}

/// Every interface that the files name literally: the compiler is asked about them although they need not exist.
fn named_interfaces(policies: &PolicySet) -> Vec<LinkFacts> {
    let literal = policies
        .policies
        .iter()
        .flat_map(|policy| &policy.interfaces.include)
        .map(glob::Pattern::as_str)
        .filter(|name| !name.contains(['*', '?', '[']));
    let tested = policies.tests.iter().map(|test| test.interface.as_str());
    let names: std::collections::BTreeSet<&str> = literal.chain(tested).collect();
    let device = |name: &str| if name == "lo" { DeviceKind::Loopback } else { DeviceKind::Ethernet };
    (1u32..)
        .zip(names)
        .map(|(ifindex, name)| LinkFacts {
            ifindex,
            name: name.to_string(),
            device: device(name),
            accepts_router_advertisements: true,
            owners: Vec::new(),
        })
        .collect()
}

/// What `interfaces` lists name that is not there now: one sentence for each policy with such names or globs.
fn idle_patterns(policies: &PolicySet, present: &[String]) -> Vec<String> {
    let mut notes = Vec::new();
    for policy in policies.policies.iter().filter(|_| !present.is_empty()) {
        let idle = policy.interfaces.include.iter().filter(|pattern| {
            let alone = InterfaceSelector { include: vec![(*pattern).clone()], exclude: policy.interfaces.exclude.clone() };
            !present.iter().any(|name| alone.selects(name))
        });
        let idle: Vec<String> = idle.map(|pattern| format!("`{}`", pattern.as_str())).collect();
        if !idle.is_empty() {
            notes.push(format!("{}: the policy `{}` finds no interface for {} now", policy.origin, policy.name, idle.join(", ")));
        }
    }
    notes
}

fn praise(policies: &PolicySet) -> String {
    let rules: usize =
        policies.policies.iter().flat_map(|policy| [&policy.ingress, &policy.egress]).flatten().map(|chain| chain.rules.len()).sum();
    format!(
        "good: {} policies, {rules} rules, {} sets, {} tests passed",
        policies.policies.len(),
        policies.sets.len(),
        policies.tests.len()
    )
}

fn as_value(checked: &Checked, failures: &[TestFailure], compile_error: Option<&str>, notes: &[String], exit: u8) -> Value {
    let mut diagnostics: Vec<Value> = checked.diagnostics.iter().map(|diagnostic| json!(diagnostic)).collect();
    diagnostics.extend(
        compile_error
            .map(|message| json!({ "severity": "error", "message": message, "file": null, "line": null, "column": null, "help": null })),
    );
    let tests = checked.policies.as_ref().map_or(0, |policies| policies.tests.len());
    let failed: Vec<Value> = failures
        .iter()
        .map(|failure| json!({ "name": failure.test, "file": *failure.origin.file, "line": failure.origin.line, "column": failure.origin.column, "message": report::failure_line(failure) }))
        .collect();
    let tests = json!({ "passed": tests - failed.len(), "failed": failed });
    json!({ "version": 1, "ok": exit == DONE, "diagnostics": diagnostics, "notes": notes, "tests": tests })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notes(interfaces: &str, present: &[&str]) -> Vec<String> {
        let text = format!("version = 1\n[[policy]]\nname = \"p\"\ninterfaces = {interfaces}\ndefault_action = {{ ingress = \"deny\" }}\n");
        let mut snapshot = Snapshot::of(Path::new("d"), &[("a.toml".to_owned(), text.into_bytes())]);
        let policies = policy::load(&mut snapshot).policies.unwrap();
        idle_patterns(&policies, &present.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn note_names_the_globs_that_find_nothing() {
        assert_eq!(
            notes(r#"["eth*", "!eth9", "veth-a", "wl?"]"#, &["lo", "eth9", "wl0"]),
            ["d/a.toml:2:1: the policy `p` finds no interface for `eth*`, `veth-a` now"]
        );
        assert!(notes(r#"["eth*"]"#, &["lo", "eth0"]).is_empty());
        assert!(notes(r#"["lo"]"#, &["lo"]).is_empty());
        assert_eq!(notes(r#"["*"]"#, &["lo"]).len(), 1, "a glob never means the loopback device");
        assert!(notes(r#"["eth*"]"#, &[]).is_empty(), "nothing is said where nothing can be listed");
    }
}
