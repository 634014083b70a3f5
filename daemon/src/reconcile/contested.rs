//! Stage 5 for the interfaces that are there, and what becomes of one that policies claim in contradicting ways.

use std::sync::Arc;

use super::Refusal;
use crate::compile::ruleset::{LinkFacts, Ruleset};
use crate::compile::{self, CompileError};
use crate::policy;
use crate::policy::model::PolicySet;

/// What to do with an interface that policies claim in contradicting ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Contested {
    /// Refuse the ruleset: somebody is there to hear it.
    Refuse,
    /// Close that interface and let the others follow: it appeared by itself, or something must be enforced.
    Close,
}

/// Stage 5, for the interfaces that are there. With the ruleset come sentences about interfaces that had to be closed.
pub(super) fn compile(policies: &PolicySet, links: &[LinkFacts], contested: Contested) -> Result<(Arc<Ruleset>, Vec<String>), Refusal> {
    let mut closed = Vec::new();
    let mut remaining = policies.clone();
    loop {
        match compile::compile(&remaining, links) {
            Ok(ruleset) => return Ok((Arc::new(ruleset), closed)),
            Err(CompileError::EndpointConflict(conflict) | CompileError::XdpConflict(conflict))
                if contested == Contested::Close && closed.len() < links.len() =>
            {
                policy::close(&mut remaining, &conflict.interface);
                closed.push(format!("{conflict}; {} is closed in both directions", conflict.interface));
            }
            Err(error) => return Err(Refusal::compile(&error)),
        }
    }
}
