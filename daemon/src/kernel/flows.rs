//! The connection tables: listing flows, and deleting those that are over.
//!
//! The programs treat a flow that is older than its timeout as absent, so sweeping changes no verdict: it makes room.

use std::collections::BTreeSet;

use netpol_probes::abi;

use super::error::Result;
use super::maps::Map;

/// Flows of one look-up and deletion: few, so that a flow is deleted soon after it was seen to be over.
const CHUNK: usize = 256;

/// When a flow stops to exist without another packet, ns after its last one.
pub fn timeout(key: &abi::np_flow_key, flow: &abi::np_flow, timeouts: &[u64; abi::NP_TIMEOUTS as usize]) -> u64 {
    let answered = u32::from(flow.state) >= abi::NP_FLOW_ANSWERED;
    let index = match (i32::from(key.protocol), u32::from(flow.state)) {
        (libc::IPPROTO_TCP, abi::NP_FLOW_NEW | abi::NP_FLOW_ANSWERED) => abi::NP_T_TCP_SYN,
        (libc::IPPROTO_TCP, abi::NP_FLOW_ESTABLISHED) => abi::NP_T_TCP_ESTABLISHED,
        (libc::IPPROTO_TCP, _) => abi::NP_T_TCP_FIN,
        (libc::IPPROTO_UDP | libc::IPPROTO_UDPLITE, _) if answered => abi::NP_T_UDP_STREAM,
        (libc::IPPROTO_UDP | libc::IPPROTO_UDPLITE, _) => abi::NP_T_UDP,
        (libc::IPPROTO_ICMP | libc::IPPROTO_ICMPV6, _) => abi::NP_T_ICMP,
        _ => abi::NP_T_GENERIC,
    };
    timeouts.get(index as usize).copied().unwrap_or(0)
}

/// Whether a flow is over.
pub fn expired(key: &abi::np_flow_key, flow: &abi::np_flow, timeouts: &[u64; abi::NP_TIMEOUTS as usize], now: u64) -> bool {
    now.saturating_sub(flow.seen) > timeout(key, flow, timeouts)
}

/// Every flow that exists.
pub fn list(table: &Map, timeouts: &[u64; abi::NP_TIMEOUTS as usize], now: u64) -> Result<Vec<(abi::np_flow_key, abi::np_flow)>> {
    let mut found: Vec<(abi::np_flow_key, abi::np_flow)> = table.all()?;
    found.retain(|(key, flow)| !expired(key, flow, timeouts, now));
    Ok(found)
}

/// How full a table is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fill {
    /// Name of the table.
    pub table: &'static str,
    /// Flows in it.
    pub flows: usize,
    /// Flows that it has room for.
    pub room: usize,
}

/// Deletes flows that are over, and those of interfaces that are gone: another device may get their index. Returns how many are left.
pub fn sweep(table: &Map, timeouts: &[u64; abi::NP_TIMEOUTS as usize], present: &BTreeSet<u32>, now: u64) -> Result<usize> {
    let (mut seen, mut deleted) = (0, 0);
    table.each_batch(&mut |keys: &[abi::np_flow_key], flows: &[abi::np_flow]| {
        seen += keys.len();
        let pairs = keys.iter().zip(flows);
        let over = pairs.filter(|(key, flow)| expired(key, flow, timeouts, now) || !present.contains(&key.ifindex));
        let over: Vec<abi::np_flow_key> = over.map(|(key, _)| *key).collect();
        for chunk in over.chunks(CHUNK) {
            deleted += table.delete_all(chunk)?;
        }
        Ok(())
    })?;
    Ok(seen.saturating_sub(deleted))
}

#[cfg(test)]
mod tests {
    use super::super::bpf::MapFacts;
    use super::super::tests::needs_root;
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn timeouts() -> [u64; abi::NP_TIMEOUTS as usize] {
        let mut all = [0; abi::NP_TIMEOUTS as usize];
        for (index, place) in all.iter_mut().enumerate() {
            *place = (index as u64 + 1) * 100 * SECOND;
        }
        all
    }

    fn flow(ifindex: u32, port: u16, protocol: i32, state: u32, seen: u64) -> (abi::np_flow_key, abi::np_flow) {
        let key = abi::np_flow_key { ifindex, protocol: protocol as u8, remote_port: port, ..Default::default() };
        (key, abi::np_flow { seen, state: state as u8, ..Default::default() })
    }

    #[test]
    fn timeout_follows_protocol_and_state() {
        let cases = [
            (libc::IPPROTO_TCP, abi::NP_FLOW_NEW, abi::NP_T_TCP_SYN),
            (libc::IPPROTO_TCP, abi::NP_FLOW_ANSWERED, abi::NP_T_TCP_SYN),
            (libc::IPPROTO_TCP, abi::NP_FLOW_ESTABLISHED, abi::NP_T_TCP_ESTABLISHED),
            (libc::IPPROTO_TCP, abi::NP_FLOW_CLOSING, abi::NP_T_TCP_FIN),
            (libc::IPPROTO_TCP, abi::NP_FLOW_CLOSED, abi::NP_T_TCP_FIN),
            (libc::IPPROTO_UDP, abi::NP_FLOW_NEW, abi::NP_T_UDP),
            (libc::IPPROTO_UDPLITE, abi::NP_FLOW_ANSWERED, abi::NP_T_UDP_STREAM),
            (libc::IPPROTO_ICMPV6, abi::NP_FLOW_ANSWERED, abi::NP_T_ICMP),
            (libc::IPPROTO_GRE, abi::NP_FLOW_NEW, abi::NP_T_GENERIC),
        ];
        for (protocol, state, wanted) in cases {
            let (key, flow) = flow(1, 1, protocol, state, 0);
            assert_eq!(timeout(&key, &flow, &timeouts()), timeouts()[wanted as usize], "{protocol} {state}");
        }
    }

    #[test]
    fn sweep_deletes_the_old_and_the_orphaned_only() {
        needs_root!();
        let facts = MapFacts { kind: 1, key_size: 48, value_size: size_of::<abi::np_flow>() as u32, max_entries: 1000, flags: 0 };
        let table = Map::create("flows", facts).unwrap();
        let now = 10_000 * SECOND;
        let mut flows = Vec::new();
        for port in 0..300 {
            flows.push(flow(1, port, libc::IPPROTO_TCP, abi::NP_FLOW_NEW, now - 50 * SECOND));
            flows.push(flow(1, 1000 + port, libc::IPPROTO_TCP, abi::NP_FLOW_NEW, now - 101 * SECOND));
        }
        flows.push(flow(9, 1, libc::IPPROTO_TCP, abi::NP_FLOW_NEW, now));
        table.fill(&flows).unwrap();
        assert_eq!(list(&table, &timeouts(), now).unwrap().len(), 301);
        assert_eq!(sweep(&table, &timeouts(), &BTreeSet::from([1]), now).unwrap(), 300);
        let left = list(&table, &timeouts(), now).unwrap();
        assert_eq!(left.len(), 300);
        assert!(left.iter().all(|(key, _)| key.remote_port < 300 && key.ifindex == 1));
    }
}
