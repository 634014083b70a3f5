//! Failsafe entries as bits: which entry is meant by (hook, protocol, port), and where each entry's nets are.

use std::collections::BTreeMap;

use ipnet::IpNet;
use netpol_probes::abi;

use super::CompileError;
use crate::policy::model::Daemon;

/// Entries that fit: one bit each.
const MAX_ENTRIES: usize = u64::BITS as usize;

/// All failsafe entries: inbound, then outbound; an entry's bit is its position.
pub(super) struct Failsafe<'a> {
    /// Contents of the `failsafe` map.
    pub(super) map: Vec<(abi::np_failsafe_key, u64)>,
    /// Entries that hold for all addresses.
    pub(super) everywhere: u64,
    /// The nets of each other entry.
    pub(super) nets: Vec<(u64, &'a [IpNet])>,
}

impl<'a> Failsafe<'a> {
    /// The entries of `[daemon]`.
    pub(super) fn of(daemon: &'a Daemon) -> Result<Failsafe<'a>, CompileError> {
        let inbound = daemon.failsafe_inbound.iter().map(|entry| (abi::NP_HOOK_INGRESS, entry));
        let outbound = daemon.failsafe_outbound.iter().map(|entry| (abi::NP_HOOK_EGRESS, entry));
        let found = daemon.failsafe_inbound.len() + daemon.failsafe_outbound.len();
        if found > MAX_ENTRIES {
            return Err(CompileError::TooMany { what: "failsafe entries".to_owned(), found, limit: MAX_ENTRIES });
        }
        let mut map = BTreeMap::<_, u64>::new();
        let (mut everywhere, mut nets) = (0, Vec::new());
        for (position, (hook, entry)) in inbound.chain(outbound).enumerate() {
            let bit = 1 << position;
            *map.entry(abi::np_failsafe_key { hook: hook as u8, protocol: entry.protocol, port: entry.port }).or_default() |= bit;
            if entry.nets.is_empty() {
                everywhere |= bit;
            } else {
                nets.push((bit, entry.nets.as_slice()));
            }
        }
        Ok(Failsafe { map: map.into_iter().collect(), everywhere, nets })
    }
}
