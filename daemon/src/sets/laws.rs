//! Properties of contents, against an oracle that asks every element.

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use proptest::collection::vec;
use proptest::prelude::*;

use super::{Added, Expiry, content};

/// Few addresses, so that elements nest and meet.
fn net() -> impl Strategy<Value = IpNet> {
    (any::<bool>(), 0u8..=8, any::<u8>()).prop_map(|(v6, length, bits)| {
        if v6 {
            let address = (0xfd00_u128 << 112) | (u128::from(bits) << 56);
            IpNet::V6(Ipv6Net::new(address.into(), 64 + length).unwrap().trunc())
        } else {
            IpNet::V4(Ipv4Net::new((u32::from(bits) << 24).into(), length).unwrap().trunc())
        }
    })
}

fn expiry() -> impl Strategy<Value = Expiry> {
    prop_oneof![(1u64..50).prop_map(Expiry::at), Just(Expiry::NEVER)]
}

/// Sorted, disjoint prefixes: what `policy` makes of written elements.
fn written() -> impl Strategy<Value = Vec<IpNet>> {
    vec(net(), 0..6).prop_map(|mut nets| {
        nets.sort_unstable();
        let mut kept: Vec<IpNet> = Vec::new();
        for net in nets {
            if kept.last().is_none_or(|last| !last.contains(&net)) {
                kept.push(net);
            }
        }
        kept
    })
}

fn build(elements: &[(IpNet, Expiry)]) -> Added {
    let mut added = Added::default();
    elements.iter().for_each(|(net, expiry)| added.insert(*net, *expiry, true));
    added
}

/// Until when an address or prefix is in the set, by asking every element.
fn oracle(written: &[IpNet], added: &Added, net: &IpNet) -> Option<Expiry> {
    let forever = written.iter().filter(|w| w.contains(net)).map(|_| Expiry::NEVER);
    forever.chain(added.iter().filter(|(a, _)| a.contains(net)).map(|(_, expiry)| expiry)).max()
}

/// What the programs do: the longest prefix alone.
fn looked_up(entries: &[(IpNet, Expiry)], address: &IpNet) -> Option<Expiry> {
    entries.iter().filter(|(net, _)| net.contains(address)).max_by_key(|(net, _)| net.prefix_len()).map(|(_, expiry)| *expiry)
}

proptest! {
    #[test]
    fn longest_prefix_alone_tells_what_all_elements_say(written in written(), elements in vec((net(), expiry()), 0..12), asked in vec(net(), 20)) {
        let added = build(&elements);
        let entries = content::entries(&written, &added);
        prop_assert!(entries.windows(2).all(|pair| pair[0].0 < pair[1].0), "sorted, each prefix once");
        prop_assert_eq!(entries.len(), content::count(&written, &added));
        for net in &asked {
            let address = IpNet::from(net.addr());
            prop_assert_eq!(looked_up(&entries, &address), oracle(&written, &added, &address));
        }
        for (net, expiry) in &entries {
            prop_assert_eq!(content::entry(&written, &added, net), Some(*expiry));
        }
    }

    #[test]
    fn small_change_leads_to_the_same_entries_as_building_anew(
        written in written(),
        before in vec((net(), expiry()), 0..12),
        put in vec((net(), expiry()), 0..4),
        take in vec(any::<prop::sample::Index>(), 0..4),
    ) {
        let mut added = build(&before);
        let mut map: std::collections::BTreeMap<IpNet, Expiry> = content::entries(&written, &added).into_iter().collect();
        let mut apply = |added: &Added, changed: &[IpNet]| {
            for (net, entry) in content::touched(&written, added, changed) {
                match entry {
                    Some(expiry) => { map.insert(net, expiry); }
                    None => { map.remove(&net); }
                }
            }
            map.iter().map(|(net, expiry)| (*net, *expiry)).collect::<Vec<_>>()
        };
        put.iter().for_each(|(net, expiry)| added.insert(*net, *expiry, true));
        let nets: Vec<IpNet> = put.iter().map(|(net, _)| *net).collect();
        prop_assert_eq!(apply(&added, &nets), content::entries(&written, &added));

        let all: Vec<IpNet> = added.iter().map(|(net, _)| net).collect();
        if !all.is_empty() {
            let nets: Vec<IpNet> = take.iter().map(|index| *index.get(&all)).collect();
            nets.iter().for_each(|net| { added.remove(net); });
            prop_assert_eq!(apply(&added, &nets), content::entries(&written, &added));
        }
        let over = added.expire(25);
        prop_assert_eq!(apply(&added, &over), content::entries(&written, &added));
    }
}
