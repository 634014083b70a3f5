//! What must hold while everything happens at once.

mod churn;
mod half_written;
mod intruders;
mod kills;
mod mixture;
mod reload_flood;
mod restarts;
mod set_kills;
mod unpinned;
