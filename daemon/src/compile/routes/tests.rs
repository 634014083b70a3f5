//! The flattened table against the tables themselves, and every moment of an update against before and after.

use std::collections::BTreeSet;
use std::net::IpAddr;

use proptest::prelude::*;

use super::*;

fn route(table: u32, net: &str, goal: Goal) -> Route {
    Route { table, net: net.parse().unwrap(), goal }
}

fn out(links: &[u32]) -> Goal {
    Goal::Out(links.to_vec())
}

fn way(links: &[u32]) -> Way {
    Way::Out(links.into())
}

/// The definition, word by word: each table is asked for itself.
fn oracle(routes: &[Route], address: IpAddr) -> Way {
    let tables: BTreeSet<u32> = routes.iter().map(|route| route.table).collect();
    let mut links = BTreeSet::new();
    for table in tables {
        let holding = routes.iter().filter(|route| route.table == table && route.net.contains(&address));
        let Some(longest) = holding.clone().map(|route| route.net.prefix_len()).max() else { continue };
        for route in holding.filter(|route| route.net.prefix_len() == longest) {
            match &route.goal {
                Goal::Own if table == LOCAL_TABLE => return Way::Refused,
                Goal::Out(out) if table != LOCAL_TABLE => links.extend(out.iter().copied()),
                _ => {}
            }
        }
    }
    if links.is_empty() { Way::Refused } else { Way::Out(links.into_iter().collect::<Vec<u32>>().into()) }
}

#[test]
fn uplinks_with_a_table_each_are_both_ways_back() {
    let routes = [
        route(254, "0.0.0.0/0", out(&[2])),
        route(254, "198.51.100.0/24", out(&[3])),
        route(100, "0.0.0.0/0", out(&[3])),
        route(100, "192.0.2.0/24", Goal::Nowhere),
        route(LOCAL_TABLE, "198.51.100.7/32", Goal::Own),
        route(LOCAL_TABLE, "198.51.100.255/32", Goal::Own),
    ];
    let paths = ReversePaths::of(&routes);
    for (address, expected) in [
        ("203.0.113.1", way(&[2, 3])),
        ("198.51.100.9", way(&[3])),
        ("192.0.2.1", way(&[2])),
        ("198.51.100.7", Way::Refused),
        ("198.51.100.255", Way::Refused),
        ("2001:db8::1", Way::Refused),
    ] {
        assert_eq!(paths.lookup(address.parse().unwrap()), expected, "{address}");
    }
}

#[test]
fn prefix_that_says_nothing_new_is_left_out() {
    let mut routes = vec![route(254, "0.0.0.0/0", out(&[2]))];
    routes.extend((0..100u32).map(|n| route(254, &format!("10.{n}.0.0/16"), out(&[2]))));
    assert_eq!(ReversePaths::of(&routes).len(), 1);
}

#[test]
fn own_addresses_of_another_table_lead_nowhere_there_only() {
    let routes = [route(10, "10.0.0.1/32", Goal::Own), route(10, "10.0.0.0/24", out(&[5])), route(254, "0.0.0.0/0", out(&[2]))];
    assert_eq!(ReversePaths::of(&routes).lookup("10.0.0.1".parse().unwrap()), way(&[2]));
    assert_eq!(ReversePaths::of(&routes).lookup("10.0.0.2".parse().unwrap()), way(&[2, 5]));
}

#[test]
fn metrics_are_not_asked() {
    let routes = [route(254, "0.0.0.0/0", out(&[2])), route(254, "0.0.0.0/0", out(&[3])), route(254, "0.0.0.0/0", Goal::Nowhere)];
    assert_eq!(ReversePaths::of(&routes).lookup("192.0.2.1".parse().unwrap()), way(&[2, 3]));
}

#[test]
fn too_many_sets_are_refused_by_name() {
    let links = |n: u32| (0..32).filter(|bit| n & (1 << bit) != 0).map(|bit| bit + 1).collect();
    let routes: Vec<Route> = (0..20_000u32)
        .map(|n| Route { table: 254, net: IpNet::new((n << 8).to_be_bytes().into(), 24).unwrap(), goal: Goal::Out(links(n + 1)) })
        .collect();
    let error = update(&Held::default(), &ReversePaths::of(&routes)).unwrap_err();
    assert!(error.to_string().contains("combinations of interfaces"), "{error}");
}

/// Few addresses, so that prefixes nest and meet.
fn nets() -> impl Strategy<Value = IpNet> {
    let length = prop_oneof![Just(0u8), 1u8..=8, 28u8..=32];
    let v4 =
        (0u8..4, 0u8..16, length).prop_map(|(first, last, length)| IpNet::new([first << 6, 0, 0, last].into(), length).unwrap().trunc());
    let v6 = (0u16..4, 0u16..16, prop_oneof![Just(0u8), 1u8..=4, 124u8..=128])
        .prop_map(|(first, last, length)| IpNet::new([first << 14, 0, 0, 0, 0, 0, 0, last].into(), length).unwrap().trunc());
    prop_oneof![3 => v4, 1 => v6]
}

fn tables() -> impl Strategy<Value = Vec<Route>> {
    let goal = prop_oneof![
        5 => prop::collection::vec(1u32..5, 1..3).prop_map(Goal::Out),
        1 => Just(Goal::Nowhere),
        1 => Just(Goal::Own),
    ];
    let table = prop_oneof![Just(254u32), Just(100), Just(LOCAL_TABLE)];
    prop::collection::vec((table, nets(), goal).prop_map(|(table, net, goal)| Route { table, net, goal }), 0..24)
}

fn addresses() -> impl Iterator<Item = IpAddr> {
    let v4 = (0u8..4).flat_map(|first| (0u8..16).map(move |last| IpAddr::from([first << 6, 0, 0, last])));
    let v6 = (0u16..4).flat_map(|first| (0u16..16).map(move |last| IpAddr::from([first << 14, 0, 0, 0, 0, 0, 0, last])));
    v4.chain(v6)
}

/// What the programs would find.
fn found(held: &Held, address: IpAddr) -> BTreeSet<u32> {
    let longest = held.prefixes.iter().filter(|(net, _)| net.contains(&address)).max_by_key(|(net, _)| net.prefix_len());
    longest.and_then(|(_, number)| held.sets.get(number)).cloned().unwrap_or_default()
}

fn links_of(way: Way) -> BTreeSet<u32> {
    match way {
        Way::Refused => BTreeSet::new(),
        Way::Out(links) => links.iter().copied().collect(),
    }
}

/// Every moment while an update is carried out.
fn moments(mut held: Held, update: &Update) -> Vec<Held> {
    let mut all = Vec::new();
    for key in &update.new_links {
        held.sets.entry(key.set).or_default().insert(key.ifindex);
        all.push(held.clone());
    }
    for (net, number) in &update.write {
        held.prefixes.insert(*net, *number);
        all.push(held.clone());
    }
    for net in &update.delete {
        held.prefixes.remove(net).unwrap();
        all.push(held.clone());
    }
    for key in &update.old_links {
        let links = held.sets.get_mut(&key.set).unwrap();
        links.remove(&key.ifindex);
        if links.is_empty() {
            held.sets.remove(&key.set);
        }
        all.push(held.clone());
    }
    all
}

proptest! {
    #[test]
    fn flattened_table_says_what_the_tables_say(routes in tables()) {
        let paths = ReversePaths::of(&routes);
        for address in addresses() {
            prop_assert_eq!(paths.lookup(address), oracle(&routes, address), "{}", address);
        }
    }

    #[test]
    fn every_moment_of_an_update_is_before_or_after(first in tables(), second in tables()) {
        let (_, held) = update(&Held::default(), &ReversePaths::of(&first)).unwrap();
        let wanted = ReversePaths::of(&second);
        let (change, after) = update(&held, &wanted).unwrap();
        let moments = moments(held.clone(), &change);
        for address in addresses() {
            let (old, new) = (found(&held, address), links_of(oracle(&second, address)));
            let mut done = false;
            for moment in &moments {
                let now = found(moment, address);
                done |= now != old;
                prop_assert_eq!(&now, if done { &new } else { &old }, "{}", address);
            }
            prop_assert_eq!(found(&after, address), new);
        }
        prop_assert_eq!(moments.last().unwrap_or(&held), &after);
        prop_assert!(update(&after, &wanted).unwrap().0.is_empty());
    }
}
