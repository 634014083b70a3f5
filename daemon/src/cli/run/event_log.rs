//! Logged packets to the log, on a thread of its own: the loop never waits for it, and no verdict does.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use log::{Level, error, warn};

use crate::reconcile::Reconciler;
use crate::report::fields::say;
use crate::report::{events, outlet};

/// How long the thread sleeps at most; also how long stopping it may take.
const PATIENCE: Duration = Duration::from_millis(200);

/// The running thread; ends when dropped.
pub(super) struct EventLog {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl EventLog {
    /// Starts reading the ring, where there is one.
    pub(super) fn start(reconciler: &Reconciler) -> Option<EventLog> {
        let mut ring = match reconciler.events() {
            Ok(ring) => ring?,
            Err(error) => {
                warn!("logged packets cannot be read: {error}");
                return None;
            }
        };
        let names = reconciler.names();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let reader = move || {
            while !stopped.load(Ordering::Relaxed) {
                let told = ring.poll(PATIENCE, &mut |event| {
                    if outlet::takes_packets() {
                        let names = names.lock();
                        say(Level::Info, "packet", &events::Fields::new(event, &names), format_args!("{}", events::line(event, &names)));
                    }
                });
                if let Err(error) = told {
                    error!("logged packets can no longer be read: {error}");
                    return;
                }
            }
        };
        match thread::Builder::new().name("events".into()).spawn(reader) {
            Ok(thread) => Some(EventLog { stop, thread: Some(thread) }),
            Err(error) => {
                warn!("logged packets cannot be read: {error}");
                None
            }
        }
    }
}

impl Drop for EventLog {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            error!("the reader of logged packets had failed");
        }
    }
}
