//! netpol-ebpf: TOML policies in, verdicts on packets out. The modules stand in the order of the walk.
pub mod policy;
pub mod compile;
