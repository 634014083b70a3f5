//! Which names of interfaces the policies select, whether such an interface is there or not: what the guard asks of an interface that
//! has just appeared.
//!
//! Names without wildcards are a table; globs together are one automaton over bytes. Knows policies by their selectors and by what
//! they could refuse at a hook. Policies by owner have no names: their interfaces are found, not foreseen.

mod automaton;
mod glob;

use std::collections::{BTreeMap, BTreeSet};

use netpol_probes::abi;

use super::CompileError;
use super::addresses::limit;
use super::draft::works;
use crate::policy::model::{Hook, Mode, Policy, PolicySet};
use automaton::Automaton;
use glob::{Side, is_literal};

/// So many names without wildcards are tried as a part of the automaton.
const FEW: usize = 256;

/// Contents of an element of `guards`, and the names that stand beside it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Guard {
    globs: Automaton,
    /// Names that stand in selectors as they are, and the hooks at which they are selected: 1 << hook.
    pub names: Vec<(abi::np_name, u32)>,
}

impl Guard {
    /// What these policies select.
    pub(super) fn of(set: &PolicySet) -> Result<Guard, CompileError> {
        let guarded = Guarded::of(set);
        let few = guarded.literals().len() <= FEW;
        // The automaton alone is the quickest to ask; what does not fit into it stands beside it.
        match few.then(|| Automaton::of(&guarded.lists(true))) {
            Some(Ok(globs)) => Ok(Guard { globs, names: Vec::new() }),
            _ => Guard::with_table(&guarded),
        }
    }

    /// Names without wildcards as a table beside the automaton.
    fn with_table(guarded: &Guarded<'_>) -> Result<Guard, CompileError> {
        let literals = guarded.literals();
        limit("names in `interfaces`", literals.len(), (abi::NP_MAX_GUARD_NAMES / abi::NP_SLOTS) as usize)?;
        let names = literals.into_iter().map(|name| (name_of(name), guarded.hooks_of(name))).collect();
        Ok(Guard { globs: Automaton::of(&guarded.lists(false))?, names })
    }

    /// The element of `guards`.
    pub fn table(&self) -> Box<abi::np_guard> {
        let mut table = Box::new(abi::np_guard {
            start: self.globs.start,
            globs: u16::from(!self.globs.next.is_empty()),
            names: u16::from(!self.names.is_empty()),
            pad: 0,
            classes: [0; 256],
            next: [0; abi::NP_GUARD_TABLE as usize],
        });
        table.classes.iter_mut().zip(&self.globs.classes).for_each(|(to, from)| *to = *from);
        table.next.iter_mut().zip(&self.globs.next).for_each(|(to, from)| *to = *from);
        table
    }

    /// What the guard makes of a name: 1 << hook where it is selected.
    pub fn hooks_of(&self, name: &str) -> u32 {
        let key = name_of(name);
        match self.names.iter().find(|(known, _)| *known == key) {
            Some((_, hooks)) => *hooks,
            None => self.globs.bits(name.as_bytes()),
        }
    }
}

/// Policies that could refuse something, each with its hooks.
struct Guarded<'a>(Vec<(&'a Policy, u32)>);

impl<'a> Guarded<'a> {
    fn of(set: &'a PolicySet) -> Guarded<'a> {
        Guarded(set.policies.iter().map(|policy| (policy, hooks(policy))).filter(|(_, hooks)| *hooks != 0).collect())
    }

    /// Names without wildcards, taken out ones too.
    fn literals(&self) -> BTreeSet<&'a str> {
        let patterns = self.0.iter().flat_map(|(policy, _)| policy.interfaces.include.iter().chain(&policy.interfaces.exclude));
        patterns.map(::glob::Pattern::as_str).filter(|text| is_literal(text)).collect()
    }

    fn hooks_of(&self, name: &str) -> u32 {
        self.0.iter().filter(|(policy, _)| policy.interfaces.selects(name)).fold(0, |all, (_, hooks)| all | hooks)
    }

    /// What each policy writes. Those that write the same are one: what matters is only which hooks they close.
    fn lists(&self, literals: bool) -> BTreeMap<Vec<(Side, &'a str)>, u32> {
        let mut lists: BTreeMap<Vec<(Side, &str)>, u32> = BTreeMap::new();
        for (policy, hooks) in &self.0 {
            let include = policy.interfaces.include.iter().map(|pattern| (Side::Include, pattern.as_str()));
            let exclude = policy.interfaces.exclude.iter().map(|pattern| (Side::Exclude, pattern.as_str()));
            let mut list: Vec<(Side, &str)> = include.chain(exclude).filter(|(_, text)| literals || !is_literal(text)).collect();
            list.sort_unstable();
            list.dedup();
            if list.iter().any(|(side, _)| *side == Side::Include) {
                *lists.entry(list).or_default() |= hooks;
            }
        }
        lists
    }
}

/// A name as the maps hold it. No name of an interface is longer than 15 bytes.
pub fn name_of(name: &str) -> abi::np_name {
    let mut bytes = [0u8; 16];
    bytes.iter_mut().zip(name.bytes()).for_each(|(to, from)| *to = from);
    let (first, rest) = bytes.split_at(8);
    let part = |half: &[u8]| half.try_into().map_or(0, u64::from_ne_bytes);
    abi::np_name { part: [part(first), part(rest)] }
}

/// Hooks at which a policy could refuse something of an interface that it selects by name, 1 << hook each.
fn hooks(policy: &Policy) -> u32 {
    if policy.mode != Mode::Enforce || policy.owner.is_some() {
        return 0;
    }
    let isolated = |hook| policy.chain(policy.endpoint.direction(hook)).is_some();
    let at_xdp = policy.xdp.as_ref().is_some_and(works);
    let bit = |set: bool, hook: u32| u32::from(set) << hook;
    bit(isolated(Hook::Ingress) || at_xdp, abi::NP_HOOK_INGRESS) | bit(isolated(Hook::Egress), abi::NP_HOOK_EGRESS)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::sample::select;

    use super::*;
    use crate::policy::judge::fixture::{chain, policy, set_of};
    use crate::policy::model::{DefaultAction, EndpointKind, InterfaceSelector, Owner, OwnerKind, Xdp};

    fn selector(list: &[&str]) -> InterfaceSelector {
        let pattern = |text: &str| ::glob::Pattern::new(text).unwrap();
        let (exclude, include): (Vec<&str>, Vec<&str>) = list.iter().partition(|text| text.starts_with('!'));
        InterfaceSelector {
            include: include.into_iter().map(pattern).collect(),
            exclude: exclude.into_iter().map(|text| pattern(&text[1..])).collect(),
        }
    }

    fn closing(list: &[&str]) -> Policy {
        let closed = || Some(chain(DefaultAction::Deny, vec![]));
        Policy { interfaces: selector(list), ingress: closed(), egress: closed(), ..policy("p", 1) }
    }

    /// What the policies say of a name, asked one after the other.
    fn asked(set: &PolicySet, name: &str) -> u32 {
        set.policies.iter().filter(|policy| policy.interfaces.selects(name)).fold(0, |all, policy| all | hooks(policy))
    }

    #[test]
    fn what_a_policy_refuses_decides_the_hooks() {
        let open = Policy { ingress: None, egress: None, ..closing(&["eth*"]) };
        let ingress = Policy { ingress: closing(&[]).ingress, ..open.clone() };
        let xdp = Xdp { drop_fragments: true, ..Xdp::default() };
        let owner = Some(Owner { kind: OwnerKind::Container, name: "c".into() });
        for (policy, wanted) in [
            (open.clone(), 0),
            (ingress.clone(), 1),
            (Policy { endpoint: EndpointKind::Workload, ..ingress.clone() }, 2),
            (closing(&["eth*"]), 3),
            (Policy { mode: Mode::Audit, ..ingress.clone() }, 0),
            (Policy { owner, ..ingress.clone() }, 0),
            (Policy { xdp: Some(xdp), ..open.clone() }, 1),
            (Policy { xdp: Some(Xdp::default()), ..open }, 0),
        ] {
            let guard = Guard::of(&set_of(vec![policy])).unwrap();
            assert_eq!((guard.hooks_of("eth0"), guard.hooks_of("wlan0")), (wanted, 0));
        }
    }

    #[test]
    fn a_glob_that_needs_too_many_states_refuses_the_ruleset() {
        let globs: Vec<String> = (b'a'..=b'p').map(|c| format!("*{}?????????*", c as char)).collect();
        let globs: Vec<&str> = globs.iter().map(String::as_str).collect();
        let error = Guard::of(&set_of(vec![closing(&globs)])).unwrap_err().to_string();
        assert!(error.contains("globs in `interfaces`") && error.contains("65536"), "{error}");
    }

    #[test]
    fn a_class_that_names_characters_beyond_ascii_is_read_towards_refusing() {
        let hooks = |list: &[&str], name| Guard::of(&set_of(vec![closing(list)])).unwrap().hooks_of(name);
        assert_eq!((hooks(&["x[äa]*"], "xä1"), hooks(&["x[äa]*"], "xü1"), hooks(&["x[äa]*"], "xb1")), (3, 3, 0));
        assert_eq!((hooks(&["x*", "!x[äa]"], "xä"), hooks(&["x*", "!x[äa]"], "xa")), (3, 0));
    }

    #[test]
    fn thousands_of_names_fit() {
        let names: Vec<String> = (0..4000u32).map(|n| format!("tap{:08x}", n.wrapping_mul(2_654_435_761))).collect();
        let guard = Guard::of(&set_of(vec![closing(&names.iter().map(String::as_str).collect::<Vec<_>>())])).unwrap();
        assert!(names.iter().all(|name| guard.hooks_of(name) == 3));
        assert_eq!(guard.hooks_of("tapx"), 0);
    }

    const PIECES: [&str; 14] = ["a", "b", "eth", "0", "1", "*", "?", "[a-c]", "[!a]", "[0-9]", "[]b]", "é", "**", "["];

    fn pattern() -> impl Strategy<Value = String> {
        let text = prop::collection::vec(select(PIECES.to_vec()), 1..6).prop_map(|pieces| pieces.concat());
        // Classes that name characters beyond ASCII are read towards refusing: below.
        let exact = |text: &String| text.is_ascii() || !text.contains('[');
        text.prop_filter("a pattern", move |text| exact(text) && ::glob::Pattern::new(text).is_ok())
    }

    fn list() -> impl Strategy<Value = Vec<String>> {
        let excluded = (pattern(), any::<bool>()).prop_map(|(text, not)| if not { format!("!{text}") } else { text });
        prop::collection::vec(excluded, 1..5)
    }

    fn name() -> impl Strategy<Value = String> {
        let pieces = vec!["a", "b", "c", "d", "eth", "0", "1", "9", "]", "-", ".", "é", "ü", "漢", "🦀"];
        prop::collection::vec(select(pieces), 1..8).prop_map(|pieces| pieces.concat()).prop_filter("fits", |name| name.len() < 16)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn the_guard_selects_what_the_policies_select(
            lists in prop::collection::vec((list(), 1u32..4), 1..5),
            names in prop::collection::vec(name(), 1..40),
        ) {
            let policy_of = |(list, directions): &(Vec<String>, u32)| {
                let whole = closing(&list.iter().map(String::as_str).collect::<Vec<_>>());
                let ingress = whole.ingress.clone().filter(|_| directions & 1 != 0);
                let egress = whole.egress.clone().filter(|_| directions & 2 != 0);
                Policy { ingress, egress, ..whole }
            };
            let set = set_of(lists.iter().map(policy_of).collect());
            let (guard, parted) = (Guard::of(&set).unwrap(), Guard::with_table(&Guarded::of(&set)).unwrap());
            let literals = lists.iter().flat_map(|(list, _)| list).map(|text| text.trim_start_matches('!').to_owned());
            for name in names.into_iter().chain(literals.filter(|text| text.len() < 16 && is_literal(text))) {
                let wanted = asked(&set, &name);
                prop_assert_eq!((guard.hooks_of(&name), parted.hooks_of(&name)), (wanted, wanted), "{}", name);
            }
        }
    }
}
