//! What makes the daemon look again: file events, link events, containers and machines, signals, the control socket.
//!
//! Every source runs in its own thread and only sends; the one receiver is the loop in `cli::run`. No source knows what will be done.

pub mod control;
pub mod files;
pub mod links;
pub mod metrics;
pub mod owners;
pub mod signals;
mod symlinks;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;

/// A reason to look again.
#[derive(Debug)]
pub enum Trigger {
    /// The policy directory may have changed and nobody is writing in it.
    Files,
    /// An interface appeared, vanished or changed.
    Links(Ring),
    /// A container or machine may have come, gone or changed.
    Owners(Ring),
    /// A queueing discipline or filter changed: ours may be among them.
    Filters(Ring),
    /// A route, an address or a nexthop changed.
    Routes(Ring),
    /// SIGHUP: reload now, whatever `reload` says.
    Reload(Ring),
    /// SIGTERM or SIGINT.
    Stop,
    /// A request on the control socket, with the way to answer it.
    Control(control::Request, Sender<control::Reply>),
}

/// A trigger on its way. While there is one no other of its kind is sent: a storm takes one place in the queue.
#[derive(Debug)]
pub struct Ring(Arc<AtomicBool>);

impl Drop for Ring {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

/// Sends one kind of trigger.
pub struct Bell {
    rings: Arc<AtomicBool>,
    kind: fn(Ring) -> Trigger,
    send: Sender<Trigger>,
}

impl Bell {
    /// For this kind.
    pub fn new(kind: fn(Ring) -> Trigger, send: Sender<Trigger>) -> Bell {
        Bell { rings: Arc::default(), kind, send }
    }

    /// Sends the trigger, unless one is on its way; `false` = nobody listens any more.
    pub fn ring(&self) -> bool {
        // Whoever takes the one that is on its way has still to look.
        self.rings.swap(true, Ordering::AcqRel) || self.send.send((self.kind)(Ring(Arc::clone(&self.rings)))).is_ok()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn storm_is_one_trigger_until_it_is_taken() {
        let (send, triggers) = mpsc::channel();
        let bell = Bell::new(Trigger::Reload, send);
        (0..1000).for_each(|_| assert!(bell.ring()));
        assert!(matches!(triggers.try_recv(), Ok(Trigger::Reload(_))));
        assert!(triggers.try_recv().is_err());
        bell.ring();
        assert!(triggers.try_recv().is_ok(), "what comes after it was taken is another one");
        drop(triggers);
        assert!(!bell.ring());
    }
}
