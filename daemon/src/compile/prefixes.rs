//! Prefixes of both families in the order of addresses, and the tries that are made of them.
//!
//! A *place* is the list of atoms that hold an address: those of its longest prefix and of all prefixes around that one.

use std::collections::HashMap;

use ipnet::IpNet;
use netpol_probes::abi;

use super::CompileError;
use super::addresses::{Atom, limit};

/// Atoms, rising.
pub(super) type Place = Vec<Atom>;

/// Contents of `addresses4` and `addresses6`.
pub(super) type Tries = (Vec<(abi::np_lpm4, u32)>, Vec<(abi::np_lpm6, u32)>);

/// A prefix in order: network, length, number of its place.
struct Prefix<T> {
    network: T,
    length: u8,
    place: u32,
    /// Place of the next prefix around it.
    around: u32,
}

/// All prefixes and their places; place 0 is "no prefix".
pub(super) struct Prefixes {
    v4: Vec<Prefix<u32>>,
    v6: Vec<Prefix<u128>>,
    pub(super) places: Vec<Place>,
}

impl Prefixes {
    /// Takes the nets of each atom.
    pub(super) fn of<'a>(atoms: impl Iterator<Item = &'a [IpNet]>) -> Result<Prefixes, CompileError> {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for (nets, atom) in atoms.zip(0..) {
            for net in nets {
                match net.trunc() {
                    IpNet::V4(net) => v4.push((u32::from(net.network()), net.prefix_len(), atom)),
                    IpNet::V6(net) => v6.push((u128::from(net.network()), net.prefix_len(), atom)),
                }
            }
        }
        v4.sort_unstable();
        v6.sort_unstable();
        let mut places = Places::new();
        let v4 = nest(&v4, &mut places, |a, b, length| length == 0 || (a ^ b) >> (32 - u32::from(length)) == 0);
        let v6 = nest(&v6, &mut places, |a, b, length| length == 0 || (a ^ b) >> (128 - u32::from(length)) == 0);
        limit("IPv4 prefixes", v4.len(), abi::NP_MAX_PREFIXES as usize)?;
        limit("IPv6 prefixes", v6.len(), abi::NP_MAX_PREFIXES as usize)?;
        Ok(Prefixes { v4, v6, places: places.list })
    }

    /// The contents of both tries. A prefix of the same class as what is around it is left out.
    pub(super) fn tries(&self, class_of_place: &[u32]) -> Tries {
        let class = |place: u32| class_of_place[place as usize];
        let v4 = self.v4.iter().filter(|prefix| class(prefix.place) != class(prefix.around)).map(|prefix| {
            let address = u32::from_ne_bytes(prefix.network.to_be_bytes());
            (abi::np_lpm4 { prefixlen: u32::from(prefix.length), address }, class(prefix.place))
        });
        let v6 = self
            .v6
            .iter()
            .filter(|prefix| class(prefix.place) != class(prefix.around))
            .map(|prefix| (abi::np_lpm6 { prefixlen: u32::from(prefix.length), address: words6(prefix.network) }, class(prefix.place)));
        (v4.collect(), v6.collect())
    }
}

/// An IPv6 address as the programs read it: the bytes of the wire in four words.
pub(super) fn words6(address: u128) -> [u32; 4] {
    let word = |shift: u32| u32::from_ne_bytes(((address >> shift) as u32).to_be_bytes());
    [word(96), word(64), word(32), word(0)]
}

/// Walks sorted (network, length, atom) and gives each distinct prefix its place.
fn nest<T: Copy + PartialEq>(sorted: &[(T, u8, Atom)], places: &mut Places, inside: impl Fn(T, T, u8) -> bool) -> Vec<Prefix<T>> {
    let mut prefixes: Vec<Prefix<T>> = Vec::with_capacity(sorted.len());
    // Prefixes around the current one, outermost first.
    let mut around: Vec<(T, u8, u32)> = Vec::new();
    for same in sorted.chunk_by(|a, b| (a.0, a.1) == (b.0, b.1)) {
        let (network, length, _) = same[0];
        while around.last().is_some_and(|(outer, outer_length, _)| !inside(network, *outer, *outer_length)) {
            around.pop();
        }
        let outer = around.last().map_or(0, |(_, _, place)| *place);
        let place = same.iter().fold(outer, |place, (_, _, atom)| places.with(place, *atom));
        prefixes.push(Prefix { network, length, place, around: outer });
        around.push((network, length, place));
    }
    prefixes
}

/// Distinct places, numbered as they are met.
struct Places {
    list: Vec<Place>,
    known: HashMap<Place, u32>,
    /// Place + atom = place: most prefixes of a long set take this way.
    steps: HashMap<(u32, Atom), u32>,
}

impl Places {
    fn new() -> Places {
        Places { list: vec![Vec::new()], known: HashMap::from([(Vec::new(), 0)]), steps: HashMap::new() }
    }

    /// The place that is also held by `atom`.
    fn with(&mut self, place: u32, atom: Atom) -> u32 {
        if let Some(known) = self.steps.get(&(place, atom)) {
            return *known;
        }
        let mut atoms = self.list[place as usize].clone();
        if let Err(position) = atoms.binary_search(&atom) {
            atoms.insert(position, atom);
        }
        let next = self.list.len() as u32;
        let number = *self.known.entry(atoms.clone()).or_insert(next);
        if number == next {
            self.list.push(atoms);
        }
        self.steps.insert((place, atom), number);
        number
    }
}
