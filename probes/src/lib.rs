//! The programs that judge packets, as ELF objects, and the types they share with the daemon.
//!
//! Knows nothing of policies: it only carries what `build.rs` made of `bpf/`, and says what each map is.

mod maps;
mod objects;

pub use maps::{MAPS, MapKind, MapSpec, MaxEntries, SET_CONTENT, Scope, map};
pub use objects::{GUARD, Loader, Object, Objects, REALTIME, SERIAL, every_object};

/// Types and constants of `bpf/abi.h`, generated: one definition for both sides.
#[allow(missing_docs, non_camel_case_types, non_upper_case_globals, clippy::all)]
pub mod abi {
    include!(concat!(env!("OUT_DIR"), "/abi.rs"));
}
