//! What people, scripts and the service manager are told. Knows facts, decides nothing.

pub mod rules;
pub mod status;
pub mod systemd;
