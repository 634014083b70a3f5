//! Warnings and failures as one line each, beginning with the place.

use crate::policy::judge::TestFailure;
use crate::schema::diagnose::Diagnostic;

/// `FILE:LINE:COL: message (help)`.
pub fn diagnostic_line(diagnostic: &Diagnostic) -> String {
    let place = diagnostic.place.as_ref().map(|place| format!("{}:{}:{}: ", place.file, place.line, place.column)).unwrap_or_default();
    let help = diagnostic.help.as_ref().map(|help| format!(" ({help})")).unwrap_or_default();
    format!("{place}{}{help}", diagnostic.message)
}

/// `FILE:LINE:COL: test "name" failed: message`.
pub fn failure_line(failure: &TestFailure) -> String {
    format!("{}: test \"{}\" failed: {}", failure.origin, failure.test, failure.message)
}
