//! Tells that interfaces, filters or routes appeared, changed or vanished. Says only "look again": what is there is asked for anew.
//!
//! Knows rtnetlink's groups, not its messages. Missed messages are no loss: their overflow is a reason to look again as well.

use std::io;
use std::thread;
use std::time::{Duration, Instant};

use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};

/// `RTMGRP_LINK` of linux/rtnetlink.h.
const GROUP_LINK: u32 = 1;
/// `RTMGRP_TC`: qdiscs and filters. Where the kernel has no TCX, anybody with `tc` can take our programs off with their qdisc.
const GROUP_TC: u32 = 8;
/// Routes of both families, nexthop objects (`RTNLGRP_NEXTHOP`), and what takes routes along without a message of their own: links
/// that go down, addresses that go.
const GROUPS_ROUTE: u32 = 0x40 | 0x400 | 1 << 31 | GROUP_LINK | 0x10 | 0x100;
/// Bytes that the kernel keeps for us while we are busy; more changes than fit are told as an overflow.
const BUFFER: usize = 1 << 20;
/// Bytes that are read of a message: nothing in it matters.
const GLANCE: usize = 64;
/// Routes come in swarms: quiet time after the last message before anybody looks.
const SETTLE: Duration = Duration::from_millis(20);
/// A swarm that never ends is looked at this often all the same.
const SETTLE_LIMIT: Duration = Duration::from_millis(80);

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
    subscribe("links", GROUP_LINK, move |_socket| notify())
}

/// The same for queueing disciplines and their filters.
pub fn watch_filters(notify: impl Fn() + Send + 'static) -> io::Result<LinkWatch> {
    subscribe("filters", GROUP_TC, move |_socket| notify())
}

/// The same for routes: `notify` is called when a swarm of changes has come to rest, and at least every 80 ms until it has.
pub fn watch_routes(notify: impl Fn() + Send + 'static) -> io::Result<LinkWatch> {
    subscribe("routes", GROUPS_ROUTE, move |socket| {
        settle(socket);
        notify();
    })
}

fn subscribe(name: &'static str, groups: u32, notify: impl Fn(&Socket) + Send + 'static) -> io::Result<LinkWatch> {
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    socket.set_rx_buf_sz(BUFFER as i32)?;
    socket.bind(&SocketAddr::new(0, groups))?;
    let thread = thread::Builder::new().name(name.into()).spawn(move || listen(name, &socket, &notify))?;
    Ok(LinkWatch { thread })
}

fn listen(name: &str, socket: &Socket, notify: &dyn Fn(&Socket)) {
    let mut glance = Vec::with_capacity(GLANCE);
    loop {
        glance.clear();
        match socket.recv(&mut glance, 0) {
            Ok(_) => notify(socket),
            Err(error) => match error.raw_os_error() {
                Some(libc::EINTR) => {}
                Some(libc::ENOBUFS) => {
                    log::info!("rtnetlink: more {name} changed than could be told; looking at all of them");
                    notify(socket);
                }
                _ => {
                    log::error!("rtnetlink: the subscription to {name} ended: {error}");
                    notify(socket);
                    return;
                }
            },
        }
    }
}

/// Takes messages until none has come for a while, or for long enough. What goes wrong here goes wrong again in the next read.
fn settle(socket: &Socket) {
    let started = Instant::now();
    let mut glance = Vec::with_capacity(GLANCE);
    loop {
        thread::sleep(SETTLE);
        let mut quiet = true;
        while started.elapsed() < SETTLE_LIMIT && socket.recv(&mut glance, libc::MSG_DONTWAIT).is_ok() {
            quiet = false;
            glance.clear();
        }
        if quiet || started.elapsed() >= SETTLE_LIMIT {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::sync::mpsc;

    use super::*;
    use crate::kernel::tests::{Namespace, needs_root};

    fn ip(arguments: &[&str]) -> bool {
        Command::new("timeout").args(["5", "ip"]).args(arguments).status().is_ok_and(|s| s.success())
    }

    #[test]
    fn new_and_deleted_interfaces_are_told() {
        needs_root!();
        // The subscription stays in the network namespace in which its socket was made.
        let _namespace = Namespace::enter();
        let (sender, receiver) = mpsc::channel();
        let watch = watch(move || sender.send(()).unwrap_or_default()).unwrap();
        assert!(ip(&["link", "add", "np0", "type", "veth", "peer", "name", "np1"]));
        receiver.recv_timeout(Duration::from_secs(5)).unwrap();
        while receiver.try_recv().is_ok() {}
        assert!(ip(&["link", "del", "np0"]));
        receiver.recv_timeout(Duration::from_secs(5)).unwrap();
        assert!(!watch.has_ended());
    }

    #[test]
    fn qdisc_that_somebody_deletes_is_told() {
        needs_root!();
        let _namespace = Namespace::enter();
        let tc = |verb: &str| {
            Command::new("timeout").args(["5", "tc", "qdisc", verb, "dev", "lo", "clsact"]).status().is_ok_and(|s| s.success())
        };
        assert!(tc("add"));
        let (sender, receiver) = mpsc::channel();
        let _watch = watch_filters(move || sender.send(()).unwrap_or_default()).unwrap();
        assert!(tc("del"));
        receiver.recv_timeout(Duration::from_secs(5)).unwrap();
    }

    #[test]
    fn swarm_of_routes_is_told_as_few_looks() {
        needs_root!();
        let _namespace = Namespace::enter();
        assert!(ip(&["link", "set", "lo", "up"]));
        let (sender, receiver) = mpsc::channel();
        let watch = watch_routes(move || sender.send(()).unwrap_or_default()).unwrap();
        for number in 0..20 {
            assert!(ip(&["route", "add", &format!("10.{number}.0.0/16"), "dev", "lo"]));
        }
        let started = Instant::now();
        receiver.recv_timeout(Duration::from_secs(5)).unwrap();
        assert!(started.elapsed() < Duration::from_millis(1000));
        thread::sleep(Duration::from_millis(200));
        assert!(receiver.try_iter().count() < 20);
        assert!(!watch.has_ended());
    }
}
