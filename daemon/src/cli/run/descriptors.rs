//! How many files the daemon may hold open: as many as it is allowed to allow itself.

use log::debug;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// More than any use of it needs; some systems' hard limit is a million million.
const ENOUGH: u64 = 65_536;

/// Raises the limit as far as it may be; returns what it is now.
pub(super) fn raise() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let (now, most) = (limit.current.unwrap_or(ENOUGH), limit.maximum.unwrap_or(ENOUGH).min(ENOUGH));
    if now >= most {
        return now;
    }
    match setrlimit(Resource::Nofile, Rlimit { current: Some(most), ..limit }) {
        Ok(()) => most,
        Err(error) => {
            debug!("the limit of open files stays {now}: {error}");
            now
        }
    }
}
