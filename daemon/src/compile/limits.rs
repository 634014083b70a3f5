//! Rates: those of rules and those of the sources that an interface hears.
//!
//! Knows how a rate is called, so that it goes on in the next generation. Knows no condition and no interface.

use std::collections::HashMap;

use netpol_probes::abi;
use sha2::{Digest, Sha256};

use super::CompileError;
use super::addresses::limit;
use super::numbering::Numbered;
use crate::policy::model::{Limit, LimitPer, Rate};

/// Builds the contents of `limits`.
#[derive(Default)]
pub(super) struct Limits {
    records: Vec<abi::np_limit>,
    /// Rates of sources, by id: interfaces share the record, not the buckets.
    shared: HashMap<u64, u32>,
}

impl Limits {
    /// The rate of one rule.
    pub(super) fn of_rule(&mut self, numbered: &Numbered<'_>, limit: &Limit) -> Result<u32, CompileError> {
        let direction = format!("{:?}", numbered.direction);
        let per = format!("{:?}", limit.per);
        let id = id(&["rule", &numbered.policy.name, &direction, &numbered.rule.id, &per], limit.rate);
        let per = match limit.per {
            LimitPer::Rule => abi::NP_PER_RULE,
            LimitPer::Source => abi::NP_PER_SOURCE,
            LimitPer::Destination => abi::NP_PER_DESTINATION,
        };
        self.add(id, per, limit.rate)
    }

    /// The rate of each source of an interface: `kind` of packets, as a policy says.
    pub(super) fn of_sources(&mut self, kind: &str, policy: &str, rate: Rate) -> Result<u32, CompileError> {
        let id = id(&[kind, policy], rate);
        if let Some(known) = self.shared.get(&id) {
            return Ok(*known);
        }
        let index = self.add(id, abi::NP_PER_SOURCE, rate)?;
        self.shared.insert(id, index);
        Ok(index)
    }

    fn add(&mut self, id: u64, per: u32, rate: Rate) -> Result<u32, CompileError> {
        let index = self.records.len() as u32;
        limit("rates (`limit` of rules, `rate_limit` of policies)", self.records.len() + 1, abi::NP_MAX_LIMITS as usize)?;
        self.records.push(abi::np_limit { cost: rate.cost(), depth: rate.depth(), id, arrival: 0, per, pad: 0 });
        Ok(index)
    }

    /// The contents of `limits`.
    pub(super) fn finish(self) -> Vec<abi::np_limit> {
        self.records
    }
}

/// 64 bits of SHA-256 over parts that cannot run into each other.
fn id(parts: &[&str], rate: Rate) -> u64 {
    let mut digest = Sha256::new();
    for part in parts {
        digest.update((part.len() as u64).to_le_bytes());
        digest.update(part);
    }
    let Rate { events, period, burst } = rate;
    digest.update(events.to_le_bytes());
    digest.update(period.to_le_bytes());
    digest.update(burst.to_le_bytes());
    let bytes: [u8; 32] = digest.finalize().into();
    bytes.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
}
