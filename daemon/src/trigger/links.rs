//! Tells that an interface appeared, changed or vanished. Says only "look again": what is there is asked for anew.
//!
//! Knows rtnetlink's groups, not its messages. Missed messages are no loss: their overflow is a reason to look again as well.

use std::io;
use std::thread;

use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};

/// `RTMGRP_LINK` of linux/rtnetlink.h.
const GROUP_LINK: u32 = 1;
/// Bytes that the kernel keeps for us while we are busy; more changes than fit are told as an overflow.
const BUFFER: usize = 1 << 20;

/// A running subscription; it ends with the process.
pub struct LinkWatch {
    thread: thread::JoinHandle<()>,
}

impl LinkWatch {
    /// The subscription has ended, and only a look now and then notices new interfaces.
    pub fn has_ended(&self) -> bool {
        self.thread.is_finished()
    }
}

/// Starts a thread that calls `notify` after every change of an interface, and whenever changes may have been missed.
///
/// The subscription exists when this returns: changes after it are told. `notify` should be quick, a send or a flag.
pub fn watch(notify: impl Fn() + Send + 'static) -> io::Result<LinkWatch> {
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    socket.set_rx_buf_sz(BUFFER as i32)?;
    socket.bind(&SocketAddr::new(0, GROUP_LINK))?;
    let thread = thread::Builder::new().name("links".into()).spawn(move || listen(&socket, &notify))?;
    Ok(LinkWatch { thread })
}

fn listen(socket: &Socket, notify: &dyn Fn()) {
    loop {
        match socket.recv_from_full() {
            Ok(_) => notify(),
            Err(error) => match error.raw_os_error() {
                Some(libc::EINTR) => {}
                Some(libc::ENOBUFS) => {
                    log::info!("rtnetlink: more interfaces changed than could be told; looking at all of them");
                    notify();
                }
                _ => {
                    log::error!("rtnetlink: the subscription to interfaces ended: {error}");
                    notify();
                    return;
                }
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;
    use crate::kernel::tests::{Namespace, needs_root};

    #[test]
    fn new_and_deleted_interfaces_are_told() {
        needs_root!();
        // The subscription stays in the network namespace in which its socket was made.
        let _namespace = Namespace::enter();
        let (sender, receiver) = mpsc::channel();
        let watch = watch(move || sender.send(()).unwrap_or_default()).unwrap();
        let ip = |arguments: &[&str]| Command::new("timeout").args(["5", "ip", "link"]).args(arguments).status().is_ok_and(|s| s.success());
        assert!(ip(&["add", "np0", "type", "veth", "peer", "name", "np1"]));
        receiver.recv_timeout(Duration::from_secs(5)).unwrap();
        while receiver.try_recv().is_ok() {}
        assert!(ip(&["del", "np0"]));
        receiver.recv_timeout(Duration::from_secs(5)).unwrap();
        assert!(!watch.has_ended());
    }
}
