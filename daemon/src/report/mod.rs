//! What people, scripts and the service manager are told. Knows facts, decides nothing.

pub mod events;
pub mod fields;
pub mod journald;
pub mod metrics;
pub mod names;
pub mod outlet;
mod problems;
pub mod rules;
pub mod sets;
pub mod status;
pub mod systemd;
mod table;

pub use problems::{diagnostic_line, failure_line};
pub use table::table;
