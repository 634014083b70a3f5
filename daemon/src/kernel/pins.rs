//! Where everything of ours is pinned, and the lock on it.
//!
//! ```text
//! <bpffs>/                      locked while an instance works on it
//!   abi<NP_ABI>/                layout of maps and programs: another number is never taken for ours
//!   abi<NP_ABI>-damaged-<n>/    a tree that somebody took pins out of: it judges until a whole one has taken its place
//!     maps/                     what all generations share
//!     programs-<digest>/        main programs and epilogues, by digest of the objects they came from
//!     generation-<n>/           maps of one generation; `meta` is pinned last, `objects-<digest>` says who built it
//!     links/<ifindex>-<hook>    TCX and XDP links; with `-new` while one takes the place of another
//! ```
//!
//! A bpffs refuses names with dots. Knows no map by name.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use netpol_probes::abi;

use super::error::{Error, Result};
use super::{attach_guard, bpf, sys};

/// Root of the bpffs that systemd mounts.
const SYSTEM_BPFFS: &str = "/sys/fs/bpf";

/// Which link of an interface a pin holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum LinkPin {
    Ingress,
    Egress,
    Xdp,
}

impl LinkPin {
    const ALL: [(LinkPin, &'static str); 3] = [(LinkPin::Ingress, "ingress"), (LinkPin::Egress, "egress"), (LinkPin::Xdp, "xdp")];

    fn name(self) -> &'static str {
        match self {
            LinkPin::Ingress => "ingress",
            LinkPin::Egress => "egress",
            LinkPin::Xdp => "xdp",
        }
    }
}

/// The tree of pins.
#[derive(Debug, Clone)]
pub struct Pins {
    base: PathBuf,
    tree: String,
}

impl Pins {
    /// The tree of our layout below a bpffs directory.
    pub fn new(bpffs: &Path) -> Pins {
        Pins { base: bpffs.to_path_buf(), tree: format!("abi{}", abi::NP_ABI) }
    }

    /// Another tree beside it: another layout's, or a damaged one.
    pub fn beside(&self, tree: &str) -> Pins {
        Pins { base: self.base.clone(), tree: tree.into() }
    }

    /// The locked directory.
    pub fn base(&self) -> &Path {
        &self.base
    }

    /// Everything of our layout.
    pub fn abi(&self) -> PathBuf {
        self.base.join(&self.tree)
    }

    /// All shared maps.
    pub fn maps(&self) -> PathBuf {
        self.abi().join("maps")
    }

    /// A shared map.
    pub fn shared(&self, map: &str) -> PathBuf {
        self.maps().join(map)
    }

    /// Shared programs made from objects of that digest.
    pub fn programs(&self, digest: &str) -> PathBuf {
        self.abi().join(format!("programs-{digest}"))
    }

    /// The shared program of that id, of whatever objects.
    pub fn program(&self, id: u32) -> Result<OwnedFd> {
        for directory in names(&self.abi())?.iter().filter(|name| name.starts_with("programs-")) {
            let directory = self.abi().join(directory);
            for name in names(&directory)?.iter().filter(|name| !attach_guard::is_pin(name)) {
                let program = bpf::get(&directory.join(name))?;
                if bpf::program_id(&program, name)? == id {
                    return Ok(program);
                }
            }
        }
        bpf::program_by_id(id)
    }

    /// Maps of a generation.
    pub fn generation(&self, number: u32) -> PathBuf {
        self.abi().join(format!("generation-{number}"))
    }

    /// All link pins.
    pub fn links(&self) -> PathBuf {
        self.abi().join("links")
    }

    /// One link pin.
    pub fn link(&self, ifindex: u32, which: LinkPin) -> PathBuf {
        self.links().join(format!("{ifindex}-{}", which.name()))
    }

    /// Where the successor of a link is pinned until it takes its place.
    pub fn link_beside(&self, ifindex: u32, which: LinkPin) -> PathBuf {
        self.links().join(format!("{ifindex}-{}-new", which.name()))
    }

    /// Numbers of the generations that have a directory.
    pub fn generations(&self) -> Result<Vec<u32>> {
        let mut numbers: Vec<u32> = names(&self.abi())?.iter().filter_map(|n| n.strip_prefix("generation-")?.parse().ok()).collect();
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// Every link pin, by ifindex.
    pub fn link_pins(&self) -> Result<Vec<(u32, LinkPin)>> {
        let mut pins: Vec<(u32, LinkPin)> = names(&self.links())?.iter().filter_map(|name| parse_link_pin(name)).collect();
        pins.sort_unstable();
        Ok(pins)
    }

    /// Unpins links that a killed instance left beside those whose place they were to take.
    pub fn forget_successors(&self) -> Result<()> {
        names(&self.links())?.iter().filter(|name| name.ends_with("-new")).try_for_each(|name| unpin(&self.links().join(name)))
    }

    /// Directories that this instance does not work with: other layouts, programs of other digests. Relative to the base.
    pub fn leftovers(&self, digest: &str) -> Result<Vec<String>> {
        let mut found: Vec<String> = self.trees()?.into_iter().filter(|n| *n != self.tree).collect();
        let current = format!("programs-{digest}");
        let programs = names(&self.abi())?.into_iter().filter(|n| n.starts_with("programs-") && *n != current);
        found.extend(programs.map(|n| format!("{}/{n}", self.tree)));
        found.sort_unstable();
        Ok(found)
    }

    /// Every tree of ours, whatever its layout.
    pub fn trees(&self) -> Result<Vec<String>> {
        Ok(names(&self.base)?.into_iter().filter(|name| name.starts_with("abi")).collect())
    }

    /// Programs were loaded from this tree: all shared maps were pinned before.
    pub fn has_programs(&self) -> Result<bool> {
        Ok(names(&self.abi())?.iter().any(|name| name.starts_with("programs-")))
    }

    /// Moves the tree out of the way, with all that is in it; returns its new name. What is attached goes on judging by it.
    pub fn set_aside(&self) -> Result<String> {
        let free = |n: &u32| !self.base.join(format!("{}-damaged-{n}", self.tree)).exists();
        let number = (1..).find(free).unwrap_or(0);
        let name = format!("{}-damaged-{number}", self.tree);
        let failed = |source| Error::System { what: format!("rename {} to {name}", self.abi().display()), source };
        fs::rename(self.abi(), self.base.join(&name)).map_err(failed)?;
        Ok(name)
    }
}

fn parse_link_pin(name: &str) -> Option<(u32, LinkPin)> {
    let (index, hook) = name.split_once('-')?;
    let which = LinkPin::ALL.iter().find(|(_, n)| *n == hook)?.0;
    Some((index.parse().ok()?, which))
}

/// Names in a directory, sorted; none where there is no such directory.
pub fn names(directory: &Path) -> Result<Vec<String>> {
    let failed = |source| Error::System { what: format!("list {}", directory.display()), source };
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut found = Vec::new();
    for entry in entries {
        found.push(entry.map_err(failed)?.file_name().to_string_lossy().into_owned());
    }
    found.sort_unstable();
    Ok(found)
}

/// Makes a directory where there is none.
pub fn ensure_directory(path: &Path) -> Result<()> {
    fs::create_dir_all(path).map_err(|source| Error::System { what: format!("create {}", path.display()), source })
}

/// Deletes a pin; it is no fault when there is none.
pub fn unpin(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Error::System { what: format!("unpin {}", path.display()), source: error })
        }
        _ => Ok(()),
    }
}

/// Puts a pin in the place of another one, in one step.
pub fn exchange(from: &Path, to: &Path) -> Result<()> {
    fs::rename(from, to).map_err(|source| Error::System { what: format!("rename {} to {}", from.display(), to.display()), source })
}

/// Pins everything that is pinned below one directory below another one as well.
pub fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    ensure_directory(to)?;
    for name in names(from)? {
        let (from, to) = (from.join(&name), to.join(&name));
        if from.is_dir() {
            copy_tree(&from, &to)?;
        } else {
            unpin(&to)?;
            bpf::pin(&bpf::get(&from)?, &to)?;
        }
    }
    Ok(())
}

/// Deletes a directory of pins with all that is in it.
pub fn remove_tree(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Error::System { what: format!("unpin {}", path.display()), source: error })
        }
        _ => Ok(()),
    }
}

/// Makes sure that `directory` exists on a bpffs, mounting one where there is none.
pub fn ensure_bpffs(directory: &Path) -> Result<()> {
    if directory.is_dir() && sys::is_bpffs(directory)? {
        return Ok(());
    }
    let system = Path::new(SYSTEM_BPFFS);
    if directory.starts_with(system) && system.is_dir() && !sys::is_bpffs(system)? {
        sys::mount_bpffs(system)?;
    }
    ensure_directory(directory)?;
    if !sys::is_bpffs(directory)? {
        sys::mount_bpffs(directory)?;
    }
    Ok(())
}

/// Locks the directory for this instance, or says who has it.
pub fn lock(directory: &Path) -> Result<OwnedFd> {
    match sys::lock(directory)? {
        Some(lock) => Ok(lock),
        None => Err(Error::Locked { path: directory.to_path_buf(), holder: holder(directory).unwrap_or_else(|| "of unknown pid".into()) }),
    }
}

/// Who holds the lock, by /proc/locks: `1: FLOCK ADVISORY WRITE <pid> <major>:<minor>:<inode> 0 EOF`.
pub fn holder(directory: &Path) -> Option<String> {
    use std::os::unix::fs::MetadataExt;
    let facts = fs::metadata(directory).ok()?;
    // Every bpffs numbers its inodes for itself: the device belongs to the name.
    let file = format!("{:02x}:{:02x}:{}", libc::major(facts.dev()), libc::minor(facts.dev()), facts.ino());
    let locks = fs::read_to_string("/proc/locks").ok()?;
    let line = locks.lines().find(|line| line.contains("FLOCK") && line.split_whitespace().nth(5) == Some(&file))?;
    Some(format!("pid {}", line.split_whitespace().nth(4)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn link_pin_names_are_read_back() {
        for (which, name) in LinkPin::ALL {
            assert_eq!(parse_link_pin(&format!("12-{name}")), Some((12, which)));
        }
        assert_eq!(parse_link_pin("12-other"), None);
        assert_eq!(parse_link_pin("x-xdp"), None);
    }

    #[test]
    fn pins_carry_the_abi_and_no_dots() {
        let pins = Pins::new(Path::new("/sys/fs/bpf/netpol-ebpf"));
        let path = pins.link(3, LinkPin::Xdp);
        assert!(path.to_string_lossy().contains(&format!("/abi{}/", abi::NP_ABI)));
        assert!(!path.to_string_lossy().contains('.'));
    }

    #[test]
    fn listing_a_missing_directory_is_empty() {
        assert_eq!(names(Path::new("/nonexistent/netpol")).ok(), Some(Vec::new()));
    }
}
