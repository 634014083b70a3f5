//! How far long work is, on a terminal: a bar that appears after a second and leaves no trace.
//!
//! Knows fractions. Knows nothing of what is done.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use crate::trigger::control::Progress;

/// Work that is done by then needs no bar.
const PATIENCE: Duration = Duration::from_secs(1);
/// Cells between the brackets.
const WIDTH: usize = 30;

/// The bar; gone when dropped.
pub(super) struct Bar {
    begin: Instant,
    wanted: bool,
    shown: bool,
}

impl Bar {
    /// Nothing is shown yet; never where nobody looks, or where a script reads.
    pub(super) fn new(json: bool) -> Bar {
        Bar { begin: Instant::now(), wanted: !json && io::stderr().is_terminal(), shown: false }
    }

    /// Shows how far the work is.
    pub(super) fn show(&mut self, progress: &Progress) {
        if !self.wanted || self.begin.elapsed() < PATIENCE {
            return;
        }
        self.shown = true;
        write(&format!("\r\x1b[K{}", line(progress)));
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        if self.shown {
            write("\r\x1b[K");
        }
    }
}

fn line(progress: &Progress) -> String {
    let total = progress.total.max(1);
    let done = progress.done.min(total);
    let cells = (done as u128 * WIDTH as u128 / u128::from(total)) as usize;
    let percent = done as u128 * 100 / u128::from(total);
    format!("[{}{}] {percent:>3} %  {}", "#".repeat(cells), " ".repeat(WIDTH - cells), progress.what)
}

/// A terminal that has gone is no reason to stop.
fn write(text: &str) {
    let mut out = io::stderr().lock();
    if let Err(error) = out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        log::debug!("no progress is shown: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bar_fills_from_left_to_right() {
        let at = |done| line(&Progress { what: "building the set".into(), done, total: 300 });
        assert_eq!(at(0), format!("[{}]   0 %  building the set", " ".repeat(30)));
        assert_eq!(at(150), format!("[{}{}]  50 %  building the set", "#".repeat(15), " ".repeat(15)));
        assert_eq!(at(999), format!("[{}] 100 %  building the set", "#".repeat(30)));
        assert!(line(&Progress { what: String::new(), done: 0, total: 0 }).contains("  0 %"));
    }
}
