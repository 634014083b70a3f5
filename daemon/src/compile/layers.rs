//! Spreads the rules of a chain over layers.
//!
//! One layer is cheapest for packets. But a rule that reads few addresses and one that reads many multiply each other's rows when
//! they share a layer; where that grows too big, they part: first by which addresses they read, then by how many rows they fill.

use super::addresses::{Atom, Selector};
use super::classify::View;

/// Rows and decisions of one layer that are not worth another layer.
pub(super) const COMFORTABLE: u64 = 1 << 16;

/// What the layers need to know of a rule.
#[derive(Debug, Clone, Copy)]
pub(super) struct LayerRule {
    pub(super) number: u32,
    pub(super) source: Option<u32>,
    pub(super) destination: Option<u32>,
    /// L4 classes in which it differs from what it says in most.
    pub(super) l4_weight: u32,
}

/// Rules that are looked up together.
pub(super) struct Layer {
    /// Rising.
    pub(super) rules: Vec<LayerRule>,
    pub(super) source: Side,
    pub(super) destination: Side,
    /// By rule: rows that it is in.
    weights: Vec<u64>,
    /// Upper bound of rows and decisions.
    pub(super) estimate: u64,
}

/// Source or destination as a layer sees it.
pub(super) struct Side {
    /// `None` = not read, and the number is 0.
    pub(super) view: Option<View>,
    /// Selectors of the view, by position.
    group: Vec<u32>,
}

/// All addresses.
#[derive(Clone, Copy)]
pub(super) struct Space<'a> {
    pub(super) selectors: &'a [Selector],
    pub(super) classes: &'a [Vec<Atom>],
    pub(super) atoms: usize,
    /// L4 classes.
    pub(super) l4: u32,
    /// Rows and decisions of one layer that are not worth another layer.
    pub(super) comfortable: u64,
}

impl Side {
    fn of(space: Space<'_>, selectors: impl Iterator<Item = Option<u32>>) -> Side {
        let mut group: Vec<u32> = selectors.flatten().collect();
        group.sort_unstable();
        group.dedup();
        let view = (!group.is_empty()).then(|| View::of(space.selectors, &group, space.classes, space.atoms));
        Side { view, group }
    }

    /// Local numbers there are.
    pub(super) fn count(&self) -> u32 {
        self.view.as_ref().map_or(1, |view| view.count)
    }

    /// Local numbers that a selector accepts; `None` = all.
    pub(super) fn members(&self, selector: Option<u32>) -> Option<&[u32]> {
        let (view, position) = (self.view.as_ref()?, self.group.binary_search(&selector?).ok()?);
        view.members.get(position).map(Vec::as_slice)
    }

    fn weight(&self, selector: Option<u32>) -> u64 {
        self.members(selector).map_or(u64::from(self.count()), |members| members.len() as u64)
    }
}

impl Layer {
    fn of(space: Space<'_>, rules: Vec<LayerRule>) -> Layer {
        let source = Side::of(space, rules.iter().map(|rule| rule.source));
        let destination = Side::of(space, rules.iter().map(|rule| rule.destination));
        let weight = |rule: &LayerRule| source.weight(rule.source).saturating_mul(destination.weight(rule.destination));
        let weights: Vec<u64> = rules.iter().map(weight).collect();
        let sum = rules.iter().zip(&weights).map(|(rule, weight)| weight.saturating_mul(1 + u64::from(rule.l4_weight)));
        let sum = sum.fold(0, u64::saturating_add);
        let all = u64::from(source.count()) * u64::from(destination.count());
        let estimate = sum.min(all.saturating_mul(1 + u64::from(space.l4)));
        Layer { rules, source, destination, weights, estimate }
    }

    /// Rules in rows, at most: what has to be written down to build the layer.
    pub(super) fn entries(&self) -> u64 {
        self.weights.iter().copied().fold(0, u64::saturating_add)
    }

    /// Parts the rules that fill many rows from those that fill few; `None` if all are alike.
    fn part(&self, space: Space<'_>) -> Option<(Layer, Layer)> {
        let (least, most) = (self.weights.iter().min()?, self.weights.iter().max()?);
        let border = least.max(&1).saturating_mul(*most).isqrt();
        let side = |heavy: bool| {
            let wanted = self.rules.iter().zip(&self.weights).filter(|(_, weight)| (**weight > border) == heavy);
            wanted.map(|(rule, _)| *rule).collect::<Vec<LayerRule>>()
        };
        let (light, heavy) = (side(false), side(true));
        (!light.is_empty() && !heavy.is_empty()).then(|| (Layer::of(space, light), Layer::of(space, heavy)))
    }
}

/// The layers of a chain, at most `limit`.
pub(super) fn spread(space: Space<'_>, rules: &[LayerRule], limit: usize) -> Vec<Layer> {
    if rules.is_empty() {
        return Vec::new();
    }
    let whole = Layer::of(space, rules.to_vec());
    if whole.estimate <= space.comfortable {
        return vec![whole];
    }
    let mut layers: Vec<Layer> = [(false, false), (false, true), (true, false), (true, true)]
        .into_iter()
        .map(|reads| rules.iter().copied().filter(|rule| (rule.source.is_some(), rule.destination.is_some()) == reads).collect())
        .filter(|rules: &Vec<LayerRule>| !rules.is_empty())
        .map(|rules| Layer::of(space, rules))
        .collect();
    let mut whole_ones = Vec::new();
    while layers.len() + whole_ones.len() < limit {
        // The biggest one that is still too big; of equals the first.
        let Some(position) = (0..layers.len()).rev().max_by_key(|position| layers[*position].estimate) else { break };
        if layers[position].estimate <= space.comfortable {
            break;
        }
        let biggest = layers.remove(position);
        match biggest.part(space) {
            Some((light, heavy)) if light.estimate.saturating_add(heavy.estimate) < biggest.estimate => layers.extend([light, heavy]),
            _ => whole_ones.push(biggest),
        }
    }
    layers.extend(whole_ones);
    layers.sort_by_key(|layer| layer.rules.first().map(|rule| rule.number));
    layers
}
