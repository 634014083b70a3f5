//! The metrics listener: HTTP in, a request to the loop, its answer out. Runs only where `[daemon] metrics` names an address.
//!
//! Like the control socket it only carries; it answers nothing but `GET /metrics`.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{self, Sender};
use std::thread;
use std::time::Duration;

use log::{debug, error};
use tiny_http::{Header, Method, Request as Http, Response as Page, Server};

use super::Trigger;
use super::control::{Reply, Request};
use crate::report::metrics::CONTENT_TYPE;

/// How long a page may take; the loop may be busy with a large ruleset.
const PATIENCE: Duration = Duration::from_secs(15);

/// A listener; it stops when dropped.
pub struct Listener {
    address: SocketAddr,
    server: Arc<Server>,
}

impl Listener {
    /// Listens, and answers on a thread of its own.
    ///
    /// # Errors
    /// When the address cannot be had, or no thread.
    pub fn start(address: SocketAddr, send: Sender<Trigger>) -> io::Result<Listener> {
        let server = Arc::new(Server::http(address).map_err(io::Error::other)?);
        let serving = Arc::clone(&server);
        thread::Builder::new().name("metrics".into()).spawn(move || {
            for request in serving.incoming_requests() {
                if let Err(error) = answer(request, &send) {
                    debug!("metrics: {error}");
                }
            }
        })?;
        Ok(Listener { address, server })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.server.unblock();
    }
}

fn answer(request: Http, send: &Sender<Trigger>) -> io::Result<()> {
    if request.method() != &Method::Get || request.url() != "/metrics" {
        return request.respond(Page::from_string("GET /metrics\n").with_status_code(404));
    }
    let (reply, answer) = mpsc::channel();
    let asked = send.send(Trigger::Control(Request::Metrics, reply)).is_ok();
    match answer.recv_timeout(PATIENCE) {
        Ok(Reply::Response(response)) if asked && response.exit == 0 => {
            let page = Page::from_string(response.text);
            match Header::from_bytes("Content-Type", CONTENT_TYPE) {
                Ok(header) => request.respond(page.with_header(header)),
                Err(()) => {
                    error!("metrics: the media type is no header value");
                    request.respond(page)
                }
            }
        }
        Ok(Reply::Response(response)) => request.respond(Page::from_string(response.text).with_status_code(503)),
        Ok(Reply::Progress { .. }) | Err(_) => request.respond(Page::from_string("the daemon does not answer\n").with_status_code(503)),
    }
}
