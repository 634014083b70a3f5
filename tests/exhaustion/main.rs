//! Everything that can be full, filled: what was there goes on, what is new is refused and counted, nothing denied passes, and the
//! daemon lives or comes back.

mod clock;
mod connections;
mod descriptors;
mod disk;
mod fragments;
mod logs;
mod memory;
mod rates;
mod restarts;
