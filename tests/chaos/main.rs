//! What must hold while everything happens at once.

mod absent;
mod churn;
mod half_written;
mod hot_plug;
mod intruders;
mod kills;
mod mixture;
mod one_moment;
mod reload_flood;
mod restarts;
mod set_kills;
mod tail_calls;
mod unpinned;
mod upgrade;
