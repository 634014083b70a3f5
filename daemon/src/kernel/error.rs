//! What can go wrong in the kernel. Every error names the facility, the object it concerns and errno.

use std::io;
use std::path::PathBuf;

/// Result of everything in `kernel`.
pub type Result<T> = std::result::Result<T, Error>;

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A second instance works on the same directory.
    #[error("another netpol-ebpf ({holder}) uses {}", path.display())]
    Locked {
        /// The directory.
        path: PathBuf,
        /// What is known of it ("pid 12").
        holder: String,
    },
    /// A system call failed.
    #[error("{what}: {source}")]
    System {
        /// What was tried, on which object.
        what: String,
        /// errno.
        source: io::Error,
    },
    /// The kernel lacks something that cannot be done without.
    #[error("this kernel cannot run netpol-ebpf: {0}")]
    Unsupported(String),
    /// It could not be found out what the kernel can do: most often permissions are missing.
    #[error("cannot tell whether this kernel can run netpol-ebpf (which needs root, or CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN): {0}")]
    Untested(String),
    /// A map cannot hold what it must.
    #[error("map `{map}` needs {entries} entries of {entry_bytes} bytes: {source}")]
    MapSize {
        /// Name of the map.
        map: String,
        /// Entries wanted.
        entries: u64,
        /// Key and value, bytes.
        entry_bytes: u64,
        /// errno.
        source: io::Error,
    },
    /// A program was refused by the verifier, or its object could not be read.
    #[error("program `{program}`: {reason}")]
    Program {
        /// Name of the program or object.
        program: String,
        /// Last lines of the verifier's log, or what is wrong with the object.
        reason: String,
    },
    /// The plan does not fit what is there.
    #[error("{0}")]
    Inconsistent(String),
    /// An action failed; what was done before it was undone.
    #[error("{action}: {source}{}", if undo.is_empty() { String::new() } else { format!("; and undoing failed: {}", undo.join("; ")) })]
    Action {
        /// The action, as printed.
        action: String,
        /// Why.
        source: Box<Error>,
        /// Failures while undoing; empty = everything is as it was.
        undo: Vec<String>,
    },
}
