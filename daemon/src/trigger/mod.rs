//! What makes the daemon look again.
pub mod links;
