//! The `set` commands: what is asked is proven whole, done, and told.
//!
//! Knows words and exit codes. How a set changes is the business of [`super::sets`].

use std::ops::Deref;
use std::sync::Arc;

use ipnet::IpNet;
use log::info;
use serde_json::{Value, json};

use super::Reconciler;
use super::sets::SetError;
use crate::policy::elements;
use crate::policy::model::{Dynamic, PolicySet, Set};
use crate::report::sets::{Shown, duration};
use crate::sets::{Added, Expiry, content};
use crate::source::{self, Trust};
use crate::trigger::control::{Lifetime, Response};

/// Elements that a log line or a refusal names one by one.
const NAMED: usize = 5;

fn refused(exit: u8, text: String) -> Response {
    Response { exit, value: json!({ "version": 1, "error": text }), text }
}

fn failed(error: &SetError) -> Response {
    refused(if matches!(error, SetError::Full { .. }) { 1 } else { 3 }, error.to_string())
}

/// The set that a command names, held while the reconciler changes.
struct Asked {
    policies: Arc<PolicySet>,
    index: usize,
}

impl Deref for Asked {
    type Target = Set;

    fn deref(&self) -> &Set {
        &self.policies.sets[self.index]
    }
}

impl Reconciler {
    /// `set list`.
    pub fn set_list(&self) -> Response {
        let sets = || self.live.iter().flat_map(|live| &live.policies.sets);
        let added = |set: &Set| self.sets.added(&set.name).filter(|_| set.dynamic.is_some()).map_or(0, Added::len);
        let rows = sets().map(|set| {
            let kind = set
                .dynamic
                .map_or("static".to_string(), |dynamic| format!("dynamic, {} of at most {} prefixes", self.held(set), dynamic.max_entries));
            let elements = set.element_count + added(set);
            vec![set.name.clone(), format!("{elements} elements"), format!("{} prefixes", self.held(set)), kind, set.origin.to_string()]
        });
        let value = sets().map(|set| {
            json!({
                "version": 1, "name": set.name, "elements": set.element_count + added(set), "prefixes": self.held(set),
                "dynamic": set.dynamic.is_some(), "written": set.element_count, "added": added(set),
                "max_entries": set.dynamic.map(|dynamic| dynamic.max_entries), "timeout": set.dynamic.and_then(|dynamic| dynamic.timeout),
                "file": *set.origin.file, "line": set.origin.line,
            })
        });
        Response { exit: 0, text: crate::report::table(&rows.collect::<Vec<_>>()), value: Value::Array(value.collect()) }
    }

    /// Prefixes that a set holds.
    fn held(&self, set: &Set) -> usize {
        let added = self.sets.added(&set.name).filter(|_| set.dynamic.is_some());
        added.map_or(set.nets.len(), |added| content::count(&set.nets, added))
    }

    /// `set show`.
    pub fn set_show(&self, name: &str) -> Response {
        let set = match self.find_set(name) {
            Ok(set) => set,
            Err(response) => return response,
        };
        let now = self.sets.now();
        let written: Vec<String> = set.nets.iter().map(spelled).collect();
        let live = self.sets.added(name).filter(|_| set.dynamic.is_some()).into_iter().flat_map(Added::iter);
        let live = live.filter(|(_, expiry)| !expiry.is_over(now));
        let end = |expiry: Expiry| expiry.ms().map_or("-".to_string(), |ms| ms.to_string());
        let added: Vec<String> = live.map(|(net, expiry)| format!("{} {}", spelled(&net), end(expiry))).collect();
        let (dynamic, written, added) = (set.dynamic.is_some(), written.join("\n"), added.join("\n"));
        let shown = Shown { version: 1, name: set.name.clone(), dynamic, now, written, added };
        match serde_json::to_value(shown) {
            Ok(value) => Response { exit: 0, text: String::new(), value },
            Err(error) => refused(3, error.to_string()),
        }
    }

    /// `set add`: all elements or none.
    pub fn set_add(&mut self, name: &str, elements: &[String], lifetime: Lifetime) -> Response {
        let (set, limits, nets) = match self.asked(name, elements) {
            Ok(asked) => asked,
            Err(response) => return response,
        };
        let expiry = self.expiry(lifetime, limits);
        match self.sets.add(self.kernel.as_mut(), &set, &nets, expiry) {
            Ok(new) => {
                info!("set add {name}: {}{}", some(elements), until(lifetime, limits));
                self.changed(&set, limits, json!({ "added": new, "refreshed": nets.len() - new }), &told(new, nets.len()))
            }
            Err(error) => failed(&error),
        }
    }

    /// `set del`: all elements or none; only what was added at run time.
    pub fn set_del(&mut self, name: &str, elements: &[String]) -> Response {
        let (set, limits, nets) = match self.asked(name, elements) {
            Ok(asked) => asked,
            Err(response) => return response,
        };
        let strangers: Vec<&IpNet> = match self.sets.added(name) {
            Some(added) => nets.iter().filter(|net| added.get(net).is_none()).collect(),
            None => nets.iter().collect(),
        };
        if !strangers.is_empty() {
            let mut sentences: Vec<String> = strangers.iter().take(NAMED).map(|net| self.why_not_added(&set, net)).collect();
            if strangers.len() > NAMED {
                sentences.push(format!("and {} more", strangers.len() - NAMED));
            }
            return refused(1, format!("{}; nothing has changed", sentences.join("; ")));
        }
        match self.sets.remove(self.kernel.as_mut(), &set, &nets) {
            Ok(()) => {
                info!("set del {name}: {}", some(elements));
                self.changed(&set, limits, json!({ "deleted": nets.len() }), &format!("{} deleted", nets.len()))
            }
            Err(error) => failed(&error),
        }
    }

    /// `set flush`: takes out everything that was added.
    pub fn set_flush(&mut self, name: &str) -> Response {
        let (set, limits) = match self.dynamic_set(name) {
            Ok(found) => found,
            Err(response) => return response,
        };
        let before = self.sets.added(name).map_or(0, Added::len);
        match self.sets.replace(self.kernel.as_mut(), &set, Added::default(), &mut |_, _, _| ()) {
            Ok(()) => {
                info!("set flush {name}: {before} elements deleted");
                self.changed(&set, limits, json!({ "deleted": before }), &format!("{before} deleted"))
            }
            Err(error) => failed(&error),
        }
    }

    /// `set replace`: a list in place of everything that was added, at once.
    pub fn set_replace(
        &mut self,
        name: &str,
        file: &str,
        list: &str,
        lifetime: Lifetime,
        tell: &mut dyn FnMut(&str, usize, usize),
    ) -> Response {
        let (set, limits) = match self.dynamic_set(name) {
            Ok(found) => found,
            Err(response) => return response,
        };
        let nets = match elements::list(file, list, &mut |read| tell("reading the list", read, list.len())) {
            Ok(nets) => nets,
            Err(errors) => return refused(2, errors.join("\n")),
        };
        let expiry = self.expiry(lifetime, limits);
        let mut added = Added::default();
        nets.iter().for_each(|net| added.insert(*net, expiry, true));
        let count = added.len();
        match self.sets.replace(self.kernel.as_mut(), &set, added, tell) {
            Ok(()) => {
                info!("set replace {name}: {count} elements of {file}{}", until(lifetime, limits));
                self.changed(&set, limits, json!({ "added": count }), &format!("{count} added in place of all others"))
            }
            Err(error) => failed(&error),
        }
    }

    fn find_set(&self, name: &str) -> Result<&Set, Response> {
        let set = self.live.iter().flat_map(|live| &live.policies.sets).find(|set| set.name == name);
        set.ok_or_else(|| refused(1, format!("no set is named `{name}`; `netpol-ebpf set list` shows those there are")))
    }

    fn dynamic_set(&self, name: &str) -> Result<(Asked, Dynamic), Response> {
        let set = self.find_set(name)?;
        let help = "write `dynamic = true` there to change it at run time";
        let limits = set.dynamic.ok_or_else(|| refused(1, format!("the set `{name}` ({}) is not dynamic; {help}", set.origin)))?;
        let live = self.live.iter().map(|live| Arc::clone(&live.policies));
        let found =
            live.filter_map(|policies| Some(Asked { index: policies.sets.iter().position(|set| set.name == name)?, policies })).next();
        found.map(|asked| (asked, limits)).ok_or_else(|| refused(1, format!("no set is named `{name}`")))
    }

    /// Set and prefixes of a request.
    fn asked(&self, name: &str, elements: &[String]) -> Result<(Asked, Dynamic, Vec<IpNet>), Response> {
        let (mut nets, mut errors) = (Vec::new(), Vec::new());
        for element in elements {
            match elements::prefixes(element) {
                Ok(more) => nets.extend(more),
                Err(error) => errors.push(error),
            }
        }
        if !errors.is_empty() {
            return Err(refused(2, errors.join("\n")));
        }
        nets.sort_unstable();
        nets.dedup();
        let (set, limits) = self.dynamic_set(name)?;
        Ok((set, limits, nets))
    }

    fn expiry(&self, lifetime: Lifetime, limits: Dynamic) -> Expiry {
        let after = |seconds: u64| Expiry::at(self.sets.now().saturating_add(seconds.saturating_mul(1000)));
        seconds(lifetime, limits).map_or(Expiry::NEVER, after)
    }

    /// Why a prefix cannot be deleted, and what can be done instead.
    fn why_not_added(&self, set: &Set, net: &IpNet) -> String {
        let (element, name) = (spelled(net), &set.name);
        if content::written_around(&set.nets, net).is_some() {
            let place = source::read(&self.directories.config, Trust::Own).ok();
            let place = place.and_then(|mut snapshot| elements::place_of_element(&mut snapshot, name, net));
            let (file, line) = place.map_or((set.origin.file.clone(), set.origin.line), |place| (place.file, place.line));
            return format!("`{element}` is written in {file}:{line}: change it there");
        }
        match self.sets.added(name).and_then(|added| added.covering(net).last()) {
            Some((wide, _)) => format!("`{element}` is no element of the set `{name}`; it is a part of its element `{}`", spelled(&wide)),
            None => format!("`{element}` is no element of the set `{name}`"),
        }
    }

    /// The answer to a change that was made.
    fn changed(&self, set: &Set, limits: Dynamic, mut value: Value, what: &str) -> Response {
        let (held, most) = (self.held(set), limits.max_entries);
        if let Value::Object(fields) = &mut value {
            fields.extend([("version".into(), json!(1)), ("name".into(), json!(set.name)), ("prefixes".into(), json!(held))]);
            fields.insert("max_entries".into(), json!(most));
        }
        Response { exit: 0, text: format!("{what}; the set `{}` holds {held} of at most {most} prefixes", set.name), value }
    }
}

fn seconds(lifetime: Lifetime, limits: Dynamic) -> Option<u64> {
    match lifetime {
        Lifetime::Usual => limits.timeout,
        Lifetime::Forever => None,
        Lifetime::Seconds(seconds) => Some(seconds),
    }
}

fn until(lifetime: Lifetime, limits: Dynamic) -> String {
    seconds(lifetime, limits).map(|seconds| format!(" for {}", duration(seconds))).unwrap_or_default()
}

fn told(new: usize, all: usize) -> String {
    if new == all { format!("{new} added") } else { format!("{new} added, {} refreshed", all - new) }
}

fn some(elements: &[String]) -> String {
    let named: Vec<&str> = elements.iter().take(NAMED).map(String::as_str).collect();
    let more = elements.len().saturating_sub(NAMED);
    if more == 0 { named.join(", ") } else { format!("{} and {more} more", named.join(", ")) }
}

/// A host without its length.
fn spelled(net: &IpNet) -> String {
    if net.prefix_len() == net.max_prefix_len() { net.addr().to_string() } else { net.to_string() }
}
