//! The programs' copy of the routing tables, as long as somebody asks for the reverse path.
//!
//! Before a generation that asks goes live the copy must be whole, or the ruleset is refused. Later it follows the kernel's routes;
//! where it cannot, what is known stays (an address of which nothing is known is refused), and `status` says so.

use std::time::{Duration, Instant};

use log::{debug, error, info};
use netpol_probes::abi;

use super::{Reconciler, Refusal};
use crate::compile::routes::ReversePaths;
use crate::compile::ruleset::Ruleset;
use crate::kernel::{self, Kernel};
use crate::plan::Observed;

/// Routes that never come to rest are left alone so many times as long as it took to read them.
const REST: u32 = 2;

/// Whether a record asks for the reverse path, or (SYN cookies) for the addresses of this host.
fn asks(record: &abi::np_link) -> bool {
    record.flags & (abi::NP_LINK_REVERSE_STRICT | abi::NP_LINK_REVERSE_LOOSE | abi::NP_LINK_SYN_COOKIES) != 0
}

/// Fills the copy where the ruleset, or a generation that may judge packets again, asks for it; else empties it. Tells whether it
/// is in use.
///
/// # Errors
/// When the routes cannot be read, or do not fit.
pub(super) fn prepare(kernel: &mut Kernel, wanted: &Ruleset, observed: &Observed) -> Result<bool, Refusal> {
    let held = observed.records.iter().filter(|((generation, _), _)| observed.word.holds(*generation));
    let in_use = wanted.links.values().any(|link| asks(&link.record)) || held.into_iter().any(|(_, record)| asks(record));
    if in_use {
        copy(kernel).map_err(|error| Refusal::routes(&error))?;
    } else {
        kernel.write_routes(&ReversePaths::default())?;
    }
    Ok(in_use)
}

fn copy(kernel: &mut Kernel) -> kernel::Result<()> {
    let started = Instant::now();
    let paths = kernel.reverse_paths()?;
    let read = started.elapsed();
    let changed = kernel.write_routes(&paths)?;
    let written = started.elapsed().saturating_sub(read);
    debug!("routes: {} prefixes read in {} ms, {changed} changes in {} ms", paths.len(), read.as_millis(), written.as_millis());
    Ok(())
}

/// What is known of following the routes.
#[derive(Default)]
pub(super) struct Following {
    /// The live ruleset, or the one before it, asks for the reverse path.
    pub(super) in_use: bool,
    /// Why the copy is older than the routes.
    pub(super) error: Option<String>,
}

impl Reconciler {
    /// Brings the copy of the routes to what they are now, where it is in use. Returns how long to leave them alone, so that routes
    /// that never come to rest do not take all the time.
    ///
    /// # Errors
    /// When they cannot be read or do not fit: what was known stays.
    pub fn follow_routes(&mut self) -> Result<Duration, Refusal> {
        let Some(kernel) = self.kernel.as_mut().filter(|_| self.routes.in_use) else { return Ok(Duration::ZERO) };
        let started = Instant::now();
        let copied = copy(kernel);
        let before = self.routes.error.take();
        match copied {
            Ok(()) if before.is_some() => info!("the reverse path follows the routes again"),
            Ok(()) => {}
            Err(cause) => {
                let text = format!("check_reverse_path works with routes that are no longer true: {cause}");
                if before.as_ref() != Some(&text) {
                    error!("{text}");
                }
                self.routes.error = Some(text);
                return Err(cause.into());
            }
        }
        Ok(started.elapsed() * REST)
    }
}
