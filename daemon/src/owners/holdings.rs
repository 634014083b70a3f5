//! What owners were found to have. A container may change what leads to it (its processes go into other network namespaces, and with
//! CAP_NET_ADMIN they move its end of a veth into one): what it once had stays its own while the same container runs.
//!
//! Forgotten with the daemon. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::Claim;
use crate::policy::model::Owner;

/// By owner: the processes that proved it, and its interfaces.
#[derive(Debug, Default)]
pub struct Holdings(BTreeMap<Owner, (BTreeSet<u32>, BTreeSet<u32>)>);

impl Holdings {
    /// What the owners have: what was found now, and what was found before of those that still run. `present`: every interface.
    pub fn keep(
        &mut self,
        claims: &BTreeMap<Owner, Claim>,
        found: BTreeMap<Owner, BTreeSet<u32>>,
        present: &BTreeSet<u32>,
    ) -> BTreeMap<Owner, BTreeSet<u32>> {
        let mut kept = BTreeMap::new();
        for (owner, mut interfaces) in found {
            let processes = claims.get(&owner).map(|claim| claim.processes.clone()).unwrap_or_default();
            if let Some((_, before)) = self.0.get(&owner).filter(|(before, _)| !before.is_disjoint(&processes)) {
                interfaces.extend(before.intersection(present));
            }
            kept.insert(owner, (processes, interfaces));
        }
        self.0 = kept;
        self.0.iter().map(|(owner, (_, interfaces))| (owner.clone(), interfaces.clone())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::model::OwnerKind;

    #[test]
    fn what_an_owner_had_stays_its_own_while_it_runs_and_the_device_is_there() {
        let owner = Owner { kind: OwnerKind::Container, name: "web".into() };
        let mut holdings = Holdings::default();
        let mut look = |processes: &[u32], found: &[u32], present: &[u32]| {
            let claim = Claim { processes: processes.iter().copied().collect(), ..Claim::default() };
            let found = BTreeMap::from([(owner.clone(), found.iter().copied().collect())]);
            let kept = holdings.keep(&BTreeMap::from([(owner.clone(), claim)]), found, &present.iter().copied().collect());
            kept[&owner].iter().copied().collect::<Vec<u32>>()
        };
        assert_eq!(look(&[7], &[3], &[1, 3]), [3]);
        assert_eq!(look(&[7], &[], &[1, 3]), [3], "it has moved its end");
        assert_eq!(look(&[7], &[4], &[1, 3, 4]), [3, 4], "it has got another one");
        assert_eq!(look(&[7], &[], &[1, 4]), [4], "one is gone");
        assert_eq!(look(&[8], &[5], &[1, 4, 5]), [5], "started again");
        assert_eq!(look(&[], &[], &[1, 4, 5]), [] as [u32; 0], "nobody proves it");
        assert_eq!(look(&[8], &[], &[1, 4, 5]), [] as [u32; 0], "and what is forgotten is forgotten");
    }
}
