//! What was added to one set: in memory and in its journal, the journal first.
//!
//! Knows no map and no policy.

use std::io;
use std::path::Path;

use ipnet::IpNet;

use super::added::Added;
use super::clock::Expiry;
use super::journal::{Change, Journal, Trouble};

/// A journal is written anew when it has this many lines more than twice what it needs.
const SLACK: usize = 1024;

/// Added elements of one set, kept.
#[derive(Debug)]
pub struct Store {
    added: Added,
    journal: Journal,
    trouble: Option<Trouble>,
    next_end: Option<Expiry>,
}

impl Store {
    /// Reads the journal of a set. `now`: Unix time in ms; what is over by then is left out.
    pub fn load(directory: &Path, set: &str, now: u64) -> Store {
        let (journal, elements, trouble) = Journal::load(&directory.join(set));
        let mut added = Added::default();
        for (net, expiry) in elements.into_iter().filter(|(_, expiry)| !expiry.is_over(now)) {
            added.insert(net, expiry, false);
        }
        let next_end = added.next_end();
        Store { added, journal, trouble, next_end }
    }

    /// The elements.
    pub fn added(&self) -> &Added {
        &self.added
    }

    /// Why the journal does not tell everything; gone with the next [`Store::replace`].
    pub fn trouble(&self) -> Option<&Trouble> {
        self.trouble.as_ref()
    }

    /// Goes on with what somebody else still knows, where the journal does not tell everything: it may have lost that an element
    /// was taken out as well as that one was put in.
    pub fn recover(&mut self, elements: impl Iterator<Item = (IpNet, Expiry)>) {
        self.added = Added::default();
        elements.for_each(|(net, expiry)| self.added.insert(net, expiry, false));
        self.next_end = self.added.next_end();
    }

    /// Puts elements in, or gives them another lifetime.
    ///
    /// # Errors
    /// The journal could not be written; nothing has changed.
    pub fn add(&mut self, nets: &[IpNet], expiry: Expiry) -> io::Result<()> {
        let changes: Vec<Change> = nets.iter().map(|net| Change::Add(*net, expiry)).collect();
        self.journal.append(&changes)?;
        nets.iter().for_each(|net| self.added.insert(*net, expiry, true));
        if expiry != Expiry::NEVER {
            self.next_end = Some(self.next_end.map_or(expiry, |end| end.min(expiry)));
        }
        self.compact();
        Ok(())
    }

    /// Takes elements out.
    ///
    /// # Errors
    /// The journal could not be written; nothing has changed.
    pub fn remove(&mut self, nets: &[IpNet]) -> io::Result<()> {
        let changes: Vec<Change> = nets.iter().map(|net| Change::Remove(*net)).collect();
        self.journal.append(&changes)?;
        nets.iter().for_each(|net| {
            self.added.remove(net);
        });
        self.compact();
        Ok(())
    }

    /// Puts other elements in place of all.
    ///
    /// # Errors
    /// The journal could not be written; nothing has changed.
    pub fn replace(&mut self, added: Added) -> io::Result<()> {
        self.journal.rewrite(added.iter())?;
        self.next_end = added.next_end();
        self.added = added;
        self.trouble = None;
        Ok(())
    }

    /// Takes out what is over at a Unix time in ms, and tells it. The journal need not know: it knows the end of each element.
    pub fn expire(&mut self, now: u64) -> Vec<IpNet> {
        if !self.next_end.is_some_and(|end| end.is_over(now)) {
            return Vec::new();
        }
        let over = self.added.expire(now);
        self.next_end = self.added.next_end();
        self.compact();
        over
    }

    /// The wall clock was set by `ms`. `false`: no element of this set ends, so nothing has changed.
    ///
    /// # Errors
    /// The journal could not be written; it still tells the former times.
    pub fn clock_moved(&mut self, ms: i64) -> io::Result<bool> {
        if self.next_end.is_none() {
            return Ok(false);
        }
        self.added.clock_moved(ms);
        self.next_end = self.added.next_end();
        if self.trouble.is_some() {
            // Not written over: what it holds beyond this is for whoever mends it.
            let timed = self.added.iter().filter(|(_, expiry)| *expiry != Expiry::NEVER);
            self.journal.append(&timed.map(|(net, expiry)| Change::Add(net, expiry)).collect::<Vec<Change>>())?;
        } else {
            self.journal.rewrite(self.added.iter())?;
        }
        Ok(true)
    }

    /// Writes the journal anew where most of it is history. A damaged one is left for whoever wants to look into it.
    fn compact(&mut self) {
        if self.trouble.is_some() || self.journal.lines() <= 2 * self.added.len() + SLACK {
            return;
        }
        if let Err(error) = self.journal.rewrite(self.added.iter()) {
            log::warn!("{}: cannot be made shorter: {error}", self.journal.path().display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> IpNet {
        text.parse().unwrap()
    }

    #[test]
    fn elements_live_in_the_journal_until_they_are_over() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = Store::load(dir.path(), "s", 0);
        store.add(&[net("10.0.0.1/32"), net("10.0.0.2/32")], Expiry::at(1000)).unwrap();
        store.add(&[net("10.0.0.1/32")], Expiry::at(5000)).unwrap();
        store.add(&[net("10.0.0.3/32")], Expiry::NEVER).unwrap();
        store.remove(&[net("10.0.0.3/32")]).unwrap();
        assert_eq!(Store::load(dir.path(), "s", 0).added().len(), 2);
        assert_eq!(Store::load(dir.path(), "s", 1000).added().len(), 1);
        assert_eq!(store.expire(999), []);
        assert_eq!(store.expire(1000), [net("10.0.0.2/32")]);
        assert_eq!(store.expire(5000), [net("10.0.0.1/32")]);
        assert!(store.added().is_empty());
    }

    #[test]
    fn journal_is_made_short_when_it_is_mostly_history() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = Store::load(dir.path(), "s", 0);
        for n in 0..600 {
            store.add(&[net("10.0.0.1/32")], Expiry::at(1_000_000 + n)).unwrap();
            assert!(store.journal.lines() <= SLACK + 6, "{}", store.journal.lines());
        }
        assert_eq!(Store::load(dir.path(), "s", 0).added(), &{
            let mut wanted = Added::default();
            wanted.insert(net("10.0.0.1/32"), Expiry::at(1_000_599), false);
            wanted
        });
    }

    #[test]
    fn damaged_journal_is_kept_until_everything_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("s"), "# x\n+ 10.0.0.1/32 -\nnonsense\n.\n").unwrap();
        let mut store = Store::load(dir.path(), "s", 0);
        assert!(store.trouble().is_some() && store.added().len() == 1);
        store.recover([(net("10.0.0.9/32"), Expiry::NEVER)].into_iter());
        store.add(&[net("10.0.0.2/32")], Expiry::at(9)).unwrap();
        store.clock_moved(1000).unwrap();
        assert!(Store::load(dir.path(), "s", 0).trouble().is_some());
        assert_eq!(Store::load(dir.path(), "s", 0).added().get(&net("10.0.0.2/32")), Some(Expiry::at(1009)));
        assert_eq!(store.added().len(), 2, "what is known for sure, and what was added since");
        store.replace(Added::default()).unwrap();
        assert!(Store::load(dir.path(), "s", 0).trouble().is_none());
    }

    #[test]
    fn clock_that_was_set_is_written_down() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = Store::load(dir.path(), "s", 0);
        assert!(!store.clock_moved(5000).unwrap());
        store.add(&[net("10.0.0.1/32")], Expiry::at(1000)).unwrap();
        assert!(store.clock_moved(5000).unwrap());
        assert_eq!(Store::load(dir.path(), "s", 0).added().get(&net("10.0.0.1/32")), Some(Expiry::at(6000)));
    }
}
