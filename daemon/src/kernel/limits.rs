//! Rates of whole rules over a reload: their state lives in each generation, and a new one begins where the former one stands.
//!
//! Rates by source or destination need no care: their buckets are shared by all generations.

use std::collections::HashMap;

use netpol_probes::abi;

use super::error::Result;
use super::maps::Map;

/// Carries what each rule has used up of its rate from one generation's `limits` to another's. A rate that the new generation has
/// used further already stays as it is, so doing it twice is the same as doing it once, later.
pub fn carry(from: &Map, to: &Map) -> Result<()> {
    let of_rules = |map: &Map| -> Result<Vec<(u32, abi::np_limit)>> {
        let all = map.all::<u32, abi::np_limit>()?;
        Ok(all.into_iter().filter(|(_, limit)| limit.id != 0 && limit.per == abi::NP_PER_RULE).collect())
    };
    let used: HashMap<u64, u64> = of_rules(from)?.into_iter().map(|(_, limit)| (limit.id, limit.arrival)).collect();
    for (index, limit) in of_rules(to)? {
        match used.get(&limit.id) {
            Some(&arrival) if arrival > limit.arrival => to.set(&index, &abi::np_limit { arrival, ..limit })?,
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::bpf::MapFacts;
    use super::super::tests::needs_root;
    use super::*;

    #[test]
    fn what_a_rule_has_used_up_follows_its_identity_and_never_goes_back() {
        needs_root!();
        let map = |limits: &[abi::np_limit]| {
            let value_size = size_of::<abi::np_limit>() as u32;
            let map = Map::create("limits", MapFacts { kind: 2, key_size: 4, value_size, max_entries: 4, flags: 0 }).unwrap();
            map.fill_array(limits).unwrap();
            map
        };
        let limit = |id, arrival, per| abi::np_limit { id, arrival, per, cost: 1, depth: 2, ..Default::default() };
        let from = map(&[limit(7, 100, abi::NP_PER_RULE), limit(8, 50, abi::NP_PER_RULE), limit(9, 70, abi::NP_PER_SOURCE)]);
        let to = map(&[limit(8, 60, abi::NP_PER_RULE), limit(7, 0, abi::NP_PER_RULE), limit(9, 0, abi::NP_PER_SOURCE)]);
        carry(&from, &to).unwrap();
        carry(&from, &to).unwrap();
        let arrivals: Vec<u64> = (0..4u32).map(|index| to.get::<_, abi::np_limit>(&index).unwrap().unwrap().arrival).collect();
        assert_eq!(arrivals, [60, 100, 0, 0]);
    }
}
