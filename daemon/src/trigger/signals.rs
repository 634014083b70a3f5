//! Signals -> triggers. The handler only sets flags (signal-hook); this thread turns them into messages.

use std::io;
use std::sync::mpsc::Sender;
use std::thread;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::Trigger;

/// Starts the thread. A storm of one signal is one trigger: signal-hook keeps a flag, not a queue.
///
/// # Errors
/// When the handlers cannot be installed or the thread cannot start.
pub fn watch(send: Sender<Trigger>) -> io::Result<()> {
    let mut signals = Signals::new([SIGHUP, SIGTERM, SIGINT])?;
    thread::Builder::new().name("signals".into()).spawn(move || {
        for signal in signals.forever() {
            let trigger = if signal == SIGHUP { Trigger::Reload } else { Trigger::Stop };
            if send.send(trigger).is_err() {
                return;
            }
        }
    })?;
    Ok(())
}
