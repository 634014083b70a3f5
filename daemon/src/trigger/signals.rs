//! Signals -> triggers. The handler only sets flags (signal-hook); this thread turns them into messages.

use std::io;
use std::sync::mpsc::Sender;
use std::thread;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::{Bell, Trigger};
use crate::kernel;

const SIGNALS: [i32; 3] = [SIGHUP, SIGTERM, SIGINT];

/// Starts the thread. A storm of one signal is one trigger, until the loop has taken it.
///
/// Called first: the thread that calls this, and all that it starts later, are not interrupted by these signals any more.
///
/// # Errors
/// When the handlers cannot be installed or the thread cannot start.
pub fn watch(send: Sender<Trigger>) -> io::Result<()> {
    let mut signals = Signals::new(SIGNALS)?;
    thread::Builder::new().name("signals".into()).spawn(move || {
        let reload = Bell::new(Trigger::Reload, send.clone());
        for signal in signals.forever() {
            let heard = if signal == SIGHUP { reload.ring() } else { send.send(Trigger::Stop).is_ok() };
            if !heard {
                return;
            }
        }
    })?;
    // A storm must not interrupt the loop in what it is doing, again and again. The thread above takes them all.
    kernel::leave_signals_to_others(&SIGNALS).map_err(io::Error::other)
}
