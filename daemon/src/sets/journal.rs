//! One file a set that keeps what was added at run time: lines that are only ever appended, and synced before anybody is answered.
//!
//! ```text
//! # elements added to `blocklist` at run time; written by netpol-ebpf
//! + 192.0.2.7/32 1795372800.250     stays until that Unix time
//! + 2001:db8::/64 -                 stays
//! - 198.51.100.0/24                 was taken out
//! .                                 all lines since the last dot count from here on
//! ~                                 lines since the last dot do not count (they were found damaged)
//! ```
//!
//! What stands behind the last dot was cut short by a crash and is ignored: a change is kept whole or not at all. A file with
//! trouble is only ever appended to, so that whoever mends it finds everything that it held. Knows one file.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, BufWriter, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use ipnet::IpNet;

use super::clock::Expiry;

/// Closes a change.
const END: &str = ".";
/// Drops the lines of a change that has no end.
const DROP: &str = "~";
/// Stands before a change that is appended to a file with trouble: whatever it ends with, nothing of that is taken for a part of it.
const APART: &str = "#\n~\n";

/// One line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Put in, or given another lifetime.
    Add(IpNet, Expiry),
    /// Taken out.
    Remove(IpNet),
}

/// Why a journal does not tell everything.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// The file cannot be read at all, or not to its end.
    #[error("{}: cannot be read: {cause}", path.display())]
    Unreadable {
        /// The journal.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// Lines of it are damaged; they were left out.
    #[error("{}:{line}: `{text}` is no line of a journal{}", path.display(), if *more == 0 { String::new() } else { format!(" (and {more} more)") })]
    Damaged {
        /// The journal.
        path: PathBuf,
        /// First such line, from 1.
        line: usize,
        /// What it says.
        text: String,
        /// How many more there are.
        more: usize,
    },
}

/// A journal that is written to.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    /// Bytes up to and with the last dot: a new change begins here.
    length: u64,
    /// Lines up to there.
    lines: usize,
    /// The file does not tell everything: nothing of it may be cut off or written over.
    damaged: bool,
}

impl Journal {
    /// Reads a journal; a missing one is empty. What cannot be read is told, and all the rest counts.
    pub fn load(path: &Path) -> (Journal, BTreeMap<IpNet, Expiry>, Option<Trouble>) {
        let mut journal = Journal { path: path.to_path_buf(), length: 0, lines: 0, damaged: false };
        let mut elements = BTreeMap::new();
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return (journal, elements, None),
            Err(cause) => {
                journal.damaged = true;
                return (journal, elements, Some(Trouble::Unreadable { path: path.to_path_buf(), cause }));
            }
        };
        let trouble = journal.replay(&mut BufReader::new(file), &mut elements);
        journal.damaged = trouble.is_some();
        (journal, elements, trouble)
    }

    fn replay(&mut self, reader: &mut impl BufRead, elements: &mut BTreeMap<IpNet, Expiry>) -> Option<Trouble> {
        let mut trouble: Option<Trouble> = None;
        let (mut bytes, mut number, mut pending, mut line) = (0, 0, Vec::new(), Vec::new());
        loop {
            line.clear();
            match reader.read_until(b'\n', &mut line) {
                Err(cause) => return Some(Trouble::Unreadable { path: self.path.clone(), cause }),
                Ok(0) => return trouble,
                Ok(read) => bytes += read as u64,
            }
            number += 1;
            // Without its end the line may be a part of what was meant; nothing follows it.
            let Some(text) = line.strip_suffix(b"\n") else { return trouble };
            let text = String::from_utf8_lossy(text);
            if text == END {
                pending.drain(..).for_each(|change| apply(elements, change));
                (self.length, self.lines) = (bytes, number);
            } else if text == DROP {
                pending.clear();
            } else if let Some(change) = parse(&text) {
                pending.push(change);
            } else if !text.starts_with('#') {
                match &mut trouble {
                    Some(Trouble::Damaged { more, .. }) => *more += 1,
                    _ => {
                        let text = text.chars().take(80).collect();
                        trouble = Some(Trouble::Damaged { path: self.path.clone(), line: number, text, more: 0 });
                    }
                }
            }
        }
    }

    /// Lines that a rewriting would shorten or drop.
    pub fn lines(&self) -> usize {
        self.lines
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Appends a change and waits until it is on the disk. On a failure nothing of it counts.
    ///
    /// # Errors
    /// What the system said.
    pub fn append(&mut self, changes: &[Change]) -> io::Result<()> {
        if self.damaged {
            return self.append_apart(changes);
        }
        if self.length == 0 {
            // The first lines are written as a whole file, so that its name is on the disk too.
            return self.replace(changes.iter().copied());
        }
        let mut file = OpenOptions::new().write(true).open(&self.path)?;
        file.set_len(self.length)?;
        file.seek(SeekFrom::Start(self.length))?;
        let text = spelled(changes.iter().copied());
        file.write_all(text.as_bytes())?;
        file.sync_data()?;
        self.length += text.len() as u64;
        self.lines += changes.len() + 1;
        Ok(())
    }

    /// The same for a file with trouble: behind all that it holds.
    fn append_apart(&mut self, changes: &[Change]) -> io::Result<()> {
        let mut file = OpenOptions::new().append(true).open(&self.path)?;
        let before = file.metadata()?.len();
        let text = spelled(changes.iter().copied());
        let written = file.write_all(APART.as_bytes()).and_then(|()| file.write_all(text.as_bytes())).and_then(|()| file.sync_data());
        if let Err(error) = written {
            // Nothing of it counts; where even that fails, no dot closes it, or it is a change that was made.
            file.set_len(before)?;
            return Err(error);
        }
        self.lines += changes.len() + 1;
        Ok(())
    }

    /// Puts these elements in place of everything: written beside, synced, renamed over it.
    ///
    /// # Errors
    /// What the system said; then the former content counts.
    pub fn rewrite(&mut self, elements: impl Iterator<Item = (IpNet, Expiry)>) -> io::Result<()> {
        self.replace(elements.map(|(net, expiry)| Change::Add(net, expiry)))
    }

    fn replace(&mut self, changes: impl Iterator<Item = Change>) -> io::Result<()> {
        let directory = self.path.parent().unwrap_or(Path::new("."));
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        fs::create_dir_all(directory)?;
        let beside = directory.join(format!(".{name}.new"));
        let mut counted = 0;
        let head = format!("# elements added to `{name}` at run time; written by netpol-ebpf\n");
        let text = spelled(changes.inspect(|_| counted += 1));
        let write = || {
            let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
            let mut out = BufWriter::new(file);
            out.write_all(head.as_bytes())?;
            out.write_all(text.as_bytes())?;
            out.into_inner().map_err(io::IntoInnerError::into_error)?.sync_data()?;
            fs::rename(&beside, &self.path)
        };
        if let Err(error) = write() {
            // A disk that is full is not kept full by half of this. What cannot be removed is written over next time.
            fs::remove_file(&beside).unwrap_or_default();
            return Err(error);
        }
        File::open(directory)?.sync_all()?;
        self.length = (head.len() + text.len()) as u64;
        self.lines = counted + 2;
        self.damaged = false;
        Ok(())
    }
}

fn apply(elements: &mut BTreeMap<IpNet, Expiry>, change: Change) {
    match change {
        Change::Add(net, expiry) => {
            elements.insert(net, expiry);
        }
        Change::Remove(net) => {
            elements.remove(&net);
        }
    }
}

/// Lines of a change, its end with them.
fn spelled(changes: impl Iterator<Item = Change>) -> String {
    let mut text = String::new();
    for change in changes {
        let written = match change {
            Change::Add(net, expiry) => match expiry.ms() {
                Some(ms) => writeln!(text, "+ {net} {}.{:03}", ms / 1000, ms % 1000),
                None => writeln!(text, "+ {net} -"),
            },
            Change::Remove(net) => writeln!(text, "- {net}"),
        };
        debug_assert!(written.is_ok(), "a String takes everything");
    }
    text + END + "\n"
}

fn parse(line: &str) -> Option<Change> {
    let mut words = line.split(' ');
    let (sign, net) = (words.next()?, words.next()?.parse::<IpNet>().ok()?);
    let change = match (sign, words.next()) {
        ("+", Some("-")) => Change::Add(net, Expiry::NEVER),
        ("+", Some(at)) => {
            let (seconds, thousandths) = at.split_once('.')?;
            let thousandths = if thousandths.len() == 3 { thousandths.parse::<u64>().ok()? } else { return None };
            Change::Add(net, Expiry::at(seconds.parse::<u64>().ok()?.checked_mul(1000)?.checked_add(thousandths)?))
        }
        ("-", None) => Change::Remove(net),
        _ => return None,
    };
    (words.next().is_none() && net.trunc() == net).then_some(change)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> IpNet {
        text.parse().unwrap()
    }

    fn journal() -> (tempfile::TempDir, Journal) {
        let dir = tempfile::tempdir().unwrap();
        let (journal, elements, trouble) = Journal::load(&dir.path().join("sets/friends"));
        assert!(elements.is_empty() && trouble.is_none());
        (dir, journal)
    }

    fn reload(journal: &Journal) -> (Journal, Vec<(IpNet, Expiry)>, Option<String>) {
        let (journal, elements, trouble) = Journal::load(journal.path());
        (journal, elements.into_iter().collect(), trouble.map(|trouble| trouble.to_string()))
    }

    fn append_raw(journal: &Journal, text: &str) {
        OpenOptions::new().append(true).open(journal.path()).unwrap().write_all(text.as_bytes()).unwrap();
    }

    #[test]
    fn changes_are_found_again_in_their_order() {
        let (_dir, mut journal) = journal();
        let until = Expiry::at(1_795_372_800_250);
        journal.append(&[Change::Add(net("10.0.0.1/32"), until), Change::Add(net("fd00::/8"), Expiry::NEVER)]).unwrap();
        journal.append(&[Change::Add(net("10.0.0.1/32"), Expiry::at(7)), Change::Remove(net("fd00::/8"))]).unwrap();
        journal.append(&[Change::Add(net("10.0.0.2/32"), until)]).unwrap();
        let (again, elements, trouble) = reload(&journal);
        assert_eq!(elements, [(net("10.0.0.1/32"), Expiry::at(7)), (net("10.0.0.2/32"), until)]);
        assert_eq!((again.length, again.lines, trouble), (journal.length, journal.lines, None));
        assert_eq!(fs::metadata(journal.path()).unwrap().len(), journal.length);
    }

    #[test]
    fn change_that_was_cut_short_counts_for_nothing_and_is_overwritten() {
        let (_dir, mut journal) = journal();
        journal.append(&[Change::Add(net("10.0.0.1/32"), Expiry::NEVER)]).unwrap();
        for torn in ["+ 10.0.0.2/32 -\n+ 10.0.0.3/3", "+ 10.0.0.2/32 -\n", "- 10.0.0.1/32\n.", "\0\0\0"] {
            append_raw(&journal, torn);
            let (mut again, elements, trouble) = reload(&journal);
            assert_eq!((elements.as_slice(), trouble), ([(net("10.0.0.1/32"), Expiry::NEVER)].as_slice(), None), "{torn:?}");
            again.append(&[Change::Add(net("10.0.0.4/32"), Expiry::NEVER)]).unwrap();
            assert_eq!(reload(&again).1.len(), 2, "{torn:?}");
            again.append(&[Change::Remove(net("10.0.0.4/32"))]).unwrap();
            journal = again;
        }
    }

    #[test]
    fn damaged_line_is_named_and_the_others_count() {
        let (_dir, mut journal) = journal();
        journal.append(&[Change::Add(net("10.0.0.1/32"), Expiry::NEVER)]).unwrap();
        append_raw(&journal, "+ 10.0.0.300/32 -\n+ 10.0.0.1/8 -\n+ 10.0.0.5/32 -\n.\n");
        let (_, elements, trouble) = reload(&journal);
        assert_eq!(elements.len(), 2);
        let trouble = trouble.unwrap();
        assert!(trouble.contains("friends:4: `+ 10.0.0.300/32 -`") && trouble.contains("(and 1 more)"), "{trouble}");
    }

    #[test]
    fn damaged_journal_keeps_all_its_lines_when_something_is_added() {
        for text in ["# x\n+ 10.0.0.1/32 -\n,\n", "+ 10.0.0.1/32 -\n.\n+ 10.0.0.2/32 -\n!\n+ 10.0.0.3/32 -", "rubbish"] {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("s");
            fs::write(&path, text).unwrap();
            let (mut journal, before, trouble) = Journal::load(&path);
            let told = trouble.is_some();
            journal.append(&[Change::Add(net("10.9.0.1/32"), Expiry::NEVER)]).unwrap();
            journal.append(&[Change::Add(net("10.9.0.2/32"), Expiry::NEVER)]).unwrap();
            let (_, after, trouble) = Journal::load(&path);
            assert_eq!((after.len(), trouble.is_some()), (before.len() + 2, told), "{text}: no more and no less than was told");
            assert!(!told || fs::read_to_string(&path).unwrap().starts_with(text), "{text}: nothing is cut off");
        }
    }

    #[test]
    fn journal_that_cannot_be_read_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let (_, elements, trouble) = Journal::load(dir.path());
        assert!(elements.is_empty());
        assert!(matches!(trouble, Some(Trouble::Unreadable { .. })), "{trouble:?}");
    }

    #[test]
    fn rewriting_leaves_only_what_is_there() {
        let (_dir, mut journal) = journal();
        for n in 0..50 {
            journal.append(&[Change::Add(net("10.0.0.1/32"), Expiry::at(n))]).unwrap();
        }
        let long = journal.length;
        journal.rewrite([(net("10.0.0.1/32"), Expiry::at(49))].into_iter()).unwrap();
        assert!(journal.length < long && journal.lines == 3);
        assert_eq!(reload(&journal).1, [(net("10.0.0.1/32"), Expiry::at(49))]);
        journal.rewrite(std::iter::empty()).unwrap();
        assert_eq!(reload(&journal).1, []);
        journal.append(&[Change::Add(net("10.0.0.2/32"), Expiry::NEVER)]).unwrap();
        assert_eq!(reload(&journal).1.len(), 1);
    }
}
