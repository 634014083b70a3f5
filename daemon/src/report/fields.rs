//! Log lines with fields that are not always the same ones. The log macros take fixed ones (`info!(NETPOL_GENERATION = 7; "…")`).

use std::fmt;

use log::kv::{Source, Value};
use log::{Level, Record};

use crate::policy::model::Origin;

/// Logs a line with fields. A log that is text shows the line alone.
pub fn say(level: Level, target: &str, fields: &dyn Source, line: fmt::Arguments<'_>) {
    if level <= log::max_level() {
        log::logger().log(&Record::builder().level(level).target(target).key_values(&fields).args(line).build());
    }
}

/// A place in a policy file.
pub fn place(origin: &Origin) -> [(&'static str, Value<'_>); 3] {
    let Origin { file, line, column } = origin;
    [("NETPOL_FILE", Value::from(&**file)), ("NETPOL_LINE", (*line).into()), ("NETPOL_COLUMN", (*column).into())]
}
