//! netpol-ebpf: TOML policies in, verdicts on packets out.
//!
//! The modules stand in the order of the control walk; each may use those above it, `reconcile` ties them together.
//! ARCHITECTURE.md draws both walks and defines how a packet is judged.

pub mod cli;
pub mod compile;
pub mod kernel;
pub mod owners;
pub mod plan;
pub mod policy;
pub mod reconcile;
pub mod report;
pub mod schema;
pub mod sets;
pub mod source;
pub mod trigger;
