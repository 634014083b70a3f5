//! How the firewall ends: taken off on request, or left as it is by a daemon that goes. Knows what the policy says of it, not why the
//! daemon goes.

use log::{info, warn};

use super::{Reconciler, Refusal, routes};
use crate::policy::model::OnStop;

impl Reconciler {
    /// Takes the firewall off and stays so until [`Reconciler::reload`].
    ///
    /// # Errors
    /// What the kernel refused.
    pub fn detach(&mut self) -> Result<Vec<String>, Refusal> {
        self.live = None;
        self.forget_trial();
        self.refused = None;
        self.last_error = None;
        self.warnings = Vec::new();
        self.routes = routes::Following::default();
        self.names.forget();
        self.sets.forget_maps();
        match self.kernel.take() {
            Some(kernel) => Ok(kernel.detach_all()?),
            None => Ok(Vec::new()),
        }
    }

    /// `on_stop = "detach"`.
    pub fn goes_with_the_daemon(&self) -> bool {
        self.live.as_ref().is_some_and(|live| live.policies.daemon.on_stop == OnStop::Detach)
    }

    /// What SIGTERM does: leave the kernel enforcing, or open, as the policy says. `stays`: why this is not what the policy means by a
    /// stop.
    ///
    /// # Errors
    /// What the kernel refused.
    pub fn stop(mut self, stays: Option<&str>) -> Result<(), Refusal> {
        if self.live.is_none() {
            info!("stopping; nothing is enforced");
            return Ok(());
        }
        let why =
            if self.goes_with_the_daemon() { stays.map(|stays| format!("this is {stays}")) } else { Some("on_stop = \"keep\"".into()) };
        if let Some(why) = why {
            let generation = self.generation();
            info!(NETPOL_GENERATION = generation; "stopping; the kernel goes on enforcing generation {generation} ({why})");
            return Ok(());
        }
        let interfaces = self.detach()?;
        warn!("stopping; the firewall is OFF on {} (on_stop = \"detach\")", interfaces.join(", "));
        Ok(())
    }
}
