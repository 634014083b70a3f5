//! What people, scripts and the service manager are told. Knows facts, decides nothing.

pub mod events;
pub mod names;
pub mod rules;
pub mod status;
pub mod systemd;
mod table;

pub use table::table;
