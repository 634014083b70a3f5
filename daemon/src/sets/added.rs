//! The elements that were added at run time, in an order in which everything inside a prefix stands together.
//!
//! Knows prefixes and lifetimes. Does not know what is written.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use ipnet::IpNet;

use super::clock::Expiry;

/// How long an element stays, and how that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stay {
    expiry: Expiry,
    /// Added since this daemon runs: what counts is the time that is left, whatever somebody does to the wall clock.
    fresh: bool,
}

/// Added elements of one set.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Added {
    elements: BTreeMap<IpNet, Stay>,
    /// How many elements of each family and prefix length there are: look-ups ask only for lengths that occur.
    lengths: [BTreeMap<u8, usize>; 2],
}

fn family(net: &IpNet) -> usize {
    usize::from(matches!(net, IpNet::V6(_)))
}

impl Added {
    /// Puts an element in, or gives it another lifetime. `fresh`: added by somebody now, not read from a journal.
    pub fn insert(&mut self, net: IpNet, expiry: Expiry, fresh: bool) {
        if self.elements.insert(net, Stay { expiry, fresh }).is_none() {
            *self.lengths[family(&net)].entry(net.prefix_len()).or_default() += 1;
        }
    }

    /// Takes an element out; `false` = there is none.
    pub fn remove(&mut self, net: &IpNet) -> bool {
        if self.elements.remove(net).is_none() {
            return false;
        }
        let lengths = &mut self.lengths[family(net)];
        if let Some(count) = lengths.get_mut(&net.prefix_len()) {
            *count -= 1;
            if *count == 0 {
                lengths.remove(&net.prefix_len());
            }
        }
        true
    }

    /// Until when exactly this element stays; `None` = there is none.
    pub fn get(&self, net: &IpNet) -> Option<Expiry> {
        self.elements.get(net).map(|stay| stay.expiry)
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.elements.len()
    }

    /// No element at all.
    pub fn is_empty(&self) -> bool {
        self.elements.is_empty()
    }

    /// All elements, IPv4 first, each prefix before those inside it.
    pub fn iter(&self) -> impl Iterator<Item = (IpNet, Expiry)> {
        self.elements.iter().map(|(net, stay)| (*net, stay.expiry))
    }

    /// The elements inside a prefix, itself included.
    pub fn inside(&self, net: &IpNet) -> impl Iterator<Item = IpNet> {
        self.elements.range(span(net)).map(|(net, _)| *net)
    }

    /// The elements that cover a prefix, itself included, widest first.
    pub fn covering(&self, net: &IpNet) -> impl Iterator<Item = (IpNet, Expiry)> {
        let net = *net;
        self.lengths[family(&net)].range(..=net.prefix_len()).filter_map(move |(length, _)| {
            let wide = IpNet::new(net.addr(), *length).ok()?.trunc();
            self.get(&wide).map(|expiry| (wide, expiry))
        })
    }

    /// The earliest end of an element; `None` = no element ends.
    pub fn next_end(&self) -> Option<Expiry> {
        self.elements.values().map(|stay| stay.expiry).filter(|expiry| *expiry != Expiry::NEVER).min()
    }

    /// Takes out what is over at a Unix time in ms, and tells it.
    pub fn expire(&mut self, now: u64) -> Vec<IpNet> {
        let over: Vec<IpNet> = self.iter().filter(|(_, expiry)| expiry.is_over(now)).map(|(net, _)| net).collect();
        over.iter().for_each(|net| {
            self.remove(net);
        });
        over
    }

    /// The wall clock was set by `ms`: the elements that were added since this daemon runs keep the time that they have left.
    pub fn clock_moved(&mut self, ms: i64) {
        for stay in self.elements.values_mut().filter(|stay| stay.fresh) {
            stay.expiry = stay.expiry.shifted(ms);
        }
    }
}

/// In the order of `IpNet` (address, then length): from a prefix to the last address in it.
fn span(net: &IpNet) -> RangeInclusive<IpNet> {
    *net..=IpNet::from(net.broadcast())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> IpNet {
        text.parse().unwrap()
    }

    fn added(elements: &[(&str, u64)]) -> Added {
        let mut added = Added::default();
        elements.iter().for_each(|(text, expiry)| added.insert(net(text), Expiry::at(*expiry), false));
        added
    }

    #[test]
    fn elements_inside_and_around_a_prefix_are_found() {
        let added = added(&[("10.0.0.0/8", 1), ("10.1.0.0/16", 2), ("10.1.2.3/32", 3), ("11.0.0.0/8", 4), ("::/0", 5), ("fd00::/8", 6)]);
        let inside: Vec<IpNet> = added.inside(&net("10.1.0.0/16")).collect();
        assert_eq!(inside, [net("10.1.0.0/16"), net("10.1.2.3/32")]);
        let covering: Vec<IpNet> = added.covering(&net("10.1.2.0/24")).map(|(net, _)| net).collect();
        assert_eq!(covering, [net("10.0.0.0/8"), net("10.1.0.0/16")]);
        assert_eq!(added.covering(&net("fd00::1/128")).count(), 2);
        assert_eq!(added.inside(&net("::/0")).count(), 2);
        assert_eq!(added.inside(&net("0.0.0.0/0")).count(), 4);
    }

    #[test]
    fn length_that_no_element_has_any_more_is_not_asked_for() {
        let mut added = added(&[("10.0.0.0/8", 1)]);
        assert!(added.remove(&net("10.0.0.0/8")) && !added.remove(&net("10.0.0.0/8")));
        assert_eq!(added, Added::default());
    }

    #[test]
    fn what_is_over_goes_and_what_stays_knows_its_end() {
        let mut added = added(&[("10.0.0.1/32", 5), ("10.0.0.2/32", 9)]);
        added.insert(net("10.0.0.3/32"), Expiry::NEVER, true);
        assert_eq!(added.next_end(), Some(Expiry::at(5)));
        assert_eq!(added.expire(5), [net("10.0.0.1/32")]);
        assert_eq!((added.len(), added.next_end()), (2, Some(Expiry::at(9))));
    }

    #[test]
    fn clock_that_was_set_moves_fresh_elements_only() {
        let mut added = added(&[("10.0.0.1/32", 5000)]);
        added.insert(net("10.0.0.2/32"), Expiry::at(5000), true);
        added.clock_moved(3_600_000);
        assert_eq!(added.get(&net("10.0.0.1/32")), Some(Expiry::at(5000)));
        assert_eq!(added.get(&net("10.0.0.2/32")), Some(Expiry::at(3_605_000)));
    }
}
