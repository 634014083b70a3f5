//! What makes the daemon look again: file events, link events, signals, the control socket.
//!
//! Every source runs in its own thread and only sends; the one receiver is the loop in `cli::run`. No source knows what will be done.

pub mod control;
pub mod files;
pub mod links;
pub mod metrics;
pub mod signals;
mod symlinks;

use std::sync::mpsc::Sender;

/// A reason to look again.
#[derive(Debug)]
pub enum Trigger {
    /// The policy directory may have changed and nobody is writing in it.
    Files,
    /// An interface appeared, vanished or changed.
    Links,
    /// A queueing discipline or filter changed: ours may be among them.
    Filters,
    /// A route, an address or a nexthop changed.
    Routes,
    /// SIGHUP: reload now, whatever `reload` says.
    Reload,
    /// SIGTERM or SIGINT.
    Stop,
    /// A request on the control socket, with the way to answer it.
    Control(control::Request, Sender<control::Reply>),
}
