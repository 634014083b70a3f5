//! What must hold while everything happens at once.

mod churn;
mod half_written;
mod hot_plug;
mod intruders;
mod kills;
mod mixture;
mod reload_flood;
mod set_kills;
