//! Writing to standard output: a reader that has gone (`| head`) ends a command quietly.

use std::io::{self, Write};

use serde_json::Value;

/// Text, with one line end.
///
/// # Errors
/// Any but a closed pipe.
pub fn text(text: &str) -> io::Result<()> {
    if text.is_empty() { Ok(()) } else { write(&format!("{}\n", text.trim_end())) }
}

/// JSON, indented.
///
/// # Errors
/// Any but a closed pipe.
pub fn json(value: &Value) -> io::Result<()> {
    write(&format!("{value:#}\n"))
}

fn write(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}
