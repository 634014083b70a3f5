//! What can be sent to the product by whoever writes files, changes links or opens its socket; one module a kind.
//!
//! Each `run` takes any bytes and fails by panicking. The fuzzer calls it with bytes of its own making (`make fuzz`); the test
//! `daemon/tests/corpus.rs` includes these files and calls it with every kept input, so that they need no fuzzer.

pub mod control;
pub mod events;
pub mod journal;
pub mod netlink;
pub mod policy;
pub mod set_files;

/// A target's name, and what it does with an input.
pub type Target = (&'static str, fn(&[u8]));

/// All targets.
pub const TARGETS: [Target; 6] = [
    ("policy", policy::run),
    ("set_files", set_files::run),
    ("netlink", netlink::run),
    ("events", events::run),
    ("control", control::run),
    ("journal", journal::run),
];
